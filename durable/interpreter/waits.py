"""What a coroutine waits for: one small class for each kind of command that is a leaf.

Life of a wait: it is *built* (arguments are checked and encoded; nothing happens yet, so
that a mistake anywhere in a tree leaves nothing behind), *issued* (events are recorded; it
may settle at once), and then either *settles* (once) or is *withdrawn* (its loss, or a
cancel, takes it out).  A wait that is withdrawn with ``drain`` may have to be waited for;
then it settles later with `DRAINED`.

Numbers are given when a command is issued, to what the engine answers or what is recorded:
activities, timers, sent signals, side effects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durable.errors import (
    ActivityError,
    DurableError,
    InstanceFinished,
    InstanceNotFound,
    SideEffectError,
    UsageError,
)
from durable.events import (
    ActivityCancelRequested,
    ActivityScheduled,
    SideEffectRecorded,
    SignalSent,
    TimerCancelled,
    TimerStarted,
)
from durable.failure import Failure
from durable.model import micros, moment

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter

DRAINED = DurableError("withdrawn")
"""The error of a wait that was withdrawn and has ended at last; no code ever sees it."""


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

    def probe(self) -> int | None:
        """The seq of the event that made it ready, without consuming; None if it is not."""
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

    def give_back(self) -> None:
        """It has settled, and its value did not reach user code."""


class ActivityWait(Wait):
    __slots__ = ("args", "kwargs")

    def __init__(self, interpreter: Interpreter, command: Any, parent: Any, index: int) -> None:
        super().__init__(interpreter, command, parent, index)
        pack = interpreter.codec.pack
        self.args = pack([*command.args], "args")
        self.kwargs: bytes | None = pack(dict(command.kwargs), "kwargs") if command.kwargs else None

    def issue(self) -> None:
        interpreter, command = self.interpreter, self.command
        self.number = number = interpreter.next_number(self)
        event = interpreter.expect(ActivityScheduled, number, command)
        if event is None:
            wrap = interpreter.codec.wrap
            args = wrap(self.args)
            kwargs = None if self.kwargs is None else wrap(self.kwargs)
            queue = command.options.queue or interpreter.queue
            seq, at = interpreter.seq, interpreter.at
            interpreter.emit(ActivityScheduled(seq, at, number, command.name, args, kwargs, queue))
            interpreter.schedule(number, command, queue, args, kwargs)
        elif event.name != command.name or not self._same_arguments(event):
            raise interpreter.mismatch(event, command)
        self.args, self.kwargs = b"", None  # it may wait long: keep nothing more

    def _same_arguments(self, event: Any) -> bool:
        """Whether the recorded arguments equal these: by bytes, else by value as today's
        type hints read them, so that a new field with a default is no difference."""
        codec = self.interpreter.codec
        recorded = None if event.kwargs is None else codec.unwrap(event.kwargs)
        if codec.unwrap(event.args) == self.args and recorded == self.kwargs:
            return True
        definition = self.command.definition
        if definition is None:
            return False
        try:
            args, kwargs = definition.unpack_call(codec, event.args, event.kwargs)
            mine = definition.unpack_call(
                codec,
                codec.wrap(self.args),
                None if self.kwargs is None else codec.wrap(self.kwargs),
            )
            return bool((args, kwargs) == mine)
        except Exception:
            return False

    def completed(self, payload: bytes) -> None:
        definition = self.command.definition
        try:
            hint = Any if definition is None else definition.returns
            value = self.interpreter.codec.decode(payload, hint)
        except DurableError as error:
            self.answer(None, error)
        else:
            self.answer(value, None)

    def failed(self, data: Any, attempt: int) -> None:
        failure = Failure.from_data(data, self.interpreter.codec.decode)
        error = ActivityError(self.command.name, attempt, failure)
        error.__cause__ = failure.exception()
        self.answer(None, error)

    def answer(self, value: Any, error: BaseException | None) -> None:
        """The activity has ended; if it only had to be waited for, nobody wants the value."""
        if self.draining:
            value, error = None, DRAINED
        self.settle(value, error)

    def withdraw(self, drain: bool) -> bool:
        if self.settled:
            return False
        interpreter = self.interpreter
        if not self.draining:
            interpreter.note(ActivityCancelRequested, self.number, self.command)
        if interpreter.unschedule(self.number):
            self.settled = True  # issued in this very step: it never starts
            return False
        if drain:
            self.draining = True
            return True
        self.settled = True
        interpreter.drop(self.number)
        return False


class TimerWait(Wait):
    __slots__ = ()

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


class SignalWait(Wait):
    """Waits for a signal; ``taken`` is (arrival, payload) of the one that it took."""

    __slots__ = ("taken",)

    def __init__(self, interpreter: Interpreter, command: Any, parent: Any, index: int) -> None:
        super().__init__(interpreter, command, parent, index)
        self.taken: tuple[int, Any] | None = None

    def probe(self) -> int | None:
        return self.interpreter.signals.arrival(self.command.name)

    def issue(self) -> None:
        found = self.interpreter.signals.take(self.command.name)
        if found is None:
            self.interpreter.signals.wait(self.command.name, self)
        else:
            self.receive(found)

    def receive(self, found: tuple[int, Any]) -> None:
        self.taken = found
        try:
            value = self.interpreter.codec.decode(found[1], self.command.type)
        except DurableError as error:
            self.settle(None, error)
        else:
            self.settle(value, None)

    def withdraw(self, drain: bool) -> bool:
        if not self.settled:
            self.settled = True
            self.interpreter.signals.leave(self.command.name, self)
        return False

    def give_back(self) -> None:
        if self.taken is not None:
            self.interpreter.put_backs.append((self.command.name, self.taken))
            self.taken = None


class SendWait(Wait):
    __slots__ = ("value",)

    def __init__(self, interpreter: Interpreter, command: Any, parent: Any, index: int) -> None:
        super().__init__(interpreter, command, parent, index)
        self.value = interpreter.codec.pack(command.value, "value")

    def issue(self) -> None:
        interpreter, command = self.interpreter, self.command
        self.number = number = interpreter.next_number(self)
        event = interpreter.expect(SignalSent, number, command)
        if event is None:
            value = interpreter.codec.wrap(self.value)
            seq, at = interpreter.seq, interpreter.at
            interpreter.emit(SignalSent(seq, at, number, command.instance_id, command.name, value))
            interpreter.send(number, command.instance_id, command.name, value)
        elif (event.instance_id, event.name) != (command.instance_id, command.name) or (
            interpreter.codec.unwrap(event.value) != self.value
        ):
            raise interpreter.mismatch(event, command)

    def delivered(self) -> None:
        self.settle(None, None)

    def failed(self, data: Any) -> None:
        failure = Failure.from_data(data, self.interpreter.codec.decode)
        kinds: dict[str, type[DurableError]] = {
            "durable.errors.InstanceNotFound": InstanceNotFound,
            "durable.errors.InstanceFinished": InstanceFinished,
        }
        self.settle(None, kinds.get(failure.type, UsageError)(failure.message))

    def withdraw(self, drain: bool) -> bool:
        if not self.settled:  # it has been sent: only the answer is not waited for
            self.settled = True
            self.interpreter.drop(self.number)
        return False


class SideEffectWait(Wait):
    __slots__ = ()

    def probe(self) -> int | None:
        return self.interpreter.seq

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
        value, error = None, None
        try:
            result = command.fn(*command.args, **command.kwargs)
            value = interpreter.codec.encode(result, f"the value of {command}")
        except Exception as raised:
            error = Failure.of(raised).to_data(interpreter.codec.encode)
        return SideEffectRecorded(interpreter.seq, interpreter.at, number, value, error)


class JoinWait(Wait):
    """Waits for a task; a combinator never cancels a task that it was given."""

    __slots__ = ()

    def probe(self) -> int | None:
        coroutine = self.command._coroutine
        return coroutine.ended_at if coroutine.ended else None

    def issue(self) -> None:
        coroutine = self.command._coroutine
        if coroutine.interpreter is not self.interpreter:
            raise UsageError(f"{self.command} belongs to another instance")
        if coroutine.ended:
            self.settle(*coroutine.outcome())
            return
        if coroutine.joiners is None:
            coroutine.joiners = {}
        coroutine.joiners[self] = None

    def withdraw(self, drain: bool) -> bool:
        if not self.settled:
            self.settled = True
            joiners = self.command._coroutine.joiners
            if joiners:
                joiners.pop(self, None)
        return False


class Signals:
    """Signals that have arrived and that nobody has read, and who waits, by name."""

    __slots__ = ("_buffers", "_waiters", "count")

    def __init__(self) -> None:
        self._buffers: dict[str, list[tuple[int, Any]]] = {}
        self._waiters: dict[str, dict[SignalWait, None]] = {}
        self.count = 0  # of those who wait

    def arrival(self, name: str) -> int | None:
        buffer = self._buffers.get(name)
        return buffer[0][0] if buffer else None

    def take(self, name: str) -> tuple[int, Any] | None:
        buffer = self._buffers.get(name)
        if not buffer:
            return None
        found = buffer.pop(0)
        if not buffer:
            del self._buffers[name]
        return found

    def wait(self, name: str, wait: SignalWait) -> None:
        self._waiters.setdefault(name, {})[wait] = None
        self.count += 1

    def leave(self, name: str, wait: SignalWait) -> None:
        waiters = self._waiters.get(name)
        if waiters is not None and wait in waiters:
            del waiters[wait]
            self.count -= 1
            if not waiters:
                del self._waiters[name]

    def arrive(self, name: str, signal: tuple[int, Any]) -> None:
        """A signal has come, or comes back to its place: whoever has waited longest gets
        the earliest."""
        buffer = self._buffers.setdefault(name, [])
        place = len(buffer)
        while place and buffer[place - 1][0] > signal[0]:
            place -= 1
        buffer.insert(place, signal)
        waiters = self._waiters.get(name)
        if waiters:
            wait = next(iter(waiters))
            self.leave(name, wait)
            found = self.take(name)
            assert found is not None
            wait.receive(found)

    def unread(self) -> tuple[str, ...]:
        """Names of what nobody has read, one for each signal, in order of arrival."""
        left = [(arrival, n) for n, buffer in self._buffers.items() for arrival, _ in buffer]
        return tuple(name for _, name in sorted(left))
