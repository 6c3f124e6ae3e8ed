"""Which coroutine of which workflow runs just now, if any; and who looks on.

One `contextvars.Context` per coroutine holds it, so several workers in one process never
mix their workflows up.  It is a `durable.interpreter.coroutine.Coroutine`, which this layer
must not know.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Protocol

from durable.errors import UsageError

running: ContextVar[Any] = ContextVar("durable_running", default=None)


class Observer(Protocol):
    """Is told, as it happens, what neither the history nor a result says."""

    def raised(self, error: BaseException) -> None:
        """Code of a workflow has raised this: a coroutine, a side effect, a predicate."""

    def forgot(self, text: str, filename: str, line: int) -> None:
        """A command was created there and never yielded."""


observer: ContextVar[Observer | None] = ContextVar("durable_observer", default=None)
"""Who looks on at what this thread runs: a test does, a worker does not."""


def raised(error: BaseException) -> None:
    """Tell whoever looks on."""
    looking = observer.get()
    if looking is not None:
        looking.raised(error)


def inside(verb: str) -> Any:
    """The coroutine that runs; `UsageError` outside a workflow, and `GeneratorExit` while the
    coroutine is being closed."""
    coroutine = running.get()
    if coroutine is None:
        raise UsageError(f"{verb} works only inside a running workflow")
    coroutine.check_open()
    return coroutine


def acting(verb: str) -> Any:
    """As `inside`, for verbs that change something: `UsageError` in a predicate of
    `wait_until`, which only looks."""
    coroutine = inside(verb)
    if coroutine.interpreter.in_predicate:
        raise UsageError(f"{verb} changes the workflow: the predicate of wait_until only looks")
    return coroutine
