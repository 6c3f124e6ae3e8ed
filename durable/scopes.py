"""Scopes: blocks of a workflow that can be cancelled, have a time limit, or are shielded.

They follow trio's model: a cancel is level-triggered.  In a cancelled scope every yield
raises `Cancelled` until the block is left, except inside a `shield`.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from durable.current import acting, running
from durable.errors import Cancelled, TimeoutExpired, UsageError
from durable.interpreter.limits import check_room
from durable.interpreter.scopes import Scope, ScopeTimer
from durable.retry import Duration, microseconds

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter

__all__ = ["CancelScope", "shield", "timeout"]


class CancelScope:
    """A block that can be cancelled, from inside or by another coroutine of the workflow.

    It swallows the `Cancelled` of its own cancel, and no other.  Used once.

    >>> with CancelScope() as scope:
    ...     spawn(stop_when_asked(scope))
    ...     yield poll.call()
    >>> scope.cancelled
    """

    _verb = "CancelScope"
    _shield = False

    def __init__(self) -> None:
        acting(self._verb)
        self._scope: Scope | None = None

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called (or its time is up)."""
        return self._scope is not None and self._scope.cancelled

    def cancel(self) -> None:
        """Cancel everything in the block: each yield there raises `Cancelled`, and tasks that
        were spawned in it are cancelled. A second time changes nothing."""
        acting(f"{self._verb}.cancel")
        scope = self._scope
        if scope is None:
            raise UsageError("this scope was not entered: write `with CancelScope() as scope:`")
        with scope.coroutine.interpreter.verb("this scope"):
            scope.cancel()

    def __enter__(self) -> Self:
        coroutine = acting(self._verb)
        if self._scope is not None:
            raise UsageError("a scope is entered once: make another one")
        self._scope = Scope(coroutine, coroutine.scope, self._shield)
        self._entered(coroutine.interpreter, self._scope)
        coroutine.scope = self._scope
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        scope = self._scope
        assert scope is not None
        coroutine = scope.coroutine
        in_order = running.get() is coroutine and coroutine.scope is scope
        scope.leave()
        if isinstance(error, GeneratorExit) or coroutine.interpreter.closing:
            return False  # its generator is dropped: nothing else happens
        self._stop(coroutine.interpreter)
        if not in_order:
            raise UsageError(
                "a scope must be left where it was entered, before the ones around it: do not "
                "hold one open across the `yield` of a generator that gives values"
            )
        return self._left(scope, error)

    def _entered(self, interpreter: Interpreter, scope: Scope) -> None:
        """The block begins."""

    def _stop(self, interpreter: Interpreter) -> None:
        """The block has ended."""

    def _left(self, scope: Scope, error: BaseException | None) -> bool:
        """Whether its error is swallowed."""
        return isinstance(error, Cancelled) and scope.catches()


class _Transparent(CancelScope):
    """For type checkers it swallows nothing, so that what was assigned in the block is known
    after it.  (Its own `cancel`, which is not what it is made for, is the exception.)"""

    if TYPE_CHECKING:

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None,
        ) -> Literal[False]: ...


class _Shield(_Transparent):
    _verb = "shield"
    _shield = True


class _Timeout(_Transparent):
    _verb = "timeout"
    _timer: ScopeTimer | None = None

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def __enter__(self) -> Self:
        check_room(acting(self._verb).interpreter)  # before the scope stands in the tree
        return super().__enter__()

    def _entered(self, interpreter: Interpreter, scope: Scope) -> None:
        with interpreter.verb("this scope"):
            self._timer = ScopeTimer(interpreter, scope, self._limit)

    def _stop(self, interpreter: Interpreter) -> None:
        if self._timer is not None:
            with interpreter.verb("this scope"):
                self._timer.stop()

    def _left(self, scope: Scope, error: BaseException | None) -> bool:
        if self._timer is None or not self._timer.fired:
            return super()._left(scope, error)
        if error is None or (isinstance(error, Cancelled) and scope.catches()):
            raise TimeoutExpired(
                f"a block did not end within {self._limit / 1_000_000:g} s", {"kind": "scope"}
            ) from None
        return False


def shield() -> _Shield:
    """A block that a cancel from outside does not reach: for clean-up.

    >>> except Cancelled:
    ...     with shield():
    ...         yield refund.call(order_id)
    ...     raise
    """
    return _Shield()


def timeout(duration: Duration) -> _Timeout:
    """A block that must end within a duration: seconds or a `timedelta`.

    When the time is up everything in it is cancelled, without waiting for activities, and
    `TimeoutExpired` is raised at its end; also if the block has ended normally all the same.
    Raises `ValueError` for a negative or endless duration, `TypeError` for anything else.

    >>> with timeout(30):
    ...     page = yield fetch.call(url)
    """
    acting("timeout")
    return _Timeout(microseconds(duration, "timeout"))
