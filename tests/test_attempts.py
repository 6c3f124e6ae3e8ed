"""Attempts without a worker: options, limits, outcomes, and what they mean for the task."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable.beats import NOT_STARTED, Beats
from durable.codec import Codec
from durable.commands import ActivityOptions
from durable.definitions import ActivityDefinition, activity
from durable.errors import (
    ActivityCrashed,
    Cancelled,
    PermanentError,
    RetryLater,
    TimeoutExpired,
    UsageError,
)
from durable.events import ActivityCancelled, ActivityFailed, load
from durable.model import Task, micros
from durable.retry import Retry
from durable.runner import Attempt, Outcome, current_activity, run_attempt
from durable.runner.attempt import timed_out
from durable.runner.results import foregone, next_attempt, postponed
from durable.store import Beat, Unavailable
from durable.tokens import ATTEMPT, Token, read_token

CODEC = Codec()
KEY = (b"u" * 16, 1, 7)
NOW = 1_700_000_000_000_000
SECOND = 1_000_000
SECRET = b"s" * 32


def attempt(options: ActivityOptions | None = None, **fields: Any) -> Attempt:
    made = Attempt(
        KEY, 3, "i-1", "act", CODEC.encode([]), None, options or ActivityOptions(), lambda: SECRET
    )
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def ran(fn: Callable[[], Any], on: Attempt | None = None) -> Outcome:
    return run_attempt(on or attempt(), ActivityDefinition(fn), CODEC)


def raising(error: BaseException) -> Outcome:
    def fn() -> None:
        raise error

    return ran(fn)


# -- options ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"timeout": 0}, ValueError, "timeout= must be more than 0"),
        ({"schedule_timeout": -1}, ValueError, "schedule_timeout= cannot be -1"),
        ({"heartbeat_timeout": "3"}, TypeError, "heartbeat_timeout= takes seconds"),
        ({"on_cancel": "ask"}, UsageError, "none of wait, request, abandon"),
        ({"on_cancle": "wait"}, TypeError, "did you mean 'on_cancel'"),
        ({"max_crashes": 0}, UsageError, "max_crashes=0"),
        ({"queue": ""}, UsageError, "queue= takes a name that is not empty"),
        ({"retry": 3}, TypeError, "retry= takes a Retry"),
    ],
)
def test_options_are_checked_where_they_are_written(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        activity(**options)

    @activity
    def fine() -> None: ...

    with pytest.raises(error, match=text):
        fine.options(**options)


def test_options_are_kept_in_the_row() -> None:
    @activity(
        timeout=timedelta(minutes=1),
        schedule_timeout=90,
        heartbeat_timeout=2.5,
        on_cancel="request",
        retry=None,
    )
    def act() -> None: ...

    assert act.defaults.schedule_timeout == 90
    stored = ActivityOptions.from_data(act.defaults.data)
    assert (stored.timeout, stored.heartbeat_timeout, stored.on_cancel) == (60, 2.5, "request")
    assert stored.retry is not None
    assert stored.retry.max_attempts == 1


# -- what comes of a call ---------------------------------------------------------------


def test_values_and_failures() -> None:
    assert CODEC.decode(ran(lambda: [1]).value or b"") == [1]
    assert raising(KeyError("x")).types[:2] == ("KeyError", "LookupError")
    assert not raising(KeyError("x")).permanent
    assert raising(PermanentError("x")).permanent
    assert raising(SystemExit(3)).types[0] == "SystemExit"
    unstorable = ran(lambda: object())
    assert unstorable.permanent
    assert unstorable.types[0] == "durable.errors.PayloadError"


def test_coroutines_are_run_to_their_end() -> None:
    async def fn() -> list[Any]:
        await asyncio.sleep(0)
        me = current_activity()
        return [me.instance_id, me.activity, me.attempt, me.idempotency_key]

    outcome = ran(fn, attempt(number=4))
    assert CODEC.decode(outcome.value or b"") == ["i-1", "act", 4, f"{KEY[0].hex()}:1:7"]

    async def fails() -> None:
        raise KeyError("x")

    assert ran(fails).types[0] == "KeyError"
    with pytest.raises(UsageError, match="inside a running activity"):
        current_activity()


def test_generators_are_refused() -> None:
    def plain() -> Any:
        yield 1

    async def asynchronous() -> Any:
        yield 1

    for fn in (plain, asynchronous):
        with pytest.raises(TypeError, match="has a `yield`"):
            activity(fn)


def test_a_later_time_is_asked_for() -> None:
    assert raising(RetryLater(delay=1.5)).delay == 1_500_000
    assert raising(RetryLater(timedelta(minutes=1))).delay == 60 * SECOND
    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert raising(RetryLater(at=at)).at == micros(at)
    assert (raising(RetryLater(delay=1e300)).delay or 0) < 2**62
    for wrong in ({}, {"delay": 1, "at": at}, {"delay": -1}, {"at": at.replace(tzinfo=None)}):
        with pytest.raises(UsageError):
            RetryLater(**wrong)


def test_who_is_told_of_a_cancel() -> None:
    asked = ActivityOptions(on_cancel="request")

    def fn() -> None:
        running.stopping = True
        assert current_activity().cancelled
        current_activity().heartbeat()

    running = attempt(asked)
    outcome = ran(fn, running)
    assert outcome.cancelled
    assert outcome.failure is None

    def not_told() -> bool:
        running.stopping = True
        current_activity().heartbeat()
        return current_activity().cancelled

    for on_cancel in ("wait", "abandon"):
        running = attempt(ActivityOptions(on_cancel=on_cancel))
        assert CODEC.decode(ran(not_told, running).value or b"") is False


def test_cancelled_without_being_asked_is_a_failure() -> None:
    outcome = raising(Cancelled("why"))
    assert not outcome.cancelled
    assert outcome.types[0] == "durable.errors.Cancelled"


def test_what_was_to_stop_before_it_began_is_not_run() -> None:
    ran_too: list[int] = []
    outcome = ran(lambda: ran_too.append(1), attempt(stopping=True))
    assert outcome.cancelled
    assert not ran_too


def test_complete_later_is_no_exception_that_is_caught_by_mistake() -> None:
    def fn() -> None:
        me = current_activity()
        tokens.append(me.token)
        try:
            raise me.complete_later()
        except Exception as error:
            raise AssertionError from error

    tokens: list[str] = []
    running = attempt()
    assert ran(fn, running).awaits
    assert running.exposed
    assert read_token(tokens[0], SECRET) == Token(ATTEMPT, *KEY, 3)
    assert not ran(lambda: None).awaits


# -- heartbeats and limits --------------------------------------------------------------


def test_heartbeats_keep_the_latest_details() -> None:
    def fn() -> Any:
        me = current_activity()
        me.heartbeat({"row": 1})
        me.heartbeat([2])
        me.heartbeat()
        return me.last_heartbeat

    running = attempt(details=CODEC.encode("earlier"))
    assert CODEC.decode(ran(fn, running).value or b"") == "earlier"
    assert running.unsent
    assert CODEC.decode(running.details or b"") == [2]

    def wrong() -> None:
        current_activity().heartbeat({"a": object()})

    outcome = ran(wrong, attempt())
    assert outcome.types[0] == "durable.errors.PayloadError"
    assert outcome.failure is not None
    assert "heartbeat of act" in outcome.failure[1]
    assert 'heartbeat({"a": object()})' in outcome.failure[3]
    assert CODEC.decode(ran(lambda: current_activity().last_heartbeat).value or b"x") is None


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("durable.runner.attempt.monotonic", lambda: self.now)
        monkeypatch.setattr("durable.beats.time.monotonic", lambda: self.now)


class Sink:
    """A store that takes heartbeats."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Beat]]] = []
        self.requested: list[Any] = []
        self.away = False

    def beat(self, worker: str, beats: list[Beat]) -> list[Any]:
        if self.away:
            raise Unavailable("away")
        self.calls.append((worker, beats))
        return self.requested


