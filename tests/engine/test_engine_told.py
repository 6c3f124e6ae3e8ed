"""A cancel meets a running attempt: who is told of it, and what its end then means."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from engine_kit import Engine, kinds, tasks_of, until

from durable import (
    ActivityError,
    Cancelled,
    Handle,
    Retry,
    Workflow,
    activity,
    current_activity,
    workflow,
)
from durable.errors import WorkflowCancelledError
from durable.events import ActivityCancelled

QUICK = 0.3
"""A lease of so many seconds: what is done once a second is done 20 times."""

ENDS = ("ActivityCompleted", "ActivityFailed", "ActivityCancelled")


class Stage:
    """An activity that waits until a cancel was committed, and then does something."""

    def __init__(self, act: Any, **options: Any) -> None:
        self.began, self.go = threading.Event(), threading.Event()
        self.attempts = 0
        self.caught: list[Any] = []

        @activity(name="act", **options)
        def run() -> Any:
            self.attempts += 1
            self.began.set()
            assert self.go.wait(20)
            return act(current_activity())

        @workflow(name="flow")
        def flow() -> Workflow[Any]:
            try:
                self.caught.append((yield run.call()))
            except ActivityError as error:
                self.caught.append(error.error.type)
                raise
            return "the end"

        self.run, self.flow = run, flow

    def cancelled(self, engine: Engine) -> Handle[Any]:
        """Run it, cancel it when it runs, and let it go on when that has been seen."""
        worker = engine.work([self.flow], [self.run])
        handle = engine.start(self.flow)
        assert self.began.wait(20)
        handle.cancel()
        until(lambda: tasks_of(engine, handle)[0].cancel_requested)
        until(lambda: all(attempt.stopping for attempt in worker.runner.attempts.values()))
        self.go.set()
        return handle


def ended(handle: Handle[Any]) -> str:
    """What the workflow came to, and the event by which its activity ended."""
    until(lambda: handle.status().finished)
    [event] = [kind for kind in kinds(handle) if kind in ENDS]
    return f"{handle.status().value} {event}"


def test_an_attempt_is_told_and_stops(engine: Engine) -> None:
    def act(me: Any) -> None:
        assert me.cancelled
        me.heartbeat("so far")

    stage = Stage(act, on_cancel="request")
    handle = stage.cancelled(engine)
    assert ended(handle) == "cancelled ActivityCancelled"
    assert stage.caught == []
    with pytest.raises(WorkflowCancelledError):
        handle.result(timeout=0)


def test_an_attempt_is_told_and_ends_all_the_same(engine: Engine) -> None:
    def act(me: Any) -> str:
        try:
            me.heartbeat()
        except Cancelled:
            return "tidied up"
        return "not told"

    stage = Stage(act, on_cancel="request")
    assert ended(stage.cancelled(engine)) == "completed ActivityCompleted"
    assert stage.caught == ["tidied up"]


def test_an_attempt_is_not_told(engine: Engine) -> None:
    def act(me: Any) -> bool:
        me.heartbeat()
        return bool(me.cancelled)

    stage = Stage(act, on_cancel="wait")
    assert ended(stage.cancelled(engine)) == "completed ActivityCompleted"
    assert stage.caught == [False]


@pytest.mark.parametrize("on_cancel", ["wait", "request"])
def test_no_attempt_follows(engine: Engine, on_cancel: str) -> None:
    """A failure that would have been tried again is told with the cancel."""

    def act(me: Any) -> None:
        raise KeyError("first attempt")

    stage = Stage(act, on_cancel=on_cancel, retry=Retry(max_attempts=None, first_delay=0))
    handle = stage.cancelled(engine)
    assert ended(handle) == "cancelled ActivityCancelled"
    [event] = [e for e in handle.history() if isinstance(e, ActivityCancelled)]
    assert event.error.type == "KeyError"
    assert stage.attempts == 1


def test_a_final_failure_is_a_failure(engine: Engine) -> None:
    def act(me: Any) -> None:
        raise KeyError("only attempt")

    stage = Stage(act, on_cancel="request", retry=None)
    assert ended(stage.cancelled(engine)).endswith(" ActivityFailed")
    assert stage.caught == ["KeyError"]


def test_cancelled_that_nobody_asked_for_is_a_failure(engine: Engine) -> None:
    @activity(on_cancel="request", retry=None)
    def act() -> None:
        raise Cancelled("no reason")

    @workflow
    def flow() -> Workflow[Any]:
        try:
            yield act.call()
        except ActivityError as error:
            return error.error.type

    engine.work([flow], [act])
    assert engine.run(flow) == "durable.errors.Cancelled"


@pytest.mark.parametrize("beats", [True, False])
def test_a_cancel_reaches_another_worker(engine: Engine, beats: bool) -> None:
    @activity(on_cancel="request")
    def act() -> None:
        me = current_activity()

        def asked() -> bool:
            if beats:
                me.heartbeat("on")  # raises
            return me.cancelled

        began.set()
        until(asked)
        raise Cancelled("asked")

    began = threading.Event()

    @workflow
    def flow() -> Workflow[None]:
        yield act.call()

    engine.work([], [act], lease=QUICK)
    engine.work([flow], [])
    handle = engine.start(flow)
    assert began.wait(20)
    handle.cancel()
    assert ended(handle) == "cancelled ActivityCancelled"


def test_a_worker_that_takes_over_does_not_run_what_is_to_stop(engine: Engine) -> None:
    def act(me: Any) -> None:
        engine.workers[0]._give_up()  # as after a crash

    stage = Stage(act)
    engine.work([stage.flow], [stage.run])
    handle = engine.start(stage.flow)
    assert stage.began.wait(20)
    handle.cancel()
    until(lambda: tasks_of(engine, handle)[0].cancel_requested)
    stage.go.set()
    until(lambda: not engine.workers[0].running)
    engine.work([stage.flow], [stage.run])
    assert ended(handle) == "cancelled ActivityCancelled"
    assert stage.attempts == 1
