"""Between tasks, attempts and results: what is run, and what its outcome means."""

from __future__ import annotations

from durable.commands import ActivityOptions
from durable.events import dump
from durable.model import EPOCH, Task
from durable.runner.attempt import Attempt, Outcome
from durable.runner.held import as_event
from durable.runner.steps import cancelled_event, cancelled_id, done_id
from durable.store import Completion, NewTask, Postponed, TaskKey


def first_attempt(key: TaskKey, instance_id: str, row: NewTask) -> Attempt:
    """The first attempt of a task that was committed as this worker's own."""
    timeout = ActivityOptions.from_data(row.options).timeout
    return Attempt(
        key,
        1,
        instance_id,
        row.name,
        row.args,
        row.kwargs,
        row.options,
        1,
        0,
        row.deadline,
        timeout,
    )


def next_attempt(task: Task) -> Attempt:
    """The attempt that a claimed task is due for."""
    return Attempt(
        (task.uid, task.run, task.command),
        task.epoch,
        task.instance_id,
        task.name,
        task.args,
        task.kwargs,
        task.options,
        task.attempt,
        task.crashes,
        task.deadline,
        ActivityOptions.from_data(task.options).timeout,
        cancelled=task.cancel_requested,
    )


def postponed(outcome: Outcome, now: int, unit: float) -> Postponed | None:
    """The next attempt of a failed one; None if there is none, so that the failure is final.

    A crash repeats the attempt with the same number.  An attempt that was asked to stop is
    not repeated: its failure becomes a cancel.  unit: a random number in [0, 1).
    """
    attempt = outcome.attempt
    uid, run, command = attempt.key
    if attempt.cancelled:
        outcome.failure = None
        return None
    if outcome.permanent:
        return None
    number, wake_at = attempt.number, now
    if not outcome.crashed:
        retry = ActivityOptions.from_data(attempt.options).retry
        assert retry is not None
        delay = retry.delay(number, outcome.types, unit)
        if delay is None:
            return None
        number += 1
        wake_at = now + int(delay * 1_000_000)
    if attempt.deadline is not None and wake_at > attempt.deadline:
        return None
    return Postponed(
        uid,
        run,
        command,
        attempt.epoch,
        wake_at,
        number,
        dump(as_event(outcome, 0, EPOCH), now),
        cancelled_id(run, command),
        cancelled_event(command),
        outcome.crashed,
    )


def completion(outcome: Outcome, now: int) -> Completion:
    """The result of a task whose instance is held elsewhere."""
    uid, run, command = outcome.attempt.key
    event = dump(as_event(outcome, 0, EPOCH), now)
    return Completion(uid, run, command, outcome.attempt.epoch, done_id(run, command), event)
