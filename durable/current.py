"""Which coroutine of which workflow runs just now, if any.

One `contextvars.Context` per coroutine holds it, so several workers in one process never
mix their workflows up.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import FrameType
from typing import Any, Protocol

from durable.errors import UsageError


class Running(Protocol):
    """What a verb or a command may ask of the coroutine that runs it."""

    def made(self, command: Any, frame: FrameType) -> None:
        """A command was created; raises `GeneratorExit` while the coroutine is closed."""

    def resumed_by(self, command: Any) -> bool:
        """Whether the coroutine has just been resumed with the result of this command."""


running: ContextVar[Any] = ContextVar("durable_running", default=None)


def inside(verb: str) -> Any:
    """The coroutine that runs; `UsageError` outside a workflow."""
    coroutine = running.get()
    if coroutine is None:
        raise UsageError(f"{verb} works only inside a running workflow")
    coroutine.check_open()
    return coroutine
