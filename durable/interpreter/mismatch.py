"""What is said when the code and the history of an instance do not match."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from durable.codec import Codec
from durable.errors import DurableError, NonDeterminismError
from durable.events import Event, decoded

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter
    from durable.interpreter.coroutine import Coroutine

SHOWN = 3


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
    if isinstance(command, Event):
        issued = f"ended ({type(command).__name__})"
    elif command is not None:
        issued = f"issued {command!r}"
        line = issuing.line() if issuing else line
    elif interpreter.ending is not None:
        issued = "has ended"
    else:
        issued = f"issued nothing more and waits{_for_what(interpreter)}"
        line = "; ".join(c.line() for c in interpreter.coroutines)
    seq = interpreter.seq if event is None else event.seq
    return NonDeterminismError(
        f"{definition.name} does not match its history at event {seq}: the history has "
        f"{recorded}; the code {issued}, at {line}",
        seq=seq,
        recorded=recorded,
        issued=issued,
        line=line,
    )


def _for_what(interpreter: Interpreter) -> str:
    commands = [repr(c.waiting.command) for c in interpreter.coroutines if c.waiting is not None]
    more = ", …" if len(commands) > SHOWN else ""
    return f" for {', '.join(commands[:SHOWN])}{more}" if commands else ""


def shown(event: Event, codec: Codec) -> str:
    """An event for people: its own fields, decoded."""
    try:
        event = decoded(event, codec.decode)
    except DurableError as error:
        return f"{type(event).__name__} ({error})"
    own = [f.name for f in fields(event)][2:]
    shown = ", ".join(f"{name}={getattr(event, name)!r}" for name in own if name != "context")
    return f"{type(event).__name__}({shown})"
