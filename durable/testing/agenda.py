"""Virtual time: what is to be done, and when."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Agenda", "Item"]


class Item(NamedTuple):
    """Something to be done. what: in words, for reports."""

    what: str
    do: Callable[[], object]


class Agenda:
    """Items by moment (microseconds since 1970); of one moment in the order given."""

    def __init__(self) -> None:
        self._items: list[tuple[int, int, Item]] = []
        self._count = 0

    def add(self, moment: int, what: str, do: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._items, (moment, self._count, Item(what, do)))

    @property
    def next(self) -> int | None:
        """The earliest moment, or None."""
        return self._items[0][0] if self._items else None

    def due(self, now: int) -> list[Item]:
        """Take what is due."""
        found = []
        while self._items and self._items[0][0] <= now:
            found.append(heapq.heappop(self._items)[2])
        return found

    def put_back(self, moment: int, items: list[Item]) -> None:
        """Give back what was taken and not done, to be taken first of that moment."""
        for place, item in enumerate(items):
            heapq.heappush(self._items, (moment, place - len(items), item))
