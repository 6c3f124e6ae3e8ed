"""The Redis store: each verb is one Lua script, run by the server in one go.

What the verbs do stands in ``redis_scripts``; what goes in and comes out, in ``redis_rows``;
keys, in ``redis_keys``; connections and errors, in ``redis_link``; waiting, in ``redis_watch``.

Rules
-----
* An instance, with all that it owns, is in one partition, and a script works on one.  On a
  single server there is one partition; how many there are is written when the store is made.
* What was acknowledged is as safe as the server's settings make it: `durability` says how.
  A server that may forget what it has acknowledged, without a crash, is refused at `open`.
"""

from __future__ import annotations

import heapq
import logging
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from durable.errors import InstanceAlreadyExists, StoreError, UsageError
from durable.model import Instance, Stats, Status, Task, WorkerInfo
from durable.store import (
    DEFAULT_MAX_INBOX,
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
    Poison,
    Postponed,
    Sent,
    Step,
    Store,
    TaskKey,
    Verdict,
)
from durable.stores import redis_rows as rows
from durable.stores.redis_keys import CHANNEL, MAKERS, SCRIPTS, tables
from durable.stores.redis_link import DEFAULT_TIMEOUT, Link
from durable.stores.redis_watch import Watch
from durable.stores.server_clock import ServerClock

__all__ = ["DEFAULT_PREFIX", "RedisStore"]

logger = logging.getLogger("durable.store")

SCHEMA = 1
DEFAULT_PREFIX = "durable"

OWN_AT_ONCE = 1000
"""How many of its own due instances a claim gives to a worker."""

AT_ONCE = 500
"""How many instances a script lists, purges or blocks before others have their turn."""

LARGEST = 256 * 1024 * 1024
"""Bytes of a request: half of what a server takes as it comes, and it has them twice."""

SAMPLES = 1000
"""How many entries of a table tell its size."""

SENT = {sent.value.encode(): sent for sent in Sent}
VERDICT = {verdict.value.encode()[0]: verdict for verdict in Verdict}
"""By the first letter."""