def beats(*attempts: Attempt) -> tuple[Beats, Sink]:
    sink = Sink()
    running = {(a.key[0], a.key[1], n): a for n, a in enumerate(attempts)}
    for (uid, run, number), one in running.items():
        one.key = (uid, run, number)
    return Beats(sink, lambda: running), sink  # type: ignore[arg-type]


def test_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    timed = attempt(ActivityOptions(timeout=10))
    silent = attempt(ActivityOptions(timeout=10, heartbeat_timeout=2))
    free = attempt()
    of, _ = beats(timed, silent, free)
    assert of.pause() == NOT_STARTED
    for one in (timed, silent):
        one.begin()
    assert of.pause() == 2
    clock.now += 1.5
    silent.beat(None)
    clock.now += 1.5
    assert of.late() == []
    assert of.pause() == 0.5
    clock.now += 0.5
    assert of.late() == [(silent, "heartbeat")]
    silent.beat(None)
    clock.now = 110
    assert of.late() == [(timed, "attempt"), (silent, "attempt")]
    assert beats(attempt())[0].pause() is None


def test_time_that_is_up_is_a_failure_with_its_kind() -> None:
    options = ActivityOptions(timeout=10, heartbeat_timeout=2)
    for kind, text in (("attempt", "longer than 10 s"), ("heartbeat", "no heartbeat for 2 s")):
        outcome = timed_out(attempt(options), kind, CODEC)
        assert outcome.failure is not None
        assert text in outcome.failure[1]
        assert CODEC.decode(outcome.failure[5]) == {"kind": kind}
        assert not outcome.permanent
        assert "durable.errors.TimeoutExpired" in outcome.types


