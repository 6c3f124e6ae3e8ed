"""Heartbeats: silence, details that the next attempt finds, and how they reach the store."""

from __future__ import annotations

import threading
import time
from typing import Any

from engine_kit import Engine, tasks_of, until

from durable import ActivityError, Codec, Retry, Workflow, activity, current_activity, workflow

SOON = Retry(max_attempts=2, first_delay=0.01, jitter=0)
QUICK = 0.3
"""A lease of so many seconds: what is done once a second is done 20 times."""


def test_silence_is_a_failure_that_is_tried_again(engine: Engine) -> None:
    @activity(heartbeat_timeout=0.05, retry=SOON)
    def act() -> list[Any]:
        me = current_activity()
        if me.attempt == 1:
            me.heartbeat("row 7")
            go.wait(20)
        return [me.attempt, me.last_heartbeat]

    @activity(heartbeat_timeout=0.05, retry=None)
    def silent() -> None:
        go.wait(20)

    go = threading.Event()

    @workflow
    def flow() -> Workflow[Any]:
        found = yield act.call()
        try:
            yield silent.call()
        except ActivityError as error:
            return [found, error.error.details, error.error.message]

    worker = engine.work([flow], [act, silent])
    text = "silent sent no heartbeat for 0.05 s"
    assert engine.run(flow) == [[2, "row 7"], {"kind": "heartbeat"}, text]
    assert worker.stats()["activities_overdue"] == 2
    go.set()
    until(lambda: worker.stats()["activities_overdue"] == 0)


def test_who_sends_heartbeats_may_take_long(engine: Engine) -> None:
    @activity(heartbeat_timeout=0.6, retry=None)
    def act() -> int:
        me, end = current_activity(), time.monotonic() + 0.9
        while time.monotonic() < end:
            me.heartbeat()
            threading.Event().wait(0.01)
        return me.attempt

    @workflow
    def flow() -> Workflow[int]:
        return (yield from act.call())

    engine.work([flow], [act])
    assert engine.run(flow) == 1


def test_an_attempt_that_was_given_up_stops_at_its_next_heartbeat(engine: Engine) -> None:
    @activity(timeout=0.03, retry=SOON)
    def act() -> int:
        me = current_activity()
        try:
            while me.attempt == 1:
                me.heartbeat()
                threading.Event().wait(0.005)
        finally:
            ended.append(me.attempt)
        return me.attempt

    ended: list[int] = []

    @workflow
    def flow() -> Workflow[int]:
        return (yield from act.call())

    worker = engine.work([flow], [act])
    assert engine.run(flow) == 2
    until(lambda: worker.stats()["activities_overdue"] == 0)
    assert sorted(ended) == [1, 2]


def test_details_go_from_attempt_to_attempt(engine: Engine) -> None:
    """Exactly the latest; an attempt that sends none leaves those of the one before."""

    @activity(retry=Retry(max_attempts=4, first_delay=0, jitter=0))
    def act() -> list[Any]:
        me = current_activity()
        seen.append(me.last_heartbeat)
        if me.attempt == 1:
            for number in range(100):
                me.heartbeat({"row": number})
        if me.attempt == 3:
            me.heartbeat((1, "two"))
        if me.attempt < 4:
            raise KeyError("again")
        return seen

    seen: list[Any] = []

    @workflow
    def flow() -> Workflow[Any]:
        return (yield act.call())

    engine.work([flow], [act])
    assert engine.run(flow) == [None, {"row": 99}, {"row": 99}, (1, "two")]


def test_details_reach_the_store_while_it_runs(engine: Engine) -> None:
    """And a worker that takes over finds them."""

    @activity
    def act() -> Any:
        me = current_activity()
        if me.last_heartbeat is None:
            me.heartbeat("half")
            began.set()
            go.wait(20)
        return me.last_heartbeat

    began, go = threading.Event(), threading.Event()

    @workflow
    def flow() -> Workflow[Any]:
        return (yield act.call())

    worker = engine.work([flow], [act], lease=QUICK)
    handle = engine.start(flow)
    assert began.wait(20)
    until(lambda: tasks_of(engine, handle)[0].details is not None)
    [row] = tasks_of(engine, handle)
    assert Codec().decode(row.details or b"") == "half"
    assert (row.attempt, row.owner) == (1, worker._lease.info.id)
    worker._give_up()
    engine.work([flow], [act])
    assert handle.result(timeout=20) == "half"
    go.set()


def test_nothing_is_sent_for_activities_without_heartbeats(engine: Engine) -> None:
    @activity
    def act() -> None:
        began.set()
        go.wait(20)

    began, go = threading.Event(), threading.Event()

    @workflow
    def flow() -> Workflow[None]:
        yield act.call()

    sent: list[Any] = []
    worker = engine.work([flow], [act], lease=QUICK)
    worker._beats._store = _Counting(engine.store, sent)  # type: ignore[assignment]
    handle = engine.start(flow)
    assert began.wait(20)
    beats = worker._lease._trusted_until
    until(lambda: worker._lease._trusted_until > beats)  # ticks have passed
    assert sent == []
    go.set()
    handle.result(timeout=20)


class _Counting:
    def __init__(self, store: Any, sent: list[Any]) -> None:
        self._store, self._sent = store, sent

    def beat(self, *args: Any) -> Any:
        self._sent.append(args)
        return self._store.beat(*args)


def test_details_that_cannot_be_stored_raise_at_their_line(engine: Engine) -> None:
    @activity(retry=None)
    def act() -> None:
        current_activity().heartbeat({"rows": [object()]})

    @workflow
    def flow() -> Workflow[Any]:
        try:
            yield act.call()
        except ActivityError as error:
            return [error.error.type, error.error.message, error.error.traceback]

    engine.work([flow], [act])
    kind, message, trace = engine.run(flow)
    assert kind == "durable.errors.PayloadError"
    assert "heartbeat of" in message
    assert "rows" in message
    assert 'heartbeat({"rows": [object()]})' in trace
