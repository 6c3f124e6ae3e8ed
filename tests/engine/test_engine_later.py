"""Attempts whose result comes later, from outside, or while they still run."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from engine_kit import Engine, kinds, tasks_of, until

from durable import (
    ActivityError,
    Handle,
    Retry,
    Workflow,
    activity,
    current_activity,
    gather,
    wait_signal,
    workflow,
)
from durable.errors import InstanceFinished

SOON = Retry(max_attempts=2, first_delay=0.01, jitter=0)


class Desk:
    """An activity that asks somebody outside; ``tokens`` are those of its attempts."""

    def __init__(self, **options: Any) -> None:
        self.tokens: list[str] = []

        @activity(name="ask", **options)
        def ask() -> Any:
            me = current_activity()
            self.tokens.append(me.token)
            raise me.complete_later()

        @activity(name="other")
        def other() -> str:
            return "meanwhile"

        @workflow(name="flow")
        def flow() -> Workflow[Any]:
            try:
                return (yield ask.call())
            except ActivityError as error:
                return [error.attempt, error.error.type, error.error.message, error.error.details]

        @workflow(name="meanwhile")
        def meanwhile() -> Workflow[Any]:
            return (yield other.call())

        self.ask, self.other, self.flow, self.meanwhile = ask, other, flow, meanwhile

    def work(self, engine: Engine, **options: Any) -> Any:
        return engine.work([self.flow, self.meanwhile], [self.ask, self.other], **options)


def awaits(engine: Engine, handle: Handle[Any]) -> bool:
    return [(task.awaits, task.owner) for task in tasks_of(engine, handle)] == [(True, "")]


def test_a_result_from_outside(engine: Engine) -> None:
    desk = Desk()
    worker = desk.work(engine, activity_slots=1)
    handle = engine.start(desk.flow)
    until(lambda: awaits(engine, handle))
    assert worker.stats()["activities_running"] == 0
    assert engine.run(desk.meanwhile) == "meanwhile"  # its slot is free
    engine.client.complete(desk.tokens[0], {"approved": True})
    assert handle.result(timeout=20) == {"approved": True}
    engine.client.complete(desk.tokens[0], "again")  # ignored
    assert kinds(handle).count("ActivityCompleted") == 1


def test_a_failure_from_outside_is_final(engine: Engine) -> None:
    desk = Desk(retry=SOON)
    desk.work(engine)
    handle = engine.start(desk.flow)
    until(lambda: awaits(engine, handle))
    engine.client.fail(desk.tokens[0], KeyError("no"))
    assert handle.result(timeout=20) == [1, "KeyError", "'no'", None]
    assert len(desk.tokens) == 1


def test_it_waits_without_a_worker(engine: Engine) -> None:
    desk = Desk()
    desk.work(engine)
    handle = engine.start(desk.flow)
    until(lambda: awaits(engine, handle))
    engine.stop()
    engine.client.complete(desk.tokens[0], 1)
    desk.work(engine)
    assert handle.result(timeout=20) == 1
    assert len(desk.tokens) == 1


def test_its_time_goes_on_and_a_token_dies_with_its_attempt(engine: Engine) -> None:
    @activity(timeout=0.3, retry=SOON)
    def ask() -> None:
        me = current_activity()
        tokens.append(me.token)
        if me.attempt == 2:
            with pytest.raises(InstanceFinished):
                engine.client.complete(tokens[0], "too late")
        raise me.complete_later()

    tokens: list[str] = []

    @workflow
    def flow() -> Workflow[Any]:
        try:
            return (yield ask.call())
        except ActivityError as error:
            return [error.attempt, error.error.message, error.error.details]

    engine.work([flow], [ask])
    assert engine.run(flow) == [2, "ask took longer than 0.3 s", {"kind": "attempt"}]
    assert len(set(tokens)) == 2


def test_a_cancel_is_answered_at_once(engine: Engine) -> None:
    desk = Desk(on_cancel="request")
    desk.work(engine)
    handle = engine.start(desk.flow)
    until(lambda: awaits(engine, handle))
    handle.cancel()
    until(lambda: handle.status().finished)
    assert kinds(handle)[-2:] == ["ActivityCancelled", "WorkflowCancelled"]
    with pytest.raises(InstanceFinished):
        engine.client.complete(desk.tokens[0], "too late")


@pytest.mark.parametrize("later", ["result", "failure", "wait"])
def test_a_result_that_comes_while_the_attempt_runs(
    engine: Engine, later: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It counts; what the attempt comes to is dropped, and no step is lost by it."""
    caplog.set_level("INFO", "durable.worker")

    @activity
    def early() -> str:
        me = current_activity()
        tokens.append(me.token)
        began.set()
        assert go.wait(20)
        ended.append(1)
        if later == "wait":
            raise me.complete_later()
        if later == "failure":
            raise KeyError("late")
        return "late"

    @activity
    def beside() -> str:
        assert go.wait(20)
        return "beside"

    began, go = threading.Event(), threading.Event()
    tokens: list[str] = []
    ended: list[int] = []

    @workflow
    def flow() -> Workflow[Any]:
        first = yield gather(early.call(), *[beside.call() for _ in range(3)])
        return [*first, (yield beside.call())]

    engine.work([flow], [early, beside])
    handle = engine.start(flow)
    assert began.wait(20)
    engine.client.complete(tokens[0], "from outside")
    until(lambda: "ActivityCompleted" in kinds(handle))
    go.set()
    assert handle.result(timeout=8) == ["from outside", *["beside"] * 4]
    until(lambda: ended)
    assert kinds(handle).count("ActivityCompleted") == 5
    assert not tasks_of(engine, handle)
    until(lambda: not engine.workers[0].runner.attempts)
    assert "came too late" not in caplog.text


def test_an_attempt_that_goes_on_does_not_hold_its_instance(engine: Engine) -> None:
    """But its slot is busy until it has ended."""

    @activity
    def early() -> None:
        tokens.append(current_activity().token)
        began.set()
        assert go.wait(20)

    began, go = threading.Event(), threading.Event()
    tokens: list[str] = []

    @workflow
    def flow() -> Workflow[Any]:
        first = yield early.call()
        return [first, (yield wait_signal("next"))]

    worker = engine.work([flow], [early], lease=0.3)
    handle = engine.start(flow)
    assert began.wait(20)
    engine.client.complete(tokens[0], "first")
    until(lambda: "ActivityCompleted" in kinds(handle))
    until(lambda: not worker.runner.held, "the instance is given back")
    assert worker.stats()["activities_running"] == 1
    handle.signal("next", "second")
    assert handle.result(timeout=20) == ["first", "second"]
    go.set()
    until(lambda: worker.stats()["activities_running"] == 0)
    assert kinds(handle).count("ActivityCompleted") == 1