def test_an_overdue_attempt_is_told() -> None:
    running = attempt(ActivityOptions(timeout=1), overdue=True)
    assert ran(lambda: current_activity().heartbeat(), running).cancelled


def test_only_news_is_sent_and_nothing_is_lost() -> None:
    plain, asks = attempt(), attempt(ActivityOptions(on_cancel="request"))
    of, sink = beats(plain)
    of.send("w")
    assert sink.calls == []
    plain.beat(b"1")
    plain.beat(b"2")
    sink.away = True
    of.send("w")
    assert plain.unsent
    sink.away = False
    of.send("w")
    of.send("w")
    assert sink.calls == [("w", [Beat(*plain.key, 3, b"2")])]

    of, sink = beats(plain, asks)
    of.send("w")
    assert sink.calls == [("w", [])]
    sink.requested = [plain.key, asks.key, (b"other", 1, 1)]
    of.send("w")
    assert plain.stopping
    assert not plain.cancelled
    assert asks.cancelled
    of.send("w")
    assert len(sink.calls) == 2


# -- what an outcome means for the task -------------------------------------------------


def failure_of(outcome: Outcome) -> Any:
    return outcome.failure


def test_a_failure_is_tried_again_with_what_it_told() -> None:
    running = attempt(ActivityOptions(retry=Retry(first_delay=2, jitter=0)), details=b"d")
    outcome = raising(KeyError("x"))
    outcome.attempt = running
    again = postponed(outcome, NOW, 0.5)
    assert again is not None
    assert (again.wake_at, again.attempt, again.details) == (NOW + 2 * SECOND, 2, b"d")
    assert (again.deferrals, again.awaits, again.crashed) == (0, False, False)
    event = load(again.last_error or b"", 0)
    assert isinstance(event, ActivityFailed)
    assert event.error == failure_of(outcome)
    answer = load(again.answer, 0)
    assert isinstance(answer, ActivityCancelled)
    assert answer.error == failure_of(outcome)


def test_what_is_final() -> None:
    for error, options in (
        (PermanentError("x"), ActivityOptions()),
        (KeyError("x"), ActivityOptions(retry=None)),
        (KeyError("x"), ActivityOptions(retry=Retry(non_retryable=(LookupError,)))),
        (KeyError("x"), ActivityOptions(retry=Retry(non_retryable=("LookupError",)))),
    ):
        outcome = raising(error)
        outcome.attempt = attempt(_stored(options))
        assert postponed(outcome, NOW, 0.5) is None


