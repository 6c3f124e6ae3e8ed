"""Activities: results, retries, timeouts, crashes."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from engine_kit import Engine, kinds, until

from durable import (
    ActivityError,
    PermanentError,
    Retry,
    Status,
    TimeoutExpired,
    Workflow,
    activity,
    current_activity,
    workflow,
)
from durable.errors import ActivityCrashed, UsageError, WorkflowError


@dataclass
class Point:
    x: int
    y: int = 0


VALUES: list[Any] = [
    None, True, 3, 2**80, 1.5, "é", b"\0", (1, (2,)), {1, 2}, frozenset({"a"}), {1: "a"},
    datetime(2024, 1, 2, tzinfo=UTC), timedelta(seconds=1), Decimal("1.10"), UUID(int=5),
]  # fmt: skip


@activity
def echo(value: Any) -> Any:
    return value


@activity
def move(point: Point) -> Point:
    assert isinstance(point, Point)
    return Point(point.x + 1, point.y)


@workflow
def echoes() -> Workflow[list[Any]]:
    found = []
    for value in VALUES:
        back = yield echo.call(value)
        assert type(back) is type(value)
        found.append(back)
    return found


@workflow
def points(point: Point) -> Workflow[Point]:
    first = yield move.call(point)
    assert isinstance(first, Point)
    second = yield from move.options(retry=None).call(point=first)
    return second


def test_values_and_their_types_survive(engine: Engine) -> None:
    engine.work([echoes, points], [echo, move])
    assert engine.run(echoes) == VALUES
    assert engine.run(points, Point(1, 2)) == Point(3, 2)


class Calls:
    """What activities of this test saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float, str]] = []
        self.crashes: list[int] = []

    def note(self) -> int:
        me = current_activity()
        self.seen.append((me.attempt, time.monotonic(), me.idempotency_key))
        self.crashes.append(me.crashes)
        return me.attempt


def failing(calls: Calls, error: type[Exception], **options: Any) -> Any:
    @activity(name="fails", **options)
    def fails() -> None:
        calls.note()
        raise error("no")

    @workflow(name="tries")
    def tries() -> Workflow[Any]:
        try:
            yield fails.call()
        except ActivityError as caught:
            return [caught.attempt, caught.error.type, caught.error.message, caught.activity]

    return tries, fails


def test_attempts_delays_and_the_idempotency_key(engine: Engine) -> None:
    calls = Calls()
    flow, act = failing(
        calls, KeyError, retry=Retry(max_attempts=3, first_delay=0.04, backoff=2, jitter=0)
    )
    engine.work([flow], [act])
    handle = engine.start(flow)
    assert handle.result(timeout=20) == [3, "KeyError", "'no'", "fails"]
    assert [attempt for attempt, _, _ in calls.seen] == [1, 2, 3]
    moments = [at for _, at, _ in calls.seen]
    assert moments[1] - moments[0] >= 0.04
    assert moments[2] - moments[1] >= 0.08
    assert len({key for _, _, key in calls.seen}) == 1
    assert kinds(handle).count("ActivityFailed") == 1


@pytest.mark.parametrize(
    ("error", "options", "attempts"),
    [
        (ValueError, {"retry": None}, 1),
        (ZeroDivisionError, {"retry": Retry(first_delay=0, non_retryable=(ArithmeticError,))}, 1),
        (ValueError, {"retry": Retry(first_delay=0, non_retryable=("ValueError",))}, 1),
        (KeyError, {"retry": Retry(first_delay=0, non_retryable=("ValueError",))}, 3),
        (PermanentError, {"retry": Retry(max_attempts=None, first_delay=0)}, 1),
        (ValueError, {"retry": Retry(max_attempts=None, first_delay=9, total_timeout=1)}, 1),
    ],
)
def test_when_it_is_not_tried_again(
    engine: Engine, error: type[Exception], options: dict[str, Any], attempts: int
) -> None:
    calls = Calls()
    flow, act = failing(calls, error, **options)
    engine.work([flow], [act])
    assert engine.run(flow)[0] == attempts
    assert len(calls.seen) == attempts


def test_jitter_keeps_its_bounds() -> None:
    retry = Retry(max_attempts=None, first_delay=1, backoff=2, max_delay=60, jitter=0.1)
    for attempt, plain in ((1, 1), (2, 2), (3, 4), (7, 60), (5000, 60)):
        delays = [retry.delay(attempt, (), unit) for unit in (0.0, 0.5, 0.999999)]
        assert delays == [pytest.approx(plain * f, rel=1e-5) for f in (0.9, 1.0, 1.1)]


