"""Scopes: which coroutines a cancel reaches, and which block catches it.

Rules
-----
* Scopes are a tree.  Each coroutine has one of its own, whose parent is the scope in which
  it was spawned; each ``with`` block adds one below the scope that its coroutine is in.
* A scope counts as cancelled if it is, or one above it, up to the first shield (which is
  looked at, too).  In a cancelled scope every yield raises `Cancelled`.
* A cancel wakes the coroutines that it reaches in the order of their creation.  One that
  must wait for an activity or a child goes on waiting; a *deadline* stops waiting at once.
* A block swallows `Cancelled` if its scope is cancelled and (it is a shield, or no scope
  that it can see above it is cancelled): trio's rule, asked when the block is left.
* A block that was left stays in the tree while tasks that were spawned in it run.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from durable.errors import Cancelled
from durable.events import RUN_DEADLINE, Event, TimerCancelled, TimerFired, TimerStarted
from durable.model import micros, moment

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter
    from durable.interpreter.coroutine import Coroutine


class Scope:
    """A node of the tree. coroutine: whose own scope it is, or in which it was entered."""

    __slots__ = ("cancelled", "children", "coroutine", "is_open", "parent", "shield")

    def __init__(self, coroutine: Coroutine, parent: Scope | None, shield: bool = False) -> None:
        self.coroutine = coroutine
        self.parent = parent
        self.shield = shield
        self.cancelled = False
        self.is_open = True
        self.children: dict[Scope, None] | None = None
        if parent is not None:
            if parent.children is None:
                parent.children = {}
            parent.children[self] = None

    def is_cancelled(self) -> bool:
        """Whether a yield in this scope raises."""
        scope: Scope | None = self
        while scope is not None:
            if scope.cancelled:
                return True
            if scope.shield:
                return False
            scope = scope.parent
        return False

    def catches(self) -> bool:
        """Whether this block swallows `Cancelled`."""
        if not self.cancelled:
            return False
        return self.shield or self.parent is None or not self.parent.is_cancelled()

    def sees(self, above: Scope) -> bool:
        """Whether a cancel of the scope ``above`` reaches this one."""
        scope: Scope | None = self
        while scope is not None:
            if scope is above:
                return True
            if scope.shield:
                return False
            scope = scope.parent
        return False

    def cancel(self, deadline: bool = False) -> None:
        """Cancel it; a second time changes nothing, for what waits has been asked."""
        self.cancelled = True
        self.coroutine.interpreter.any_cancelled = True
        for coroutine in self._reached():
            coroutine.cancel_wait(deadline)

    def leave(self) -> None:
        """The block has ended, or the coroutine whose own scope it is.

        The coroutine is now in the nearest scope that is open, which is the parent, unless
        blocks are not left in order.
        """
        self.is_open = False
        coroutine = self.coroutine
        while not coroutine.scope.is_open and coroutine.scope is not coroutine.own:
            assert coroutine.scope.parent is not None
            coroutine.scope = coroutine.scope.parent
        scope: Scope | None = self
        while scope is not None and not scope.is_open and not scope.children:
            parent = scope.parent
            if parent is not None and parent.children is not None:
                parent.children.pop(scope, None)
            scope = parent

    def _reached(self) -> list[Coroutine]:
        found: dict[Coroutine, None] = {}
        todo = [self]
        while todo:
            scope = todo.pop()
            if scope.coroutine.scope.sees(self):
                found[scope.coroutine] = None
            todo += [child for child in scope.children or () if not child.shield]
        return sorted(found, key=lambda coroutine: coroutine.birth)


class ScopeTimer:
    """The deadline of a scope: it stands among what is pending, and nobody waits for it."""

    __slots__ = ("fired", "interpreter", "number", "scope")

    def __init__(self, interpreter: Interpreter, scope: Scope, microseconds: int) -> None:
        self.interpreter = interpreter
        self.scope = scope
        self.fired = False
        self.number = number = interpreter.next_number(self)
        event = interpreter.expect(TimerStarted, number, self)
        if event is None:
            due = moment(interpreter.at_us + microseconds)
            event = TimerStarted(interpreter.seq, interpreter.at, number, due)
            interpreter.emit(event)
        interpreter.start_timer(number, micros(event.due_at))

    def __repr__(self) -> str:
        return "timeout(…)"

    def settle(self, value: Any, error: BaseException | None) -> None:
        """It is due."""
        self.fired = True
        self.scope.cancel(deadline=True)

    def stop(self) -> None:
        """The block has ended before."""
        if not self.fired:
            self.interpreter.note(TimerCancelled, self.number, self)
            self.interpreter.stop_timer(self.number)

    def wakes(self) -> bool:
        return True

    def reissue(self) -> None:
        """It stands in the history already."""

    def expired(self, seq: int, at: datetime) -> Event:
        return TimerFired(seq, at, self.number)


class RunDeadline:
    """The time that a whole run may take."""

    __slots__ = ("interpreter",)

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter

    def settle(self, value: Any, error: BaseException | None) -> None:
        """It is due: everything is cancelled, as by a scope around the workflow."""
        root = self.interpreter.root
        if root is not None:
            self.interpreter.timed_out = not root.own.cancelled  # else the cancel was first
            root.own.cancel(deadline=True)

    def wakes(self) -> bool:
        return True

    def reissue(self) -> None:
        """It stands in the event of the start."""

    def expired(self, seq: int, at: datetime) -> Event:
        return TimerFired(seq, at, RUN_DEADLINE)


def cancelled(cause: BaseException | None = None) -> Cancelled:
    """What a yield in a cancelled scope raises."""
    error = Cancelled("cancelled")
    error.__cause__ = cause
    return error
