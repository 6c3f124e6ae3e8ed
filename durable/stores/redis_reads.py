"""What is read of several instances: listings, and what stands beside them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from durable.errors import UsageError
from durable.model import Instance, Stats, Status
from durable.store import Filter, Page
from durable.stores import redis_rows as rows
from durable.stores.redis_partitions import Partitions

__all__ = ["by_ids", "count", "instances", "size", "stats"]

AT_ONCE = 500
"""How many instances a script lists before others have their turn."""

SAMPLES = 1000
"""How many entries of a table tell its size."""

Place = tuple[int, bytes]
"""Where an instance stands in a listing: when it was created, and its uid."""


def by_ids(partitions: Partitions, ids: Sequence[str]) -> list[Instance]:
    """Those instances that exist."""
    found = []
    for partition, places in partitions.by_id(ids).items():
        asked = [ids[place] for place in places]
        for stored in partitions.call("read", partition, asked, []):
            instance = rows.instance_from(stored)
            partitions.found(partition, [instance.uid])
            found.append(instance)
    return found


def _by_uids(partitions: Partitions, uids: Sequence[bytes]) -> list[Instance]:
    """Those instances that exist, in this order."""
    parts = partitions.by_uid(uids)
    asked: dict[int, tuple[Any, ...]]
    asked = {p: ([], [uids[place] for place in places]) for p, places in parts.items()}
    answers = partitions.many("read", asked).values()
    found = {one.uid: one for stored in answers for one in map(rows.instance_from, stored)}
    return [found[uid] for uid in uids if uid in found]


def instances(partitions: Partitions, where: Filter) -> Page:
    """A page of what matches, newest first: see `Store.instances`."""
    page = list(islice(_matching(partitions, where), where.limit + 1))
    cursor = _cursor(page[where.limit - 1]) if len(page) > where.limit else None
    # A row may have gone, or changed, since it was listed.
    return Page(_by_uids(partitions, [one.uid for one in page[: where.limit]]), cursor)


def count(partitions: Partitions, where: Filter) -> int:
    """How many match: see `Store.count`."""
    return sum(1 for _ in _matching(partitions, replace(where, limit=AT_ONCE, cursor=None)))


def _matching(partitions: Partitions, where: Filter) -> Iterator[Instance]:
    """What matches and follows the cursor, newest first, without the payloads."""
    before = None if where.cursor is None else _position(where.cursor)
    if where.parent is not None:
        answers = partitions.every("list", None, None, where.parent, None, 0)
        found = [one for stored in answers for one in rows.listed_from(stored)]
        keys: Iterator[Instance] = iter(sorted(found, key=_place, reverse=True))
    else:
        ranges = [None] if where.tag is not None else list(where.statuses or Status)
        listed = (_listed(partitions, where, status, before) for status in ranges)
        keys = heapq.merge(*(one for some in listed for one in some), key=_place, reverse=True)
    last = None
    for instance in keys:
        if last == instance.uid:
            continue  # its status has changed meanwhile, so it stands in two lists
        if _matches(instance, where) and (before is None or _place(instance) < before):
            last = instance.uid
            yield instance


def _listed(
    partitions: Partitions, where: Filter, status: Status | None, before: Place | None
) -> list[Iterator[Instance]]:
    """For each partition the instances of a status, or with a tag, newest first and without
    their payloads."""
    if where.until is not None:
        before = min(before or (where.until, b""), (where.until, b""))
    count = min(where.limit + 1, AT_ONCE)
    first = partitions.every("list", *_range(where, status), None, _as_place(before), count)
    return [
        _go_on(partitions, partition, where, status, rows.listed_from(stored), count)
        for partition, stored in enumerate(first)
    ]


def _go_on(
    partitions: Partitions,
    partition: int,
    where: Filter,
    status: Status | None,
    found: list[Instance],
    count: int,
) -> Iterator[Instance]:
    """What was found there, and what follows."""
    while True:
        partitions.found(partition, (instance.uid for instance in found))
        for instance in found:
            if where.since is not None and instance.created_at < where.since:
                return
            yield instance
        if len(found) < count:
            return
        place, count = _as_place(_place(found[-1])), AT_ONCE
        found = rows.listed_from(
            partitions.call("list", partition, *_range(where, status), None, place, count)
        )


def _range(where: Filter, status: Status | None) -> tuple[str | None, str | None]:
    return (None, where.tag) if status is None else (status.value, None)


def _matches(instance: Instance, where: Filter) -> bool:
    parent = None if instance.parent is None else instance.parent.uid
    return (
        (where.workflow is None or instance.workflow == where.workflow)
        and (not where.statuses or instance.status in where.statuses)
        and (where.queue is None or instance.queue == where.queue)
        and (where.tag is None or where.tag in instance.tags)
        and (where.since is None or instance.created_at >= where.since)
        and (where.until is None or instance.created_at < where.until)
        and (where.prefix is None or instance.id.startswith(where.prefix))
        and (where.parent is None or parent == where.parent)
    )


def _place(instance: Instance) -> Place:
    return instance.created_at, instance.uid


def _as_place(place: Place | None) -> bytes | None:
    return None if place is None else rows.as_place(*place)


def _cursor(last: Instance) -> str:
    return f"{last.created_at}-{last.uid.hex()}"


def _position(cursor: str) -> Place:
    created_at, _, uid = cursor.partition("-")
    try:
        return int(created_at), bytes.fromhex(uid)
    except ValueError:
        raise UsageError(f"{cursor!r} is not a cursor that a listing gave") from None


def stats(partitions: Partitions) -> Stats:
    """Counts over all partitions; every worker is registered in each."""
    answers = partitions.every("stats")
    instances: Counter[str] = Counter()
    for counts, *_ in answers:
        instances.update({status.decode(): count for status, count in rows.pairs(counts)})
    tasks, free, messages = (sum(answer[n] for answer in answers) for n in (1, 2, 3))
    return Stats(
        instances=dict(instances),
        tasks_waiting=free,
        tasks_running=tasks - free,
        messages=messages,
        workers=answers[0][4],
        oldest_wake_at=min((int(answer[5]) for answer in answers if answer[5]), default=None),
    )


def size(partitions: Partitions) -> int:
    """Bytes in the servers' memory, about."""
    sizes = [
        partitions.link.command("MEMORY", "USAGE", key, "SAMPLES", SAMPLES, key=key)
        for keys in partitions.keys
        for key in keys.values()
    ]
    return sum(size or 0 for size in sizes)
