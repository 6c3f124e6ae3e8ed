"""Workflows that fail while something is broken, for the tests of retry and fork."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from engine_kit import kinds, until

from durable import (
    Handle,
    Status,
    Workflow,
    activity,
    external,
    gather,
    wait_signal,
    workflow,
)
from durable.errors import (
    WorkflowError,
)

calls: list[str] = []
broken = threading.Event()


@activity(retry=None)
def act(name: str) -> str:
    calls.append(name)
    if name.startswith("bad") and broken.is_set():
        raise ValueError(f"{name} is broken")
    return name


@workflow
def two_steps() -> Workflow[list[str]]:
    return [(yield from act.call("good")), (yield from act.call("bad"))]


@workflow
def approval() -> Workflow[str]:
    yield act.call("ask")
    answer = yield wait_signal("answer")
    if broken.is_set():
        raise RuntimeError("this code is broken")
    return str(answer)


@workflow
def family(*names: str) -> Workflow[list[str]]:
    return (yield from gather(*[member.options(id=name).call(name) for name in names]))


@workflow
def member(name: str) -> Workflow[str]:
    if name.startswith("waiting"):
        yield wait_signal("go")
    return (yield from act.call(name))


FLOWS = (two_steps, approval, family, member)


def fails(handle: Handle[Any]) -> None:
    with pytest.raises(WorkflowError):
        handle.result(timeout=20)
    assert handle.status() is Status.FAILED


@workflow
def promised() -> Workflow[Any]:
    promise = external("p")
    yield act.call("tell " + promise.token)
    value = yield promise
    if broken.is_set():
        raise RuntimeError("this code is broken")
    return value


def token_of(handle: Handle[Any]) -> str:
    until(lambda: "ActivityCompleted" in kinds(handle))
    return str(handle.history()[1].token)  # type: ignore[attr-defined]
