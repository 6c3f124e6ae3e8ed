"""Where a workflow is: its coroutines, the lines at which they wait, and what for.

Plain values, which keep nothing of the workflow: they can be compared, stored and shown after
its generators are gone.  Of a live one nothing is changed by looking; what its values have as
``repr`` is called.
"""

from __future__ import annotations

import linecache
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import FrameType

from durable.client.where_text import coroutine_lines, where_lines
from durable.events import CancelRequested, Event, SignalReceived, load
from durable.failure import users_frames
from durable.interpreter import Coroutine, Interpreter, Waiting
from durable.interpreter.scopes import ScopeTimer
from durable.interpreter.waiting import describe
from durable.model import Status, moment
from durable.reprs import bounded

AROUND = 2
"""Lines of source that are shown before the one that waits, and after it."""

MAX_ARRIVED = 20
"""Messages that are shown of those that wait."""

MAX_RAISED = 10
"""Frames that are shown of a stack that raised."""

Notes = Mapping[int, str]
"""What is known of commands just now beside the history, by their numbers."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One generator on the stack of a coroutine.

    file: as Python names it. line: where it waits. source: lines around that one, with their
    numbers; none if the file cannot be read. locals: short texts, by name.
    """

    file: str
    line: int
    function: str
    source: tuple[tuple[int, str], ...]
    locals: dict[str, str]


@dataclass(frozen=True, slots=True)
class CoroutinePlace:
    """Where one coroutine is.

    name: "root", or that of the task. waits_for: None if it has failed, or was about to go on
    when a `Where.problem` was seen. frames: its generators, outermost first; none for a task
    that is a mere command. failed: for a task that has ended so, and whose failure nobody has
    waited for yet; else "". deadline: when the time of a ``with timeout`` block is up in which
    it is.
    """

    name: str
    waits_for: Waiting | None
    frames: tuple[Frame, ...]
    failed: str = ""
    deadline: datetime | None = None

    def __str__(self) -> str:
        return "\n".join(coroutine_lines(self))


@dataclass(frozen=True, slots=True)
class Where:
    """Where an instance is, or was after an event of its history.

    status, reason: of the instance, now. length: events of this run. seq, at: of the last
    event that was applied (None before the first). coroutines: the root first.
    unread: names of signals that nobody has read so far. arrived: what waits to be applied, by
    now: a worker will look at it, if it is not paused. cancel: the reason for which a cancel
    was requested ("" for none given); None if it was not.
    ended: how the run ended, if that is the last event; the coroutines are then as they were
    just before. raised: the stack that raised what the code failed with, outermost first.
    problem: why the code could not follow the history up to there; the coroutines then are
    where it was seen.
    """

    id: str
    workflow: str
    version: int | None
    run: int
    status: Status
    reason: str
    length: int
    seq: int | None
    at: datetime | None
    coroutines: tuple[CoroutinePlace, ...] = ()
    unread: tuple[str, ...] = ()
    arrived: tuple[str, ...] = ()
    cancel: str | None = None
    ended: str | None = None
    raised: tuple[Frame, ...] = ()
    problem: str | None = None

    def __str__(self) -> str:
        return "\n".join(where_lines(self))


def places(interpreter: Interpreter, notes: Notes) -> tuple[CoroutinePlace, ...]:
    """Where the coroutines of a live interpreter are."""
    blocks = [one for one in interpreter.pending.values() if isinstance(one, ScopeTimer)]
    live = [_place(coroutine, notes, blocks) for coroutine in interpreter.coroutines]
    lost = [c for c in interpreter.failures if not c.joined]
    return (*live, *(CoroutinePlace(c.name, None, (), _failure(c)) for c in lost))


def arrived(inbox: Sequence[bytes]) -> tuple[str, ...]:
    """What waits in an inbox: ``signal go``, a cancel, and else the kinds of events."""
    shown = tuple(_arrived(load(data, 0)) for data in inbox[:MAX_ARRIVED])
    more = len(inbox) - len(shown)
    return (*shown, f"{more} more") if more else shown


def _arrived(event: Event) -> str:
    if isinstance(event, SignalReceived):
        return f"signal {event.name}"
    return "a cancel" if isinstance(event, CancelRequested) else type(event).__name__


def raised(error: BaseException | None) -> tuple[Frame, ...]:
    """The stack that raised an error, in the user's code: the last of it, if it is deep."""
    stack = [] if error is None else users_frames(error)
    return tuple(_frame(frame, line) for frame, line in stack[-MAX_RAISED:])


def is_whole(interpreter: Interpreter) -> bool:
    """Whether the generators of all its coroutines are there: an error has thrown none away."""
    gens = [getattr(coroutine.gen, "gi_frame", None) for coroutine in interpreter.coroutines]
    return bool(gens) and None not in gens


def _place(coroutine: Coroutine, notes: Notes, blocks: list[ScopeTimer]) -> CoroutinePlace:
    waiting = None if coroutine.waiting is None else describe(coroutine.waiting)
    if waiting is not None and notes:
        waiting = _noted(waiting, notes)
    frames = tuple(_frame(frame, frame.f_lineno) for frame in coroutine.frames())
    timers = coroutine.interpreter.timers
    # One that did not fit the history has no moment.
    around = [timers.get(b.number) for b in blocks if coroutine.scope.sees(b.scope)]
    dues = [due for due in around if due is not None]
    deadline = moment(min(dues)) if dues else None
    return CoroutinePlace(coroutine.name, waiting, frames, deadline=deadline)


def _noted(waiting: Waiting, notes: Notes) -> Waiting:
    note = "" if waiting.command is None else notes.get(waiting.command, "")
    return replace(waiting, note=note, parts=tuple(_noted(p, notes) for p in waiting.parts))


def _frame(frame: FrameType, line: int) -> Frame:
    code = frame.f_code
    # Names with a dot are Python's own: the iterator of a comprehension.
    own = {name: value for name, value in frame.f_locals.items() if "." not in name}
    return Frame(
        code.co_filename,
        line,
        code.co_qualname.rpartition("<locals>.")[2],
        _source(frame, line),
        {name: bounded(value) for name, value in own.items()},
    )


def _source(frame: FrameType, line: int) -> tuple[tuple[int, str], ...]:
    """The line and its neighbours, within the function."""
    code = frame.f_code
    last = max(number for _, _, number in code.co_lines() if number)
    lines = linecache.getlines(code.co_filename, frame.f_globals)
    first = max(line - AROUND, code.co_firstlineno)
    numbers = range(first, min(line + AROUND, last, len(lines)) + 1)
    return tuple((number, lines[number - 1].rstrip()) for number in numbers)


def _failure(coroutine: Coroutine) -> str:
    """What it raised, and where in the user's code."""
    error = coroutine.error
    assert error is not None
    stack = users_frames(error)
    at = f", at {stack[-1][0].f_code.co_filename}:{stack[-1][1]}" if stack else ""
    return f"{bounded(error)}{at}"
