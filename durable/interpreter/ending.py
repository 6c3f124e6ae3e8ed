"""The end: of a coroutine, and of a run, when every coroutine has ended.

When the root has ended, tasks that still run are cancelled and awaited; then the end of the
run is recorded, its last event.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from durable.commands import Command, ContinueAsNew
from durable.decorated import default_name
from durable.errors import Cancelled, DurableError, TimeoutExpired
from durable.events import (
    CancelRequested,
    ContinuedAsNew,
    Event,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    dump,
)
from durable.interpreter.decision import Ending
from durable.interpreter.forgotten import check_no_run_was_begun
from durable.interpreter.waits import stored_failure

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter
    from durable.interpreter.coroutine import Coroutine


def coroutine_ended(it: Interpreter, coroutine: Coroutine) -> None:
    """A coroutine has returned or raised; the last one ends the run."""
    del it.coroutines[coroutine]
    if it.handled.get(coroutine.handler) is coroutine:
        del it.handled[coroutine.handler]
    if coroutine is it.root:
        names = ", ".join(c.name for c in it.coroutines if not c.handler)
        if names:
            it.log(logging.INFO, "has returned; tasks that still run are cancelled: %s", names)
        _end_with(it, coroutine.value, coroutine.error)
    elif coroutine.failed and coroutine.vital and it.outcome is None:
        _end_with(it, None, coroutine.error)
    elif coroutine.failed and not coroutine.joiners:
        it.log(logging.WARNING, "task %s failed: %r", coroutine.name, coroutine.error)
        it.failures[coroutine] = None
    if it.outcome is not None and not it.coroutines:
        finish(it, *it.outcome)


def _end_with(it: Interpreter, value: Any, error: BaseException | None) -> None:
    """How the run will end is decided, by whoever comes first; the rest is cancelled."""
    if it.outcome is None:
        it.outcome = (value, error)
    for coroutine in list(it.coroutines):
        coroutine.own.cancel()


def finish(it: Interpreter, value: Any, error: BaseException | None) -> None:
    """Record how it ended, or match what is recorded."""
    it.leave_context()
    error = error or lost_failure(it)
    event: Event | None = None
    if error is None:
        try:
            event = _returned(it, value)
        except (DurableError, TypeError) as wrong:
            error = wrong
    if event is None:
        event = _raised(it, error)
    carried = _carried(it) if isinstance(event, ContinuedAsNew | WorkflowFailed) else ()
    types = tuple(event.error[2]) if isinstance(event, WorkflowFailed) else ()
    it.ending = Ending(event, it.signals.unread(), carried, types, it.cancel_requested)
    if it.expect(type(event), None, event) is None:
        it.emit(event)


def lost_failure(it: Interpreter) -> BaseException | None:
    """The failure of a task that nobody has waited for: the run fails with it."""
    return next((c.error for c in it.failures if not c.joined), None) if it.failures else None


def _returned(it: Interpreter, value: Any) -> Event:
    if isinstance(value, ContinueAsNew):
        args = it.codec.encode([*value.args], "args")
        kwargs = it.codec.encode(dict(value.kwargs), "kwargs") if value.kwargs else None
        return ContinuedAsNew(it.seq, it.at, args, kwargs)
    check_no_run_was_begun(it)
    if isinstance(value, Command):
        raise TypeError(_returned_wrong(it, f"the command {value}: write `return (yield …)`"))
    if inspect.isgenerator(value):
        name = default_name(value)
        text = f"the generator {name}(…): write `return (yield from {name}(…))`"
        raise TypeError(_returned_wrong(it, text))
    return WorkflowCompleted(it.seq, it.at, it.codec.encode(value, "result"))


def _returned_wrong(it: Interpreter, what: str) -> str:
    return f"{it.definition.name} ({it.definition.where}) returned {what}"


def _raised(it: Interpreter, error: BaseException | None) -> Event:
    if isinstance(error, Cancelled):
        if not it.timed_out:
            return WorkflowCancelled(it.seq, it.at, it.cancel_reason)
        error = TimeoutExpired(_too_long(it), {"kind": "workflow"})
    assert error is not None
    return WorkflowFailed(it.seq, it.at, stored_failure(it.codec, error))


def _too_long(it: Interpreter) -> str:
    started = it.started
    assert started is not None
    assert started.deadline_at is not None
    limit = (started.deadline_at - started.at).total_seconds()
    return f"{it.definition.name} did not end within {limit:g} s"


def _carried(it: Interpreter) -> tuple[bytes, ...]:
    """Events that the next run begins with: signals that nobody has read, and a cancel."""
    carried = [dump(event) for event in it.signals.events(it.at)]
    if it.root is not None and it.cancel_requested:
        carried.append(dump(CancelRequested(0, it.at, it.cancel_reason)))
    return tuple(carried)
