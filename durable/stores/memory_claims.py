"""What workers own, in the memory store: claims, and what is given back.

Rules
-----
* Only a registered worker claims.  One that was taken over while it was stopped would
  otherwise own things under a name that nobody looks after any more.
* The one who calls holds the store's lock. Nothing here raises half-way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from durable.model import Task
from durable.store import Claimed, ClaimedInstance, ClaimRequest, Owned, TaskKey
from durable.stores.memory_rows import Row, Rows
from durable.stores.refusals import fits

__all__ = ["OWN_AT_ONCE", "Claims"]

OWN_AT_ONCE = 1000
"""How many of its own due instances a claim gives to a worker."""


class Claims:
    """Who owns what, on these rows."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def claim(self, request: ClaimRequest, now: int) -> Claimed:
        """Give a worker what is due."""
        rows, me = self._rows, request.worker
        if me not in rows.workers:
            return Claimed([], [])
        known, build = frozenset(request.workflows), rows.workers[me].build
        fitting = partial(fits, known=known, build=build)
        free = rows.instances.due("", now, request.queues, fitting)
        instances, more = self._take_instances(me, free, request.instances)
        again, more_own = self._take_instances(me, rows.instances.due(me, now), OWN_AT_ONCE)
        able = frozenset(request.activities).__contains__
        waiting = rows.tasks.due("", now, request.queues, able)
        tasks, more_tasks = self._take_tasks(me, waiting, request.tasks)
        moments = (
            rows.instances.next_after("", now, request.queues),
            rows.instances.next_after(me, now),
            rows.tasks.next_after("", now, request.queues),
        )
        return Claimed(
            instances + again,
            tasks,
            next_wake_at=min((at for at in moments if at is not None), default=None),
            more=more or more_own or more_tasks,
        )

    def _take_instances(
        self, worker: str, due: Iterable[bytes], limit: int
    ) -> tuple[list[ClaimedInstance], bool]:
        """Own at most ``limit`` of these; tells whether there were more."""
        taken: list[ClaimedInstance] = []
        for uid in due if limit > 0 else ():
            if len(taken) == limit:
                return taken, True
            taken.append(self._hand_out(self._rows.by_uid[uid], worker))
        return taken, False

    def _hand_out(self, row: Row, worker: str) -> ClaimedInstance:
        epoch = row.instance.epoch + 1
        instance = self._rows.update(row, owner=worker, epoch=epoch, wake_at=None)
        return ClaimedInstance(instance, list(row.inbox.values()))

    def _take_tasks(
        self, worker: str, due: Iterable[TaskKey], limit: int
    ) -> tuple[list[Task], bool]:
        taken: list[Task] = []
        for key in due if limit > 0 else ():
            if len(taken) == limit:
                return taken, True
            row = self._rows.by_uid[key[0]]
            old = row.tasks[key]
            task = replace(old, owner=worker, epoch=old.epoch + 1)
            self._rows.put_task(row, task)
            taken.append(task)
        return taken, False

    def owned(self, worker: str) -> Owned:
        """The epochs of what a worker owns."""
        rows = self._rows
        return Owned(
            {u: rows.by_uid[u].instance.epoch for u in rows.held_instances.get(worker, ())},
            {k: rows.by_uid[k[0]].tasks[k].epoch for k in rows.held_tasks.get(worker, ())},
        )

    def adopt(self, worker: str, uids: Sequence[bytes], tasks: Sequence[TaskKey]) -> Claimed:
        """Give a worker again what it owns, under new epochs."""
        claimed = Claimed([], [])
        for uid in dict.fromkeys(uids):
            row = self._rows.by_uid.get(uid)
            if row is not None and row.instance.owner == worker:
                claimed.instances.append(self._hand_out(row, worker))
        for key in dict.fromkeys(tasks):
            task = self._rows.task(key)
            if task is not None and task.owner == worker:
                task = replace(task, epoch=task.epoch + 1)
                self._rows.put_task(self._rows.by_uid[key[0]], task)
                claimed.tasks.append(task)
        return claimed

    def release(self, worker: str, uids: Sequence[bytes], now: int) -> None:
        """Give back instances that a worker has not touched."""
        for uid in dict.fromkeys(uids):
            row = self._rows.by_uid.get(uid)
            if row is not None and worker and row.instance.owner == worker:
                self._rows.update(row, owner="", wake_at=now)
