"""Who is told of children that begin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from durable.client import Handle
from durable.testing.mocks import Mocks

__all__ = ["Listeners"]

Listener = Callable[[Handle[Any]], object]


class Listeners:
    """By the name of the workflow."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}
        self._heard: set[str] = set()

    def add(self, name: str, do: Listener) -> None:
        self._listeners.setdefault(name, []).append(do)

    def of(self, name: str) -> list[Listener]:
        """Who is told now of a child that has begun."""
        self._heard.add(name)
        return self._listeners.get(name, [])

    def unused(self) -> list[str]:
        """Those that have heard of nothing."""
        unheard = self._listeners.keys() - self._heard
        return [f"env.on_child({name}) was never called" for name in sorted(unheard)]

    def complaints(self, mocks: Mocks, known: Iterable[str]) -> list[str]:
        """The same, with what may have been meant."""
        unheard = sorted(self._listeners.keys() - self._heard)
        hints = [mocks.meant(name, known) for name in unheard]
        return [text + hint for text, hint in zip(self.unused(), hints, strict=True)]
