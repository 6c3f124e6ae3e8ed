"""Between tasks, attempts and results: what is run, and what its outcome means."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from durable import message_ids
from durable.codec import Codec
from durable.commands import ActivityOptions
from durable.errors import TimeoutExpired
from durable.events import ActivityCancelled, ActivityFailed, dump, load
from durable.model import EPOCH, Task
from durable.retry import MAX_SECONDS, MICROSECOND
from durable.runner.attempt import Attempt, Outcome, crashed_too_often, failed, timed_out
from durable.runner.held import outcome_event
from durable.store import Completion, NewTask, Postponed, TaskKey


def first_attempt(
    key: TaskKey, instance_id: str, row: NewTask, secret: Callable[[], bytes]
) -> Attempt:
    """The first attempt of a task that was committed as this worker's own."""
    return Attempt(
        key,
        1,
        instance_id,
        row.name,
        row.args,
        row.kwargs,
        ActivityOptions.from_data(row.options),
        secret,
        deadline=row.deadline,
        context=row.context,
    )


def next_attempt(task: Task, secret: Callable[[], bytes]) -> Attempt:
    """The attempt that a claimed task is due for."""
    return Attempt(
        (task.uid, task.run, task.command),
        task.epoch,
        task.instance_id,
        task.name,
        task.args,
        task.kwargs,
        ActivityOptions.from_data(task.options),
        secret,
        task.attempt,
        task.crashes,
        task.deadline,
        task.deferrals,
        task.context,
        task.details,
        stopping=task.cancel_requested,
    )


def foregone(task: Task, attempt: Attempt, now: int, codec: Codec) -> Outcome | None:
    """What a claimed task comes to without being run; None if it is to be run."""
    if task.awaits:  # nobody has completed it from outside
        return timed_out(attempt, "attempt", codec)
    if task.cancel_requested:
        return Outcome(attempt, failure=_last_failure(task), cancelled=True)
    if task.crashes >= attempt.options.max_crashes:
        return crashed_too_often(attempt, codec)
    if task.deadline is None or now <= task.deadline:
        return None
    failure = _last_failure(task)
    if failure is not None:
        return Outcome(attempt, failure=failure, permanent=True)
    text = f"{task.name} was not started within the total_timeout of its Retry"
    return failed(attempt, TimeoutExpired(text, {"kind": "schedule"}), codec, permanent=True)


def _last_failure(task: Task) -> list[Any] | None:
    last = None if task.last_error is None else load(task.last_error, 0)
    return last.error if isinstance(last, ActivityFailed) else None


def postponed(outcome: Outcome, now: int, unit: float) -> Postponed | None:
    """What becomes of a task whose attempt was not its end; None if it was.

    A task that is to stop is not tried again: the store knows, and gives the answer instead.
    unit: a random number in [0, 1).
    """
    attempt = outcome.attempt
    if outcome.awaits:
        again: tuple[int, int] | None = (attempt.number, now + _left(attempt))
    else:
        again = _again(outcome, now, unit)
    if again is None:
        return None
    uid, run, command = attempt.key
    return Postponed(
        uid,
        run,
        command,
        attempt.epoch,
        again[1],
        again[0],
        None if outcome.awaits else dump(outcome_event(outcome, 0, EPOCH), now),
        message_ids.activity_cancelled(run, command),
        dump(ActivityCancelled(0, EPOCH, command, outcome.failure), now),
        outcome.crashed,
        attempt.details,
        attempt.deferrals + _deferred(outcome),
        outcome.awaits,
    )


def _left(attempt: Attempt) -> int:
    """Microseconds until the time of an attempt is up, which goes on counting."""
    left = min(attempt.ends_at - attempt.clock(), MAX_SECONDS)
    return max(0, math.ceil(left * MICROSECOND))


def _deferred(outcome: Outcome) -> bool:
    return outcome.delay is not None or outcome.at is not None


def _again(outcome: Outcome, now: int, unit: float) -> tuple[int, int] | None:
    """Number and moment of the next attempt, if there is to be one.

    A crash repeats the attempt with the same number.  One that asked for a later time does
    not count towards the attempts of the retry policy.
    """
    attempt = outcome.attempt
    if outcome.failure is None or outcome.permanent or outcome.cancelled:
        return None
    number, wake_at = attempt.number + 1, now
    if outcome.crashed:
        number = attempt.number
    elif _deferred(outcome):
        wake_at = max(now, outcome.at or now + (outcome.delay or 0))
    else:
        retry = attempt.options.retry
        assert retry is not None
        delay = retry.delay(attempt.number - attempt.deferrals, outcome.types, unit)
        if delay is None:
            return None
        wake_at = now + math.ceil(delay * MICROSECOND)
    late = attempt.deadline is not None and wake_at > attempt.deadline
    return None if late else (number, wake_at)


def completion(outcome: Outcome, now: int) -> Completion:
    """The result of a task, for the inbox of its instance."""
    uid, run, command = outcome.attempt.key
    event = dump(outcome_event(outcome, 0, EPOCH), now)
    return Completion(
        uid, run, command, outcome.attempt.epoch, message_ids.activity_done(run, command), event
    )
