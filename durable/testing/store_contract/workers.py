"""Promise 2 and its edges: registration, leases, takeovers, and code that is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from durable.model import Status
from durable.store import Cancel, Sent, Store
from durable.testing.store_contract.base import (
    COMMITTED,
    HOUR,
    LOST,
    MINUTE,
    SECOND,
    Base,
    FakeWorker,
    a_step,
    a_task,
    an_info,
    inbox,
    look,
    schedule,
    send,
    start,
)


class Workers(Base):
    # -- registration and lease ---------------------------------------------------------

    def test_a_registered_worker_is_listed(self, store: Store, other: Store) -> None:
        first = an_info(store, "w-1", queues=("b", "a"), workflows=(), activities=("x", "y"))
        second = an_info(store, "w-2", lease=-SECOND, host="höst'", build="")
        store.register(first)
        store.register(second)
        assert {worker.id: worker for worker in other.workers()} == {"w-1": first, "w-2": second}
        assert store.stats().workers == 2

    def test_a_heartbeat_renews_the_lease(self, store: Store, other: Store) -> None:
        info = an_info(store, lease=MINUTE)
        store.register(info)
        before = store.now()
        assert store.heartbeat("w-1", HOUR) == []
        [renewed] = other.workers()
        assert before + HOUR <= renewed.expires_at <= store.now() + HOUR
        assert replace(renewed, expires_at=info.expires_at) == info

    def test_an_expired_lease_is_not_renewed(self, store: Store) -> None:
        info = an_info(store, lease=-SECOND)
        store.register(info)
        assert store.heartbeat("w-1", HOUR) is None
        assert store.workers() == [info]
        assert store.heartbeat("absent", HOUR) is None

    def test_a_worker_that_was_taken_over_is_not_revived(self, store: Store, other: Store) -> None:
        store.register(an_info(store))
        other.take_over(["w-1"])
        assert store.heartbeat("w-1", HOUR) is None
        assert store.workers() == []

    def test_a_heartbeat_tells_what_to_cancel(self, store: Store) -> None:
        uid = start(store)
        worker, second = FakeWorker(store, "w-1"), FakeWorker(store, "w-2")
        tasks = [a_task(store, n, owner="w-1") for n in (1, 2, 3)]
        instance = worker.advance(worker.take(), tasks=[*tasks, a_task(store, 4)])
        second.take_task()
        cancels = [Cancel(n, f"result:{n}", b"cancelled") for n in (1, 3, 4)]
        worker.advance(instance, cancels=cancels)
        assert sorted(store.heartbeat("w-1", HOUR) or []) == [(uid, 1, 1), (uid, 1, 3)]
        assert store.heartbeat("w-2", HOUR) == [(uid, 1, 4)]

    # -- release ------------------------------------------------------------------------

    def holding(self, store: Store, id: str, lease: int = HOUR) -> FakeWorker:
        """A worker that owns the instance ``{id}`` (with a timer) and a task of it."""
        start(store, id)
        worker = FakeWorker(store, id, lease)
        task = a_task(store, owner=id, wake_at=store.now() + HOUR)
        worker.advance(worker.take(), tasks=[task], wake_at=store.now() + HOUR)
        return worker

    def check_released(self, store: Store, id: str, crashes: int) -> None:
        instance = look(store, id)
        [task] = store.tasks(instance.uid)
        assert (instance.owner, instance.crashes) == ("", crashes)
        assert (task.owner, task.crashes) == ("", crashes)
        assert instance.wake_at is not None
        assert instance.wake_at <= store.now()
        assert task.wake_at <= store.now()
        assert (instance.epoch, task.epoch, task.attempt) == (1, 1, 1)

    def check_held(self, store: Store, id: str) -> None:
        instance = look(store, id)
        [task] = store.tasks(instance.uid)
        assert (instance.owner, task.owner) == (id, id)
        assert (instance.crashes, task.crashes) == (0, 0)

    def test_a_worker_that_leaves_gives_all_back(self, store: Store) -> None:
        self.holding(store, "leaving")
        self.holding(store, "staying")
        store.unregister("leaving")
        self.check_released(store, "leaving", crashes=0)
        self.check_held(store, "staying")
        assert [worker.id for worker in store.workers()] == ["staying"]
        assert store.owned("leaving").instances == {}
        store.unregister("leaving")

    def test_what_was_given_back_is_claimed_under_a_new_epoch(self, store: Store) -> None:
        self.holding(store, "leaving")
        store.unregister("leaving")
        claimed = FakeWorker(store, "next").claim()
        assert [one.instance.epoch for one in claimed.instances] == [2]
        assert [(task.epoch, task.attempt) for task in claimed.tasks] == [(2, 1)]

    def test_what_expired_is_taken_over(self, store: Store, other: Store) -> None:
        self.holding(store, "dead-1", lease=-SECOND)
        self.holding(store, "dead-2", lease=-SECOND)
        self.holding(store, "alive")
        assert other.take_over(None) == 2
        self.check_released(store, "dead-1", crashes=1)
        self.check_released(store, "dead-2", crashes=1)
        self.check_held(store, "alive")
        assert [worker.id for worker in store.workers()] == ["alive"]
        assert other.take_over(None) == 0

    def test_what_is_known_to_be_dead_is_taken_over(self, store: Store, other: Store) -> None:
        self.holding(store, "dead")
        self.holding(store, "expired", lease=-SECOND)
        self.holding(store, "alive")
        assert other.take_over(["dead", "absent"]) == 1
        self.check_released(store, "dead", crashes=1)
        self.check_held(store, "expired")
        self.check_held(store, "alive")
        assert other.take_over([]) == 0
        assert [worker.id for worker in store.workers()] != []

    def test_crashes_are_counted(self, store: Store) -> None:
        start(store)
        schedule(FakeWorker(store, "w-0"))
        send(store)
        for n in (1, 2, 3):
            worker = FakeWorker(store, f"w-{n}")
            claimed = worker.claim()
            assert [one.instance.crashes for one in claimed.instances] == [n - 1]
            assert [task.crashes for task in claimed.tasks] == [n - 1]
            assert [one.instance.epoch for one in claimed.instances] == [n + 1]
            assert [task.epoch for task in claimed.tasks] == [n]
            store.take_over([worker.id])

    def test_a_takeover_counts_no_crash_of_what_nobody_held(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        before = schedule(worker, wake_at=store.now() + HOUR)
        store.take_over(["w-1"])
        assert look(store) == before
        assert store.tasks(before.uid)[0].crashes == 0

    # -- adopt --------------------------------------------------------------------------

    def test_what_is_released_keeps_its_crashes(self, store: Store, other: Store) -> None:
        start(store, "a", "b")
        dead = FakeWorker(store, "dead")
        dead.claim()
        store.take_over(["dead"])
        worker = FakeWorker(store, "w-2")
        claimed = {c.instance.id: c for c in worker.claim().instances}
        assert {c.instance.crashes for c in claimed.values()} == {1}
        store.release("w-2", [claimed["a"].instance.uid])
        store.release("w-3", [claimed["b"].instance.uid])
        assert (look(store, "a").owner, look(store, "a").crashes) == ("", 1)
        assert look(other, "b").owner == "w-2"
        assert worker.commit(a_step(claimed["a"])) == [LOST]
        [again] = FakeWorker(other, "w-4").claim().instances
        assert (again.instance.id, again.instance.crashes) == ("a", 1)
        assert again.instance.epoch == claimed["a"].instance.epoch + 1

    def test_adopt_fences_what_was_sent_before(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        old = worker.advance(worker.take(), tasks=[a_task(store, 1, owner="w-1")])
        [old_task] = store.tasks(uid)
        send(store)
        adopted = store.adopt("w-1", [uid], [(uid, 1, 1)])
        [again], [task] = adopted.instances, adopted.tasks
        assert again.instance == replace(old, epoch=2, wake_at=None)
        assert task == replace(old_task, epoch=2)
        assert (look(store), store.tasks(uid)) == (again.instance, [task])
        assert [message.event for message in again.messages] == [b"m-1"]
        assert worker.commit(a_step(old)) == [LOST]
        assert not worker.complete(old_task)
        assert worker.commit(a_step(again, done=[(1, 1)])) == [LOST]
        assert worker.commit(a_step(again, done=[(1, 2)])) == [COMMITTED]

    def test_adopt_leaves_out_what_is_not_owned(self, store: Store) -> None:
        own = start(store, "own")
        worker = FakeWorker(store, "w-1")
        worker.take()
        foreign = start(store, "foreign")
        second = FakeWorker(store, "w-2")
        second.advance(second.take(), tasks=[a_task(store, 1, owner="w-2"), a_task(store, 2)])
        free = start(store, "free")
        before = [look(store, id) for id in ("foreign", "free")]
        tasks = store.tasks(foreign)
        keys = [(foreign, 1, 1), (foreign, 1, 2), (own, 1, 1)]
        adopted = store.adopt("w-1", [foreign, own, free, b"nobody's uid    "], keys)
        assert [one.instance.id for one in adopted.instances] == ["own"]
        assert adopted.tasks == []
        assert [look(store, id) for id in ("foreign", "free")] == before
        assert store.tasks(foreign) == tasks
        assert store.adopt("w-1", [], []).instances == []

    def test_adopt_finds_what_owned_tells(self, store: Store) -> None:
        start(store, *(f"i-{n}" for n in range(5)))
        worker = FakeWorker(store)
        for claimed in worker.claim().instances:
            worker.advance(claimed, tasks=[a_task(store, owner="w-1")])
        owned = store.owned("w-1")
        adopted = store.adopt("w-1", list(owned.instances), list(owned.tasks))
        assert (len(adopted.instances), len(adopted.tasks)) == (5, 5)
        again = store.owned("w-1")
        assert again.instances == {uid: epoch + 1 for uid, epoch in owned.instances.items()}
        assert again.tasks == {key: epoch + 1 for key, epoch in owned.tasks.items()}

    # -- unknown workflows --------------------------------------------------------------

    def test_the_row_says_at_once_that_nobody_knows_it(self, store: Store) -> None:
        start(store, workflow="lost", version=2)
        before = look(store)
        watcher = an_info(store)
        store.register(watcher)
        assert store.block_unknown(watcher, after=HOUR) == 1
        assert look(store) == replace(before, reason="no worker knows workflow lost@2")
        assert store.block_unknown(watcher, after=HOUR) == 0

    def test_it_is_blocked_after_a_while(self, store: Store) -> None:
        start(store, workflow="lost", start_at=store.now() - MINUTE)
        watcher = an_info(store)
        store.register(watcher)
        assert store.block_unknown(watcher, after=SECOND) == 1
        instance = look(store)
        assert (instance.status, instance.wake_at) == (Status.BLOCKED, None)
        assert instance.reason == "no worker knows workflow lost"
        assert instance.blocked_by != ""
        assert send(store) is Sent.SENT
        assert look(store).wake_at is None
        assert store.block_unknown(watcher, after=SECOND) == 0

    @pytest.mark.parametrize("after", [HOUR, -HOUR], ids=["early", "late"])
    def test_it_goes_on_when_somebody_knows_it(self, store: Store, after: int) -> None:
        start(store, workflow="lost")
        watcher = an_info(store)
        store.register(watcher)
        assert store.block_unknown(watcher, after) == 1
        worker = FakeWorker(store, "w-2", build="build-2", workflows=("lost",))
        running = worker.advance(worker.take())
        assert (running.status, running.reason) == (Status.RUNNING, "")
        assert running.blocked_by == ""

    def test_what_a_live_worker_knows_is_left_alone(self, store: Store, other: Store) -> None:
        start(store, start_at=store.now() - MINUTE)
        before = look(store)
        watcher = an_info(store, workflows=("other",))
        store.register(watcher)
        FakeWorker(other, "w-2")
        assert store.block_unknown(watcher, after=0) == 0
        assert look(store) == before

    def test_what_an_expired_worker_knew_is_not_known(self, store: Store) -> None:
        start(store)
        watcher = an_info(store, workflows=("other",))
        store.register(watcher)
        FakeWorker(store, "w-2", lease=-SECOND)
        assert store.block_unknown(watcher, after=HOUR) == 1

    def test_only_what_is_due_and_free_in_its_queues(self, store: Store) -> None:
        start(store, "owned")
        worker = FakeWorker(store, "gone", lease=-SECOND)
        worker.advance(worker.take(), wake_at=store.now() - MINUTE)
        start(store, "future", workflow="lost", start_at=store.now() + HOUR)
        start(store, "elsewhere", workflow="lost", queue="other")
        watcher = an_info(store, workflows=())
        store.register(watcher)
        ids = ("owned", "future", "elsewhere")
        before = [look(store, id) for id in ids]
        assert store.block_unknown(watcher, after=-HOUR) == 0
        assert [look(store, id) for id in ids] == before

    @pytest.mark.parametrize("version", [None, 1])
    def test_a_worker_must_know_the_version(self, store: Store, version: int | None) -> None:
        start(store, version=version)
        watcher = an_info(store, workflows=("flow@1",) if version is None else ("flow",))
        store.register(watcher)
        assert store.block_unknown(watcher, after=HOUR) == 1

    def test_what_waits_for_missing_code_keeps_its_messages(self, store: Store) -> None:
        uid = start(store, workflow="lost")
        watcher = an_info(store)
        store.register(watcher)
        send(store, "m-1")
        store.block_unknown(watcher, after=-HOUR)
        send(store, "m-2")
        worker = FakeWorker(store, "w-2", build="build-2", workflows=("lost",))
        assert len(worker.take().messages) == 2
        assert len(inbox(store, uid)) == 2
