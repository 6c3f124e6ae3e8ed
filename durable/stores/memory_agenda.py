"""When something must be looked at: the index that drives claims in the memory store.

Rules
-----
* A key is at no place, or at one: an owner (``""`` for nobody), a queue, the name of what it
  needs, and a moment.
* Places with the same owner, queue and name share a bucket, so that a claim never walks over
  what it could not run; a claim merges its buckets and gives the earliest moment first, and
  at one moment what was put there first.
* A bucket is two heaps, what is due and what is later, as of the moment at which it was
  last looked at: the next moment is known without walking over what is due.
* Replaced entries stay in a heap until they come to its top, or until there are more of
  them than of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, merge
from itertools import count
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Agenda", "Place"]

K = TypeVar("K")

Entry = tuple[int, int, K]
"""(moment, order of arrival, key)."""

SLACK = 64
"""Replaced entries that a small bucket may keep."""


class Place(NamedTuple):
    """Where a key stands."""

    owner: str
    queue: str
    name: str
    wake_at: int


@dataclass(slots=True)
class _Bucket(Generic[K]):
    due: list[Entry[K]] = field(default_factory=list)
    later: list[Entry[K]] = field(default_factory=list)
    alive: int = 0
    until: int = 0


class Agenda(Generic[K]):
    """Keys by (owner, queue, name), each group in the order of its moments."""

    def __init__(self) -> None:
        self._places: dict[K, Place] = {}
        self._entries: dict[K, Entry[K]] = {}
        self._buckets: dict[str, dict[tuple[str, str], _Bucket[K]]] = {}
        self._arrivals = count()

    def put(self, key: K, place: Place | None) -> None:
        """Move a key to a place, or take it off (None). Standing still keeps its turn."""
        old = self._places.get(key)
        if old == place:
            return
        if old is not None:
            self._leave(key, old)
        if place is None:
            return
        group = (place.queue, place.name)
        bucket = self._buckets.setdefault(place.owner, {}).setdefault(group, _Bucket())
        entry = (place.wake_at, next(self._arrivals), key)
        self._places[key] = place
        self._entries[key] = entry
        bucket.alive += 1
        heappush(bucket.later, entry)
        if len(bucket.due) + len(bucket.later) > 2 * bucket.alive + SLACK:
            self._sweep(bucket)

    def due(
        self,
        owner: str,
        now: int,
        queues: Collection[str] | None = None,
        fits: Callable[[str], bool] | None = None,
    ) -> Iterator[K]:
        """Keys whose moment has come, earliest first; None means any queue, any name.

        Each key must be moved away (by `put`) before the next one is asked for.
        """
        due = [self._drain(bucket, now) for bucket in self._among(owner, queues, fits)]
        for _, _, key in merge(*due):
            yield key

    def look(self, owner: str, now: int, queues: Collection[str]) -> list[tuple[K, Place]]:
        """What is due, in no order; nothing is moved."""
        return [
            (entry[2], self._places[entry[2]])
            for bucket in self._among(owner, queues)
            for entry in (*bucket.due, *bucket.later)
            if entry[0] <= now and self._lives(entry)
        ]

    def next_after(self, owner: str, now: int, queues: Collection[str] | None = None) -> int | None:
        """The earliest moment after now, or None."""
        tops = [self._first_after(bucket, now) for bucket in self._among(owner, queues)]
        return min((first[0] for first in tops if first is not None), default=None)

    def earliest(self, owner: str) -> int | None:
        """The earliest moment of all that this owner has, due or not."""
        tops = (self._top(h) for b in self._among(owner) for h in (b.due, b.later))
        return min((first[0] for first in tops if first is not None), default=None)

    def _among(
        self,
        owner: str,
        queues: Collection[str] | None = None,
        fits: Callable[[str], bool] | None = None,
    ) -> list[_Bucket[K]]:
        return [
            bucket
            for (queue, name), bucket in self._buckets.get(owner, {}).items()
            if (queues is None or queue in queues) and (fits is None or fits(name))
        ]

    def _drain(self, bucket: _Bucket[K], now: int) -> Iterator[Entry[K]]:
        self._advance(bucket, now)
        while (first := self._top(bucket.due)) is not None:
            yield first

    def _first_after(self, bucket: _Bucket[K], now: int) -> Entry[K] | None:
        self._advance(bucket, now)
        return self._top(bucket.later)

    def _advance(self, bucket: _Bucket[K], now: int) -> None:
        """What is due until now stands in ``due``, all else in ``later``."""
        if now < bucket.until:  # the clock was set back
            bucket.later += bucket.due
            bucket.due.clear()
            heapify(bucket.later)
        bucket.until = now
        while (first := self._top(bucket.later)) is not None and first[0] <= now:
            heappush(bucket.due, heappop(bucket.later))

    def _top(self, heap: list[Entry[K]]) -> Entry[K] | None:
        while heap and not self._lives(heap[0]):
            heappop(heap)
        return heap[0] if heap else None

    def _lives(self, entry: Entry[K]) -> bool:
        return self._entries.get(entry[2]) is entry

    def _leave(self, key: K, place: Place) -> None:
        del self._places[key], self._entries[key]
        buckets = self._buckets[place.owner]
        bucket = buckets[place.queue, place.name]
        bucket.alive -= 1
        if not bucket.alive:
            del buckets[place.queue, place.name]
            if not buckets:
                del self._buckets[place.owner]

    def _sweep(self, bucket: _Bucket[K]) -> None:
        for heap in (bucket.due, bucket.later):
            heap[:] = filter(self._lives, heap)
            heapify(heap)
