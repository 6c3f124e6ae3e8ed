"""Signals: what has arrived, who waits for it, and those that are sent.

A signal is consumed only when its value reaches user code: one that was taken and not
delivered (a race was lost, a gather failed) goes back to the place where it arrived.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from durable.errors import DurableError, InstanceFinished, InstanceNotFound, UsageError
from durable.events import SignalReceived, SignalSent
from durable.failure import Failure
from durable.interpreter.decision import SentSignal
from durable.interpreter.waits import Claims, Wait, claim

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter
    from durable.interpreter.coroutine import Coroutine

Signal = tuple[int, Any, str]
"""(seq of its arrival, payload, message id)."""


def handler_of(interpreter: Interpreter, name: str) -> Coroutine | None:
    """The coroutine that reads the signals of a name for `on_signal`, unless it is cancelled."""
    handler = interpreter.handled.get(name)
    return None if handler is None or handler.scope.is_cancelled() else handler


class SignalWait(Wait):
    """Waits for a signal; ``taken`` is the one that it took."""

    __slots__ = ("taken",)

    def __init__(self, interpreter: Interpreter, command: Any, parent: Any, index: int) -> None:
        super().__init__(interpreter, command, parent, index)
        self.taken: Signal | None = None
        handler = handler_of(interpreter, command.name)
        if handler is not None and handler is not interpreter.issuing:
            raise UsageError(
                f"on_signal({command.name!r}, …) reads the signals of this name: none is left "
                f"for {command}"
            )

    def probe(self, claims: Claims) -> int | None:
        name = self.command.name
        return self.interpreter.signals.arrival(name, claim(claims, (SignalWait, name)))

    def issue(self) -> None:
        found = self.interpreter.signals.take(self.command.name)
        if found is None:
            self.interpreter.signals.wait(self.command.name, self)
        else:
            self.receive(found)

    def receive(self, found: Signal) -> None:
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
            sent = SentSignal(number, command.instance_id, command.name, value)
            interpreter.decision.sends.append(sent)
        elif not interpreter.from_elsewhere and (
            (event.instance_id, event.name) != (command.instance_id, command.name)
            or interpreter.codec.unwrap(event.value) != self.value
        ):
            raise interpreter.mismatch(event, command)

    def reissue(self) -> None:
        command = self.command
        value = self.interpreter.codec.wrap(self.value)
        self.interpreter.decision.sends.append(
            SentSignal(self.number, command.instance_id, command.name, value)
        )

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


class Signals:
    """Signals that have arrived and that nobody has read, and who waits, by name."""

    __slots__ = ("_buffers", "_waiters", "count")

    def __init__(self) -> None:
        self._buffers: dict[str, list[Signal]] = {}
        self._waiters: dict[str, dict[SignalWait, None]] = {}
        self.count = 0  # of those who wait

    def arrival(self, name: str, place: int) -> int | None:
        """When the signal that is the n-th to be read has come, from 0."""
        buffer = self._buffers.get(name, ())
        return buffer[place][0] if place < len(buffer) else None

    def take(self, name: str) -> Signal | None:
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

    def is_awaited(self, name: str) -> bool:
        return name in self._waiters

    def leave(self, name: str, wait: SignalWait) -> None:
        waiters = self._waiters.get(name)
        if waiters is not None and wait in waiters:
            del waiters[wait]
            self.count -= 1
            if not waiters:
                del self._waiters[name]

    def arrive(self, name: str, signal: Signal) -> None:
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
        left = [(arrival, n) for n, buffer in self._buffers.items() for arrival, *_ in buffer]
        return tuple(name for _, name in sorted(left))

    def events(self, at: datetime) -> list[SignalReceived]:
        """What nobody has read, as events for another run, in order of arrival."""
        left = [(signal, name) for name, buffer in self._buffers.items() for signal in buffer]
        left.sort(key=lambda one: one[0][0])
        return [SignalReceived(0, at, name, value, id) for (_, value, id), name in left]
