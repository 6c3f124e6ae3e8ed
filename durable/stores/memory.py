"""The memory store: dictionaries and one lock.

It is the reference implementation of the contract (`durable.store`) and the base of the
testing kit.  Values are kept as the encoded bytes that were given, as in every other store.

Rules
-----
* Each verb holds the one lock from beginning to end: that is its transaction.  What can be
  refused is refused before the first change.
* The generation counts changes that somebody else may be waiting for.  Each is announced
  under the lock that made it, so a `wait` with a mark taken before it returns.
* Only a registered worker claims.  One that was taken over while it was stopped would
  otherwise own things under a name that nobody looks after any more.
* The store is of one process.  A forked child has a copy as of the fork; the lock is held
  across the fork, so the copy is whole.
"""

from __future__ import annotations

import os
import time
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from heapq import nsmallest
from threading import Condition

from durable.errors import InstanceAlreadyExists, UsageError
from durable.model import Instance, Stats, Status, Task, WorkerInfo
from durable.store import (
    DEFAULT_MAX_INBOX,
    UNKNOWN,
    Claimed,
    ClaimedInstance,
    ClaimRequest,
    Completion,
    Created,
    Filter,
    Message,
    NewInstance,
    Outgoing,
    Owned,
    Page,
    Postponed,
    Sent,
    Step,
    Store,
    TaskKey,
    Verdict,
)
from durable.stores.memory_rows import Row, Rows, needs
from durable.stores.memory_steps import Steps

__all__ = ["MemoryStore"]

OWN_AT_ONCE = 1000
"""How many of its own due instances a claim gives to a worker."""

SCHEMA = (1, 1)


def _system_clock() -> int:
    return time.time_ns() // 1000


