"""Retry of a parent: the children that it had asked to stop, and those that still end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from engine_kit import Engine, kinds, until
from rewind_flows import act, broken, calls, fails

from durable import (
    Cancelled,
    Status,
    TaskCancelled,
    Workflow,
    race,
    shield,
    spawn,
    wait_signal,
    workflow,
)
from durable.errors import WrongStatus


@pytest.fixture(autouse=True)
def _everything_is_broken() -> Iterator[None]:
    calls.clear()
    broken.set()
    yield
    broken.clear()


@workflow
def slow_to_stop() -> Workflow[str]:
    try:
        yield wait_signal("never")
    except Cancelled:
        with shield():
            yield wait_signal("cleaned")
        raise
    return "not cancelled"


@workflow
def lost_race() -> Workflow[str]:
    yield race(slow_to_stop.options(id="kid").call(), wait_signal("go"))
    result: str = yield act.call("bad")
    return result


@workflow
def cancelled_task() -> Workflow[str]:
    task = spawn(slow_to_stop.options(id="kid").call())
    yield wait_signal("go")
    task.cancel()
    result: str = yield act.call("bad")
    with pytest.raises(TaskCancelled):
        yield task
    return result


@pytest.mark.parametrize("cleaned", [True, False], ids=["ended", "cleaning up"])
@pytest.mark.parametrize("flow", [lost_race, cancelled_task])
def test_a_child_that_was_asked_to_stop_is_not_begun_again(
    engine: Engine, flow: Any, cleaned: bool
) -> None:
    engine.work([flow, slow_to_stop], [act])
    handle = engine.start(flow)
    handle.signal("go")
    fails(handle)
    child = engine.client.get("kid")
    if cleaned:
        child.signal("cleaned")
        until(lambda: child.status() is Status.CANCELLED)
    broken.clear()
    handle.retry()
    if not cleaned:
        child.signal("cleaned")
    assert handle.result(timeout=20) == "bad"
    until(lambda: child.status() is Status.CANCELLED)
    assert child.row().run == 1


@workflow
def beside() -> Workflow[Any]:
    task = spawn(slow_to_stop.options(id="kid").call())
    yield wait_signal("go")
    yield act.call("bad")
    return (yield task)


def test_a_child_that_ends_because_its_parent_has_refuses_its_retry(engine: Engine) -> None:
    engine.work([beside, slow_to_stop], [act])
    handle = engine.start(beside)
    handle.signal("go")
    fails(handle)
    broken.clear()
    child = engine.client.get("kid")
    with pytest.raises(WrongStatus, match="child 'kid' still ends, because its parent"):
        handle.retry()
    until(lambda: "CancelRequested" in kinds(child))
    with pytest.raises(WrongStatus, match="retry when it has ended, or terminate it"):
        handle.retry()
    assert handle.row().run == 1
    child.signal("cleaned")
    until(lambda: child.status() is Status.CANCELLED)
    handle.retry()
    until(lambda: child.status() is Status.RUNNING)
    assert child.row().run == 2
    handle.cancel()  # the signal was kept: nothing is to be waited for again
    until(lambda: child.status() is Status.CANCELLED)
    until(lambda: handle.status() is Status.CANCELLED)
