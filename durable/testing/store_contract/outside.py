"""Tasks whose attempts report on the way, wait for somebody outside, or are settled by them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from durable.model import Task
from durable.store import Beat, Cancel, Sent, Store
from durable.testing.store_contract.base import (
    HOUR,
    MINUTE,
    Base,
    FakeWorker,
    a_completion,
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


def a_held(store: Store, worker: FakeWorker, **changes: Any) -> Task:
    """A task of an instance that nobody owns, held by this worker."""
    start(store)
    schedule(worker, a_task(store, **changes))
    return worker.take_task()


def await_it(worker: FakeWorker, task: Task, **changes: Any) -> Task:
    """Leave a task to somebody outside, for an hour; the task as it is then."""
    fields: dict[str, Any] = {
        "attempt": task.attempt,
        "wake_at": worker.store.now() + HOUR,
        "last_error": None,
        "awaits": True,
    }
    assert worker.postpone(task, **(fields | changes))
    [left] = worker.store.tasks(task.uid)
    return left


class Outside(Base):
    # -- the context --------------------------------------------------------------------

    def test_what_is_propagated_comes_with_the_task(self, store: Store, other: Store) -> None:
        task = a_held(store, FakeWorker(store), context=b"\x00context")
        assert task.context == b"\x00context"
        assert (task.details, task.deferrals, task.awaits) == (None, 0, False)
        assert other.tasks(task.uid) == [task]

    # -- heartbeats ---------------------------------------------------------------------

    def test_details_are_kept(self, store: Store, other: Store) -> None:
        worker = FakeWorker(store)
        task = a_held(store, worker)
        assert worker.beat(task, b"first") == []
        assert other.tasks(task.uid) == [replace(task, details=b"first")]
        assert worker.beat(task, None) == []
        assert other.tasks(task.uid) == [replace(task, details=b"first")]
        worker.beat(task, b"")
        assert other.tasks(task.uid) == [replace(task, details=b"")]

    def test_details_go_to_the_next_attempt(self, store: Store, other: Store) -> None:
        worker = FakeWorker(store)
        task = a_held(store, worker)
        worker.beat(task, b"half")
        other.take_over(["w-1"])
        again = FakeWorker(other, "w-2").take_task()
        assert (again.details, again.epoch) == (b"half", 2)

    def test_details_are_of_who_holds_the_task(self, store: Store) -> None:
        worker, second = FakeWorker(store), FakeWorker(store, "w-2")
        task = a_held(store, worker)
        second.beat(task, b"no")
        worker.beat(replace(task, epoch=0), b"no")
        worker.beat(replace(task, epoch=2), b"no")
        worker.beat(replace(task, run=2), b"no")
        worker.beat(replace(task, command=9), b"no")
        worker.beat(replace(task, uid=b"nobody's uid    "), b"no")
        assert store.tasks(task.uid) == [task]
        worker.postpone(task)
        left = store.tasks(task.uid)
        worker.beat(task, b"no")
        store.beat("", [Beat(task.uid, 1, 1, 1, b"no")])
        assert store.tasks(task.uid) == left

    def test_the_attempt_before_says_nothing_more(self, store: Store) -> None:
        """Both run on one worker for a while, and their heartbeats come together."""
        worker = FakeWorker(store)
        first = a_held(store, worker)
        worker.postpone(first)
        second = worker.take_task()
        old, new = (
            Beat(task.uid, 1, 1, task.epoch, b"%d" % task.epoch) for task in (first, second)
        )
        for beats in ([old, new], [new, old]):
            store.beat("w-1", beats)
            assert store.tasks(first.uid) == [replace(second, details=b"2")]
            store.beat("w-1", [replace(new, details=b"")])

    def test_a_heartbeat_of_what_is_over_is_dropped(self, store: Store) -> None:
        worker = FakeWorker(store)
        task = a_held(store, worker)
        worker.complete(task)
        assert worker.beat(task) == []
        assert store.tasks(task.uid) == []

    def test_a_heartbeat_tells_all_that_is_to_be_cancelled(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        tasks = [a_task(store, n, owner="w-1") for n in (1, 2, 3)]
        instance = worker.advance(worker.take(), tasks=tasks)
        assert store.beat("w-1", []) == []
        cancels = [Cancel(n, f"result:{n}", b"cancelled") for n in (1, 3)]
        worker.advance(instance, cancels=cancels)
        assert sorted(store.beat("w-1", [])) == [(uid, 1, 1), (uid, 1, 3)]
        assert sorted(worker.beat(store.tasks(uid)[1])) == [(uid, 1, 1), (uid, 1, 3)]
        assert store.tasks(uid)[1].details == b"details"
        assert store.beat("w-2", []) == []

    def test_many_heartbeats_at_once(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        tasks = [a_task(store, n, owner="w-1") for n in range(300)]
        worker.advance(worker.take(), tasks=tasks)
        beats = [Beat(uid, 1, n, 1, b"%d" % n if n % 2 else None) for n in range(300)]
        store.beat("w-1", beats)
        details = [task.details for task in store.tasks(uid)]
        assert details == [b"%d" % n if n % 2 else None for n in range(300)]

    # -- what another attempt inherits --------------------------------------------------

    def test_another_attempt_inherits(self, store: Store) -> None:
        worker = FakeWorker(store)
        task = a_held(store, worker)
        worker.postpone(task, last_error=b"first", details=b"half", deferrals=1)
        again = worker.take_task()
        assert (again.last_error, again.details, again.deferrals) == (b"first", b"half", 1)
        worker.postpone(again, last_error=None, details=None, deferrals=2)
        third = worker.take_task()
        assert (third.last_error, third.details, third.deferrals) == (b"first", b"half", 2)
        worker.postpone(third, last_error=b"", details=b"")
        assert [(t.last_error, t.details, t.deferrals) for t in store.tasks(task.uid)] == [
            (b"", b"", 0)
        ]

    # -- awaits -------------------------------------------------------------------------

    def test_a_task_may_wait_for_somebody_outside(self, store: Store, other: Store) -> None:
        worker = FakeWorker(store)
        task = a_held(store, worker)
        worker.postpone(task, last_error=b"error")
        task = worker.take_task()
        at = store.now() + HOUR
        left = await_it(worker, task, wake_at=at, deferrals=3, details=b"asked")
        assert left == replace(
            task, owner="", wake_at=at, awaits=True, deferrals=3, details=b"asked"
        )
        assert (left.epoch, left.attempt, left.last_error) == (2, 2, b"error")
        assert store.owned("w-1").tasks == {}
        claimed = FakeWorker(other, "w-2").claim()
        assert (claimed.tasks, claimed.next_wake_at) == ([], at)
        assert inbox(store, task.uid) == []
        stats = store.stats()
        assert (stats.tasks_waiting, stats.tasks_running) == (1, 0)

    def test_the_attempt_goes_on_elsewhere(self, store: Store) -> None:
        worker = FakeWorker(store)
        task = a_held(store, worker)
        assert await_it(worker, task, attempt=7).attempt == 1

    def test_its_time_is_up(self, store: Store, other: Store) -> None:
        worker = FakeWorker(store)
        task = a_held(store, worker)
        left = await_it(worker, task, wake_at=store.now() - MINUTE)
        again = FakeWorker(other, "w-2").take_task()
        assert again == replace(left, owner="w-2", epoch=2)
        assert again.awaits
        assert store.settle(a_completion(task)) is Sent.FINISHED

    def test_another_attempt_awaits_no_longer(self, store: Store) -> None:
        worker = FakeWorker(store)
        await_it(worker, a_held(store, worker), wake_at=store.now() - MINUTE)
        due = worker.take_task()
        assert worker.postpone(due)
        [left] = store.tasks(due.uid)
        assert (left.awaits, left.attempt) == (False, 2)

    def test_a_cancel_ends_the_wait(self, store: Store) -> None:
        worker = FakeWorker(store)
        task = await_it(worker, a_held(store, worker))
        send(store)
        cancel = Cancel(1, "result:1:1", b"cancelled")
        worker.advance(worker.take(), cancels=[cancel], release=True)
        assert store.tasks(task.uid) == []
        assert inbox(store, task.uid) == [("result:1:1", b"cancelled")]

    def test_what_was_cancelled_does_not_wait(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        instance = worker.advance(worker.take(), tasks=[a_task(store, owner="w-1")])
        cancel = Cancel(1, "result:1:1", b"cancelled")
        worker.advance(instance, cancels=[cancel], release=True)
        [task] = store.tasks(instance.uid)
        assert worker.postpone(task, awaits=True, wake_at=store.now() + HOUR)
        assert store.tasks(task.uid) == []
        assert inbox(store, task.uid) == [("result:1:1", b"cancelled")]

    # -- settle -------------------------------------------------------------------------

    def test_a_result_may_come_from_outside(self, store: Store, other: Store) -> None:
        worker = FakeWorker(store)
        task = await_it(worker, a_held(store, worker))
        assert other.settle(a_completion(task)) is Sent.SENT
        assert store.tasks(task.uid) == []
        assert inbox(store, task.uid) == [("result:1:1", b"result")]
        claimed = worker.take()
        assert [message.event for message in claimed.messages] == [b"result"]
        worker.finish(claimed)
        assert worker.claim().next_wake_at is None

    def test_whoever_holds_it(self, store: Store, other: Store) -> None:
        """The attempt still runs; what it says afterwards is the same, or comes too late."""
        worker = FakeWorker(store)
        task = a_held(store, worker)
        assert other.settle(a_completion(task, event=b"outside")) is Sent.SENT
        assert store.owned("w-1").tasks == {}
        assert worker.complete(task)
        assert not worker.complete(task, message_id="another")
        assert not worker.postpone(task, message_id="another")
        assert worker.beat(task) == []
        assert inbox(store, task.uid) == [("result:1:1", b"outside")]

    def test_a_task_that_nobody_holds(self, store: Store) -> None:
        worker = FakeWorker(store)
        task = a_held(store, worker)
        worker.postpone(task, wake_at=store.now() + HOUR)
        assert store.settle(a_completion(task)) is Sent.SENT
        assert store.tasks(task.uid) == []
        assert worker.claim().next_wake_at is None

    @pytest.mark.parametrize(
        "changes", [{"epoch": 0}, {"epoch": 2}, {"run": 2}, {"command": 2}], ids=str
    )
    def test_another_attempt_is_not_settled(self, store: Store, changes: dict[str, Any]) -> None:
        worker = FakeWorker(store)
        task = await_it(worker, a_held(store, worker))
        assert store.settle(a_completion(task, **changes)) is Sent.FINISHED
        assert store.tasks(task.uid) == [task]
        assert inbox(store, task.uid) == []
        assert store.settle(a_completion(task)) is Sent.SENT

    def test_what_is_not_there_is_not_settled(self, store: Store) -> None:
        worker = FakeWorker(store)
        task = a_held(store, worker)
        nobody = a_completion(task, uid=b"nobody's uid    ")
        assert store.settle(nobody) is Sent.NOT_FOUND
        terminate(store)
        assert store.settle(a_completion(task)) is Sent.FINISHED
        assert inbox(store, task.uid) == []
        store.delete("i-1")
        assert store.settle(a_completion(task)) is Sent.NOT_FOUND

    def test_what_was_settled_is_settled_again(self, store: Store) -> None:
        worker = FakeWorker(store)
        task = a_held(store, worker)
        done = a_completion(task)
        assert store.settle(done) is Sent.SENT
        assert store.settle(replace(done, event=b"again")) is Sent.SENT
        assert store.settle(replace(done, message_id="another")) is Sent.FINISHED
        claimed = worker.take()
        assert [message.event for message in claimed.messages] == [b"result"]
        worker.finish(claimed)
        assert store.settle(done) is Sent.SENT
        assert events(store, task.uid) == [b"event-0", b"event-1"]

    def test_a_result_that_was_reported_is_not_settled_anew(self, store: Store) -> None:
        worker = FakeWorker(store)
        task = a_held(store, worker)
        worker.complete(task)
        assert store.settle(a_completion(task, event=b"late")) is Sent.SENT
        assert store.settle(a_completion(task, message_id="another")) is Sent.FINISHED
        assert inbox(store, task.uid) == [("result:1:1", b"result")]

    def test_a_step_that_counts_on_the_task_is_lost(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        instance = worker.advance(worker.take(), tasks=[a_task(store, owner="w-1")])
        [task] = store.tasks(uid)
        store.settle(a_completion(task))
        step = a_step(instance, done=[(1, task.epoch)])
        assert [verdict.value for verdict in worker.commit(step)] == ["lost"]
        claimed = worker.take()
        assert [message.event for message in claimed.messages] == [b"result"]
        worker.advance(claimed)

    def test_a_full_inbox_takes_it(self, small: Store) -> None:
        worker = FakeWorker(small)
        task = await_it(worker, a_held(small, worker))
        small.send([a_message("i-1", f"m-{n}") for n in range(3)])
        assert small.settle(a_completion(task)) is Sent.SENT
        assert len(inbox(small, task.uid)) == 3

    def test_a_cancel_that_was_requested_does_not_matter(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        instance = worker.advance(worker.take(), tasks=[a_task(store, owner="w-1")])
        worker.advance(instance, cancels=[Cancel(1, "c-1", b"cancelled")], release=True)
        [task] = store.tasks(instance.uid)
        assert store.settle(a_completion(task)) is Sent.SENT
        assert inbox(store, task.uid) == [("result:1:1", b"result")]
        assert look(store).wake_at is not None

    # -- the secret ---------------------------------------------------------------------

    def test_a_store_has_a_secret(self, store: Store, other: Store, small: Store) -> None:
        secret = store.secret()
        assert isinstance(secret, bytes)
        assert len(secret) == 32
        assert store.secret() == other.secret() == secret
        store.close()
        assert store.secret() == secret
        assert small.secret() != secret