def _stored(options: ActivityOptions) -> ActivityOptions:
    return ActivityOptions.from_data(options.data)


def test_later_attempts_do_not_count() -> None:
    options = ActivityOptions(retry=Retry(max_attempts=2, first_delay=1, jitter=0))
    running = attempt(options, number=5, deferrals=4)
    outcome = raising(RetryLater(delay=30))
    outcome.attempt = running
    again = postponed(outcome, NOW, 0.5)
    assert again is not None
    assert (again.attempt, again.deferrals, again.wake_at) == (6, 5, NOW + 30 * SECOND)
    outcome = raising(RetryLater(at=datetime(2020, 1, 1, tzinfo=UTC)))
    outcome.attempt = running
    again = postponed(outcome, NOW, 0.5)
    assert again is not None
    assert again.wake_at == NOW
    outcome = raising(KeyError("x"))
    outcome.attempt = running
    again = postponed(outcome, NOW, 0.5)
    assert again is not None
    assert (again.attempt, again.deferrals, again.wake_at) == (6, 4, NOW + SECOND)
    running.number = 6
    assert postponed(outcome, NOW, 0.5) is None


def test_nothing_starts_after_the_deadline() -> None:
    running = attempt(deadline=NOW + 10 * SECOND)
    for delay, expected in ((10, True), (10.000001, False)):
        outcome = raising(RetryLater(delay=delay))
        outcome.attempt = running
        assert (postponed(outcome, NOW, 0.5) is not None) is expected


def test_the_time_of_what_is_completed_later_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    running = attempt(ActivityOptions(timeout=10))
    running.begin()
    clock.now += 4
    again = postponed(Outcome(running, awaits=True), NOW, 0.5)
    assert again is not None
    assert (again.awaits, again.attempt, again.wake_at) == (True, 1, NOW + 6 * SECOND)
    assert again.last_error is None
    again = postponed(Outcome(attempt(number=2), awaits=True), NOW, 0.5)
    assert again is not None
    assert again.wake_at > NOW + 99 * 365 * 86400 * SECOND


def task(**fields: Any) -> Task:
    row = Task(
        KEY[0], 1, 7, "i-1", "act", "default", CODEC.encode([]), None, ActivityOptions().data,
        "w", 3, NOW, 2, 0, False, None, None, NOW - SECOND,
    )  # fmt: skip
    return replace(row, **fields)


def without_running(row: Task) -> Outcome | None:
    return foregone(row, next_attempt(row, lambda: SECRET), NOW, CODEC)


def test_what_a_claimed_task_comes_to_without_being_run() -> None:
    outcome = raising(KeyError("before"))
    last = postponed(outcome, NOW, 0.5)
    assert last is not None
    assert without_running(task(deadline=NOW)) is None

    timed = without_running(task(awaits=True))
    assert timed is not None
    assert "durable.errors.TimeoutExpired" in timed.types
    assert not timed.permanent

    stopped = without_running(task(cancel_requested=True, crashes=9, last_error=last.last_error))
    assert stopped is not None
    assert stopped.cancelled
    assert stopped.failure == outcome.failure

    poison = without_running(task(crashes=5))
    assert poison is not None
    assert poison.types[0] == f"{ActivityCrashed.__module__}.{ActivityCrashed.__name__}"
    assert poison.permanent

    late = without_running(task(deadline=NOW - 1, last_error=last.last_error))
    assert late is not None
    assert late.permanent
    assert late.failure == outcome.failure
    never = without_running(task(deadline=NOW - 1))
    assert never is not None
    assert never.permanent
    assert never.failure is not None
    assert CODEC.decode(never.failure[5]) == {"kind": "schedule"}
    assert never.types[0] == f"{TimeoutExpired.__module__}.{TimeoutExpired.__name__}"


def test_heartbeats_from_other_threads() -> None:
    def fn() -> None:
        me = current_activity()
        thread = threading.Thread(target=lambda: me.heartbeat("from a thread"))
        thread.start()
        thread.join()

    running = attempt()
    ran(fn, running)
    assert CODEC.decode(running.details or b"") == "from a thread"
