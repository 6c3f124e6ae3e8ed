"""Type hints that cannot be resolved spoil no others."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from durable import activity
from durable.codec import Codec

if TYPE_CHECKING:
    from somewhere import Ghost  # type: ignore[import-not-found]  # for type checkers only


@dataclass
class Point:
    x: int


@activity
def moves(ghost: Ghost, point: Point) -> Point:
    return point


def test_what_can_be_resolved_is_used(caplog: pytest.LogCaptureFixture) -> None:
    codec: Any = Codec()
    with caplog.at_level(logging.WARNING, "durable.worker"):
        args, _ = moves.unpack_call(codec, codec.encode([1, Point(2)]), None)
    assert args == [1, Point(2)]
    assert moves.returns is Point
    assert "moves" in caplog.text
    assert "ghost" in caplog.text
