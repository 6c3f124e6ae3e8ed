"""Attempts: later ones, the last one, those that a worker left behind, and coroutines."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
from engine_kit import Engine, kinds, tasks_of, until

from durable import (
    ActivityError,
    PermanentError,
    Retry,
    Status,
    TimeoutExpired,
    Workflow,
    activity,
    current_activity,
    gather,
    workflow,
)
from durable.errors import RetryLater
from durable.model import moment

SOON = Retry(max_attempts=2, first_delay=0.01, jitter=0)


def caught_by(act: Any) -> Any:
    """A workflow that tells how the activity failed."""

    @workflow(name="caught")
    def caught() -> Workflow[Any]:
        try:
            return (yield act.call())
        except ActivityError as error:
            return [error.error.type.rpartition(".")[2], error.attempt, error.error.details]

    return caught


def test_later_attempts_count_in_their_number_only(engine: Engine) -> None:
    @activity(retry=SOON)
    def act() -> int:
        attempt = current_activity().attempt
        seen.append(attempt)
        if attempt == 1:
            raise RetryLater(delay=timedelta(milliseconds=20))
        if attempt == 2:
            raise RetryLater(at=moment(engine.store.now() + 20_000))
        raise KeyError(attempt)

    seen: list[int] = []
    flow = caught_by(act)
    engine.work([flow], [act])
    assert engine.run(flow) == ["KeyError", 4, None]
    assert seen == [1, 2, 3, 4]


def test_a_later_attempt_comes_no_sooner_and_not_after_the_last_moment(engine: Engine) -> None:
    @activity(retry=Retry(max_attempts=None, total_timeout=60))
    def waits() -> list[int]:
        moments.append(engine.store.now())
        if len(moments) == 1:
            raise RetryLater(0.05)
        return moments

    @activity(retry=Retry(max_attempts=None, total_timeout=60))
    def too_late() -> None:
        raise RetryLater(61)

    moments: list[int] = []
    flow, other = caught_by(waits), caught_by(too_late)
    engine.work([flow], [waits, too_late])
    first, second = engine.run(flow)
    assert second - first >= 50_000
    engine.stop()
    engine.work([other], [too_late])
    assert engine.run(other) == ["RetryLater", 1, None]


def test_attempts_go_on_with_another_worker(engine: Engine) -> None:
    """The number of the attempt and the last error stand in the row."""

    @activity(retry=Retry(max_attempts=3, first_delay=0.01, jitter=0))
    def act() -> int:
        attempts.append(current_activity().attempt)
        if len(attempts) < 3:
            until(lambda: len(engine.workers) == len(attempts))
            engine.workers[-1].request_stop(10)  # it takes nothing more
        raise KeyError(f"attempt {attempts[-1]}")

    attempts: list[int] = []
    flow = caught_by(act)
    handle = engine.start(flow)
    for number in (1, 2):
        worker = engine.work([flow], [act])
        worker._stopped.wait(20)
        [row] = tasks_of(engine, handle)
        assert (row.owner, row.attempt) == ("", number + 1)
        assert f"attempt {number}".encode() in (row.last_error or b"")
    engine.work([flow], [act])
    assert handle.result(timeout=20) == ["KeyError", 3, None]
    assert attempts == [1, 2, 3]


def test_what_is_claimed_too_late_is_not_started(engine: Engine) -> None:
    @activity(retry=Retry(total_timeout=0.02))
    def act() -> None:
        ran.append(1)

    ran: list[int] = []
    flow = caught_by(act)
    engine.work([flow], [])
    handle = engine.start(flow)
    until(lambda: tasks_of(engine, handle))
    [row] = tasks_of(engine, handle)
    assert row.deadline is not None
    until(lambda: engine.store.now() > (row.deadline or 0))
    engine.work([], [act])
    assert handle.result(timeout=20) == ["TimeoutExpired", 1, {"kind": "schedule"}]
    assert not ran


@pytest.mark.parametrize(
    ("error", "options", "attempts"),
    [
        (KeyError("x"), {"retry": SOON}, 2),
        (KeyError("x"), {"retry": None}, 1),
        (PermanentError("x", details={"a": 1}), {"retry": SOON}, 1),
        (KeyError("x"), {"retry": Retry(first_delay=0, non_retryable=(LookupError,))}, 1),
        (KeyError("x"), {"retry": Retry(first_delay=0, non_retryable=("LookupError",))}, 1),
        (KeyError("x"), {"retry": Retry(None, first_delay=9, total_timeout=1)}, 1),
    ],
)
def test_the_last_attempt(
    engine: Engine, error: Exception, options: dict[str, Any], attempts: int
) -> None:
    @activity(**options)
    async def act() -> None:
        raise error

    flow = caught_by(act)
    engine.work([flow], [act])
    details = getattr(error, "details", None)
    assert engine.run(flow) == [type(error).__name__, attempts, details]


def test_coroutines_as_activities(engine: Engine) -> None:
    @activity
    async def double(number: int) -> list[Any]:
        await asyncio.sleep(0)
        me = current_activity()
        return [number * 2, me.activity, me.attempt]

    @activity(timeout=0.05, retry=SOON)
    async def slow() -> int:
        attempt = current_activity().attempt
        if attempt == 1:
            await asyncio.to_thread(go.wait, 20)
        return attempt

    go = threading.Event()

    @workflow
    def flow() -> Workflow[Any]:
        both = yield from gather(double.call(1), double.call(number=2))
        return [*both, (yield from slow.call())]

    worker = engine.work([flow], [double, slow])
    assert engine.run(flow) == [[2, "double", 1], [4, "double", 1], 2]
    assert worker.stats()["activities_overdue"] == 1
    go.set()
    until(lambda: worker.stats()["activities_overdue"] == 0)


def test_attempts_that_overrun_are_counted(engine: Engine) -> None:
    @activity(retry=None, timeout=0.03)
    def stuck() -> None:
        go.wait(20)

    go = threading.Event()

    @workflow
    def flow() -> Workflow[Any]:
        found = yield gather(*[stuck.call() for _ in range(3)], return_exceptions=True)
        return [e.error.is_a(TimeoutExpired) and e.error.details for e in found]

    worker = engine.work([flow], [stuck], activity_slots=3)
    handle = engine.start(flow)
    assert handle.result(timeout=20) == [{"kind": "attempt"}] * 3
    assert worker.stats()["activities_overdue"] == 3
    assert worker.stats()["activities_running"] == 0
    go.set()
    until(lambda: worker.stats()["activities_overdue"] == 0)
    assert kinds(handle).count("ActivityFailed") == 3
    assert handle.status() is Status.COMPLETED
