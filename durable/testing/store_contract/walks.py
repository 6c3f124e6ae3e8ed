"""Every verb in random order, here and on the reference: both must say and show the same.

Moments differ between two clocks, so they are compared as what they mean: none, due, or
not yet.  Due things are claimed all at once, since what is due at one moment has no order.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from durable.errors import InstanceAlreadyExists
from durable.model import Parent, ParentClose, Status
from durable.records import refused
from durable.store import (
    Beat,
    Cancel,
    ClaimedInstance,
    ClaimRequest,
    Close,
    Completion,
    End,
    Filter,
    NewInstance,
    NewTask,
    NextRun,
    Outgoing,
    Postponed,
    Sent,
    Start,
    Step,
    Store,
    Verdict,
)
from durable.stores import open_store
from durable.testing.store_contract.base import HOUR, SECOND, Base, a_message, an_info

IDS = ("a", "b", "c", "A")
CHILDREN = ("x", "y", "z", *IDS)
WORKERS = ("w-1", "w-2", "w-3")
QUEUES = ("default", "q-2")
WORKFLOWS = ("flow", "lost")
BUILDS = ("build-1", "build-2", "build 3")
BLOCKS = (
    *(None,) * 6,
    *(End(Status.BLOCKED, reason="other code", blocked_by=build) for build in BUILDS),
    End(Status.BLOCKED, reason="deadlock"),
)
ENDS = (
    End(Status.COMPLETED, result=b"result", unread=("s",), reply=b"completed"),
    End(Status.FAILED, reason="broken", failure=b"failure", reply=b"failed"),
    *BLOCKS[-5:],
)
ANSWERS = {outcome: outcome.value.encode() for outcome in Sent}


class Walk:
    """Plays the same verbs on two stores. What a claim gave is kept by worker, and goes on
    being used when it is stale: most of what a store must refuse comes from that.

    one_transaction: see `Base`; otherwise what depends on it is done for one at a time."""

    def __init__(self, seed: int, store: Store, one_transaction: bool) -> None:
        self.random = random.Random(seed)
        self.stores = (open_store("memory://"), store)
        self.one_transaction = one_transaction
        self.count = 0
        self.claimed: dict[str, list[ClaimedInstance]] = {worker: [] for worker in WORKERS}
        self.keys: list[tuple[str, bytes, int, int, int]] = []
        self.uids: set[bytes] = set()

    def go(self) -> None:
        """One verb, and a look at everything."""
        verb = self.random.choice(
            [self.claim] * 8
            + [self.commit] * 9
            + [self.send, self.complete, self.postpone] * 2
            + [self.create, self.create, self.restart, self.register, self.register]
            + [self.block_unknown, self.take_over, self.adopt, self.beat, self.settle]
            + [self.pause, self.resume, self.resume, self.unblock, self.rerun]
            + [self.random.choice((self.terminate, self.unregister, self.delete))]
        )
        self.count += 1
        verb()
        self.compare(verb.__name__)

    def both(self, verb: Callable[[Store], Any]) -> Any:
        """The answer, which both stores must give."""
        answers = []
        for store in self.stores:
            try:
                answers.append(verb(store))
            except InstanceAlreadyExists:
                answers.append(InstanceAlreadyExists)
        assert answers[1] == answers[0], f"verb {self.count}"
        return answers[0]

    def moment(self, store: Store) -> int:
        return store.now() + self.random.choice((-HOUR, -HOUR, HOUR))

    def draw(self, make: Callable[[Store], Any]) -> Callable[[Store], Any]:
        """The same random choices for both stores."""
        state = self.random.getstate()

        def again(store: Store) -> Any:
            self.random.setstate(state)
            return make(store)

        return again

    # -- clients ------------------------------------------------------------------------

    def new(self, id: str) -> NewInstance:
        choose = self.random.choice
        return NewInstance(
            uid=self.random.randbytes(16),
            id=id,
            token=self.random.randbytes(16),
            workflow=choose(WORKFLOWS),
            version=choose((None, None, 1)),
            queue=choose(QUEUES),
            args=b"%d" % self.count,
            kwargs=choose((None, b"kwargs")),
            start_at=0,
            tags=choose(((), ("red",), ("blue", "red"))),
            header=choose((None, b"header")),
            history=[b"first"] * choose((0, 0, 2)),
            messages=self.notes("new"),
        )

    def notes(self, kind: str) -> list[tuple[str, bytes]]:
        """Messages that come with a run, sometimes with an id that may have come before."""
        ids = (f"{kind}-{self.count}", f"m-{self.random.randrange(self.count + 1)}")
        return [(self.random.choice(ids), kind.encode())] * self.random.choice((0, 0, 1, 2))

    def next_run(self, store: Store) -> NextRun:
        choose = self.random.choice
        return NextRun(
            args=b"%d" % self.count,
            kwargs=choose((None, b"kwargs")),
            start_at=self.moment(store),
            version=choose((None, 1)),
            header=choose((None, b"header")),
            history=[b"next"] * choose((0, 0, 2)),
            messages=self.notes("next"),
        )

    def close(self) -> Close | None:
        close = Close(f"close-{self.count}", b"cancelled", b"closed", "closed")
        return self.random.choice((None, close))

    def create(self, if_exists: str | None = None) -> None:
        count = self.random.choice((1, 1, 2)) if self.one_transaction else 1
        new = [self.new(id) for id in self.random.choices(IDS, k=count)]
        if_exists = if_exists or self.random.choice(("raise", "use"))
        delay = self.random.choice((-HOUR, -HOUR, -HOUR, HOUR))

        def verb(store: Store) -> Any:
            at = store.now() + delay
            return store.create([replace(one, start_at=at) for one in new], if_exists)

        made = self.both(verb)
        if made is not InstanceAlreadyExists:
            self.uids.update(one.uid for one in made)

    def restart(self) -> None:
        self.create("restart")

    def send(self) -> None:
        messages = [self.message(self.some_id("m")) for _ in range(self.random.randrange(3))]
        self.both(lambda store: store.send(messages))

    def message(self, message_id: str, **changes: Any) -> Outgoing:
        """A message to an id or a uid, for any run or one."""
        choose, chance = self.random.choice, self.random.random
        return a_message(
            choose(IDS),
            message_id,
            urgent=chance() < 0.3,
            uid=choose(sorted(self.uids)) if self.uids and chance() < 0.3 else None,
            run=choose((0, 0, 0, 1, 2)),
            **changes,
        )

    def some_id(self, kind: str) -> str:
        """A message id, often one that has been used."""
        return f"{kind}-{self.random.randrange(self.count + 1)}"

    def terminate(self) -> None:
        id, message_id, close = self.random.choice(CHILDREN), self.some_id("t"), self.close()
        reply = self.random.choice((None, b"terminated"))
        self.both(
            lambda store: store.terminate(id, message_id, b"terminated", "enough", reply, close)
        )

    def pause(self) -> None:
        id, message_id = self.random.choice(IDS), self.some_id("p")
        self.both(lambda store: store.pause(id, message_id, b"paused"))

    def resume(self) -> None:
        id, message_id = self.random.choice(IDS), self.some_id("p")
        self.both(lambda store: store.resume(id, message_id, b"resumed"))

    def unblock(self) -> None:
        id, message_id = self.random.choice(IDS), self.some_id("u")
        self.both(lambda store: store.unblock(id, message_id))

    def rerun(self) -> None:
        id, message_id = self.random.choice(IDS), self.some_id("r")
        instance = self.stores[0].instance(id)
        run = self.random.choice((1, instance.run if instance else 1))

        def verb(store: Store) -> Sent:
            return store.rerun(id, message_id, run, self.next_run(store))

        self.both(self.draw(verb))

    def delete(self) -> None:
        id = self.random.choice(CHILDREN)
        self.both(lambda store: store.delete(id))

    # -- workers ------------------------------------------------------------------------

    def register(self) -> None:
        registered = {info.id for info in self.stores[0].workers()}
        worker = next((worker for worker in WORKERS if worker not in registered), None)
        if worker is None:
            return
        build = self.random.choice(BUILDS)
        lease = self.random.choice((HOUR, HOUR, HOUR, -SECOND))
        known = self.random.choice((("flow", "flow@1"), ("lost", "flow"), ("lost", "lost@1")))
        queues = self.random.choice((QUEUES, QUEUES, QUEUES[:1]))
        changes = {"build": build, "workflows": known, "queues": queues}
        self.both(lambda store: store.register(an_info(store, worker, lease, **changes)))

    def unregister(self) -> None:
        worker = self.random.choice(WORKERS)
        self.both(lambda store: store.unregister(worker))

    def take_over(self) -> None:
        dead = self.random.choice((None, None, [self.random.choice(WORKERS)]))
        self.both(lambda store: store.take_over(dead))

    def block_unknown(self) -> None:
        after = self.random.choice((10 * HOUR, -HOUR))

        def verb(store: Store) -> Any:
            infos = sorted(store.workers(), key=lambda info: info.id)
            return [store.block_unknown(info, after) for info in infos[:1]]

        self.both(verb)

    def claim(self) -> None:
        worker = self.random.choice(WORKERS)
        builds = {info.id: info.build for info in self.stores[0].workers()}
        if worker not in builds:
            return
        queues = self.random.choice((QUEUES, QUEUES[:1]))
        known = ("flow", "flow@1", *self.random.choice(((), ("lost", "lost@1"))))
        answers = []
        for store in self.stores:
            request = ClaimRequest(worker, queues, known, ("act",), 1000, 1000)
            answers.append(store.claim(request))
        mine, theirs = answers
        for one in mine.instances:
            assert not refused(one.instance.blocked_by, builds[worker])
        assert sorted(one.instance.id for one in theirs.instances) == sorted(
            one.instance.id for one in mine.instances
        )
        tasks = [sorted(_key(task) for task in one.tasks) for one in answers]
        assert tasks[1] == tasks[0]
        assert theirs.more == mine.more
        assert (theirs.next_wake_at is None) == (mine.next_wake_at is None)
        self.claimed[worker] = (self.claimed[worker] + mine.instances)[-8:]
        self.keys += [(worker, *_key(task)) for task in mine.tasks]

    def adopt(self) -> None:
        worker = self.random.choice(WORKERS)
        owned = self.both(lambda store: store.owned(worker))
        uids = [uid for uid in sorted(owned.instances) if self.random.random() < 0.7]
        keys = [key for key in sorted(owned.tasks) if self.random.random() < 0.7]
        adopted = [store.adopt(worker, uids, keys) for store in self.stores]
        assert [len(one.instances) for one in adopted] == [len(uids)] * 2
        self.claimed[worker] += adopted[0].instances
        self.keys += [(worker, *_key(task)) for task in adopted[0].tasks]

    # -- steps and results --------------------------------------------------------------

    def commit(self) -> None:
        owners = [worker for worker in WORKERS if self.stores[0].owned(worker).instances]
        worker = self.random.choice(owners or WORKERS)
        owned = self.stores[0].owned(worker).instances
        latest = {claimed.instance.uid: claimed for claimed in self.claimed[worker]}
        chosen = [
            one
            for uid, one in latest.items()
            if self.random.random() < (0.8 if owned.get(uid) == one.instance.epoch else 0.2)
        ]
        chosen = chosen if self.one_transaction else chosen[:1]
        ends = self.random.random() < 0.4

        def verb(store: Store) -> Any:
            return store.commit(worker, [self.step(store, worker, one, ends) for one in chosen])

        self.both(self.draw(verb))

    def step(self, store: Store, worker: str, claimed: ClaimedInstance, ends: bool) -> Step:
        """A step from what was claimed, brought up to date or not.

        A batch has ends or sends: which of the two comes first is open.
        """
        choose, chance = self.random.choice, self.random.random
        instance, stale = claimed.instance, chance() < 0.1
        now = store.instance(instance.id)
        length = instance.history_length if stale or now is None else now.history_length
        waiting = sorted(store.inbox(instance.uid), key=lambda message: message.message_id)
        ready = chance() < 0.5
        end = choose(ENDS if ends else BLOCKS)
        held = [task for task in store.tasks(instance.uid) if task.owner == worker]
        return Step(
            uid=instance.uid,
            run=instance.run,
            epoch=instance.epoch,
            history_length=length,
            events=[b"%d" % self.count] * choose((0, 1, 1, 2)),
            messages=[message.id for message in waiting if ready or chance() < 0.5],
            done=[(task.command, task.epoch) for task in held if chance() < 0.3],
            tasks=[self.task(store, worker, self.count * 2 + n) for n in range(choose((0, 1, 2)))],
            cancels=[
                Cancel(task.command, f"c:{self.count}:{task.command}", b"cancelled")
                for task in store.tasks(instance.uid)
                if chance() < 0.2
            ],
            sends=[
                self.message(f"s-{self.count}-{n}", answers=ANSWERS)
                for n in range(0 if ends else choose((0, 1, 2)))
            ],
            wake_at=choose((None, self.moment(store), now.wake_at if now else None)),
            release=chance() < 0.5,
            version=choose((None, None, 1)),
            vars=choose((None, b"%d" % self.count)),
            end=end,
            starts=[self.start(store, claimed, number) for number in range(choose((0, 0, 1, 2)))],
            next=self.next_run(store) if end is None and chance() < 0.2 else None,
            close=self.close(),
        )

    def start(self, store: Store, claimed: ClaimedInstance, number: int) -> Start:
        choose, instance = self.random.choice, claimed.instance
        parent = Parent(instance.uid, instance.id, instance.run, number, choose(list(ParentClose)))
        new = replace(self.new(choose(CHILDREN)), start_at=self.moment(store), parent=parent)
        return Start(new, f"start-{self.count}-{number}", b"taken")

    def task(self, store: Store, worker: str, command: int) -> NewTask:
        choose = self.random.choice
        name, queue, owner = choose(("act", "act", "b")), choose(QUEUES), choose((worker, ""))
        at, context = self.moment(store), choose((None, b"context"))
        return NewTask(command, name, queue, b"args", None, b"options", owner, at, None, context)

    def complete(self) -> None:
        for worker, uid, run, command, epoch in self.some_keys():
            done = Completion(uid, run, command, epoch, f"r:{run}:{command}", b"result")
            self.both(self.report(worker, [done], []))

    def settle(self) -> None:
        for _, uid, run, command, epoch in self.some_keys():
            done = Completion(uid, run, command, epoch, f"r:{run}:{command}", b"settled")
            self.both(partial(self.settle_it, done))

    def settle_it(self, done: Completion, store: Store) -> Sent:
        return store.settle(done)

    def beat(self) -> None:
        worker, details = self.random.choice(WORKERS), (None, b"%d" % self.count)
        beats = [
            Beat(uid, run, command, epoch, self.random.choice(details))
            for _, uid, run, command, epoch in self.some_keys()
        ]
        self.both(lambda store: sorted(store.beat(worker, beats)))

    def postpone(self) -> None:
        choose = self.random.choice
        for worker, uid, run, command, epoch in self.some_keys():
            later = Postponed(
                uid=uid,
                run=run,
                command=command,
                epoch=epoch,
                wake_at=self.stores[1].now() + choose((-HOUR, HOUR)),
                attempt=choose((2, 3)),
                last_error=choose((None, b"error", b"%d" % self.count)),
                message_id=f"r:{run}:{command}",
                answer=b"cancelled",
                crashed=choose((False, False, True)),
                details=choose((None, b"details")),
                deferrals=choose((0, 1)),
                awaits=choose((False, True)),
            )
            self.both(self.report(worker, [], [later]))

    def report(
        self, worker: str, done: list[Completion], later: list[Postponed]
    ) -> Callable[[Store], list[Verdict]]:
        return lambda store: store.complete(worker, done, later)

    def some_keys(self) -> list[tuple[str, bytes, int, int, int]]:
        return self.random.sample(self.keys, min(len(self.keys), 3))

    # -- everything ---------------------------------------------------------------------

    def compare(self, verb: str) -> None:
        self.uids.update(row.uid for row in self.stores[0].instances(Filter(limit=1000)).rows)
        shown = [self.picture(store) for store in self.stores]
        assert shown[1] == shown[0], f"after verb {self.count}, {verb}"

    def picture(self, store: Store) -> dict[str, Any]:
        now = store.now()

        def moment(at: int | None) -> str:
            return "none" if at is None else "due" if at <= now else "not yet"

        rows = {}
        for row in store.instances(Filter(limit=1000)).rows:
            rows[row.id] = (
                replace(
                    row,
                    wake_at=None,
                    created_at=0,
                    started_at=row.started_at and 0,
                    finished_at=row.finished_at and 0,
                    tags=tuple(sorted(row.tags)),
                ),
                moment(row.wake_at),
                store.unread(row.uid),
            )
        tasks = {
            _key(task): (replace(task, wake_at=0, scheduled_at=0), moment(task.wake_at))
            for uid in self.uids
            for task in store.tasks(uid)
        }
        inboxes = {
            uid: sorted((message.message_id, message.event) for message in store.inbox(uid))
            for uid in self.uids
        }
        keys = [(uid, run) for uid in sorted(self.uids) for run in range(1, 9)]
        stats = store.stats()
        owned = [store.owned(worker) for worker in WORKERS]
        return {
            "instances": rows,
            "tasks": tasks,
            "inboxes": inboxes,
            "histories": store.history(keys),
            "owned": owned,
            "children": {uid: self.children(store, uid) for uid in self.uids},
            "counts": (stats.tasks_waiting, stats.tasks_running, stats.messages),
            "workers": sorted(info.id for info in store.workers()),
        }

    def children(self, store: Store, uid: bytes) -> list[str]:
        return sorted(row.id for row in store.instances(Filter(parent=uid, limit=1000)).rows)


def _key(task: Any) -> tuple[bytes, int, int, int]:
    return (task.uid, task.run, task.command, task.epoch)


class Walks(Base):
    verbs = 400
    """Of each walk."""

    @pytest.mark.parametrize("seed", range(8))
    def test_random_verbs_agree_with_the_reference(self, store: Store, seed: int) -> None:
        walk = Walk(seed, store, self.one_transaction)
        for _ in range(self.verbs):
            walk.go()
