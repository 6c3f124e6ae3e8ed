"""What each event does: a table from event type to a small function.

An answer goes to the wait that has the number of its command; a wait that is None has been
given up, and its answer is only recorded.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from durable.events import (
    RUN_DEADLINE,
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    CancelRequested,
    ChildCompleted,
    ChildFailed,
    Event,
    Forked,
    Paused,
    PromiseCompleted,
    PromiseFailed,
    Resumed,
    Retried,
    SignalDelivered,
    SignalFailed,
    SignalReceived,
    TimerFired,
    WorkflowStarted,
    WorkflowTerminated,
)
from durable.failure import Failure
from durable.interpreter.aborted import StepAborted
from durable.interpreter.mismatch import unasked
from durable.interpreter.scopes import RunDeadline, cancelled
from durable.model import micros

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter


def start(it: Interpreter, event: WorkflowStarted) -> None:
    it.started = event
    it.queue = event.queue
    it.seed = event.seed
    it.variables.update(event.vars or {})
    if event.deadline_at is not None:
        it.pending[RUN_DEADLINE] = RunDeadline(it)
        it.start_timer(RUN_DEADLINE, micros(event.deadline_at))
    it.root = root = it.new_coroutine("0", "root", None)
    try:
        if it.propagators:
            it.restored = ExitStack()
            root.context.run(it.propagators.enter, it.restored, it.codec, event.context)
        args, kwargs = it.definition.unpack_call(it.codec, event.args, event.kwargs)
        result = root.context.run(it.definition.fn, *args, **kwargs)
    except StepAborted:
        raise
    except BaseException as error:
        root.end(None, error)
        return
    if inspect.isgenerator(result):
        root.gen = result
        it.ready.append((root, None, None))
    else:  # a function without a yield has completed at once
        root.end(result, None)


def activity_completed(it: Interpreter, event: ActivityCompleted) -> None:
    wait = answered(it, event, event.command)
    if wait is not None:
        wait.completed(event.value)


def activity_failed(it: Interpreter, event: ActivityFailed) -> None:
    wait = answered(it, event, event.command)
    if wait is not None:
        wait.failed(event.error, event.attempt)


def activity_cancelled(it: Interpreter, event: ActivityCancelled) -> None:
    wait = answered(it, event, event.command)
    if wait is not None:
        cause = None
        if event.error is not None:
            cause = Failure.from_data(event.error, it.codec.decode).exception()
        wait.answer(None, cancelled(cause))


def timer_fired(it: Interpreter, event: TimerFired) -> None:
    wait = answered(it, event, event.command)
    if wait is not None:
        wait.settle(None, None)


def signal_received(it: Interpreter, event: SignalReceived) -> None:
    it.signals.arrive(event.name, (event.seq, event.value, event.message_id))


def signal_delivered(it: Interpreter, event: SignalDelivered) -> None:
    wait = answered(it, event, event.command)
    if wait is not None:
        wait.delivered()


def signal_failed(it: Interpreter, event: SignalFailed) -> None:
    wait = answered(it, event, event.command)
    if wait is not None:
        wait.failed(event.error)


def child_completed(it: Interpreter, event: ChildCompleted) -> None:
    wait = answered(it, event, event.command)
    if wait is not None:
        wait.completed(event.value)


def child_failed(it: Interpreter, event: ChildFailed) -> None:
    wait = answered(it, event, event.command)
    if wait is not None:
        wait.failed(event.error, event.started)


def promise_ended(it: Interpreter, event: PromiseCompleted | PromiseFailed) -> None:
    if event.command >= it.numbers:  # it is promised only by a command that comes later
        it.early[event.command] = event
        return
    state = answered(it, event, event.command)
    if state is not None:
        state.resolve(event)


def cancel_requested(it: Interpreter, event: CancelRequested) -> None:
    it.cancel_requested = True
    it.cancel_reason = it.cancel_reason or event.reason
    if it.root is not None:
        it.root.own.cancel()


def nothing(it: Interpreter, event: Event) -> None:
    """Only to be read."""


def retried(it: Interpreter, event: Retried) -> None:
    """What was under way when the earlier run went wrong is asked for again."""
    it.origins = (*it.origins, (it.numbers, event.from_run))
    if it.replaying:
        it.run = event.from_run + 1
    go_on(it)


def forked(it: Interpreter, event: Forked) -> None:
    it.seed = event.seed
    if it.replaying:
        it.run = 1
    go_on(it)


def go_on(it: Interpreter) -> None:
    """Ask again for what was under way; a limit for the whole run counts anew."""
    started = it.started
    if started is not None and started.deadline_at is not None and RUN_DEADLINE in it.pending:
        limit = micros(started.deadline_at) - micros(started.at)
        it.start_timer(RUN_DEADLINE, it.at_us + limit)
    it.decision.vars_changed = True  # they are what they were at that point
    for wait in list(it.pending.values()):
        if wait is not None:
            wait.reissue()


def answered(it: Interpreter, event: Event, command: int) -> Any:
    """The wait that an answer is for; None if nobody waits any more."""
    if command not in it.pending:
        raise unasked(it, event, command)
    if it.timers:
        it.timers.pop(command, None)
    if it.decision.tasks:  # one that a retry has just asked for again
        it.decision.tasks.pop(command, None)
    return it.pending.pop(command)


HANDLERS: dict[type[Event], Callable[[Interpreter, Any], None]] = {
    WorkflowStarted: start,
    ActivityCompleted: activity_completed,
    ActivityFailed: activity_failed,
    ActivityCancelled: activity_cancelled,
    TimerFired: timer_fired,
    SignalReceived: signal_received,
    SignalDelivered: signal_delivered,
    SignalFailed: signal_failed,
    ChildCompleted: child_completed,
    ChildFailed: child_failed,
    PromiseCompleted: promise_ended,
    PromiseFailed: promise_ended,
    CancelRequested: cancel_requested,
    Paused: nothing,
    Resumed: nothing,
    WorkflowTerminated: nothing,
    Retried: retried,
    Forked: forked,
}

__all__ = ["HANDLERS"]