def test_a_late_result_is_dropped(engine: Engine) -> None:
    go = threading.Event()
    ran: list[int] = []

    @activity(retry=Retry(max_attempts=2, first_delay=0, jitter=0), timeout=0.05)
    def slow() -> str:
        attempt = current_activity().attempt
        if attempt == 1:
            go.wait(20)
        ran.append(attempt)
        return f"attempt {attempt}"

    @workflow
    def flow() -> Workflow[str]:
        return (yield from slow.call())

    worker = engine.work([flow], [slow])
    handle = engine.start(flow)
    assert handle.result(timeout=20) == "attempt 2"
    assert worker.stats()["activities_overdue"] == 1
    go.set()
    until(lambda: worker.stats()["activities_overdue"] == 0)
    assert ran == [2, 1]
    assert kinds(handle).count("ActivityCompleted") == 1


def test_a_timeout_is_a_failure_with_its_kind(engine: Engine) -> None:
    go = threading.Event()

    @activity(retry=None, timeout=0.05)
    def slow() -> None:
        go.wait(20)

    @workflow
    def flow() -> Workflow[Any]:
        try:
            yield slow.call()
        except ActivityError as caught:
            return [caught.error.is_a(TimeoutExpired), caught.error.details]

    engine.work([flow], [slow])
    assert engine.run(flow) == [True, {"kind": "attempt"}]
    go.set()


def test_system_exit_and_an_unstorable_result_are_failures(engine: Engine) -> None:
    @activity(retry=Retry(max_attempts=3, first_delay=0))
    def unstorable() -> Any:
        seen.append(1)
        return {"a": [1, object()]}

    @activity(retry=None)
    def leaves() -> None:
        raise SystemExit(3)

    seen: list[int] = []

    @workflow
    def flow() -> Workflow[Any]:
        messages = []
        for command in (unstorable.call(), leaves.call()):
            try:
                yield command
            except ActivityError as caught:
                messages.append(f"{caught.error.type} {caught.error.message}")
        return messages

    engine.work([flow], [unstorable, leaves])
    first, second = engine.run(flow)
    assert "PayloadError" in first
    assert "a" in first
    assert "[1]" in first
    assert second.startswith("SystemExit")
    assert len(seen) == 1


def test_an_unstorable_argument_raises_at_its_line(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield echo.call({"items": [1, object()]})

    engine.work([flow], [echo])
    with pytest.raises(WorkflowError) as caught:
        engine.run(flow)
    assert caught.value.error is not None
    assert "PayloadError" in caught.value.error.type
    assert "args[0]" in caught.value.error.message
    assert "items" in caught.value.error.message
    assert "echo.call({" in caught.value.error.traceback


def test_an_activity_that_was_called_in_a_workflow(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        yield echo.call(1)
        return echo(2)

    engine.work([flow], [echo])
    with pytest.raises(WorkflowError, match=r"\.call") as caught:
        engine.run(flow)
    assert caught.value.error is not None
    assert caught.value.error.is_a(UsageError)


def test_two_workers_crash_with_it_and_the_third_gives_it_up(engine: Engine) -> None:
    """A worker that is taken over while it runs a task counts as a crash of that task."""
    calls = Calls()
    go = threading.Event()

    @activity(max_crashes=2)
    def poison() -> str:
        calls.note()
        started.release()
        go.wait(20)
        return "late"

    started = threading.Semaphore(0)

    @workflow
    def flow() -> Workflow[Any]:
        try:
            yield poison.call()
        except ActivityError as caught:
            return [caught.error.is_a(ActivityCrashed), caught.attempt]

    handle = engine.start(flow)
    for _ in range(2):
        worker = engine.work([flow], [poison])
        assert started.acquire(timeout=20)
        worker._give_up()  # as after a crash: what it held is free at once, and counted
    engine.work([flow], [poison])
    assert handle.result(timeout=20) == [True, 1]
    assert calls.crashes == [0, 1]
    assert [attempt for attempt, _, _ in calls.seen] == [1, 1]
    assert len({key for _, _, key in calls.seen}) == 1
    go.set()


def test_an_unknown_activity_is_shown_and_waits(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        return (yield echo.call("found"))

    engine.work([flow], [])
    handle = engine.start(flow)
    until(lambda: handle.describe()["tasks"])
    [task] = handle.describe()["tasks"]
    assert task["known_by_a_worker"] is False
    assert handle.status() is Status.RUNNING
    engine.work([], [echo])
    assert handle.result(timeout=20) == "found"
