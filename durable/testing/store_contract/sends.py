"""Promises 4 and 5, in a step: what a step sends, cancels and schedules."""

from __future__ import annotations

from typing import Any

import pytest

from durable.model import Status, Task
from durable.store import Cancel, Outgoing, Sent, Store
from durable.testing.store_contract.base import (
    COMMITTED,
    COMPLETED,
    HOUR,
    MINUTE,
    REFUSED,
    UNSEEN,
    Base,
    FakeWorker,
    a_finished,
    a_message,
    a_step,
    a_task,
    inbox,
    look,
    schedule,
    send,
    start,
)

ANSWERS = {outcome: outcome.value.encode() for outcome in Sent}


def asked(id: str, message_id: str = "m-1", **changes: Any) -> Outgoing:
    """A message whose sender wants to know the outcome."""
    return a_message(id, message_id, answers=ANSWERS, **changes)


class Sends(Base):
    # -- messages -----------------------------------------------------------------------

    def sender(self, store: Store, worker: FakeWorker, *sends: Outgoing, **changes: Any) -> bytes:
        """An instance whose step sends these; returns its uid."""
        start(store, "sender", queue="senders")
        own = FakeWorker(store, f"{worker.id}-senders", queues=("senders",))
        return own.advance(own.take(), sends=list(sends), **changes).uid

    def test_a_step_sends(self, store: Store) -> None:
        uid = start(store, "target")
        worker = FakeWorker(store)
        worker.advance(worker.take(), release=True, wake_at=store.now() + HOUR)
        sender = self.sender(store, worker, a_message("target", "m-1"), a_message("target", "m-2"))
        assert inbox(store, uid) == [("m-1", b"m-1"), ("m-2", b"m-2")]
        assert worker.take().instance.uid == uid
        assert inbox(store, sender) == []

    def test_the_sender_learns_the_outcome(self, store: Store) -> None:
        start(store, "target")
        a_finished(store, "ended")
        sender = self.sender(
            store,
            FakeWorker(store),
            asked("target", "m-1"),
            asked("absent", "m-2"),
            asked("ended", "m-3"),
            a_message("absent", "m-4"),
            a_message("target", "m-5", answers={Sent.NOT_FOUND: b"no"}),
        )
        # Answers of several instances come in any order.
        assert sorted(inbox(store, sender)) == [
            ("answer:m-1", b"sent"),
            ("answer:m-2", b"not found"),
            ("answer:m-3", b"finished"),
        ]
        assert len(inbox(store, look(store, "target").uid)) == 2

    @pytest.mark.parametrize("release", [True, False])
    def test_the_answer_wakes_the_sender(self, store: Store, release: bool) -> None:
        worker = FakeWorker(store)
        start(store)
        later = store.now() + HOUR
        sends = [asked("absent")]
        instance = worker.advance(worker.take(), sends=sends, release=release, wake_at=later)
        assert instance.wake_at is not None
        assert instance.wake_at <= store.now()
        assert [message.event for message in worker.take().messages] == [b"not found"]

    def test_a_full_inbox_refuses_what_a_step_sends(self, small: Store) -> None:
        start(small, "target")
        sends = [asked("target", f"m-{n}") for n in range(3)]
        sender = self.sender(small, FakeWorker(small), *sends)
        assert [event for _, event in inbox(small, sender)] == [b"sent", b"sent", b"full"]
        assert len(inbox(small, look(small, "target").uid)) == 2

    def test_answers_are_not_refused_by_a_full_inbox(self, small: Store) -> None:
        sends = [asked("absent", f"m-{n}") for n in range(4)]
        sender = self.sender(small, FakeWorker(small), *sends)
        assert len(inbox(small, sender)) == 4

    def test_what_was_delivered_already_is_not_sent_twice(self, store: Store) -> None:
        uid = start(store, "target")
        send(store, "m-1", "target")
        worker = FakeWorker(store)
        worker.finish(worker.take())
        sender = self.sender(store, worker, asked("target", "m-1"), asked("target", "m-2"))
        assert [event for _, event in inbox(store, sender)] == [b"sent", b"finished"]
        assert inbox(store, uid) == []

    def test_one_message_has_one_answer(self, store: Store) -> None:
        worker = FakeWorker(store)
        uid = start(store)
        instance = worker.advance(worker.take(), sends=[asked("absent")])
        worker.advance(instance, sends=[asked("absent")])
        assert inbox(store, uid) == [("answer:m-1", b"not found")]

    def test_a_step_may_send_to_its_own_instance(self, store: Store) -> None:
        worker = FakeWorker(store)
        uid = start(store)
        instance = worker.advance(worker.take(), sends=[asked("i-1")], release=True)
        assert instance.wake_at is not None
        assert inbox(store, uid) == [("m-1", b"m-1"), ("answer:m-1", b"sent")]

    def test_a_last_step_sends_too(self, store: Store) -> None:
        uid = start(store, "target")
        sender = self.sender(
            store, FakeWorker(store), asked("target"), asked("sender", "m-2"), end=COMPLETED
        )
        assert inbox(store, uid) == [("m-1", b"m-1")]
        assert inbox(store, sender) == []
        assert look(store, "sender").status is Status.COMPLETED

    def test_a_message_wakes_a_pending_target_only_if_urgent(self, store: Store) -> None:
        at = store.now() + HOUR
        uid = start(store, "target", start_at=at)
        worker = FakeWorker(store)
        self.sender(store, worker, asked("target", "m-1"))
        assert look(store, "target").wake_at == at
        assert len(inbox(store, uid)) == 1
        assert worker.ids() == []
        start(store, "second")
        worker.advance(worker.take(), sends=[asked("target", "m-2", urgent=True)], messages=[])
        assert "target" in worker.ids()

    def test_a_message_does_not_wake_a_blocked_target(self, store: Store) -> None:
        start(store, "target")
        worker = FakeWorker(store)
        worker.advance(worker.take(), end=REFUSED, release=True)
        self.sender(store, worker, asked("target"))
        assert look(store, "target").wake_at is None
        assert worker.ids() == []

    def test_a_target_that_ends_in_the_same_commit(self, store: Store) -> None:
        """Either it ends first and the sender is told so, or it has a message to see."""
        for order in (1, -1):
            ids = [f"sender{order}", f"target{order}"]
            start(store, *ids)
            worker = FakeWorker(store, f"w{order}")
            claimed = {one.instance.id: one for one in worker.claim().instances}
            steps = [
                a_step(claimed[ids[0]], sends=[asked(ids[1])]),
                a_step(claimed[ids[1]], end=COMPLETED),
            ]
            verdicts = worker.commit(*steps[::order])[::order]
            target = look(store, ids[1])
            [(_, told)] = inbox(store, claimed[ids[0]].instance.uid)
            if verdicts == [COMMITTED, COMMITTED]:
                assert target.status is Status.COMPLETED
                assert told == b"finished"
                assert inbox(store, target.uid) == []
            else:
                assert verdicts == [COMMITTED, UNSEEN]
                assert told == b"sent"
                assert len(inbox(store, target.uid)) == 1

    def test_a_target_that_is_released_in_the_same_commit_is_due(self, store: Store) -> None:
        for order in (1, -1):
            ids = [f"sender{order}", f"target{order}"]
            start(store, *ids)
            worker = FakeWorker(store, f"w{order}")
            claimed = {one.instance.id: one for one in worker.claim().instances}
            steps = [
                a_step(claimed[ids[0]], sends=[a_message(ids[1])]),
                a_step(claimed[ids[1]], release=True, wake_at=store.now() + HOUR),
            ]
            assert worker.commit(*steps[::order]) == [COMMITTED, COMMITTED]
            again = worker.take()
            assert again.instance.id == ids[1]
            assert [message.event for message in again.messages] == [b"m-1"]

    def test_steps_that_send_to_each_other(self, store: Store) -> None:
        ids = [f"i-{n}" for n in range(10)]
        start(store, *ids)
        worker = FakeWorker(store)
        steps = [
            a_step(claimed, sends=[a_message(id, f"from-{claimed.instance.id}") for id in ids])
            for claimed in worker.claim().instances
        ]
        assert worker.commit(*steps) == [COMMITTED] * 10
        for id in ids:
            senders = {message_id for message_id, _ in inbox(store, look(store, id).uid)}
            assert senders == {f"from-{id}" for id in ids}

    # -- tasks --------------------------------------------------------------------------

    def test_a_task_for_anybody(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        now = store.now()
        new = a_task(
            store,
            7,
            name="other",
            queue="q-2",
            kwargs=b"kwargs",
            wake_at=now + MINUTE,
            deadline=now + HOUR,
        )
        schedule(worker, new)
        [task] = store.tasks(uid)
        assert now <= task.scheduled_at <= store.now()
        assert task == Task(
            uid=uid,
            run=1,
            command=7,
            instance_id="i-1",
            name="other",
            queue="q-2",
            args=b"args",
            kwargs=b"kwargs",
            options=b"options",
            owner="",
            epoch=0,
            wake_at=now + MINUTE,
            attempt=1,
            crashes=0,
            cancel_requested=False,
            deadline=now + HOUR,
            last_error=None,
            scheduled_at=task.scheduled_at,
        )

    def test_a_task_for_the_worker_itself(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        schedule(worker, a_task(store, owner="w-1"))
        [task] = store.tasks(uid)
        assert (task.owner, task.epoch, task.attempt) == ("w-1", 1, 1)
        assert store.owned("w-1").tasks == {(uid, 1, 1): 1}
        assert worker.claim().tasks == []
        assert FakeWorker(store, "w-2").claim().tasks == []

    # -- cancels ------------------------------------------------------------------------

    def cancel(self, command: int) -> Cancel:
        return Cancel(command, f"result:{command}", b"cancelled")

    def test_a_cancel_of_what_nobody_runs_is_answered_at_once(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        tasks = [a_task(store, 1), a_task(store, 2), a_task(store, 3, wake_at=store.now() + HOUR)]
        instance = worker.advance(worker.take(), tasks=tasks)
        cancels = [self.cancel(1), self.cancel(3)]
        instance = worker.advance(instance, cancels=cancels, release=True)
        assert [task.command for task in store.tasks(uid)] == [2]
        assert inbox(store, uid) == [("result:1", b"cancelled"), ("result:3", b"cancelled")]
        assert instance.wake_at is not None
        assert len(worker.take().messages) == 2

    def test_a_cancel_of_what_somebody_runs_is_a_request(self, store: Store) -> None:
        uid = start(store)
        worker, second = FakeWorker(store, "w-1"), FakeWorker(store, "w-2")
        tasks = [a_task(store, 1, owner="w-1"), a_task(store, 2)]
        instance = worker.advance(worker.take(), tasks=tasks)
        second.take_task()
        instance = worker.advance(instance, cancels=[self.cancel(1), self.cancel(2)])
        assert [task.cancel_requested for task in store.tasks(uid)] == [True, True]
        assert inbox(store, uid) == []
        assert instance.wake_at is None
        assert store.heartbeat("w-2", HOUR) == [(uid, 1, 2)]

    def test_a_cancel_of_what_is_over_does_nothing(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        instance = worker.advance(worker.take(), tasks=[a_task(store, 1, owner="w-1")])
        instance = worker.advance(instance, done=[(1, 1)])
        instance = worker.advance(instance, cancels=[self.cancel(1), self.cancel(9)])
        assert inbox(store, uid) == []
        assert instance.wake_at is None

    def test_what_a_step_schedules_it_may_cancel(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        tasks = [a_task(store, 1), a_task(store, 2, owner="w-1")]
        worker.advance(worker.take(), tasks=tasks, cancels=[self.cancel(1), self.cancel(2)])
        [task] = store.tasks(uid)
        assert (task.command, task.cancel_requested) == (2, True)
        assert inbox(store, uid) == [("result:1", b"cancelled")]

    def test_a_cancel_is_answered_once(self, store: Store) -> None:
        """What was answered under this message id before is not answered again."""
        uid = start(store)
        worker = FakeWorker(store)
        send(store, "result:1")
        instance = worker.advance(worker.take(), tasks=[a_task(store, 1)])
        worker.advance(instance, cancels=[self.cancel(1)])
        assert (store.tasks(uid), inbox(store, uid)) == ([], [])

    def test_a_task_whose_cancel_was_requested_can_still_end(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        instance = worker.advance(worker.take(), tasks=[a_task(store, 1, owner="w-1")])
        instance = worker.advance(instance, cancels=[self.cancel(1)])
        worker.advance(instance, done=[(1, 1)])
        assert store.tasks(uid) == []
