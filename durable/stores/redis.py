"""The Redis store: each verb is one Lua script, run by the server in one go.

What the verbs do stands in ``redis_scripts``; what goes in and comes out, in ``redis_rows``;
keys, in ``redis_keys``; connections and errors, in ``redis_link`` and ``redis_cluster``;
waiting, in ``redis_watch``; what there is to be several partitions, in ``redis_partitions``.

Rules
-----
* An instance, with all that it owns, is in one partition, and a script works on one.  On a
  single server there is one partition, on a cluster `ON_CLUSTER`; how many there are is written
  when the store is made, and does not change.
* So steps and messages for several partitions are not one transaction, but one in each; each
  step is stored whole or not at all.  Steps that start children come before the others, so
  that these meet the children.
* Partition 0 decides which workers live.  The others know a worker too, as who looks into a
  queue must know who serves it; they believe it dead only a `GRACE` later by themselves.
* What was acknowledged is as safe as the server's settings make it: `durability` says how.
  A server that may forget what it has acknowledged, without a crash, is refused at `open`.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
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
    Postponed,
    Sent,
    Step,
    Store,
    TaskKey,
    Verdict,
)
from durable.stores import redis_claims, redis_purge, redis_reads
from durable.stores import redis_rows as rows
from durable.stores.redis_cluster import ClusterLink
from durable.stores.redis_link import DEFAULT_TIMEOUT, Link
from durable.stores.redis_partitions import Partitions
from durable.stores.redis_safety import durability, refuse_losses, version

__all__ = ["DEFAULT_PREFIX", "RedisStore"]

SCHEMA = 1
DEFAULT_PREFIX = "durable"

ON_CLUSTER = 16
"""Partitions of a store on a cluster: so many nodes can share the work."""

GRACE = 5_000_000
"""Microseconds."""

AT_ONCE = 500
"""How many instances a script wakes or blocks before others have their turn."""

SENT = {sent.value.encode(): sent for sent in Sent}
VERDICT = {verdict.value.encode()[0]: verdict for verdict in Verdict}
"""By the first letter."""


class RedisStore(Store):
    """A store on one Redis server, or on a cluster.

    address: ``redis://``, ``rediss://`` or ``unix://``, as redis-py has it, without options;
    of a cluster with any of its nodes, joined by commas.
    prefix: what the names of its keys begin with. Defaults to ``durable``.
    timeout: seconds to wait for the server. Defaults to 10.
    allow_loss: use a server that may lose what it has acknowledged. Defaults to False.
    cluster: whether it is a cluster. Defaults to False.
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
        cluster: bool = False,
    ) -> None:
        self.url = shown = url or address
        self.max_inbox = max_inbox
        self._allow_loss = allow_loss

        def link(moved: Callable[[], None]) -> Link | ClusterLink:
            if cluster:
                return ClusterLink(address, shown, timeout, moved)
            return Link(address, shown, timeout)

        count = ON_CLUSTER if cluster else 1
        self._parts = Partitions(link, shown, prefix, count, self.secret)
        self._link, self._watch = self._parts.link, self._parts.watch
        self._secret: bytes | None = None
        self._looked = 0
        _stores.add(self)

    def _change(self, name: str, partition: int, *args: Any) -> Any:
        """Run a script, and tell who waits in this process."""
        answer = self._parts.call(name, partition, *args)
        self._watch.change()
        return answer

    def _ask(self, name: str, id: str, *args: Any) -> Sent:
        return SENT[self._change(name, self._parts.of_id(id), id, *args)]

    # -- the schema ---------------------------------------------------------------------

    def open(self) -> None:
        if not self._allow_loss:
            refuse_losses(self._link, self.url)
        self.migrate()
        self._parts.every("rights")

    def _setting(self, name: str, partition: int = 0) -> bytes | None:
        key = self._parts.keys[partition]["settings"]
        found: bytes | None = self._link.command("HGET", key, name, key=key)
        return found

    def schema(self) -> tuple[int, int]:
        return int(self._setting("schema") or 0), SCHEMA

    def migrate(self, *, dry_run: bool = False) -> list[str]:
        stored, wanted = self.schema()
        if stored > wanted:
            raise StoreError(
                f"{self.url} has schema {stored}, but this version of durable knows {wanted}:"
                " a newer version is needed"
            )
        count = self._parts.count
        there = int(self._setting("partitions") or count)
        if there != count:
            kind = "a cluster, redis+cluster://" if there > 1 else "one server, redis://"
            raise StoreError(f"{self.url}: this store is one of {kind}: it has {there} partitions")
        new = [keys["settings"] for keys in self._parts.keys if stored != wanted]
        if stored != wanted and not dry_run:
            # All have one secret; the schema of the first comes last: who finds it finds all.
            key = self._parts.keys[0]["settings"]
            self._link.command("HSETNX", key, "secret", os.urandom(32), key=key)
            for partition in reversed(self._parts.all):
                self._parts.call("prepare", partition, SCHEMA, self.secret(), count)
        return [f"initialise {key}" for key in new]

    def erase(self) -> None:
        """Remove its keys, with all that is in them."""
        self._parts.every("erase")
        self._watch.change()
        self._secret = None

    def close(self) -> None:
        self._watch.close()
        self._link.close()

    def secret(self) -> bytes:
        if self._secret is None:
            found = self._setting("secret")
            if found is None:
                raise StoreError(f"{self.url} has not been initialised: open it first")
            self._secret = bytes(found)
        return self._secret

    def size(self) -> int:
        """In the servers' memory, about: that is what must suffice."""
        return redis_reads.size(self._parts)

    def server(self) -> str:
        return version(self._link)

    def durability(self) -> str:
        return durability(self._link)

    # -- time and waking ----------------------------------------------------------------

    def now(self) -> int:
        return self._parts.clock.now()

    def mark(self) -> int:
        return self._watch.mark()

    def wait(self, mark: int, timeout: float | None) -> None:
        self._watch.wait(mark, timeout)

    def wake(self) -> None:
        self._watch.change()

    # -- clients ------------------------------------------------------------------------

    def create(self, new: Sequence[NewInstance], if_exists: str) -> list[Created]:
        by_home = self._parts.by_id([one.id for one in new])
        if len(by_home) > 1 and if_exists != "use" and not all(map(_is_its_own, new)):
            raise UsageError(
                f"{self.url}: on a cluster, several instances with ids of their own are created"
                ' at once only with if_exists="use"'
            )
        self._expect_children(new)
        asked = [rows.as_new(one) for one in new]
        answers = self._parts.many(
            "create", {p: (if_exists, [asked[n] for n in some]) for p, some in by_home.items()}
        )
        self._watch.change()
        made: dict[int, Created] = {}
        for home, (outcome, *found) in answers.items():
            if outcome == b"exists":
                raise InstanceAlreadyExists(f"an instance with the id {found[0].decode()!r} exists")
            created = (Created(uid, run, bool(is_new)) for uid, run, is_new in found)
            made.update(zip(by_home[home], created, strict=True))
        return [made[place] for place in range(len(new))]

    def _expect_children(self, new: Sequence[NewInstance]) -> None:
        """Their parents, if clients name any in other partitions, are told where they will be."""
        parts = self._parts
        asked: dict[int, tuple[list[Any]]] = {}
        for one in new if parts.count > 1 else ():
            if one.parent is not None and parts.of_id(one.parent.id) != parts.of_id(one.id):
                told = asked.setdefault(parts.of_id(one.parent.id), ([],))[0]
                told += [one.parent.uid, parts.of_id(one.id)]
        if asked:
            parts.many("expect", asked)

    def send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        asked = [rows.as_outgoing(message) for message in messages]
        homes = self._parts.of_messages(messages)
        answers = self._parts.spread(
            "send", homes, lambda places: (self.max_inbox, [asked[place] for place in places])
        )
        self._watch.change()
        return [SENT[answer] for answer in answers]

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
        return SENT.get(self._change("delete", self._parts.of_id(id), id))

    def purge(self, finished_before: int, statuses: Sequence[Status], limit: int) -> int:
        total = redis_purge.purge(self._parts, finished_before, statuses, limit)
        if total:
            self._watch.change()
        return total

    # -- workers ------------------------------------------------------------------------

    def register(self, worker: WorkerInfo) -> None:
        info = rows.as_worker(worker)
        self._parts.every("register", worker.id, info, worker.expires_at)
        while AT_ONCE in self._parts.every("awaken", info, AT_ONCE):
            pass
        self._watch.change()

    def heartbeat(self, worker: str, lease: int) -> list[TaskKey] | None:
        keys = self._parts.call("heartbeat", 0, worker, lease, True)
        if keys is None:
            return None
        if self._parts.count > 1:
            others = dict.fromkeys(self._parts.all[1:], (worker, lease, False))
            for more in self._parts.many("heartbeat", others).values():
                if more is None:
                    return None
                keys += more
        return [rows.task_key_from(key) for key in keys]

    def beat(self, worker: str, beats: Sequence[Beat]) -> list[TaskKey]:
        asked: dict[int, tuple[str, list[Any]]] = {p: (worker, []) for p in self._parts.all}
        for partition, places in self._parts.by_uid([beat.uid for beat in beats]).items():
            asked[partition][1].extend(rows.as_beat(beats[place]) for place in places)
        found = self._parts.many("beat", asked).values()
        return [rows.task_key_from(key) for keys in found for key in keys]

    def unregister(self, worker: str) -> None:
        self._parts.every("take_over", [worker], 0, None)
        self._watch.change()

    def take_over(self, workers: Sequence[str] | None) -> int:
        expired = workers is None
        removed: list[bytes]
        removed = self._parts.call("take_over", 0, workers or [], 1, 0 if expired else None)
        if self._parts.count > 1 and (workers or removed or self._is_grace_over()):
            dead = [*(workers or ()), *(worker.decode() for worker in removed)]
            args = (dead, 1, GRACE if expired else None)
            self._parts.many("take_over", dict.fromkeys(self._parts.all[1:], args))
        self._watch.change()
        return len(removed)

    def _is_grace_over(self) -> bool:
        """Whether it is time to look in all partitions for workers that are half removed."""
        now = self._parts.clock.now()
        if now - self._looked < GRACE:
            return False
        self._looked = now
        return True

    def block_unknown(self, worker: WorkerInfo, after: int) -> int:
        total = 0
        while True:
            changed: list[int] = self._parts.every("block_unknown", worker.queues, after, AT_ONCE)
            total += sum(changed)
            if AT_ONCE not in changed:
                break
        if total:
            self._watch.change()
        return total

    def claim(self, request: ClaimRequest) -> Claimed:
        return redis_claims.claim(self._parts, request)

    def owned(self, worker: str) -> Owned:
        instances: dict[bytes, int] = {}
        tasks: dict[TaskKey, int] = {}
        for partition, (some, held) in enumerate(self._parts.every("owned", worker)):
            instances.update(rows.pairs(some))
            keys = [(rows.task_key_from(key), epoch) for key, epoch in rows.pairs(held)]
            tasks.update(keys)
            self._parts.found(partition, some[::2])
            self._parts.found(partition, (uid for (uid, _, _), _ in keys))
        return Owned(instances, tasks)

    def adopt(self, worker: str, uids: Sequence[bytes], tasks: Sequence[TaskKey]) -> Claimed:
        asked: dict[int, tuple[str, list[bytes], list[bytes]]] = {}
        wanted, keys = list(dict.fromkeys(uids)), list(dict.fromkeys(tasks))
        for partition, places in self._parts.by_uid(wanted).items():
            asked[partition] = (worker, [wanted[place] for place in places], [])
        for partition, places in self._parts.by_uid([uid for uid, _, _ in keys]).items():
            some = asked.setdefault(partition, (worker, [], []))[2]
            some += [rows.as_task_key(keys[place]) for place in places]
        found = Claimed([], [])
        for answer in self._parts.many("adopt", asked).values():
            part = rows.claimed_from(answer)
            found.instances.extend(part.instances)
            found.tasks.extend(part.tasks)
        return found

    def release(self, worker: str, uids: Sequence[bytes]) -> None:
        parts = self._parts.by_uid(uids)
        self._parts.many(
            "release", {p: (worker, [uids[place] for place in some]) for p, some in parts.items()}
        )
        self._watch.change()

    def commit(self, worker: str, steps: Sequence[Step]) -> list[Verdict]:
        verdicts: dict[int, Verdict] = {}
        for places in self._waves(steps):
            asked = self._as_steps([steps[place] for place in places])
            homes = self._parts.by_uid([steps[place].uid for place in places])
            answers = self._parts.many(
                "commit",
                {
                    p: (worker, self.max_inbox, [asked[n] for n in some])
                    for p, some in homes.items()
                },
            )
            for partition, (told, notable) in answers.items():
                verdicts.update(
                    (places[n], VERDICT[verdict])
                    for n, verdict in zip(homes[partition], told, strict=True)
                )
                if notable:
                    self._watch.change()
        return [verdicts[place] for place in range(len(steps))]

    def _as_steps(self, steps: Sequence[Step]) -> list[dict[str, Any]]:
        asked = [rows.as_step(step) for step in steps]
        if self._parts.count > 1:
            sent = [one for step in asked for one in step.get("sends", ()) if one["uid"]]
            messages = [one for step in steps for one in step.sends if one.uid]
            for home, places in self._parts.of_messages(messages).items():
                for place in places:
                    sent[place]["partition"] = home
        return asked

    def _waves(self, steps: Sequence[Step]) -> list[list[int]]:
        """The places of the steps that are committed together, one wave after the other."""
        places = list(range(len(steps)))
        if self._parts.count == 1:
            return [places] if places else []
        starting = [place for place in places if steps[place].starts]
        others = [place for place in places if not steps[place].starts]
        return [wave for wave in (starting, others) if wave]

    def complete(
        self, worker: str, completions: Sequence[Completion], postponed: Sequence[Postponed]
    ) -> list[Verdict]:
        done = [rows.as_completion(one) for one in completions]
        later = [rows.as_postponed(one) for one in postponed]
        items, first = [*done, *later], len(done)

        def args(places: list[int]) -> tuple[Any, ...]:
            ended = [items[place] for place in places if place < first]
            return (worker, ended, [items[place] for place in places if place >= first])

        told = self._parts.spread(
            "complete", self._parts.by_uid([one["uid"] for one in items]), args
        )
        self._watch.change()
        return [Verdict.COMMITTED if held else Verdict.LOST for held in told]

    def settle(self, completion: Completion) -> Sent:
        home = self._parts.of_uid(completion.uid)
        return SENT[self._change("settle", home, rows.as_completion(completion))]

    # -- reads --------------------------------------------------------------------------

    def instance(self, id: str) -> Instance | None:
        found = redis_reads.by_ids(self._parts, [id])
        return found[0] if found else None

    def instances(self, where: Filter) -> Page:
        return redis_reads.instances(self._parts, where)

    def count(self, where: Filter) -> int:
        return redis_reads.count(self._parts, where)

    def history(self, keys: Sequence[tuple[bytes, int]]) -> list[list[tuple[int, bytes]]]:
        homes = self._parts.by_uid([uid for uid, _ in keys])
        found = self._parts.spread(
            "history", homes, lambda places: ([keys[place] for place in places],)
        )
        return [rows.events_from(chunks) for chunks in found]

    def _of_uid(self, name: str, uid: bytes) -> Any:
        return self._parts.call(name, self._parts.of_uid(uid), uid)

    def inbox(self, uid: bytes) -> list[Message]:
        return rows.messages_from(self._of_uid("waiting", uid)[0])

    def unread(self, uid: bytes) -> tuple[str, ...]:
        return rows.words_from(self._of_uid("waiting", uid)[1])

    def tasks(self, uid: bytes) -> list[Task]:
        return [rows.task_from(task) for task in self._of_uid("tasks", uid)]

    def workers(self) -> list[WorkerInfo]:
        found = [rows.worker_from(*one) for one in self._parts.call("workers", 0)]
        return sorted(found, key=lambda info: (info.started_at, info.id))

    def stats(self) -> Stats:
        return redis_reads.stats(self._parts)

    # -- forks --------------------------------------------------------------------------

    def _forget(self) -> None:
        self._parts.forget()


def _is_its_own(new: NewInstance) -> bool:
    """Whether its id was made of its uid, so that nobody else can have it."""
    return new.id == new.uid.hex()


_stores: weakref.WeakSet[RedisStore] = weakref.WeakSet()


def _in_child() -> None:
    for store in list(_stores):
        store._forget()


os.register_at_fork(after_in_child=_in_child)
