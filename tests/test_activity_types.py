"""What type checkers make of activities: `assert_type` does nothing when it is run."""

from __future__ import annotations

import asyncio
from typing import assert_type

from durable import Workflow, activity, workflow
from durable.registry import Registry


class Desk:
    @activity
    def sign(self, name: str, copies: int = 1) -> bytes:
        return name.encode() * copies

    @activity(timeout=5)
    async def file(self, name: str) -> int:
        return len(name)


@activity
def plain(number: int, *, unit: str = "") -> dict[str, int]:
    return {unit: number}


@activity(heartbeat_timeout=3, on_cancel="request")
async def later(number: int) -> list[int]:
    return [number]


desk_sign = Desk().sign


@workflow
def flow() -> Workflow[int]:
    assert_type((yield from plain.call(1, unit="m")), dict[str, int])
    assert_type((yield from later.options(timeout=3).call(1)), list[int])
    assert_type((yield from Desk.sign.call("o-1", copies=2)), bytes)
    return assert_type((yield from Desk.file.call("o-1")), int)


def test_direct_calls_have_the_type_of_the_function() -> None:
    desk = Desk()
    assert assert_type(plain(1), dict[str, int]) == {"": 1}
    assert assert_type(desk.sign("a", 2), bytes) == b"aa"

    async def both() -> None:
        assert assert_type(await later(1), list[int]) == [1]
        assert assert_type(await desk.file("abc"), int) == 3

    asyncio.run(both())


def test_a_module_may_have_an_activity_of_an_object() -> None:
    import sys

    registry = Registry([sys.modules[__name__]])
    assert sorted(registry.activities) == ["Desk.sign", "later", "plain"]
    assert registry.activities["Desk.sign"].fn("x") == b"x"
