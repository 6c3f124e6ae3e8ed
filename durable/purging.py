"""Purging: what has ended long ago is deleted, a batch at a time.

Rules
-----
* Each batch is one transaction.  After it others have their turn: whoever purges rests for as
  long as the batch took.  What was deleted stays so, whatever happens to the next batch.
* A finished child outlives whoever could ask for it again.  A parent that is retried looks up
  the children whose ends its former run has not heard, and starts those again that it does not
  find: their work would be done twice.  So a child of the present run of its parent, or of the
  one before, stays until the parent has ended; and one whose parent failed or was cancelled,
  and so can be retried, until the parent is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from durable.model import Instance, Status
from durable.store import Filter, Store

__all__ = ["DEFAULT_BATCH", "count", "purge", "wanted"]

DEFAULT_BATCH = 500
"""Instances in one transaction."""

LONGEST_REST = 1.0
PAGE = 1000

RETRIABLE = (Status.FAILED, Status.CANCELLED)


def wanted(run: int, parent: Instance) -> bool:
    """Whether the parent of an instance that has ended, which started it in this run, could
    still ask for it."""
    if parent.status.finished:
        return parent.status in RETRIABLE
    return parent.run <= run + 1


def purge(batch: Callable[[], int], rest: Callable[[float], object]) -> int:
    """Delete batch by batch until there is nothing left; gives how many.

    batch: deletes one, and gives how many. rest: called between two with the seconds to rest;
    what is true ends it.
    """
    total = 0
    while True:
        began = time.monotonic()
        count = batch()
        total += count
        if not count or rest(min(time.monotonic() - began, LONGEST_REST)):
            return total


def count(store: Store, finished_before: int, statuses: Collection[Status]) -> int:
    """How many a purge would delete. It reads all that has ended in one of these ways."""
    going = {
        row.uid: row
        for row in _rows(store, tuple(statuses))
        if row.finished_at is not None and row.finished_at < finished_before
    }
    parents = [row.parent for row in going.values() if row.parent is not None]
    ids = {parent.id for parent in parents if parent.uid not in going}
    keepers = [row for id in ids if (row := store.instance(id)) is not None]
    while keepers:  # what stays may want its own children in turn
        by_uid = {row.uid: row for row in keepers}
        keepers = [
            row
            for row in going.values()
            if (parent := row.parent) is not None
            and parent.uid in by_uid
            and wanted(parent.run, by_uid[parent.uid])
        ]
        for row in keepers:
            del going[row.uid]
    return len(going)


def _rows(store: Store, statuses: tuple[Status, ...]) -> Iterator[Instance]:
    """What has these statuses, without the payloads."""
    where = Filter(statuses=statuses, limit=PAGE)
    while True:
        page = store.instances(where)
        for row in page.rows:
            yield replace(row, args=b"", kwargs=None, vars=None, result=None, failure=None)
        if page.cursor is None:
            return
        where = replace(where, cursor=page.cursor)
