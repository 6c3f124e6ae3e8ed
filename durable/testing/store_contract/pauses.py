"""Instances that are held up: pause, resume, and waking what is blocked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from durable.model import Instance, Status
from durable.store import PARKED, Cancel, End, Filter, Sent, Store
from durable.testing.store_contract.base import (
    COMMITTED,
    COMPLETED,
    DEADLOCK,
    HOUR,
    LOST,
    MINUTE,
    REFUSED,
    SECOND,
    Base,
    FakeWorker,
    a_finished,
    a_message,
    a_next,
    a_step,
    a_task,
    events,
    inbox,
    look,
    pause,
    resume,
    schedule,
    send,
    start,
    terminate,
)

WAYS: list[Callable[[Store], Sent]] = [
    pause,
    resume,
    lambda store: store.unblock("i-1", "u-1"),
]
way = pytest.mark.parametrize("way", WAYS, ids=["pause", "resume", "unblock"])


def a_running(store: Store, worker: FakeWorker) -> Instance:
    """An instance with one event and a timer, that nobody owns."""
    start(store)
    return worker.advance(worker.take(), release=True, wake_at=store.now() + HOUR)


def a_blocked(store: Store, end: object = REFUSED) -> FakeWorker:
    """A worker that has blocked ``i-1`` and released it."""
    start(store)
    worker = FakeWorker(store)
    worker.advance(worker.take(), end=end, release=True)
    return worker


class Pauses(Base):
    # -- pause --------------------------------------------------------------------------

    def test_a_pause_before_the_first_step(self, store: Store, other: Store) -> None:
        uid = start(store)
        before = look(store)
        assert pause(store) is Sent.SENT
        assert look(other) == replace(before, status=Status.PAUSED, owner=PARKED, epoch=1)
        assert events(store, uid) == []

    def test_a_pause_stands_in_a_history_that_has_begun(self, store: Store) -> None:
        before = a_running(store, FakeWorker(store))
        assert pause(store) is Sent.SENT
        assert look(store) == replace(
            before, status=Status.PAUSED, owner=PARKED, epoch=2, history_length=2
        )
        assert events(store, before.uid) == [b"event-0", b"paused"]

    def test_a_pause_of_what_is_blocked(self, store: Store) -> None:
        a_blocked(store)
        before = look(store)
        assert pause(store) is Sent.SENT
        assert look(store) == replace(
            before, status=Status.PAUSED, owner=PARKED, epoch=2, history_length=2
        )

    def test_a_pause_fences_the_owner(self, store: Store, other: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        pause(other)
        assert worker.commit(a_step(claimed)) == [LOST]
        assert worker.commit(a_step(look(store))) == [LOST]
        assert store.owned("w-1").instances == {}
        assert store.adopt("w-1", [uid], []).instances == []
        resume(other)
        assert worker.commit(a_step(claimed)) == [LOST]
        worker.advance(worker.take())
        assert events(store, uid) == [b"event-0"]

    def test_nobody_looks_at_what_is_paused(self, store: Store, other: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        uid = worker.advance(worker.take(), release=True, wake_at=store.now() - MINUTE).uid
        pause(store)
        send(store, "m-1")
        send(store, "m-2", urgent=True)
        before = look(store)
        store.take_over(["w-1"])
        second = FakeWorker(other, "w-2", build="build-2")
        store.release("w-2", [uid])
        claimed = second.claim()
        assert (claimed.instances, claimed.next_wake_at, claimed.more) == ([], None, False)
        store.unregister("w-2")
        assert look(store) == before
        assert [id for id, _ in inbox(store, uid)] == ["m-1", "m-2"]

    def test_it_is_not_blocked_for_missing_code(self, store: Store) -> None:
        start(store, workflow="lost", start_at=store.now() - MINUTE)
        watcher = FakeWorker(store)
        pause(store)
        before = look(store)
        assert store.block_unknown(watcher.info, after=0) == 0
        assert look(store) == before

    def test_other_code_does_not_end_a_pause(self, store: Store) -> None:
        a_blocked(store)
        pause(store)
        before = look(store)
        assert FakeWorker(store, "w-2", build="build-2").ids() == []
        assert look(store) == before

    def test_its_tasks_go_on(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        uid = schedule(worker, *(a_task(store, n) for n in (1, 2, 3))).uid
        held = {task.command: task for task in worker.claim(tasks=2).tasks}
        pause(store)
        for task in held.values():
            assert worker.complete(task)
        late = worker.take_task()
        assert worker.postpone(late)
        assert worker.complete(worker.take_task())
        assert store.tasks(uid) == []
        resume(store)
        ids = sorted(message.message_id for message in worker.take().messages)
        assert ids == ["result:1:1", "result:1:2", "result:1:3"]

    def test_a_paused_instance_is_listed_and_counted(self, store: Store) -> None:
        start(store, "i-1", "i-2", start_at=store.now() - MINUTE)
        pause(store)
        assert [row.id for row in store.instances(Filter(statuses=(Status.PAUSED,))).rows] == [
            "i-1"
        ]
        terminate(store, "i-2")
        stats = store.stats()
        assert (stats.instances["paused"], stats.workers) == (1, 0)
        assert stats.oldest_wake_at is None

    def test_it_may_be_terminated_and_deleted(self, store: Store) -> None:
        before = a_running(store, FakeWorker(store))
        pause(store)
        assert store.delete("i-1") is None
        assert terminate(store) is Sent.SENT
        ended = look(store)
        assert (ended.status, ended.owner, ended.wake_at) == (Status.TERMINATED, "", None)
        assert (ended.epoch, ended.history_length) == (before.epoch + 2, 3)
        assert resume(store) is Sent.FINISHED
        assert store.delete("i-1") is Sent.SENT

    # -- resume -------------------------------------------------------------------------

    def test_a_running_instance_goes_on_at_once(self, store: Store) -> None:
        worker = FakeWorker(store)
        before = a_running(store, worker)
        pause(store)
        send(store)
        assert resume(store) is Sent.SENT
        resumed = look(store)
        assert resumed.wake_at is not None
        assert resumed.wake_at <= store.now()
        assert resumed == replace(before, epoch=3, history_length=3, wake_at=resumed.wake_at)
        assert events(store, before.uid) == [b"event-0", b"paused", b"resumed"]
        claimed = worker.take()
        assert [message.event for message in claimed.messages] == [b"m-1"]
        worker.finish(claimed)

    def test_what_has_not_begun_is_pending_again(self, store: Store) -> None:
        uid = start(store, start_at=store.now() - MINUTE)
        before = look(store)
        pause(store)
        assert resume(store) is Sent.SENT
        assert look(store) == replace(before, epoch=2)
        assert events(store, uid) == []
        FakeWorker(store).take()

    def test_what_was_in_a_workers_hands_is_due(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        worker.take()
        pause(store)
        resume(store)
        assert look(store).status is Status.PENDING
        worker.finish(worker.take())

    def test_a_timer_that_was_in_a_workers_hands_is_due(self, store: Store) -> None:
        """It has no moment then, and the step of the worker is lost."""
        start(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), release=True, wake_at=store.now())
        claimed = worker.take()
        assert claimed.instance.wake_at is None
        pause(store)
        resume(store)
        worker.finish(worker.take())

    def test_a_timer_keeps_its_moment(self, store: Store) -> None:
        before = a_running(store, FakeWorker(store))
        pause(store)
        resume(store)
        assert look(store).wake_at == before.wake_at
        assert FakeWorker(store).ids() == []

    def test_what_its_owner_waits_for_keeps_its_moment(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        at = store.now() + HOUR
        worker.advance(worker.take(), wake_at=at)
        pause(store)
        resume(store)
        assert (look(store).owner, look(store).wake_at) == ("", at)

    def test_what_waits_for_messages_alone_goes_on_waiting(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), release=True)
        pause(store)
        resume(store)
        assert (look(store).status, look(store).wake_at) == (Status.RUNNING, None)
        pause(store, message_id="p-3")
        send(store)
        resume(store, message_id="p-4")
        assert len(worker.take().messages) == 1

    def test_a_delayed_run_stays_delayed(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        at = store.now() + HOUR
        worker.advance(worker.take(), next=a_next(store, start_at=at, history=[b"x"]))
        pause(store)
        resume(store)
        assert look(store).wake_at == at

    def test_a_start_delay_goes_on(self, store: Store) -> None:
        at = store.now() + HOUR
        uid = start(store, start_at=at)
        pause(store)
        send(store)
        resume(store)
        resumed = look(store)
        assert (resumed.status, resumed.wake_at) == (Status.PENDING, at)
        send(store, "m-2")
        assert FakeWorker(store).ids() == []
        assert len(inbox(store, uid)) == 2

    def test_an_urgent_message_meanwhile_ends_the_start_delay(self, store: Store) -> None:
        start(store, start_at=store.now() + HOUR)
        pause(store)
        send(store, urgent=True)
        worker = FakeWorker(store)
        assert worker.ids() == []
        resume(store)
        assert len(worker.take().messages) == 1

    def test_what_was_refused_by_code_is_blocked_again(self, store: Store) -> None:
        a_blocked(store)
        before = look(store)
        pause(store)
        send(store)
        resume(store)
        assert look(store) == replace(before, epoch=3, history_length=3)
        assert FakeWorker(store, "w-2").ids() == []
        assert FakeWorker(store, "w-3", build="build-2").ids() == ["i-1"]

    def test_a_deadlock_is_looked_at_again(self, store: Store) -> None:
        worker = a_blocked(store, DEADLOCK)
        pause(store)
        resume(store)
        assert look(store).status is Status.RUNNING
        worker.take()

    def test_it_can_be_paused_again(self, store: Store) -> None:
        before = a_running(store, FakeWorker(store))
        for n in range(3):
            assert pause(store, message_id=f"p-{n}") is Sent.SENT
            assert resume(store, message_id=f"r-{n}") is Sent.SENT
        assert look(store).epoch == before.epoch + 6
        assert len(events(store, before.uid)) == 7

    # -- unblock ------------------------------------------------------------------------

    @pytest.mark.parametrize("end", [REFUSED, DEADLOCK], ids=["by code", "deadlock"])
    def test_what_is_blocked_is_woken(self, store: Store, end: object) -> None:
        worker = a_blocked(store, end)
        before = look(store)
        assert store.unblock("i-1", "u-1") is Sent.SENT
        woken = look(store)
        assert woken.wake_at is not None
        assert woken.wake_at <= store.now()
        assert woken == replace(before, blocked_by="", wake_at=woken.wake_at)
        running = worker.advance(worker.take())
        assert (running.status, running.reason) == (Status.RUNNING, "")

    def test_the_code_may_refuse_again(self, store: Store) -> None:
        worker = a_blocked(store)
        store.unblock("i-1", "u-1")
        blocked = worker.advance(worker.take(), end=REFUSED, release=True)
        assert (blocked.blocked_by, blocked.wake_at) == ("build-1", None)

    def test_what_nobody_knew_is_tried(self, store: Store) -> None:
        start(store, workflow="lost")
        watcher = FakeWorker(store)
        store.block_unknown(watcher.info, after=-HOUR)
        assert store.unblock("i-1", "u-1") is Sent.SENT
        woken = look(store)
        assert woken.wake_at is not None
        assert woken.wake_at <= store.now()
        assert (woken.status, woken.blocked_by) == (Status.BLOCKED, "")

    def test_the_owner_of_what_is_blocked_keeps_it(self, store: Store, other: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        blocked = worker.advance(worker.take(), end=DEADLOCK)
        assert other.unblock("i-1", "u-1") is Sent.SENT
        assert FakeWorker(other, "w-2").ids() == []
        again = worker.take()
        assert (again.instance.owner, again.instance.epoch) == ("w-1", blocked.epoch + 1)
        worker.advance(again)

    def test_messages_wake_what_was_unblocked(self, store: Store) -> None:
        worker = a_blocked(store)
        store.unblock("i-1", "u-1")
        worker.take()
        send(store)
        assert len(worker.take().messages) == 1

    def test_only_what_is_blocked_is_unblocked(self, store: Store) -> None:
        def refused() -> bool:
            before = look(store)
            return store.unblock("i-1", "u-1") is Sent.REFUSED and look(store) == before

        start(store)
        assert refused()
        worker = FakeWorker(store)
        blocked = worker.advance(worker.take(), end=REFUSED)
        pause(store)
        assert refused()
        resume(store)
        assert store.unblock("i-1", "u-1") is Sent.SENT
        running = worker.advance(worker.take())
        assert running.epoch > blocked.epoch
        assert store.unblock("i-1", "u-2") is Sent.REFUSED

    # -- all three ----------------------------------------------------------------------

    @way
    def test_what_is_not_there_or_over(self, store: Store, way: Callable[[Store], Sent]) -> None:
        assert way(store) is Sent.NOT_FOUND
        a_finished(store, "i-1")
        before = look(store)
        assert way(store) is Sent.FINISHED
        assert look(store) == before
        assert len(events(store, before.uid)) == 1

    def test_a_repeated_call_is_answered_like_the_first(self, store: Store) -> None:
        worker = a_blocked(store)
        uid = look(store).uid
        done: list[Callable[[Store], Sent]] = []
        for way in (WAYS[2], WAYS[0], WAYS[1]):
            assert way(store) is Sent.SENT
            done.append(way)
            after = look(store)
            assert [again(store) for again in done] == [Sent.SENT] * len(done)
            assert look(store) == after
        worker.finish(worker.take())
        ended = look(store)
        assert [way(store) for way in WAYS] == [Sent.SENT] * 3
        assert look(store) == ended
        assert events(store, uid) == [b"event-0", b"paused", b"resumed", b"event-3"]

    def test_what_was_refused_leaves_no_receipt(self, store: Store) -> None:
        start(store)
        assert resume(store, message_id="p-1") is Sent.REFUSED
        assert pause(store, message_id="p-1") is Sent.SENT
        assert pause(store, message_id="p-2") is Sent.REFUSED
        assert resume(store, message_id="p-2") is Sent.SENT
        assert look(store).status is Status.PENDING

    def test_a_message_of_the_same_id_counts_as_repeated(self, store: Store) -> None:
        start(store)
        send(store, "p-1")
        assert pause(store) is Sent.SENT
        assert look(store).status is Status.PENDING

    def test_they_do_not_wait_for_room(self, small: Store) -> None:
        start(small)
        small.send([a_message("i-1", f"m-{n}") for n in range(3)])
        assert pause(small) is Sent.SENT
        assert small.send([a_message("i-1", "m-3")]) == [Sent.FULL]
        assert resume(small) is Sent.SENT
        assert len(FakeWorker(small).take().messages) == 2

    def test_steps_of_others_meet_a_paused_instance(self, store: Store) -> None:
        """A step sends to it; a cancel of its own task waits for its own step."""
        start(store)
        worker = FakeWorker(store)
        uid = schedule(worker).uid
        worker.take_task()
        send(store)
        claimed = worker.take()
        pause(store)
        cancel = Cancel(1, "result:1:1", b"cancelled")
        assert worker.commit(a_step(claimed, cancels=[cancel], end=COMPLETED)) == [LOST]
        assert not store.tasks(uid)[0].cancel_requested
        start(store, "sender", start_at=store.now() - SECOND)
        worker.finish(worker.advance(worker.take(), sends=[a_message("i-1", "m-2")]))
        assert [id for id, _ in inbox(store, uid)] == ["m-1", "m-2"]
        resume(store)
        assert len(worker.take().messages) == 2

    # -- what is recorded elsewhere -----------------------------------------------------

    def test_a_history_is_committed_while_it_is_paused(self, store: Store, other: Store) -> None:
        """By the owner of what is paused: so it is not due in between, and ends paused."""
        start(store, start_at=store.now() + HOUR)
        pause(store)
        step = a_step(look(store), events=[b"a", b"b"], end=End(Status.PAUSED, "recorded"))
        assert store.commit(PARKED, [step]) == [COMMITTED]
        found = look(other)
        assert (found.status, found.owner, found.history_length) == (Status.PAUSED, PARKED, 2)
        assert found.reason == "recorded"
        worker = FakeWorker(store)
        assert worker.ids() == []
        send(store)
        assert worker.ids() == []
        resume(store)
        assert [claimed.instance.history_length for claimed in worker.claim().instances] == [3]

    def test_runs_are_committed_while_it_is_paused(self, store: Store, other: Store) -> None:
        uid = start(store, start_at=store.now() + HOUR)
        for _ in range(2):
            pause(store, message_id=f"p-{look(store).run}")
            later = a_next(store, start_at=store.now() + HOUR)
            step = a_step(look(store), events=[b"a", b"b"], next=later)
            assert store.commit(PARKED, [step]) == [COMMITTED]
        pause(store, message_id="p-3")
        assert store.commit(PARKED, [a_step(look(store), end=COMPLETED)]) == [COMMITTED]
        found = look(other)
        assert (found.status, found.run, found.owner) == (Status.COMPLETED, 3, "")
        assert [events(store, uid, run) for run in (1, 2)] == [[b"a", b"b"]] * 2