class RedisStore(Store):
    """A store on one Redis server.

    address: ``redis://``, ``rediss://`` or ``unix://``, as redis-py has it, without options.
    prefix: what the names of its keys begin with. Defaults to ``durable``.
    timeout: seconds to wait for the server. Defaults to 10.
    allow_loss: use a server that may lose what it has acknowledged. Defaults to False.
    """

    def __init__(
        self,
        address: str,
        *,
        url: str | None = None,
        prefix: str = DEFAULT_PREFIX,
        timeout: float = DEFAULT_TIMEOUT,
        max_inbox: int = DEFAULT_MAX_INBOX,
        allow_loss: bool = False,
    ) -> None:
        self.url = url or address
        self.max_inbox = max_inbox
        self._allow_loss = allow_loss
        self._link = Link(address, self.url, timeout)
        self._keys = tables(prefix, 0)
        self._watch = Watch(self._link.listener, self._keys[CHANNEL])
        self._clock = ServerClock(self._ask_time)
        self._secret: bytes | None = None
        _stores.add(self)

    def _call(self, name: str, *args: Any) -> Any:
        """Run a script with these values."""
        try:
            request = rows.pack(args)
        except (UnicodeEncodeError, OverflowError) as error:
            raise Poison(f"{self.url}: {error}") from error
        if len(request) > LARGEST:
            raise Poison(
                f"{self.url}: {len(request):,} bytes at once; at most {LARGEST:,} are sent"
            )
        keys = self._keys.values()
        which = rows.digest(b"" if name in MAKERS else self.secret())
        moment, answer = self._link.call(
            SCRIPTS[name], len(keys), *keys, request, self._watch.sender, which
        )
        self._clock.told(moment)
        return answer

    def _change(self, name: str, *args: Any) -> Any:
        """Run a script, and tell who waits in this process."""
        answer = self._call(name, *args)
        self._watch.change()
        return answer

    def _ask(self, name: str, *args: Any) -> Sent:
        return SENT[self._change(name, *args)]

    # -- the schema ---------------------------------------------------------------------

    def open(self) -> None:
        if not self._allow_loss:
            self._refuse_losses()
        self.migrate()
        self._call("rights")

    def schema(self) -> tuple[int, int]:
        stored = self._link.command("HGET", self._keys["settings"], "schema")
        return int(stored or 0), SCHEMA

    def migrate(self, *, dry_run: bool = False) -> list[str]:
        stored, wanted = self.schema()
        if stored > wanted:
            raise StoreError(
                f"{self.url} has schema {stored}, but this version of durable knows {wanted}:"
                " a newer version is needed"
            )
        if stored == wanted:
            return []
        if not dry_run:
            self._call("prepare", SCHEMA, os.urandom(32), 1)
        return [f"initialise {self._keys['settings']}"]

    def erase(self) -> None:
        """Remove its keys, with all that is in them."""
        self._change("erase")
        self._secret = None

    def close(self) -> None:
        self._watch.close()
        self._link.close()

    def secret(self) -> bytes:
        if self._secret is None:
            found = self._link.command("HGET", self._keys["settings"], "secret")
            if found is None:
                raise StoreError(f"{self.url} has not been initialised: open it first")
            self._secret = bytes(found)
        return self._secret

    def size(self) -> int:
        """In the server's memory, about: that is what must suffice."""
        sizes = [
            self._link.command("MEMORY", "USAGE", key, "SAMPLES", SAMPLES)
            for key in self._keys.values()
        ]
        return sum(size or 0 for size in sizes)

    # -- what the server promises -------------------------------------------------------

    def durability(self) -> str:
        """What becomes of what was acknowledged: ``durable`` (it survives a power failure),
        ``prefix`` (a crash may take the last second), ``volatile`` (all of it may go) or
        ``unknown`` (the server does not tell its settings)."""
        settings = self._settings()
        if not settings:
            return "unknown"
        if settings.get("appendonly") != "yes" or settings.get("maxmemory-policy") != "noeviction":
            return "volatile"
        return {"always": "durable", "everysec": "prefix"}.get(settings["appendfsync"], "volatile")

    def _settings(self) -> Mapping[str, str]:
        try:
            names = ("appendonly", "appendfsync", "maxmemory-policy")
            found = [self._link.command("CONFIG", "GET", name) for name in names]
        except StoreError as error:
            if isinstance(error.__cause__, Exception) and "CONFIG" in str(error.__cause__).upper():
                return {}  # a service that does not let its users look
            raise
        return {name: pair[1].decode() for name, pair in zip(names, found, strict=True) if pair}

    def _refuse_losses(self) -> None:
        settings = self._settings()
        wanted = {
            "appendonly": ("yes",),
            "appendfsync": ("always", "everysec"),
            "maxmemory-policy": ("noeviction",),
        }
        for name, values in wanted.items():
            found = settings.get(name, values[0])
            if found not in values:
                raise StoreError(
                    f"{self.url}: the server has {name} {found}, so it may lose what it has"
                    f" acknowledged; set {name} {values[0]}, or accept that with ?allow_loss=yes"
                )
        if settings.get("appendfsync") == "everysec":
            logger.warning(
                "%s: appendfsync is everysec: a crash may take what was acknowledged last", self.url
            )

    # -- time and waking ----------------------------------------------------------------

    def now(self) -> int:
        return self._clock.now()

    def _ask_time(self) -> int:
        seconds, micros = self._link.command("TIME")
        return int(seconds) * 1_000_000 + int(micros)

    def mark(self) -> int:
        return self._watch.mark()

    def wait(self, mark: int, timeout: float | None) -> None:
        self._watch.wait(mark, timeout)

    def wake(self) -> None:
        self._watch.change()

    # -- clients ------------------------------------------------------------------------

    def create(self, new: Sequence[NewInstance], if_exists: str) -> list[Created]:
        outcome, *found = self._change("create", if_exists, [rows.as_new(one) for one in new])
        if outcome == b"exists":
            raise InstanceAlreadyExists(f"an instance with the id {found[0].decode()!r} exists")
        return [Created(uid, run, bool(is_new)) for uid, run, is_new in found]

    def send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        asked = [rows.as_outgoing(message) for message in messages]
        return [SENT[answer] for answer in self._change("send", self.max_inbox, asked)]

    def terminate(
        self,
        id: str,
        message_id: str,
        event: bytes,
        reason: str,
        reply: bytes | None = None,
        close: Close | None = None,
    ) -> Sent:
        events, closing = rows.one_event(event), rows.as_close(close)
        return self._ask("terminate", id, message_id, events, reason, reply, closing)

    def pause(self, id: str, message_id: str, event: bytes) -> Sent:
        return self._ask("pause", id, message_id, rows.one_event(event))

    def resume(self, id: str, message_id: str, event: bytes) -> Sent:
        return self._ask("resume", id, message_id, rows.one_event(event))

    def unblock(self, id: str, message_id: str) -> Sent:
        return self._ask("unblock", id, message_id)

    def rerun(self, id: str, message_id: str, run: int, next: NextRun) -> Sent:
        return self._ask("rerun", id, message_id, run, rows.as_next(next))

    def delete(self, id: str) -> Sent | None:
        return SENT.get(self._change("delete", id))

    def purge(self, finished_before: int, statuses: Sequence[Status], limit: int) -> int:
        places = [[status.value, b""] for status in dict.fromkeys(statuses)]
        total, more = 0, bool(places)
        while more and total < limit:
            count = min(limit - total, AT_ONCE)
            purged, more, ends = self._change("purge", finished_before, places, count)
            places = [[status, end] for (status, _), end in zip(places, ends, strict=True)]
            total += purged
        return total

    # -- workers ------------------------------------------------------------------------

    def register(self, worker: WorkerInfo) -> None:
        info = rows.as_worker(worker)
        self._call("register", worker.id, info, worker.expires_at)
        while self._change("awaken", info, AT_ONCE) == AT_ONCE:
            pass

    def heartbeat(self, worker: str, lease: int) -> list[TaskKey] | None:
        keys = self._call("heartbeat", worker, lease)
        return None if keys is None else [rows.task_key_from(key) for key in keys]

    def beat(self, worker: str, beats: Sequence[Beat]) -> list[TaskKey]:
        keys = self._call("beat", worker, [rows.as_beat(beat) for beat in beats])
        return [rows.task_key_from(key) for key in keys]

    def unregister(self, worker: str) -> None:
        self._change("take_over", [worker], 0)

    def take_over(self, workers: Sequence[str] | None) -> int:
        known = None if workers is None else list(workers)
        return int(self._change("take_over", known, 1))

    def block_unknown(self, worker: WorkerInfo, after: int) -> int:
        total = changed = int(self._call("block_unknown", worker.queues, after, AT_ONCE))
        while changed == AT_ONCE:
            changed = int(self._call("block_unknown", worker.queues, after, AT_ONCE))
            total += changed
        if total:
            self._watch.change()
        return total

    def claim(self, request: ClaimRequest) -> Claimed:
        answer = self._call(
            "claim",
            request.worker,
            request.queues,
            request.workflows,
            request.activities,
            request.instances,
            request.tasks,
            OWN_AT_ONCE,
        )
        if answer is None:
            return Claimed([], [])
        instances, tasks, next_wake_at, more = answer
        claimed = rows.claimed_from(instances, tasks)
        wake_at = int(next_wake_at) if next_wake_at else None
        return Claimed(claimed.instances, claimed.tasks, wake_at, bool(more))

    def owned(self, worker: str) -> Owned:
        instances, tasks = self._call("owned", worker)
        return Owned(
            dict(rows.pairs(instances)),
            {rows.task_key_from(key): epoch for key, epoch in rows.pairs(tasks)},
        )

    def adopt(self, worker: str, uids: Sequence[bytes], tasks: Sequence[TaskKey]) -> Claimed:
        keys = [rows.as_task_key(key) for key in dict.fromkeys(tasks)]
        return rows.claimed_from(*self._call("adopt", worker, list(dict.fromkeys(uids)), keys))

    def release(self, worker: str, uids: Sequence[bytes]) -> None:
        self._change("release", worker, list(uids))

    def commit(self, worker: str, steps: Sequence[Step]) -> list[Verdict]:
        if not steps:
            return []
        asked = [rows.as_step(step) for step in steps]
        verdicts, notable = self._call("commit", worker, self.max_inbox, asked)
        if notable:
            self._watch.change()
        return [VERDICT[verdict] for verdict in verdicts]

    def complete(
        self, worker: str, completions: Sequence[Completion], postponed: Sequence[Postponed]
    ) -> list[Verdict]:
        done = [rows.as_completion(one) for one in completions]
        later = [rows.as_postponed(one) for one in postponed]
        told = self._change("complete", worker, done, later)
        return [Verdict.COMMITTED if held else Verdict.LOST for held in told]

    def settle(self, completion: Completion) -> Sent:
        return self._ask("settle", rows.as_completion(completion))

    # -- reads --------------------------------------------------------------------------

    def instance(self, id: str) -> Instance | None:
        found = self._read([id], [])
        return found[0] if found else None

    def _read(self, ids: Sequence[str], uids: Sequence[bytes]) -> list[Instance]:
        return [rows.instance_from(stored) for stored in self._call("read", ids, uids)]

    def instances(self, where: Filter) -> Page:
        before = None if where.cursor is None else _position(where.cursor)
        if where.parent is not None:
            found = rows.listed_from(self._call("list", None, None, where.parent, None, 0))
            keys: Iterator[Instance] = iter(sorted(found, key=_place, reverse=True))
        elif where.tag is not None:
            keys = self._listed(where, None, before)
        else:
            of_each = [self._listed(where, one, before) for one in where.statuses or Status]
            keys = heapq.merge(*of_each, key=_place, reverse=True)
        page: list[Instance] = []
        for instance in keys:
            if page and page[-1].uid == instance.uid:
                continue  # its status has changed meanwhile, so it stands in two lists
            if _matches(instance, where) and (before is None or _place(instance) < before):
                page.append(instance)
                if len(page) > where.limit:
                    break
        cursor = _cursor(page[where.limit - 1]) if len(page) > where.limit else None
        # A row may have gone, or changed, since it was listed.
        return Page(self._read([], [one.uid for one in page[: where.limit]]), cursor)

    def _listed(
        self, where: Filter, status: Status | None, before: tuple[int, bytes] | None
    ) -> Iterator[Instance]:
        """Instances of a status, or with a tag, newest first and without their payloads."""
        tag = where.tag if status is None else None
        if where.until is not None:
            before = min(before or (where.until, b""), (where.until, b""))
        count = min(where.limit + 1, AT_ONCE)
        while True:
            place = None if before is None else rows.as_place(*before)
            found = rows.listed_from(
                self._call("list", status and status.value, tag, None, place, count)
            )
            for instance in found:
                if where.since is not None and instance.created_at < where.since:
                    return
                yield instance
            if len(found) < count:
                return
            before, count = _place(found[-1]), AT_ONCE

    def history(self, keys: Sequence[tuple[bytes, int]]) -> list[list[tuple[int, bytes]]]:
        return [rows.events_from(chunks) for chunks in self._call("history", keys)]

    def inbox(self, uid: bytes) -> list[Message]:
        return rows.messages_from(self._call("waiting", uid)[0])

    def unread(self, uid: bytes) -> tuple[str, ...]:
        return rows.words_from(self._call("waiting", uid)[1])

    def tasks(self, uid: bytes) -> list[Task]:
        return [rows.task_from(task) for task in self._call("tasks", uid)]

    def workers(self) -> list[WorkerInfo]:
        found = [rows.worker_from(*one) for one in self._call("workers")]
        return sorted(found, key=lambda info: (info.started_at, info.id))

    def stats(self) -> Stats:
        counts, tasks, free, messages, workers, oldest = self._call("stats")
        return Stats(
            instances={status.decode(): count for status, count in rows.pairs(counts)},
            tasks_waiting=free,
            tasks_running=tasks - free,
            messages=messages,
            workers=workers,
            oldest_wake_at=int(oldest) if oldest else None,
        )

    # -- forks --------------------------------------------------------------------------

    def _forget(self) -> None:
        self._watch.forget()


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


def _place(instance: Instance) -> tuple[int, bytes]:
    return instance.created_at, instance.uid


def _cursor(last: Instance) -> str:
    return f"{last.created_at}-{last.uid.hex()}"


def _position(cursor: str) -> tuple[int, bytes]:
    created_at, _, uid = cursor.partition("-")
    try:
        return int(created_at), bytes.fromhex(uid)
    except ValueError:
        raise UsageError(f"{cursor!r} is not a cursor that a listing gave") from None


_stores: weakref.WeakSet[RedisStore] = weakref.WeakSet()


def _in_child() -> None:
    for store in list(_stores):
        store._forget()


os.register_at_fork(after_in_child=_in_child)