class MemoryStore(Store):
    """Everything in this process, nothing on disk.

    clock: gives microseconds since 1970; tests set their own. Defaults to the system's.
    max_inbox: how many messages may wait for one instance before senders are refused.
    Defaults to 100,000.
    """

    def __init__(
        self,
        clock: Callable[[], int] | None = None,
        max_inbox: int = DEFAULT_MAX_INBOX,
        url: str = "memory://",
    ) -> None:
        self.url = url
        self._clock = clock or _system_clock
        self._rows = Rows()
        self._steps = Steps(self._rows, max_inbox)
        self._generation = 0
        self._lock = Condition()
        _stores.add(self)

    # -- the schema ---------------------------------------------------------------------

    def open(self) -> None:
        """Nothing to prepare."""

    def schema(self) -> tuple[int, int]:
        return SCHEMA

    def migrate(self, *, dry_run: bool = False) -> list[str]:
        return []

    def close(self) -> None:
        """Nothing to release: the rows stay as long as the store."""

    def size(self) -> int:
        return 0

    # -- time and waking ----------------------------------------------------------------

    def now(self) -> int:
        return self._clock()

    def mark(self) -> int:
        with self._lock:
            return self._generation

    def wait(self, mark: int, timeout: float | None) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self._generation != mark, timeout)

    def wake(self) -> None:
        with self._lock:
            self._announce()

    def _announce(self) -> None:
        self._generation += 1
        self._lock.notify_all()

    # -- clients ------------------------------------------------------------------------

    def create(self, new: Sequence[NewInstance], if_exists: str) -> list[Created]:
        with self._lock:
            now = self._clock()
            self._refuse_existing(new, if_exists)
            made = [self._create(one, if_exists, now) for one in new]
            self._announce()
            return made

    def _refuse_existing(self, new: Sequence[NewInstance], if_exists: str) -> None:
        tokens: dict[str, bytes] = {}
        for one in new:
            row = self._rows.by_id.get(one.id)
            token = tokens.get(one.id, None if row is None else row.token)
            if token == one.token or if_exists == "use":
                continue
            free = row is None or (if_exists == "restart" and row.instance.status.finished)
            if one.id in tokens or not free:
                raise InstanceAlreadyExists(f"an instance with the id {one.id!r} exists")
            tokens[one.id] = one.token

    def _create(self, new: NewInstance, if_exists: str, now: int) -> Created:
        row = self._rows.by_id.get(new.id)
        if row is None:
            row = self._rows.add(new, now)
        elif row.token != new.token:
            if if_exists == "use":
                return Created(row.instance.uid, row.instance.run, new=False)
            self._rows.restart(row, new, now)
        return Created(row.instance.uid, row.instance.run, new=True)

    def send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        with self._lock:
            now = self._clock()
            outcomes = [self._steps.send(message, now) for message in messages]
            self._announce()
            return outcomes

    def terminate(self, id: str, message_id: str, event: bytes, reason: str) -> Sent:
        with self._lock:
            row = self._rows.target(id, message_id)
            if isinstance(row, Sent):
                return row
            row.receipts.add(message_id)
            instance = row.instance
            row.histories[instance.run].append(event)
            self._rows.finish(
                row,
                Status.TERMINATED,
                self._clock(),
                epoch=instance.epoch + 1,
                history_length=instance.history_length + 1,
                reason=reason,
            )
            self._announce()
            return Sent.SENT

    def delete(self, id: str) -> Sent | None:
        with self._lock:
            row = self._rows.by_id.get(id)
            if row is None:
                return Sent.NOT_FOUND
            if not row.instance.status.finished:
                return None
            self._rows.remove(row)
            self._announce()
            return Sent.SENT

    def purge(self, finished_before: int, statuses: Sequence[Status], limit: int) -> int:
        with self._lock:
            ended = (
                (row.instance.finished_at, uid, row)
                for uid, row in self._rows.by_uid.items()
                if row.instance.status in statuses
                and row.instance.finished_at is not None
                and row.instance.finished_at < finished_before
            )
            oldest = nsmallest(limit, ended)
            for _, _, row in oldest:
                self._rows.remove(row)
            if oldest:
                self._announce()
            return len(oldest)

    # -- workers ------------------------------------------------------------------------

    def register(self, worker: WorkerInfo) -> None:
        with self._lock:
            self._rows.workers[worker.id] = worker
            now = self._clock()
            for uid in list(self._rows.blocked):
                row = self._rows.by_uid[uid]
                if row.instance.blocked_by == worker.build:
                    continue
                if needs(row.instance) in worker.workflows:
                    self._rows.update(row, wake_at=now)
                    self._announce()

    def heartbeat(self, worker: str, lease: int) -> list[TaskKey] | None:
        with self._lock:
            info = self._rows.workers.get(worker)
            now = self._clock()
            if info is None or info.expires_at <= now:
                return None
            self._rows.workers[worker] = replace(info, expires_at=now + lease)
            held = self._rows.held_tasks.get(worker, ())
            return [key for key in held if self._rows.by_uid[key[0]].tasks[key].cancel_requested]

    def unregister(self, worker: str) -> None:
        with self._lock:
            self._rows.workers.pop(worker, None)
            self._rows.release(worker, self._clock(), crashes=0)
            self._announce()

    def take_over(self, workers: Sequence[str] | None) -> int:
        with self._lock:
            now = self._clock()
            known = self._rows.workers
            if workers is None:
                workers = [info.id for info in known.values() if info.expires_at <= now]
            for worker in workers:
                self._rows.release(worker, now, crashes=1)
            if workers:
                self._announce()
            return sum(known.pop(worker, None) is not None for worker in workers)

    def block_unknown(self, worker: WorkerInfo, after: int) -> int:
        with self._lock:
            now = self._clock()
            live = [info for info in self._rows.workers.values() if info.expires_at > now]
            known = {name for info in live for name in info.workflows}
            changed = 0
            for uid, place in self._rows.instances.look("", now, worker.queues):
                if place.name not in known:
                    row = self._rows.by_uid[uid]
                    changed += self._block_unknown(row, now - place.wake_at > after)
            if changed:
                self._announce()
            return changed

    def _block_unknown(self, row: Row, overdue: bool) -> bool:
        reason = f"no worker knows workflow {needs(row.instance)}"
        if overdue:
            self._rows.update(
                row, status=Status.BLOCKED, blocked_by=UNKNOWN, wake_at=None, reason=reason
            )
            return True
        if row.instance.reason == reason:
            return False
        self._rows.update(row, reason=reason)
        return True

    # -- what workers own ---------------------------------------------------------------

    def claim(self, request: ClaimRequest) -> Claimed:
        with self._lock:
            now = self._clock()
            rows, me = self._rows, request.worker
            if me not in rows.workers:
                return Claimed([], [])
            free = rows.instances.due("", now, request.queues, frozenset(request.workflows))
            instances, more = self._take_instances(me, free, request.instances)
            again, more_own = self._take_instances(me, rows.instances.due(me, now), OWN_AT_ONCE)
            waiting = rows.tasks.due("", now, request.queues, frozenset(request.activities))
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
            row = self._rows.by_uid[uid]
            epoch = row.instance.epoch + (row.instance.owner != worker)
            taken.append(self._hand_out(row, worker, epoch))
        return taken, False

    def _hand_out(self, row: Row, worker: str, epoch: int) -> ClaimedInstance:
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
        with self._lock:
            rows = self._rows
            return Owned(
                {u: rows.by_uid[u].instance.epoch for u in rows.held_instances.get(worker, ())},
                {k: rows.by_uid[k[0]].tasks[k].epoch for k in rows.held_tasks.get(worker, ())},
            )

    def release(self, worker: str, uids: Sequence[bytes]) -> None:
        with self._lock:
            for uid in dict.fromkeys(uids):
                row = self._rows.by_uid.get(uid)
                if row is not None and worker and row.instance.owner == worker:
                    self._rows.update(row, owner="", wake_at=self._clock())
            self._announce()

    def adopt(self, worker: str, uids: Sequence[bytes], tasks: Sequence[TaskKey]) -> Claimed:
        with self._lock:
            claimed = Claimed([], [])
            for uid in dict.fromkeys(uids):
                row = self._rows.by_uid.get(uid)
                if row is not None and row.instance.owner == worker:
                    again = self._hand_out(row, worker, row.instance.epoch + 1)
                    claimed.instances.append(again)
            for key in dict.fromkeys(tasks):
                task = self._rows.task(key)
                if task is not None and task.owner == worker:
                    task = replace(task, epoch=task.epoch + 1)
                    self._rows.put_task(self._rows.by_uid[key[0]], task)
                    claimed.tasks.append(task)
            return claimed

    # -- what workers write -------------------------------------------------------------

    def commit(self, worker: str, steps: Sequence[Step]) -> list[Verdict]:
        with self._lock:
            verdicts, notable = self._steps.commit(worker, steps, self._clock())
            if notable:
                self._announce()
            return verdicts

    def complete(
        self, worker: str, completions: Sequence[Completion], postponed: Sequence[Postponed]
    ) -> list[bool]:
        with self._lock:
            now = self._clock()
            told = [self._steps.complete(worker, one, now) for one in completions]
            told += [self._steps.postpone(worker, one, now) for one in postponed]
            self._announce()
            return told

    # -- reads --------------------------------------------------------------------------

    def instance(self, id: str) -> Instance | None:
        with self._lock:
            row = self._rows.by_id.get(id)
            return None if row is None else row.instance

    def instances(self, where: Filter) -> Page:
        with self._lock:
            listed = self._rows.listed
            end = len(listed)
            if where.cursor is not None:
                end = bisect_left(listed, _position(where.cursor))
            rows: list[Instance] = []
            for place in range(end - 1, -1, -1):
                instance = self._rows.by_uid[listed[place][1]].instance
                if not _matches(instance, where):
                    continue
                if len(rows) == where.limit:
                    return Page(rows, _cursor(rows[-1]))
                rows.append(instance)
            return Page(rows, None)

    def history(self, keys: Sequence[tuple[bytes, int]]) -> list[list[tuple[int, bytes]]]:
        with self._lock:
            rows = [self._rows.by_uid.get(uid) for uid, _ in keys]
            return [
                [] if row is None else list(enumerate(row.histories.get(run, ())))
                for row, (_, run) in zip(rows, keys, strict=True)
            ]

    def inbox(self, uid: bytes) -> list[Message]:
        with self._lock:
            row = self._rows.by_uid.get(uid)
            return [] if row is None else list(row.inbox.values())

    def unread(self, uid: bytes) -> tuple[str, ...]:
        with self._lock:
            row = self._rows.by_uid.get(uid)
            return () if row is None else row.unread

    def tasks(self, uid: bytes) -> list[Task]:
        with self._lock:
            row = self._rows.by_uid.get(uid)
            return [] if row is None else sorted(row.tasks.values(), key=lambda task: task.command)

    def workers(self) -> list[WorkerInfo]:
        with self._lock:
            return sorted(self._rows.workers.values(), key=lambda info: (info.started_at, info.id))

    def stats(self) -> Stats:
        with self._lock:
            rows = self._rows.by_uid.values()
            counts = {status.value: 0 for status in Status}
            for row in rows:
                counts[row.instance.status] += 1
            running = sum(len(held) for held in self._rows.held_tasks.values())
            return Stats(
                instances=counts,
                tasks_waiting=sum(len(row.tasks) for row in rows) - running,
                tasks_running=running,
                messages=sum(len(row.inbox) for row in rows),
                workers=len(self._rows.workers),
                oldest_wake_at=self._rows.instances.earliest(""),
            )


def _matches(instance: Instance, where: Filter) -> bool:
    return (
        (where.workflow is None or instance.workflow == where.workflow)
        and (not where.statuses or instance.status in where.statuses)
        and (where.queue is None or instance.queue == where.queue)
        and (where.tag is None or where.tag in instance.tags)
        and (where.since is None or instance.created_at >= where.since)
        and (where.until is None or instance.created_at < where.until)
        and (where.prefix is None or instance.id.startswith(where.prefix))
    )


def _cursor(last: Instance) -> str:
    return f"{last.created_at}-{last.uid.hex()}"


def _position(cursor: str) -> tuple[int, bytes]:
    created_at, _, uid = cursor.partition("-")
    try:
        return int(created_at), bytes.fromhex(uid)
    except ValueError:
        raise UsageError(f"{cursor!r} is not a cursor that a listing gave") from None


_stores: weakref.WeakSet[MemoryStore] = weakref.WeakSet()
_held_over_fork: list[MemoryStore] = []


def _before_fork() -> None:
    _held_over_fork[:] = _stores
    for store in _held_over_fork:
        store._lock.acquire()


def _after_fork() -> None:
    for store in _held_over_fork:
        store._lock.release()
    _held_over_fork.clear()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
