"""In which partitions of a Redis store something may be due: those that a claim asks.

Rules
-----
* A partition is asked when it may have changed since it was asked last, here or elsewhere (the
  watch hears it); when the moment has come that it told then; and when it was not asked for a
  second, as not every change is told.
* What was learned holds for one kind of request: others may take what this one may not.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable
from itertools import count

__all__ = ["Agenda", "View"]

ASK_EVERY = 1.0
"""Seconds."""

VIEWS = 100
"""Of how many kinds of requests something is remembered."""


class Agenda:
    """Which of ``count`` partitions have changed, and what each kind of request has seen."""

    def __init__(self, partitions: int) -> None:
        self._numbers = count(1)  # as no two threads get the same, no change is lost
        self.changes = [next(self._numbers) for _ in range(partitions)]
        self._views: dict[Hashable, View] = {}

    def changed(self, partitions: Iterable[int]) -> None:
        """Something may be due there."""
        for partition in partitions:
            self.changes[partition] = next(self._numbers)

    def view(self, kind: Hashable) -> View:
        """What this kind of request has seen."""
        found = self._views.get(kind)
        if found is None:
            if len(self._views) >= VIEWS:
                self._views.clear()
            found = self._views[kind] = View(self)
        return found


class View:
    """What one kind of request has seen of the partitions."""

    def __init__(self, agenda: Agenda) -> None:
        self._changes = agenda.changes
        partitions = len(agenda.changes)
        self._seen = [0] * partitions  # the change up to which it was asked
        self._next: list[int | None] = [None] * partitions
        self._asked = [0.0] * partitions
        self._first = 0

    def to_ask(self, now: int, *, everywhere: bool) -> dict[int, int]:
        """The partitions to be asked, beginning with another one each time, with their marks
        for `told`."""
        partitions = len(self._changes)
        since = time.monotonic() - ASK_EVERY
        self._first = (self._first + 1) % partitions
        order = (*range(self._first, partitions), *range(self._first))
        return {p: self._changes[p] for p in order if everywhere or self._may_be_due(p, now, since)}

    def _may_be_due(self, partition: int, now: int, since: float) -> bool:
        at = self._next[partition]
        return (
            self._changes[partition] != self._seen[partition]
            or (at is not None and at <= now)
            or self._asked[partition] < since
        )

    def told(self, partition: int, mark: int, next_wake_at: int | None, more: bool) -> None:
        """What it answered. more: something due was left behind."""
        self._asked[partition] = time.monotonic()
        self._next[partition] = next_wake_at
        self._seen[partition] = 0 if more else mark

    def next_wake_at(self) -> int | None:
        """When something more falls due, as far as is known."""
        return min((at for at in self._next if at is not None), default=None)
