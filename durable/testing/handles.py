"""What a test gets from the client of its `WorkflowEnv`: handles that let virtual time pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from durable.client import Client, Handle
from durable.definitions import WorkflowDefinition
from durable.store import Created, Store

__all__ = ["Waits", "WaitingClient"]

T = TypeVar("T")

Waits = Callable[[Handle[Any], float | None], None]
"""Runs to the end of an instance, for so many seconds of virtual time at most."""


class WaitingHandle(Handle[T]):
    """Nobody else works while a test waits: so waiting is working."""

    waits: Waits

    def result(self, timeout: float | None = None) -> T:
        """As `Handle.result`; the clock is the virtual one."""
        __tracebackhide__ = True
        self.waits(self, timeout)
        return super().result(timeout=0)


class WaitingClient(Client):
    """A client whose handles wait by working."""

    def __init__(self, store: Store, waits: Waits, **options: Any) -> None:
        super().__init__(store, **options)
        self._waits = waits

    def _handle(
        self, id: str, created: Created, definition: WorkflowDefinition[..., Any] | None = None
    ) -> Handle[Any]:
        plain = super()._handle(id, created, definition)
        made: WaitingHandle[Any] = WaitingHandle(self, plain._caller, id, created, definition)
        made.waits = self._waits
        return made
