"""The memory store: dictionaries and one lock.

It is the reference implementation of the contract (`durable.store`) and the base of the
testing kit.  Values are kept as the encoded bytes that were given, as in every other store.

Rules
-----
* Each verb holds the one lock from beginning to end: that is its transaction.  What can be
  refused is refused before the first change.
* The generation counts changes that somebody else may be waiting for.  Each is announced
  under the lock that made it, so a `wait` with a mark taken before it returns.
* The store is of one process.  A forked child has a copy as of the fork; the lock is held
  across the fork, so the copy is whole.
"""

from __future__ import annotations

import os
import time
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from heapq import nsmallest
from threading import Condition

from durable.errors import UsageError
from durable.model import Instance, Stats, Status, Task, WorkerInfo
from durable.store import (
    DEFAULT_MAX_INBOX,
    UNKNOWN,
    Beat,
    Claimed,
    ClaimRequest,
    Close,
    Completion,
    Created,
    Filter,
    Message,
    NewInstance,
    NextRun,
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
from durable.stores.memory_claims import Claims
from durable.stores.memory_clients import Clients
from durable.stores.memory_family import Family
from durable.stores.memory_rows import Row, Rows, needs
from durable.stores.memory_steps import Steps

__all__ = ["MemoryStore"]

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
        self._secret = os.urandom(32)
        self._rows = Rows()
        family = Family(self._rows)
        self._clients = Clients(self._rows, family)
        self._claims = Claims(self._rows)
        self._steps = Steps(self._rows, family, max_inbox)
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

    def secret(self) -> bytes:
        return self._secret

    def size(self) -> int:
        return 0

    def durability(self) -> str:
        return "volatile"

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

    @contextmanager
    def _change(self) -> Iterator[int]:
        """A transaction that somebody else may be waiting for; gives its moment."""
        with self._lock:
            yield self._clock()
            self._announce()

    # -- clients ------------------------------------------------------------------------

    def create(self, new: Sequence[NewInstance], if_exists: str) -> list[Created]:
        with self._change() as now:
            return self._clients.create(new, if_exists, now)

    def send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        with self._change() as now:
            return [self._steps.send(message, now) for message in messages]

    def terminate(
        self,
        id: str,
        message_id: str,
        event: bytes,
        reason: str,
        reply: bytes | None = None,
        close: Close | None = None,
    ) -> Sent:
        with self._change() as now:
            return self._clients.terminate(id, message_id, event, reason, reply, close, now)

    def pause(self, id: str, message_id: str, event: bytes) -> Sent:
        with self._change() as now:
            return self._clients.pause(id, message_id, event, now)

    def resume(self, id: str, message_id: str, event: bytes) -> Sent:
        with self._change() as now:
            return self._clients.resume(id, message_id, event, now)

    def unblock(self, id: str, message_id: str) -> Sent:
        with self._change() as now:
            return self._clients.unblock(id, message_id, now)

    def rerun(self, id: str, message_id: str, run: int, next: NextRun) -> Sent:
        with self._change() as now:
            return self._clients.rerun(id, message_id, run, next, now)

    def delete(self, id: str) -> Sent | None:
        with self._change():
            row = self._rows.by_id.get(id)
            if row is None:
                return Sent.NOT_FOUND
            if not row.instance.status.finished:
                return None
            self._rows.remove(row)
            return Sent.SENT

    def purge(self, finished_before: int, statuses: Sequence[Status], limit: int) -> int:
        with self._lock:
            ended = (
                (row.instance.finished_at, uid, row)
                for uid, row in self._rows.by_uid.items()
                if row.instance.status in statuses
                and row.instance.finished_at is not None
                and row.instance.finished_at < finished_before
                and not self._rows.wanted(row.instance)
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
                rests = not row.instance.owner and row.instance.wake_at is None
                if rests and self._rows.tried(row.instance, [worker]):
                    self._rows.update(row, wake_at=now)
            self._announce()

    def heartbeat(self, worker: str, lease: int) -> list[TaskKey] | None:
        with self._lock:
            info = self._rows.workers.get(worker)
            now = self._clock()
            if info is None or info.expires_at <= now:
                return None
            self._rows.workers[worker] = replace(info, expires_at=now + lease)
            return self._rows.to_cancel(worker)

    def beat(self, worker: str, beats: Sequence[Beat]) -> list[TaskKey]:
        with self._lock:
            for beat in beats:
                self._steps.beat(worker, beat)
            return self._rows.to_cancel(worker)

    def unregister(self, worker: str) -> None:
        with self._change() as now:
            self._rows.workers.pop(worker, None)
            self._rows.release(worker, now, crashes=0)

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
            live = self._rows.live(now)
            known = {name for info in live for name in info.workflows}
            changed = 0
            for uid, place in self._rows.instances.look("", now, worker.queues):
                row = self._rows.by_uid[uid]
                if place.name in known:
                    continue
                if row.instance.blocked_by not in ("", UNKNOWN):
                    changed += self._rest(row, live)
                else:
                    changed += self._block_unknown(row, now - place.wake_at > after)
            if changed:
                self._announce()
            return changed

    def _rest(self, row: Row, live: Sequence[WorkerInfo]) -> bool:
        """Who might have tried it is gone: it rests until another one registers."""
        if self._rows.tried(row.instance, live):
            return False
        self._rows.update(row, wake_at=None)
        return True

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
            return self._claims.claim(request, self._clock())

    def owned(self, worker: str) -> Owned:
        with self._lock:
            return self._claims.owned(worker)

    def adopt(self, worker: str, uids: Sequence[bytes], tasks: Sequence[TaskKey]) -> Claimed:
        with self._lock:
            return self._claims.adopt(worker, uids, tasks)

    def release(self, worker: str, uids: Sequence[bytes]) -> None:
        with self._change() as now:
            self._claims.release(worker, uids, now)

    # -- what workers write -------------------------------------------------------------

    def commit(self, worker: str, steps: Sequence[Step]) -> list[Verdict]:
        with self._lock:
            verdicts, notable = self._steps.commit(worker, steps, self._clock())
            if notable:
                self._announce()
            return verdicts

    def complete(
        self, worker: str, completions: Sequence[Completion], postponed: Sequence[Postponed]
    ) -> list[Verdict]:
        with self._change() as now:
            told = [self._steps.complete(worker, one, now) for one in completions]
            return told + [self._steps.postpone(worker, one, now) for one in postponed]

    def settle(self, completion: Completion) -> Sent:
        with self._change() as now:
            return self._steps.settle(completion, now)

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

    def count(self, where: Filter) -> int:
        with self._lock:
            return sum(_matches(row.instance, where) for row in self._rows.by_uid.values())

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
        and (where.parent is None or _parent(instance) == where.parent)
    )


def _parent(instance: Instance) -> bytes | None:
    return None if instance.parent is None else instance.parent.uid


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
