"""What a coroutine waits for: one small class for each kind of command that is a leaf.

Life of a wait: it is *built* (arguments are checked and encoded; nothing happens yet, so
that a mistake anywhere in a tree leaves nothing behind), *issued* (events are recorded; it
may settle at once), and then either *settles* (once), is *withdrawn* (its loss, or a
deadline, takes it out) or *cancelled* (what can be given up at once is; the rest is asked to
stop and settles by itself).  A wait that is withdrawn with ``drain`` may have to be waited
for; then it settles later with `DRAINED`.

Numbers are given when a command is issued, to what the engine answers or what is recorded:
activities, timers, sent signals, side effects.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from durable.codec import Codec
from durable.current import raised, running
from durable.errors import DurableError, PayloadError, SideEffectError, UsageError
from durable.events import Event, SideEffectRecorded, TimerCancelled, TimerFired, TimerStarted
from durable.failure import Failure
from durable.interpreter.aborted import StepAborted
from durable.model import micros, moment

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter

DRAINED = DurableError("withdrawn")
"""The error of a wait that was withdrawn and has ended at last; no code ever sees it."""

Claims = dict[Any, int]
"""What is only looked at: how many have asked for the next thing of a source, by source."""


def claim(claims: Claims, source: Any) -> int:
    """Ask for the next thing of a source: how many have asked before."""
    place = claims.get(source, 0)
    claims[source] = place + 1
    return place


class Wait:
    """One issued command, as a node of what a coroutine waits for."""

    __slots__ = (
        "command", "draining", "index", "interpreter", "issued", "number", "parent", "settled",
    )  # fmt: skip

    def __init__(self, interpreter: Interpreter, command: Any, parent: Any, index: int) -> None:
        self.interpreter = interpreter
        self.command = command
        self.parent = parent
        self.index = index
        self.number = -1
        self.issued = False  # kept by the combinator that it is part of
        self.settled = False
        self.draining = False
        interpreter.unused.pop(id(command), None)

    def probe(self, claims: Claims) -> int | None:
        """The seq of the event that made it ready, without consuming; None if it is not.

        claims: what its siblings in a gather would take first, counted here.
        """
        return None

    def issue(self) -> None:
        raise AssertionError(type(self))  # pragma: no cover

    def settle(self, value: Any, error: BaseException | None) -> None:
        """It has ended: tell who waits."""
        self.settled = True
        self.parent.child_settled(self, value, error)

    def withdraw(self, drain: bool) -> bool:
        """Take it out; True if it must be waited for (only with ``drain``)."""
        self.settled = True
        return False

    def cancel(self) -> bool:
        """Its scope was cancelled, perhaps again. True if it must be waited for: it will
        settle, with its value if it has one after all, else with `Cancelled`. False: it is
        gone."""
        self.withdraw(drain=False)
        return False

    def give_back(self) -> None:
        """It has settled, and its value did not reach user code."""

    def wakes(self) -> bool:
        """Whether an answer to it would wake somebody."""
        return True

    def reissue(self) -> None:
        """The run goes on where an earlier one went wrong: ask again."""


class TimerWait(Wait):
    __slots__ = ()

    def expired(self, seq: int, at: datetime) -> Event:
        return TimerFired(seq, at, self.number)

    def issue(self) -> None:
        interpreter = self.interpreter
        self.number = number = interpreter.next_number(self)
        event = interpreter.expect(TimerStarted, number, self.command)
        if event is None:
            due = self.due()
            event = TimerStarted(interpreter.seq, interpreter.at, number, moment(due))
            interpreter.emit(event)
        interpreter.start_timer(number, micros(event.due_at))

    def due(self) -> int:
        return self.interpreter.at_us + int(self.command.microseconds)

    def withdraw(self, drain: bool) -> bool:
        if not self.settled:
            self.settled = True
            self.interpreter.note(TimerCancelled, self.number, self.command)
            self.interpreter.stop_timer(self.number)
        return False


class UntilWait(TimerWait):
    __slots__ = ()

    def due(self) -> int:
        return micros(self.command.due_at)


class SideEffectWait(Wait):
    __slots__ = ()

    def probe(self, claims: Claims) -> int | None:
        return self.interpreter.event_seq

    def issue(self) -> None:
        interpreter, command = self.interpreter, self.command
        self.number = number = interpreter.next_number(None)
        event = interpreter.expect(SideEffectRecorded, number, command)
        if event is None:
            event = self._run(number)
            interpreter.emit(event)
        if event.error is not None:
            failure = Failure.from_data(event.error, interpreter.codec.decode)
            error = SideEffectError(f"{command} raised {failure}", failure)
            error.__cause__ = failure.exception()
            self.settle(None, error)
            return
        try:
            value = interpreter.codec.decode(event.value, command.type)
        except DurableError as error:
            self.settle(None, error)
        else:
            self.settle(value, None)

    def _run(self, number: int) -> SideEffectRecorded:
        interpreter, command = self.interpreter, self.command
        kept = interpreter.effects.get(number)
        if kept is None or not _same_effect(kept[0], command):
            kept = interpreter.effects[number] = (command, *self._called())
        return SideEffectRecorded(interpreter.seq, interpreter.at, number, *kept[1:])

    def _called(self) -> tuple[bytes | None, list[Any] | None]:
        """(value, error) of the function."""
        interpreter, command = self.interpreter, self.command
        value, error = None, None
        context = interpreter.issuing.context.copy()  # what fn sets there is its own
        try:
            result = context.run(_outside, command)
            value = interpreter.codec.encode(result, f"the value of {command}")
        except StepAborted:
            raise
        except BaseException as wrong:  # SystemExit, too: it must not stop the worker
            raised(wrong)
            error = stored_failure(interpreter.codec, wrong)
        return value, error


def _same_effect(one: Any, other: Any) -> bool:
    """Whether two commands call the same code with the same arguments: a lambda or an inner
    function is another object each time."""
    code = [getattr(command.fn, "__code__", command.fn) for command in (one, other)]
    return bool(code[0] == code[1] and (one.args, one.kwargs) == (other.args, other.kwargs))


def _outside(command: Any) -> Any:
    """Call the function of a side effect, which is no part of the workflow."""
    running.set(None)
    return command.fn(*command.args, **command.kwargs)


def stored_failure(codec: Codec, error: BaseException) -> list[Any]:
    """An exception for a history; details that cannot be stored are described."""

    def encode(details: Any) -> bytes:
        try:
            return codec.encode(details)
        except PayloadError as refused:
            return codec.encode(f"{details!r:.1000} ({refused})")

    return Failure.of(error).to_data(encode)


class JoinWait(Wait):
    """Waits for a task; a combinator never cancels a task that it was given."""

    __slots__ = ()

    def __init__(self, interpreter: Interpreter, command: Any, parent: Any, index: int) -> None:
        super().__init__(interpreter, command, parent, index)
        if command._coroutine.interpreter is not interpreter:
            raise UsageError(f"{command} belongs to another instance")

    def probe(self, claims: Claims) -> int | None:
        coroutine = self.command._coroutine
        return coroutine.ended_at if coroutine.ended else None

    def issue(self) -> None:
        coroutine = self.command._coroutine
        if coroutine.ended:
            self.settle(*coroutine.outcome())
            return
        if coroutine.joiners is None:
            coroutine.joiners = {}
        coroutine.joiners[self] = None

    def give_back(self) -> None:
        self.command._coroutine.unjoin()

    def withdraw(self, drain: bool) -> bool:
        if not self.settled:
            self.settled = True
            joiners = self.command._coroutine.joiners
            if joiners:
                joiners.pop(self, None)
        return False
