"""Cancellation and time limits: what each wait does, what is cleaned up, how it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from engine_kit import Engine, kinds, until

from durable import (
    ActivityError,
    Cancelled,
    CancelScope,
    Channel,
    Status,
    TaskCancelled,
    TimeoutExpired,
    Workflow,
    activity,
    current_activity,
    external,
    gather,
    race,
    set_var,
    shield,
    sleep,
    spawn,
    timeout,
    wait_signal,
    wait_until,
    with_timeout,
    workflow,
)
from durable.errors import InstanceFinished, WorkflowCancelledError, WorkflowError
from durable.events import TimerCancelled, TimerStarted


@activity
def note(text: str) -> str:
    return text


@workflow
def naps() -> Workflow[str]:
    try:
        yield sleep(3600)
    except Cancelled:
        with shield():
            yield note.call("child clean-up")
        raise
    return "slept"


def _signal() -> Any:
    return wait_signal("never")


def _timer() -> Any:
    return sleep(3600)


def _promise() -> Any:
    return external()


def _channel() -> Any:
    return Channel[int]().receive()


def _predicate() -> Any:
    return wait_until(lambda: False)


def _child() -> Any:
    return naps.call()


def _race() -> Any:
    return race(wait_signal("never"), sleep(3600), naps.call())


def _gather() -> Any:
    return gather(wait_signal("never"), sleep(3600))


def _timed() -> Any:
    return with_timeout(wait_signal("never"), 3600)


WAITS = [_signal, _timer, _promise, _channel, _predicate, _child, _race, _gather, _timed]


@pytest.mark.parametrize("make", WAITS, ids=lambda make: make.__name__)
def test_a_cancel_during_each_kind_of_wait(engine: Engine, make: Callable[[], Any]) -> None:
    @workflow
    def flow() -> Workflow[None]:
        spawn(ticks())  # so that no wait is a deadlock
        set_var("waits", True)
        try:
            yield make()
        except Cancelled:
            set_var("first", True)
            with pytest.raises(Cancelled):  # level-triggered: every yield raises
                yield note.call("not shielded")
            with shield():
                set_var("cleaned", (yield note.call("clean-up")))
            raise

    def ticks() -> Workflow[None]:
        yield sleep(3600)

    engine.work([flow, naps], [note])
    handle = engine.start(flow)
    until(lambda: handle.vars().get("waits"))
    handle.cancel("because")
    with pytest.raises(WorkflowCancelledError, match="because"):
        handle.result(timeout=20)
    assert handle.vars() == {"waits": True, "first": True, "cleaned": "clean-up"}
    assert handle.status() is Status.CANCELLED
    assert kinds(handle)[-1] == "WorkflowCancelled"
    with pytest.raises(InstanceFinished):
        handle.cancel()
    for child in handle.children():
        assert child.status() is Status.CANCELLED


def test_a_cancel_before_the_first_step_runs_to_the_first_yield(engine: Engine) -> None:
    @activity
    def charges() -> None:
        reached.append("never")

    @workflow
    def flow() -> Workflow[None]:
        reached.append("body")
        try:
            yield charges.call()
        finally:
            reached.append("finally")

    reached: list[str] = []
    handle = engine.start(flow)
    handle.cancel()
    handle.cancel()  # twice changes nothing
    engine.work([flow], [charges])
    with pytest.raises(WorkflowCancelledError):
        handle.result(timeout=20)
    assert reached[:2] == ["body", "finally"]
    assert "never" not in reached


def test_a_swallowed_cancel_completes(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[str]:
        try:
            yield sleep(3600)
        except Cancelled:
            return "kept"
        return "?"

    engine.work([flow])
    handle = engine.start(flow)
    until(lambda: "TimerStarted" in kinds(handle))
    handle.cancel()
    assert handle.result(timeout=20) == "kept"
    assert handle.status() is Status.COMPLETED


@pytest.mark.parametrize("mode", ["wait", "request", "abandon"])
def test_what_a_cancel_does_to_a_running_activity(engine: Engine, mode: str) -> None:
    began, go, told = threading.Event(), threading.Event(), threading.Event()

    @activity(on_cancel=mode)
    def runs() -> str:
        began.set()
        me = current_activity()
        until(lambda: me.cancelled or go.is_set())
        if me.cancelled:
            told.set()
            raise Cancelled
        return "done"

    @workflow
    def flow() -> Workflow[Any]:
        try:
            set_var("got", (yield runs.call()))
        except Cancelled:
            set_var("raised", True)
            raise
        yield sleep(3600)

    engine.work([flow], [runs])
    handle = engine.start(flow)
    assert began.wait(20)
    handle.cancel()
    if mode == "wait":  # it is not told, and its result is delivered
        until(lambda: "ActivityCancelRequested" in kinds(handle))
        assert handle.status() is Status.RUNNING
        go.set()
    with pytest.raises(WorkflowCancelledError):
        handle.result(timeout=20)
    go.set()
    assert told.is_set() is (mode == "request")
    assert handle.vars() == ({"got": "done"} if mode == "wait" else {"raised": True})


def test_a_cancel_ends_the_wait_between_attempts(engine: Engine) -> None:
    from durable import Retry

    @activity(retry=Retry(first_delay=3600))
    def fails() -> None:
        raise ValueError("no")

    @workflow
    def flow() -> Workflow[None]:
        try:
            yield fails.call()
        except Cancelled:
            set_var("cancelled", True)
            raise

    engine.work([flow], [fails])
    handle = engine.start(flow)
    until(lambda: [t for t in handle.describe()["tasks"] if t["last_error"]])
    handle.cancel()
    with pytest.raises(WorkflowCancelledError):
        handle.result(timeout=20)
    assert handle.vars() == {"cancelled": True}
    assert "ActivityCancelled" in kinds(handle)


def test_scopes_catch_only_their_own(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        seen: list[Any] = []
        with CancelScope() as outer:
            with CancelScope() as inner:
                inner.cancel()
                yield sleep(3600)
            seen.append(("inner", inner.cancelled, outer.cancelled))
            yield sleep(0)
            with CancelScope() as other:
                outer.cancel()
                yield sleep(3600)
            seen.append("never")
        seen.append(("outer", other.cancelled))
        yield sleep(0)
        return seen

    engine.work([flow])
    expected = [["inner", True, False], ["outer", False]]
    assert [list(x) for x in engine.run(flow)] == expected


def test_a_scope_is_cancelled_by_another_coroutine(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        with CancelScope() as scope:
            spawn(stopper(scope))
            shielded = None
            task = spawn(sleep(3600))
            with shield():
                detached = spawn(sleep(0.02))
            yield sleep(3600)
        with pytest.raises(TaskCancelled):
            yield task
        shielded = yield detached
        return [scope.cancelled, shielded]

    def stopper(scope: CancelScope) -> Workflow[None]:
        with shield():
            yield wait_signal("stop")
            scope.cancel()

    engine.work([flow])
    handle = engine.start(flow)
    handle.signal("stop")
    assert handle.result(timeout=20) == [True, None]


def test_limits_of_time(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        seen: list[Any] = []
        try:
            with timeout(0.02):
                yield wait_signal("never")
        except TimeoutExpired as error:
            seen.append(error.details)
        with timeout(3600):
            seen.append((yield note.call("in time")))
        try:
            yield with_timeout(wait_signal("never"), 0.02)
        except TimeoutExpired as error:
            seen.append(error.details)
        seen.append((yield with_timeout(note.call("in time"), 3600)))
        return seen

    engine.work([flow], [note])
    handle = engine.start(flow)
    assert handle.result(timeout=20) == [
        {"kind": "scope"},
        "in time",
        {"kind": "command"},
        "in time",
    ]
    history = handle.history()
    started = {e.command for e in history if isinstance(e, TimerStarted)}
    cancelled = {e.command for e in history if isinstance(e, TimerCancelled)}
    assert len(started) == 4
    assert len(cancelled) == 2  # the two that were not needed leave nothing behind


def test_a_deadline_does_not_wait_for_an_activity(engine: Engine) -> None:
    go = threading.Event()

    @activity
    def slow() -> str:
        go.wait(20)
        return "late"

    @workflow
    def flow() -> Workflow[str]:
        try:
            with timeout(0.05):
                yield slow.call()
        except TimeoutExpired:
            set_var("expired", True)
        yield wait_signal("end")
        return "ended"

    engine.work([flow], [slow])
    handle = engine.start(flow)
    until(lambda: handle.vars() == {"expired": True})
    go.set()
    until(lambda: "ActivityCompleted" in kinds(handle), "the late result is recorded")
    handle.signal("end")
    assert handle.result(timeout=20) == "ended"


def test_a_workflow_timeout_cleans_up_and_fails(engine: Engine) -> None:
    @workflow(timeout=0.05)
    def flow() -> Workflow[None]:
        try:
            yield sleep(3600)
        finally:
            with shield():
                yield note.call("clean-up")

    engine.work([flow], [note])
    handle = engine.start(flow)
    with pytest.raises(WorkflowError) as raised:
        handle.result(timeout=20)
    assert raised.value.is_a(TimeoutExpired)
    assert raised.value.error is not None
    assert raised.value.error.details == {"kind": "workflow"}
    assert handle.status() is Status.FAILED
    assert "ActivityCompleted" in kinds(handle)
    other = engine.start(flow.options(timeout=3600))
    until(lambda: other.status() is Status.RUNNING)
    other.cancel()
    with pytest.raises(WorkflowCancelledError):
        other.result(timeout=20)


def test_what_still_runs_is_cancelled_when_the_root_returns(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    @workflow
    def flow() -> Workflow[str]:
        spawn(background(), name="background")
        yield sleep(0)
        return "returned"

    def background() -> Workflow[None]:
        try:
            yield wait_signal("never")
        finally:
            with shield():
                set_var("cleaned", (yield note.call("clean-up")))

    engine.work([flow], [note])
    handle = engine.start(flow)
    with caplog.at_level(logging.INFO, "durable.workflow"):
        assert handle.result(timeout=20) == "returned"
        engine.stop()  # what is acknowledged is stored before it is logged
    assert handle.vars() == {"cleaned": "clean-up"}
    lines = [r.getMessage() for r in caplog.records if "still run" in r.getMessage()]
    assert len(lines) == 1
    assert "background" in lines[0]


def test_a_saga_waits_for_its_siblings_before_it_compensates(engine: Engine) -> None:
    order: list[str] = []
    go = threading.Event()

    @activity(retry=None)
    def fails() -> None:
        go.wait(20)
        raise ValueError("no")

    @activity
    def charges() -> str:
        go.set()
        order.append("charged")
        return "charge"

    @activity
    def refunds() -> None:
        order.append("refunded")

    @workflow
    def flow() -> Workflow[str]:
        try:
            yield gather(fails.call(), charges.call())
        except ActivityError as error:
            yield refunds.call()
            return str(error.is_a(ValueError))
        return "?"

    engine.work([flow], [fails, charges, refunds])
    assert engine.run(flow) == "True"
    assert order == ["charged", "refunded"]
