"""Promises 4, 5 and 7: messages that clients send, and terminate."""

from __future__ import annotations

import pytest

from durable.model import Status
from durable.store import Message, Sent, Store
from durable.testing.store_contract.base import (
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
    a_step,
    a_task,
    events,
    inbox,
    look,
    schedule,
    send,
    start,
    terminate,
)


class Messages(Base):
    # -- send ---------------------------------------------------------------------------

    def test_a_message_waits_in_the_inbox(self, store: Store, other: Store) -> None:
        uid = start(store)
        before = store.now()
        assert send(store, "m-1", event=b"\x00any 'bytes'\xff") is Sent.SENT
        [message] = other.inbox(uid)
        assert before <= message.arrived_at <= store.now()
        assert message == Message(message.id, "m-1", message.arrived_at, b"\x00any 'bytes'\xff")

    def test_each_message_is_answered_for_itself(self, store: Store) -> None:
        start(store, "i-1", "i-2")
        a_finished(store, "ended")
        ids = ["i-1", "absent", "ended", "i-2", "I-1", "i-1 "]
        outcomes = store.send([a_message(id, f"m-{n}") for n, id in enumerate(ids)])
        assert outcomes == [
            Sent.SENT,
            Sent.NOT_FOUND,
            Sent.FINISHED,
            Sent.SENT,
            Sent.NOT_FOUND,
            Sent.NOT_FOUND,
        ]
        assert store.send([]) == []

    def test_messages_keep_their_order(self, store: Store, other: Store) -> None:
        uid = start(store)
        for n in range(0, 30, 3):
            sender = (store, other)[n % 2]
            sender.send([a_message("i-1", f"m-{m}") for m in range(n, n + 3)])
        assert [id for id, _ in inbox(store, uid)] == [f"m-{n}" for n in range(30)]

    def test_a_message_delivered_twice_is_taken_once(self, store: Store, other: Store) -> None:
        uid = start(store)
        assert send(store, "m-1", event=b"first") is Sent.SENT
        assert send(other, "m-1", event=b"again") is Sent.SENT
        assert store.send([a_message(message_id="m-2")] * 2) == [Sent.SENT] * 2
        assert inbox(store, uid) == [("m-1", b"first"), ("m-2", b"m-2")]

    def test_a_message_that_was_taken_is_not_stored_again(self, store: Store) -> None:
        uid = start(store)
        send(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), release=True)
        assert send(store) is Sent.SENT
        assert inbox(store, uid) == []
        assert worker.ids() == []

    def test_a_repeated_message_is_answered_alike_after_the_end(self, store: Store) -> None:
        start(store)
        send(store, "m-1")
        worker = FakeWorker(store)
        worker.finish(worker.take())
        assert send(store, "m-1") is Sent.SENT
        assert send(store, "m-2") is Sent.FINISHED
        assert send(store, "m-2") is Sent.FINISHED

    def test_a_refused_message_leaves_no_receipt(self, store: Store) -> None:
        assert send(store) is Sent.NOT_FOUND
        uid = start(store)
        assert send(store) is Sent.SENT
        assert len(inbox(store, uid)) == 1

    def test_message_ids_are_distinct_to_the_byte(self, store: Store) -> None:
        ids = ["m", "M", "m ", " m", "m%", "m_", "m'", "é", "e\u0301", "e", "x" * 255]
        uid = start(store)
        assert store.send([a_message("i-1", id) for id in ids]) == [Sent.SENT] * len(ids)
        assert [id for id, _ in inbox(store, uid)] == ids

    def test_one_message_id_at_two_instances(self, store: Store) -> None:
        uids = [start(store, "i-1"), start(store, "i-2")]
        assert store.send([a_message("i-1"), a_message("i-2")]) == [Sent.SENT] * 2
        assert [len(inbox(store, uid)) for uid in uids] == [1, 1]

    def test_a_full_inbox_refuses_the_sender(self, small: Store) -> None:
        uid = start(small)
        outcomes = small.send([a_message("i-1", f"m-{n}") for n in range(3)])
        assert outcomes == [Sent.SENT, Sent.SENT, Sent.FULL]
        assert send(small, "m-2") is Sent.FULL
        assert send(small, "m-0") is Sent.SENT
        assert [id for id, _ in inbox(small, uid)] == ["m-0", "m-1"]
        worker = FakeWorker(small)
        worker.advance(worker.take())
        assert send(small, "m-2") is Sent.SENT
        assert inbox(small, uid) == [("m-2", b"m-2")]

    # -- who is woken -------------------------------------------------------------------

    def test_a_message_wakes_what_sleeps(self, store: Store) -> None:
        start(store, "timer", "parked")
        worker = FakeWorker(store)
        for claimed in worker.claim().instances:
            later = store.now() + HOUR if claimed.instance.id == "timer" else None
            worker.advance(claimed, release=True, wake_at=later)
        before = store.now()
        for id in ("timer", "parked"):
            send(store, "m-1", id)
            wake_at = look(store, id).wake_at
            assert wake_at is not None
            assert before <= wake_at <= store.now()
        assert sorted(worker.ids()) == ["parked", "timer"]

    def test_what_is_due_already_keeps_its_turn(self, store: Store) -> None:
        due = store.now() - MINUTE
        start(store, start_at=due)
        send(store)
        assert look(store).wake_at == due

    def test_a_message_does_not_end_a_start_delay(self, store: Store) -> None:
        at = store.now() + HOUR
        uid = start(store, start_at=at)
        assert send(store) is Sent.SENT
        assert look(store).wake_at == at
        assert len(inbox(store, uid)) == 1
        assert FakeWorker(store).ids() == []

    def test_an_urgent_message_ends_a_start_delay(self, store: Store) -> None:
        start(store, start_at=store.now() + HOUR)
        send(store, "m-1")
        assert send(store, "m-2", urgent=True) is Sent.SENT
        claimed = FakeWorker(store).take()
        assert [message.event for message in claimed.messages] == [b"m-1", b"m-2"]
        assert claimed.instance.status is Status.PENDING

    def test_an_early_message_is_there_at_the_start(self, store: Store) -> None:
        start(store, start_at=store.now() - SECOND)
        send(store)
        assert len(FakeWorker(store).take().messages) == 1

    def test_a_message_during_a_step_is_not_lost(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        send(store)
        worker.advance(claimed, release=True)
        assert [message.event for message in worker.take().messages] == [b"m-1"]

    # -- terminate ----------------------------------------------------------------------

    def test_terminate_ends_at_once(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        running = worker.advance(
            worker.take(), tasks=[a_task(store, 1, owner="w-1"), a_task(store, 2)]
        )
        send(store)
        now = store.now()
        assert terminate(store) is Sent.SENT
        ended = look(store)
        assert (ended.status, ended.reason) == (Status.TERMINATED, "enough")
        assert (ended.owner, ended.wake_at, ended.blocked_by) == ("", None, "")
        assert ended.epoch == running.epoch + 1
        assert ended.history_length == 2
        assert ended.finished_at is not None
        assert now <= ended.finished_at <= store.now()
        assert events(store, uid) == [b"event-0", b"terminated"]
        assert (store.tasks(uid), store.inbox(uid)) == ([], [])
        assert (store.owned("w-1").instances, store.owned("w-1").tasks) == ({}, {})

    def test_terminate_fences_the_owner(self, store: Store, other: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        terminate(other)
        assert worker.commit(a_step(claimed)) == [LOST]
        assert worker.commit(a_step(look(store))) == [LOST]
        assert worker.ids() == []
        assert events(store, uid) == [b"terminated"]

    def test_terminate_drops_results_on_their_way(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        schedule(worker)
        task = worker.take_task()
        terminate(store)
        assert not worker.complete(task)
        assert inbox(store, uid) == []

    def test_terminate_is_repeated_and_refused(self, store: Store) -> None:
        uid = start(store)
        assert terminate(store, message_id="t-1") is Sent.SENT
        ended = look(store)
        assert terminate(store, message_id="t-1") is Sent.SENT
        assert terminate(store, message_id="t-2") is Sent.FINISHED
        assert terminate(store, "absent") is Sent.NOT_FOUND
        assert look(store) == ended
        assert events(store, uid) == [b"terminated"]

    def test_terminate_before_the_start(self, store: Store) -> None:
        start(store, start_at=store.now() + HOUR)
        assert terminate(store) is Sent.SENT
        claimed = FakeWorker(store).claim()
        assert (claimed.instances, claimed.next_wake_at) == ([], None)

    @pytest.mark.parametrize("end", [REFUSED, DEADLOCK], ids=["by code", "deadlock"])
    def test_terminate_of_what_is_blocked(self, store: Store, end: object) -> None:
        start(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), end=end, release=True)
        assert terminate(store) is Sent.SENT
        ended = look(store)
        assert (ended.status, ended.reason, ended.blocked_by) == (Status.TERMINATED, "enough", "")
        FakeWorker(store, "w-2", build="build-2")
        assert look(store) == ended

    def test_terminate_works_with_a_full_inbox(self, small: Store) -> None:
        start(small)
        small.send([a_message("i-1", f"m-{n}") for n in range(3)])
        assert terminate(small) is Sent.SENT
