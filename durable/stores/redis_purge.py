"""How what has ended is deleted from partitions.

Rules
-----
* What has ended first goes first: of several partitions first what is before a moment up to
  which about as many have ended as are to go, and then, as some of these stay, the rest.
* A child may be deleted if its parent does not want it any more.  If that is elsewhere it is
  asked; a parent that has once done without a child does so for ever (see `durable.purging`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durable.model import Status
from durable.stores.redis_partitions import Partitions

__all__ = ["purge"]

AT_ONCE = 500
"""How many instances a script looks at before others have their turn."""


def purge(
    partitions: Partitions, finished_before: int, statuses: Sequence[Status], limit: int
) -> int:
    """Delete what has ended, at most limit, oldest first; how many."""
    names = [status.value for status in dict.fromkeys(statuses)]
    total = 0
    for before in _moments(partitions, finished_before, names, limit):
        for partition in partitions.all:
            total += _purge_one(partitions, partition, before, names, limit - total)
    return total


def _moments(
    partitions: Partitions, before: int, names: Sequence[str], limit: int
) -> Sequence[int]:
    """Up to when to purge, one after the other."""
    if partitions.count == 1 or not names:
        return [before]
    ends = sorted(at for found in partitions.every("ended", names, limit) for at in found)
    return [min(before, ends[limit - 1] + 1), before] if len(ends) > limit else [before]


def _purge_one(
    partitions: Partitions, partition: int, before: int, names: Sequence[str], limit: int
) -> int:
    places: list[tuple[str, bytes]] = [(name, b"") for name in names]
    total, more = 0, bool(places)
    while more and total < limit:
        count = min(limit - total, AT_ONCE)
        purged, more, ends, elsewhere = partitions.call("purge", partition, before, places, count)
        places = list(zip(names, ends, strict=True))
        total += purged
        if elsewhere:
            total += _purge_children(partitions, partition, elsewhere)
    return total


def _purge_children(partitions: Partitions, partition: int, children: Sequence[Any]) -> int:
    """Delete those of the children {uid, run, uid of the parent, its id, its run} that their
    parents, in other partitions, do not want any more."""
    by_home = partitions.by_id([parent_id.decode() for _, _, _, parent_id, _ in children])
    asked: dict[int, tuple[Any, ...]] = {}
    for home, places in by_home.items():
        asked[home] = ([value for n in places for value in (children[n][2], children[n][4])],)
    wanted = partitions.many("wanted", asked)
    free: list[Any] = []
    for home, places in by_home.items():
        for n, is_wanted in zip(places, wanted[home], strict=True):
            if not is_wanted:
                free += children[n][:2]
    return int(partitions.call("remove", partition, free)) if free else 0
