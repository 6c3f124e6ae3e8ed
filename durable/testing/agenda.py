"""Virtual time: what is to be done, and when."""

from __future__ import annotations

import heapq
from collections.abc import Callable

__all__ = ["Agenda"]


class Agenda:
    """Callables by moment (microseconds since 1970); of one moment in the order given."""

    def __init__(self) -> None:
        self._items: list[tuple[int, int, Callable[[], object]]] = []
        self._count = 0

    def add(self, moment: int, do: Callable[[], object]) -> None:
        self._count += 1
        heapq.heappush(self._items, (moment, self._count, do))

    @property
    def next(self) -> int | None:
        """The earliest moment, or None."""
        return self._items[0][0] if self._items else None

    def due(self, now: int) -> list[Callable[[], object]]:
        """Take what is due."""
        found = []
        while self._items and self._items[0][0] <= now:
            found.append(heapq.heappop(self._items)[2])
        return found

    def put_back(self, moment: int, items: list[Callable[[], object]]) -> None:
        """Give back what was taken and not done, to be taken first of that moment."""
        for place, do in enumerate(items):
            heapq.heappush(self._items, (moment, place - len(items), do))
