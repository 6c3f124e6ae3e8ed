"""Paused instances rest until they are resumed, and lose nothing."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from engine_kit import Engine, kinds, until

from durable import Handle, Status, Workflow, activity, sleep, wait_signal, workflow
from durable.errors import (
    InstanceFinished,
    InstanceNotFound,
    ResultTimeout,
    UsageError,
    WorkflowCancelledError,
    WorkflowTerminatedError,
)


@workflow
def collects(wanted: int) -> Workflow[list[int]]:
    found: list[int] = []
    while len(found) < wanted:
        found.append((yield wait_signal("n")))
    return found


@workflow
def naps(seconds: float) -> Workflow[str]:
    yield sleep(seconds)
    return "awake"


@workflow
def quick() -> Workflow[str]:
    return "done"
    yield


def begun(engine: Engine, handle: Handle[object]) -> None:
    """Wait until it has taken its first step, and nobody holds it."""
    until(lambda: handle.history() and handle.describe()["owner"] == "", f"{handle} has begun")


def test_signals_wait_for_the_resume(engine: Engine) -> None:
    engine.work([collects, quick])
    handle = engine.start(collects, 3)
    handle.signal("n", 1)
    until(lambda: "SignalReceived" in kinds(handle))
    handle.pause()
    assert handle.status() is Status.PAUSED
    handle.signal("n", 2)
    handle.signal("n", 3)
    assert engine.run(quick) == "done"  # the worker has passed by
    assert kinds(handle)[-1] == "Paused"
    handle.resume()
    assert handle.result(timeout=20) == [1, 2, 3]
    assert kinds(handle)[2:] == [
        "Paused", "Resumed", "SignalReceived", "SignalReceived", "WorkflowCompleted",
    ]  # fmt: skip


def test_timers_fall_due_and_are_applied_at_the_resume(engine: Engine) -> None:
    engine.work([naps, quick])
    handle = engine.start(naps, 0.5)
    begun(engine, handle)
    handle.pause()
    due = handle.history()[1].due_at  # type: ignore[attr-defined]
    until(lambda: engine.store.now() > due.timestamp() * 1e6 + 50_000)
    assert engine.run(quick) == "done"
    assert kinds(handle) == ["WorkflowStarted", "TimerStarted", "Paused"]
    handle.resume()
    assert handle.result(timeout=20) == "awake"


def test_what_runs_is_finished_and_recorded(engine: Engine) -> None:
    began, go, ran = threading.Event(), threading.Event(), []

    @activity
    def slow() -> str:
        ran.append(1)
        began.set()
        go.wait(20)
        return "finished"

    @workflow
    def flow() -> Workflow[str]:
        return (yield from slow.call())

    engine.work([flow, quick], [slow])
    handle = engine.start(flow)
    assert began.wait(20)
    handle.pause()
    go.set()
    assert engine.run(quick) == "done"
    assert handle.status() is Status.PAUSED
    handle.resume()
    assert handle.result(timeout=20) == "finished"
    assert ran == [1]
    assert kinds(handle) == [
        "WorkflowStarted", "ActivityScheduled", "Paused", "Resumed",
        "ActivityCompleted", "WorkflowCompleted",
    ]  # fmt: skip


def test_one_that_has_not_begun(engine: Engine) -> None:
    handle = engine.start(quick)
    later = engine.start(quick.options(delay=timedelta(hours=1)))
    handle.pause()
    later.pause()
    engine.work([quick])
    assert engine.run(quick) == "done"
    assert handle.status() is Status.PAUSED
    handle.resume()
    later.resume()
    assert handle.result(timeout=20) == "done"
    assert kinds(handle) == ["WorkflowStarted", "WorkflowCompleted"]
    assert later.status() is Status.PENDING


def test_a_cancel_is_applied_at_the_resume_and_terminate_at_once(engine: Engine) -> None:
    engine.work([naps, quick])
    one, two = engine.start(naps, 3600), engine.start(naps, 3600)
    for handle in (one, two):
        begun(engine, handle)
        handle.pause()
    one.cancel("enough")
    two.terminate("at once")
    with pytest.raises(WorkflowTerminatedError, match="at once"):
        two.result(timeout=20)
    assert engine.run(quick) == "done"
    assert one.status() is Status.PAUSED
    one.resume()
    with pytest.raises(WorkflowCancelledError, match="enough"):
        one.result(timeout=20)


def test_a_result_is_waited_for(engine: Engine) -> None:
    handle = engine.start(quick)
    handle.pause()
    with pytest.raises(ResultTimeout, match="is paused"):
        handle.result(timeout=0.01)


def test_the_wrong_state_is_named(engine: Engine) -> None:
    client = engine.client
    handle = engine.start(quick.options(id="q"))
    with pytest.raises(UsageError, match="'q' is pending: only a paused one can be resumed"):
        client.resume("q")
    handle.pause()
    with pytest.raises(UsageError, match="'q' is paused already"):
        client.pause("q")
    with pytest.raises(UsageError, match=r"'q' is paused; .*: resume it"):
        client.retry("q")
    handle.resume()
    engine.work([quick])
    assert handle.result(timeout=20) == "done"
    for act in (client.pause, client.resume):
        with pytest.raises(InstanceFinished):
            act("q")
        with pytest.raises(InstanceNotFound):
            act("nobody")


def test_a_worker_that_held_it_loses_its_step(engine: Engine) -> None:
    """Pausing and resuming while it is busy: nothing is lost, nothing is done twice."""
    engine.work([collects])
    handle = engine.start(collects, 60)
    for number in range(60):
        handle.signal("n", number)
        if number % 5 == 0:
            handle.pause()
        if number % 5 == 2:
            handle.resume()
    assert handle.result(timeout=20) == list(range(60))
