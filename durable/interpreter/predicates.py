"""`wait_until`: a predicate over the workflow's own state.

It is looked at when it is yielded, and then whenever all coroutines wait; it must only look.
One that raises is a failure of that wait.
"""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any

from durable.current import raised
from durable.interpreter.aborted import StepAborted
from durable.interpreter.waits import Claims, Wait

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter


class PredicateWait(Wait):
    __slots__ = ("context", "error")

    def __init__(self, interpreter: Interpreter, command: Any, parent: Any, index: int) -> None:
        super().__init__(interpreter, command, parent, index)
        self.context = interpreter.issuing.context
        self.error: BaseException | None = None

    def _is_true(self) -> bool:
        """Whether it is settled by what the predicate says: something true, or an error."""
        self.error = None
        self.interpreter.in_predicate = True
        try:
            return bool(self._checked(self.context.run(self.command.predicate)))
        except StepAborted:
            raise
        except BaseException as error:  # SystemExit, too: it must not stop the worker
            raised(error)
            self.error = error
            return True
        finally:
            self.interpreter.in_predicate = False

    def _checked(self, value: Any) -> Any:
        """What the predicate gave, unless it is always true."""
        if isinstance(value, CoroutineType):
            value.close()  # else Python warns, as well, that it was never awaited
        if isinstance(value, (GeneratorType, CoroutineType, AsyncGeneratorType)):
            raise TypeError(
                f"{self.command} takes a plain function, which gives true or false: this one is "
                "a generator function or `async def`; write it without `yield` and `async`"
            )
        return value

    def probe(self, claims: Claims) -> int | None:
        return self.interpreter.event_seq if self._is_true() else None

    def issue(self) -> None:
        if self._is_true():
            self.settle(None, self.error)
        else:
            self.interpreter.predicates[self] = None

    def look(self) -> bool:
        """Look again; True if it has settled."""
        if self.settled or not self._is_true():
            return False
        del self.interpreter.predicates[self]
        self.settle(None, self.error)
        return True

    def withdraw(self, drain: bool) -> bool:
        if not self.settled:
            self.settled = True
            self.interpreter.predicates.pop(self, None)
        return False
