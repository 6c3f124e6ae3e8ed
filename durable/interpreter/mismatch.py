"""What is said when the code and the history of an instance do not match.

The texts are bounded, and each stands on one line, whatever is in the history.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from durable.codec import Codec
from durable.errors import DurableError, NonDeterminismError
from durable.events import Event, WorkflowCancelled, WorkflowFailed, decoded
from durable.failure import users_frames
from durable.interpreter.coroutine import line_of
from durable.interpreter.ending import lost_failure
from durable.interpreter.waiting import as_code
from durable.reprs import bounded, one_line

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter
    from durable.interpreter.coroutine import Coroutine

SHOWN = 3
MAX_LINES = 10


def mismatch(
    interpreter: Interpreter, issuing: Coroutine | None, event: Event | None, command: Any
) -> NonDeterminismError:
    """The error that shows both sides, with the source line.

    event: what the history has, or None if it has nothing more. command: what the code
    issued; an event, if it ended; None, if it issued nothing.
    """
    definition = interpreter.definition
    recorded = "nothing more" if event is None else shown(event, interpreter.codec)
    line = definition.where
    if isinstance(command, Event) or (command is None and interpreter.ending is not None):
        issued, line = _ended(interpreter)
    elif command is not None:
        issued = f"issued {as_code(command)}"
        line = issuing.line() if issuing else line
    else:
        issued = f"issued nothing more and waits{_for_what(interpreter)}"
        line = _lines(interpreter)
    seq = interpreter.seq if event is None else event.seq
    return NonDeterminismError(
        f"{definition.name} does not match its history at event {seq}: the history has "
        f"{recorded}; the code {issued}, at {line}",
        seq=seq,
        recorded=recorded,
        issued=issued,
        line=line,
    )


def unasked(interpreter: Interpreter, event: Event, command: int) -> NonDeterminismError:
    """The error for an answer to a command that the code has not issued."""
    name = interpreter.definition.name
    line = _lines(interpreter)
    return NonDeterminismError(
        f"the history has {type(event).__name__} for command {command} at event {event.seq}, "
        f"which the code of {name} has not issued, at {line}",
        seq=event.seq,
        recorded=shown(event, interpreter.codec),
        issued=f"has not issued command {command}",
        line=line,
    )


def _ended(it: Interpreter) -> tuple[str, str]:
    """How the code ended, and at which line, as far as that is known."""
    assert it.ending is not None
    assert it.outcome is not None
    event, (value, error) = it.ending.event, it.outcome
    line = _ended_at(it, error or lost_failure(it))
    if isinstance(event, WorkflowCancelled):
        return "ended, because it was cancelled", line
    if not isinstance(event, WorkflowFailed):
        return f"returned {bounded(value)}", line
    kind, message = event.error[:2]
    return f"raised {one_line(f'{kind}: {message}' if message else kind)}", line


def _ended_at(it: Interpreter, error: BaseException | None) -> str:
    """The line that raised or returned; that of the function, if its code did not even begin."""
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, StopIteration):
        error = error.__cause__  # which Python has replaced, without its line
    if error is not None and (frames := users_frames(error)):
        return line_of(*frames[-1])
    if it.root is not None and it.root.returned_at:
        return it.root.returned_at
    definition = it.definition
    return f"{definition.where}, in {getattr(definition.fn, '__name__', definition.name)}"


def _lines(interpreter: Interpreter) -> str:
    """Where its coroutines wait: each line once, and not too many."""
    lines = list(dict.fromkeys(c.line() for c in interpreter.coroutines))
    more = [f"{len(lines) - MAX_LINES} more places"] if len(lines) > MAX_LINES else []
    return "; ".join([*lines[:MAX_LINES], *more]) or interpreter.definition.where


def _for_what(interpreter: Interpreter) -> str:
    commands = [as_code(c.waiting.command) for c in interpreter.coroutines if c.waiting is not None]
    more = ", …" if len(commands) > SHOWN else ""
    return f" for {', '.join(commands[:SHOWN])}{more}" if commands else ""


def shown(event: Event, codec: Codec) -> str:
    """An event for people: its own fields, decoded."""
    try:
        event = decoded(event, codec.decode)
    except DurableError as error:
        return f"{type(event).__name__} ({one_line(str(error))})"
    own = [f.name for f in fields(event)][2:]
    shown = ", ".join(f"{n}={_value(getattr(event, n))}" for n in own if n != "context")
    return f"{type(event).__name__}({shown})"


def _value(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else bounded(value)
