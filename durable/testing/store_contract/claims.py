"""Promises 2, 5 and 7: who gets what is due."""

from __future__ import annotations

from dataclasses import replace

import pytest

from durable.model import Status
from durable.store import Filter, Store
from durable.testing.store_contract.base import (
    COMPLETED,
    DEADLOCK,
    HOUR,
    LOST,
    MINUTE,
    REFUSED,
    SECOND,
    Base,
    FakeWorker,
    a_message,
    a_step,
    a_task,
    inbox,
    look,
    schedule,
    send,
    start,
)


class Claims(Base):
    def test_a_claim_gives_the_instance_as_it_is_stored(self, store: Store) -> None:
        start(store)
        before = look(store)
        claimed = FakeWorker(store).take()
        assert claimed.instance == replace(before, owner="w-1", epoch=1, wake_at=None)
        assert look(store) == claimed.instance
        assert claimed.messages == []

    def test_what_is_owned_is_not_claimed_by_others(self, store: Store, other: Store) -> None:
        start(store)
        FakeWorker(store, "w-1").take()
        assert FakeWorker(other, "w-2").ids() == []

    def test_each_claim_adds_one_to_the_epoch(self, store: Store, other: Store) -> None:
        start(store)
        for epoch, worker in enumerate((FakeWorker(store, "w-1"), FakeWorker(other, "w-2")), 1):
            claimed = worker.take()
            assert (claimed.instance.owner, claimed.instance.epoch) == (worker.id, epoch)
            worker.advance(claimed, release=True, wake_at=store.now())

    def test_messages_come_with_the_claim_in_order(self, store: Store) -> None:
        uid = start(store)
        for n in range(20):
            send(store, f"m-{n}")
        claimed = FakeWorker(store).take()
        assert claimed.messages == store.inbox(uid)
        assert [message.message_id for message in claimed.messages] == [f"m-{n}" for n in range(20)]
        numbers = [message.id for message in claimed.messages]
        assert numbers == sorted(set(numbers))

    def test_messages_go_to_the_instance_that_they_were_sent_to(self, store: Store) -> None:
        start(store, "i-1", "i-2", "i-3")
        send(store, "m-1", "i-1")
        send(store, "m-2", "i-3")
        claimed = FakeWorker(store).claim().instances
        assert {one.instance.id: [m.event for m in one.messages] for one in claimed} == {
            "i-1": [b"m-1"],
            "i-2": [],
            "i-3": [b"m-2"],
        }

    def test_a_claim_leaves_the_messages_in_the_inbox(self, store: Store) -> None:
        uid = start(store)
        send(store)
        FakeWorker(store).take()
        assert inbox(store, uid) == [("m-1", b"m-1")]

    def test_a_pending_instance_is_pending_until_a_step(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        assert claimed.instance.status is Status.PENDING
        now = store.now()
        instance = worker.advance(claimed)
        assert instance.status is Status.RUNNING
        assert instance.started_at is not None
        assert now <= instance.started_at <= store.now()

    def test_only_a_registered_worker_claims(self, store: Store) -> None:
        """One that was stopped, and taken over meanwhile, must not own anything again."""
        start(store)
        worker = FakeWorker(store)
        store.take_over([worker.id])
        claimed = worker.claim()
        assert (claimed.instances, claimed.tasks) == ([], [])
        assert look(store).owner == ""

    # -- what a worker can run ----------------------------------------------------------

    def test_only_the_queues_and_workflows_of_the_worker(self, store: Store) -> None:
        start(store, "mine")
        start(store, "q", queue="other")
        start(store, "Q", queue="Default")
        start(store, "w", workflow="other")
        start(store, "W", workflow="FLOW")
        start(store, "pad", workflow="flow ")
        assert FakeWorker(store).ids() == ["mine"]
        assert FakeWorker(store, "w-2", queues=("other",)).ids() == ["q"]
        assert FakeWorker(store, "w-3", workflows=("other",)).ids() == ["w"]

    def test_several_queues_and_workflows(self, store: Store) -> None:
        for queue in ("q-1", "q-2", "q-3"):
            for workflow in ("f-1", "f-2", "f-3"):
                start(store, f"{queue} {workflow}", queue=queue, workflow=workflow)
        worker = FakeWorker(store, queues=("q-1", "q-3"), workflows=("f-3", "f-2", "absent"))
        assert sorted(worker.ids()) == ["q-1 f-2", "q-1 f-3", "q-3 f-2", "q-3 f-3"]
        assert worker.ids() == []

    def test_no_queues_or_workflows_give_nothing(self, store: Store) -> None:
        start(store)
        assert FakeWorker(store, "w-1", queues=()).ids() == []
        assert FakeWorker(store, "w-2", workflows=()).ids() == []

    def test_a_version_is_needed_once_it_was_chosen(self, store: Store) -> None:
        start(store, "any")
        start(store, "pinned", version=2)
        assert FakeWorker(store, "w-1", workflows=("flow@2",)).ids() == ["pinned"]
        worker = FakeWorker(store, "w-2", workflows=("flow", "flow@1"))
        worker.advance(worker.take(), version=2, release=True, wake_at=store.now())
        assert worker.ids() == []
        assert FakeWorker(store, "w-3", workflows=("flow@2",)).ids() == ["any"]

    def test_what_has_ended_is_not_claimed(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        worker.finish(worker.take())
        assert worker.ids() == []

    def test_what_is_blocked_by_code_is_not_claimed(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), end=REFUSED, release=True, wake_at=store.now())
        assert worker.ids() == []
        assert FakeWorker(store, "w-2").ids() == []

    def test_what_is_blocked_otherwise_is_claimed_when_due(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), end=DEADLOCK, release=True, wake_at=store.now())
        claimed = worker.take()
        assert (claimed.instance.status, claimed.instance.reason) == (Status.BLOCKED, "deadlock")

    # -- limits and order ---------------------------------------------------------------

    def test_what_has_been_due_longest_comes_first(self, store: Store) -> None:
        now = store.now()
        for n in (3, 0, 4, 1, 2):
            queue, workflow = f"q-{n % 2}", f"f-{n % 3}"
            start(store, f"i-{n}", start_at=now - MINUTE + n, queue=queue, workflow=workflow)
        worker = FakeWorker(store, queues=("q-0", "q-1"), workflows=("f-0", "f-1", "f-2"))
        taken = [worker.claim(instances=2).instances for _ in range(3)]
        ids = [sorted(one.instance.id for one in batch) for batch in taken]
        assert ids == [["i-0", "i-1"], ["i-2", "i-3"], ["i-4"]]

    def test_a_claim_says_that_it_left_something(self, store: Store) -> None:
        start(store, *(f"i-{n}" for n in range(5)))
        worker = FakeWorker(store)
        first, second = worker.claim(instances=3), worker.claim(instances=2)
        assert (len(first.instances), first.more) == (3, True)
        assert (len(second.instances), second.more) == (2, False)
        ids = {one.instance.id for one in first.instances + second.instances}
        assert ids == {f"i-{n}" for n in range(5)}

    def test_a_limit_of_nothing_gives_nothing(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        schedule(worker)
        start(store, "i-2")
        claimed = worker.claim(instances=0, tasks=0)
        assert (claimed.instances, claimed.tasks) == ([], [])
        assert len(worker.claim().instances) == 1

    def test_many_claims_give_each_once(self, store: Store) -> None:
        ids = [f"i-{n}" for n in range(100)]
        start(store, *ids)
        workers = [FakeWorker(store, f"w-{n}") for n in range(3)]
        taken: list[str] = []
        while more := [one.instance.id for w in workers for one in w.claim(instances=7).instances]:
            taken += more
        assert sorted(taken) == sorted(ids)

    # -- when ---------------------------------------------------------------------------

    def test_nothing_is_given_before_its_time(self, store: Store) -> None:
        at = store.now() + HOUR
        start(store, start_at=at)
        claimed = FakeWorker(store).claim()
        assert claimed.instances == []
        assert claimed.next_wake_at == at
        assert not claimed.more

    def test_next_wake_at_is_the_first_moment_that_concerns_the_worker(self, store: Store) -> None:
        now = store.now()
        worker = FakeWorker(store)
        assert worker.claim().next_wake_at is None
        start(store, "elsewhere", start_at=now + MINUTE, queue="other")
        assert worker.claim().next_wake_at is None
        start(store, "later", start_at=now + 3 * HOUR)
        assert worker.claim().next_wake_at == now + 3 * HOUR
        start(store, "mine")
        claimed = worker.take()
        worker.advance(claimed, wake_at=now + 2 * HOUR)
        assert worker.claim().next_wake_at == now + 2 * HOUR
        start(store, "scheduling")
        schedule(worker, a_task(store, wake_at=now + HOUR))
        assert worker.claim().next_wake_at == now + HOUR

    def test_next_wake_at_does_not_tell_of_what_others_own(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store, "w-1")
        worker.advance(worker.take(), wake_at=store.now() + HOUR)
        assert FakeWorker(store, "w-2").claim().next_wake_at is None

    def test_next_wake_at_looks_beyond_what_was_left(self, store: Store) -> None:
        at = store.now() + HOUR
        start(store, "i-1", "i-2", "i-3")
        start(store, "later", start_at=at)
        claimed = FakeWorker(store).claim(instances=1)
        assert (claimed.more, claimed.next_wake_at) == (True, at)

    def test_a_moment_that_was_replaced_is_forgotten(self, store: Store) -> None:
        now = store.now()
        start(store, "i-1", "i-2")
        worker = FakeWorker(store)
        for hours in (1, 3, 2):
            for claimed in worker.claim().instances:
                worker.advance(claimed, release=True, wake_at=now + hours * HOUR)
            assert worker.claim().next_wake_at == now + hours * HOUR
            store.send([a_message(id, f"m-{hours}") for id in ("i-1", "i-2")])
        for left in (1, 0):
            [claimed] = worker.claim(instances=1).instances
            worker.advance(claimed, release=True, wake_at=now + 4 * HOUR)
            again = worker.claim(instances=0)
            assert (again.instances, again.next_wake_at) == ([], now + 4 * HOUR)
            assert self.due(store) == left
        assert worker.ids() == []

    def due(self, store: Store) -> int:
        now = store.now()
        moments = [row.wake_at for row in store.instances(Filter()).rows]
        return sum(at is not None and at <= now for at in moments)

    def test_an_own_instance_comes_again_under_a_new_epoch(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        first = worker.advance(worker.take(), wake_at=store.now() - SECOND)
        again = worker.take()
        assert again.instance == replace(first, epoch=first.epoch + 1, wake_at=None)
        assert look(store) == again.instance
        assert worker.ids() == []
        assert store.owned(worker.id).instances == {first.uid: again.instance.epoch}
        worker.advance(again)

    def test_a_message_brings_an_own_instance_again(self, store: Store, other: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        send(other)
        assert FakeWorker(other, "w-2").ids() == []
        again = worker.take()
        assert again.instance.epoch == claimed.instance.epoch + 1
        assert [message.event for message in again.messages] == [b"m-1"]

    def test_own_instances_do_not_count_towards_the_limit(self, store: Store) -> None:
        worker = FakeWorker(store)
        start(store, *(f"own-{n}" for n in range(5)))
        for claimed in worker.claim().instances:
            worker.advance(claimed, wake_at=store.now())
        start(store, "free-1", "free-2")
        both = worker.claim(instances=1).instances
        ids = [claimed.instance.id for claimed in both]
        assert sum(id.startswith("own") for id in ids) == 5
        assert sum(id.startswith("free") for id in ids) == 1
        for claimed in both:
            worker.advance(claimed, wake_at=store.now())
        assert len(worker.claim(instances=0).instances) == 6

    def test_an_own_instance_before_its_time_does_not_come(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), wake_at=store.now() + HOUR)
        assert worker.ids() == []

    @pytest.mark.parametrize("release", [True, False])
    def test_without_a_moment_nobody_looks_at_it(self, store: Store, release: bool) -> None:
        start(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), release=release, wake_at=None)
        claimed = worker.claim()
        assert (claimed.instances, claimed.next_wake_at, claimed.more) == ([], None, False)

    # -- what is owned ------------------------------------------------------------------

    def test_owned_tells_all_that_a_worker_has(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        schedule(worker, a_task(store, 1), a_task(store, 2))
        assert (store.owned("w-1").instances, store.owned("w-1").tasks) == ({}, {})
        for task in worker.claim(tasks=1).tasks:
            assert store.owned("w-1").tasks == {(uid, 1, task.command): 1}
        start(store, "i-2")
        claimed = worker.take()
        assert store.owned("w-1").instances == {claimed.instance.uid: 1}
        worker.finish(claimed)
        assert store.owned("w-1").instances == {}
        assert store.owned("absent").instances == {}

    def test_a_crash_between_claim_and_commit(self, store: Store, other: Store) -> None:
        """The claim is stored, the worker gone; whoever comes next has a higher epoch."""
        start(store)
        send(store)
        lost = FakeWorker(store, "w-1").take()
        store.close()
        assert other.take_over(["w-1"]) == 1
        worker = FakeWorker(other, "w-2")
        claimed = worker.take()
        assert claimed.instance.epoch == lost.instance.epoch + 1
        assert claimed.instance.crashes == 1
        assert claimed.messages == lost.messages
        assert other.commit("w-1", [a_step(lost)]) == [LOST]
        worker.finish(claimed, COMPLETED)
