"""Promises: completed from outside, by a token; waited for by anybody, any number of times."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from durable.errors import DurableError, PromiseError, TimeoutExpired, UsageError
from durable.events import Event, PromiseCompleted, PromiseCreated, PromiseFailed
from durable.failure import Failure
from durable.interpreter.limits import check_room
from durable.interpreter.waits import Claims, Wait

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter


class PromiseState:
    """One promise. It stands among what is pending until it has been resolved.

    name: for people. microseconds: after which it fails, or None. The token is in the
    history, so that a replay (of a fork, too) knows the same one.
    """

    __slots__ = ("ended_at", "event", "interpreter", "limit", "name", "number", "token", "waiters")

    def __init__(self, interpreter: Interpreter, name: str | None, microseconds: int | None):
        check_room(interpreter)
        self.interpreter = interpreter
        self.event: PromiseCompleted | PromiseFailed | None = None
        self.ended_at = 0
        self.limit = microseconds
        self.waiters: dict[PromiseWait, None] = {}
        self.number = number = interpreter.next_number(self)
        self.name = name or str(number)
        event = interpreter.expect(PromiseCreated, number, self)
        if event is None:
            token = interpreter.token(number)
            event = PromiseCreated(interpreter.seq, interpreter.at, number, token, name or "")
            interpreter.emit(event)
        self.token = event.token
        early = interpreter.early.pop(number, None)
        if early is not None:
            del interpreter.pending[number]
            self.resolve(early)
        else:
            self.reissue()

    def __repr__(self) -> str:
        return f"external({self.name!r})"

    @property
    def done(self) -> bool:
        return self.event is not None

    def resolve(self, event: PromiseCompleted | PromiseFailed) -> None:
        """It has been completed or failed: tell all who wait."""
        self.event = event
        self.ended_at = self.interpreter.event_seq
        while self.waiters:
            wait = next(iter(self.waiters))
            del self.waiters[wait]
            wait.settle(*self.outcome(wait.command.type))

    def outcome(self, hint: Any) -> tuple[Any, BaseException | None]:
        """(value, error) for somebody who waits."""
        decode = self.interpreter.codec.decode
        if isinstance(self.event, PromiseCompleted):
            try:
                return decode(self.event.value, hint), None
            except DurableError as unreadable:
                return None, unreadable
        assert self.event is not None
        failure = Failure.from_data(self.event.error, decode)
        error = PromiseError(f"promise {self.name} failed: {failure}", failure)
        error.__cause__ = failure.exception()
        return None, error

    def expired(self, seq: int, at: datetime) -> Event:
        """Its time is up."""
        error = TimeoutExpired(f"promise {self.name} was not kept in time", {"kind": "promise"})
        data = Failure.of(error).to_data(self.interpreter.codec.encode)
        return PromiseFailed(seq, at, self.number, data)

    def wakes(self) -> bool:
        return bool(self.waiters or self.interpreter.predicates)  # which may ask for `done`

    def reissue(self) -> None:
        """From now on it can be completed, for as long as it was given."""
        if self.limit is not None:
            self.interpreter.start_timer(self.number, self.interpreter.at_us + self.limit)


class PromiseWait(Wait):
    """Waits for a promise, which goes on existing if this is withdrawn."""

    __slots__ = ()

    def __init__(self, interpreter: Interpreter, command: Any, parent: Any, index: int) -> None:
        super().__init__(interpreter, command, parent, index)
        if self._state.interpreter is not interpreter:
            raise UsageError(f"{command} belongs to another instance")

    @property
    def _state(self) -> PromiseState:
        state: PromiseState = self.command._state
        return state

    def probe(self, claims: Claims) -> int | None:
        return self._state.ended_at if self._state.done else None

    def issue(self) -> None:
        state = self._state
        if state.done:
            self.settle(*state.outcome(self.command.type))
        else:
            state.waiters[self] = None

    def withdraw(self, drain: bool) -> bool:
        if not self.settled:
            self.settled = True
            self._state.waiters.pop(self, None)
        return False
