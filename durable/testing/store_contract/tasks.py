"""Promises 2, 3 and 4 for tasks: attempts, their results, and attempts that came too late."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from durable.model import Task
from durable.store import Cancel, Store
from durable.testing.store_contract.base import (
    COMMITTED,
    COMPLETED,
    HOUR,
    LOST,
    MINUTE,
    Base,
    FakeWorker,
    a_completion,
    a_message,
    a_postponed,
    a_task,
    events,
    inbox,
    look,
    schedule,
    send,
    start,
    terminate,
)

CANCEL = Cancel(1, "result:1:1", b"cancelled")


class Tasks(Base):
    def remote(self, store: Store, worker: FakeWorker, **changes: Any) -> Task:
        """A task of an instance that nobody owns, held by this worker."""
        start(store)
        schedule(worker, **changes)
        return worker.take_task()

    # -- claims -------------------------------------------------------------------------

    def test_a_claim_gives_the_task_as_it_is_stored(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        schedule(worker)
        [before] = store.tasks(uid)
        task = worker.take_task()
        assert task == replace(before, owner="w-1", epoch=1)
        assert store.tasks(uid) == [task]

    def test_a_task_is_claimed_by_one(self, store: Store, other: Store) -> None:
        worker = FakeWorker(store)
        self.remote(store, worker)
        assert FakeWorker(other, "w-2").claim().tasks == []
        assert worker.claim().tasks == []

    def test_only_the_queues_and_activities_of_the_worker(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        schedule(
            worker,
            a_task(store, 1),
            a_task(store, 2, name="ACT"),
            a_task(store, 3, queue="other"),
            a_task(store, 4, queue="other", name="b"),
        )
        assert worker.take_task().command == 1
        second = FakeWorker(store, "w-2", queues=("other", "default"), activities=("b", "ACT"))
        assert sorted(task.command for task in second.claim().tasks) == [2, 4]
        assert FakeWorker(store, "w-3", queues=("other",), activities=()).claim().tasks == []

    def test_limits_and_order(self, store: Store) -> None:
        now = store.now()
        start(store)
        worker = FakeWorker(store)
        new = [a_task(store, n, wake_at=now - MINUTE + n) for n in (3, 0, 4, 1, 2)]
        schedule(worker, *new)
        first, second, third = (worker.claim(tasks=2) for _ in range(3))
        assert sorted(task.command for task in first.tasks) == [0, 1]
        assert sorted(task.command for task in second.tasks) == [2, 3]
        assert [task.command for task in third.tasks] == [4]
        assert (first.more, second.more, third.more) == (True, True, False)

    def test_a_task_is_not_given_before_its_time(self, store: Store) -> None:
        at = store.now() + HOUR
        start(store)
        worker = FakeWorker(store)
        schedule(worker, a_task(store, wake_at=at))
        claimed = worker.claim()
        assert (claimed.tasks, claimed.next_wake_at) == ([], at)

    # -- results ------------------------------------------------------------------------

    def test_a_result_becomes_a_message(self, store: Store, other: Store) -> None:
        worker = FakeWorker(store)
        task = self.remote(store, worker)
        assert worker.complete(task)
        assert other.tasks(task.uid) == []
        assert inbox(other, task.uid) == [("result:1:1", b"result")]
        assert store.owned("w-1").tasks == {}
        claimed = FakeWorker(other, "w-2").take()
        assert [message.event for message in claimed.messages] == [b"result"]

    def test_a_result_wakes_the_owner_of_the_instance(self, store: Store, other: Store) -> None:
        start(store)
        worker, second = FakeWorker(store, "w-1"), FakeWorker(other, "w-2")
        worker.advance(worker.take(), tasks=[a_task(store)])
        assert second.complete(second.take_task())
        assert second.ids() == []
        assert len(worker.take().messages) == 1

    def test_a_repeated_result_is_stored_once(self, store: Store, other: Store) -> None:
        worker = FakeWorker(store)
        task = self.remote(store, worker)
        assert worker.complete(task)
        assert worker.complete(task, event=b"again")
        assert other.complete("w-1", [a_completion(task)] * 2, []) == [COMMITTED, COMMITTED]
        assert inbox(store, task.uid) == [("result:1:1", b"result")]

    def test_a_result_is_repeated_after_it_was_taken(self, store: Store) -> None:
        worker = FakeWorker(store)
        task = self.remote(store, worker)
        worker.complete(task)
        worker.advance(worker.take(), release=True)
        assert worker.complete(task)
        assert inbox(store, task.uid) == []
        assert worker.ids() == []
        send(store)
        worker.finish(worker.take())
        assert worker.complete(task)
        assert inbox(store, task.uid) == []

    @pytest.mark.parametrize(
        "changes",
        [{"epoch": 0}, {"epoch": 2}, {"run": 2}, {"command": 2}, {"uid": b"nobody's uid    "}],
        ids=str,
    )
    def test_a_result_of_another_attempt_is_dropped(
        self, store: Store, changes: dict[str, Any]
    ) -> None:
        worker = FakeWorker(store)
        task = self.remote(store, worker)
        assert not worker.complete(task, **changes)
        assert not worker.postpone(task, **changes)
        assert store.tasks(task.uid) == [task]
        assert inbox(store, task.uid) == []
        assert look(store).wake_at is None
        assert worker.complete(task)

    @pytest.mark.parametrize("worker", ["w-2", "W-1", ""])
    def test_a_result_of_another_worker_is_dropped(self, store: Store, worker: str) -> None:
        task = self.remote(store, FakeWorker(store))
        told = store.complete(worker, [a_completion(task)], [a_postponed(task)])
        assert told == [LOST, LOST]
        assert store.tasks(task.uid) == [task]
        assert inbox(store, task.uid) == []

    def test_a_result_of_an_unowned_task_is_dropped(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        instance = schedule(worker)
        [task] = store.tasks(instance.uid)
        assert not worker.complete(task)
        assert store.complete("", [a_completion(task)], [a_postponed(task)]) == [LOST, LOST]
        assert store.tasks(instance.uid) == [task]

    def test_a_result_after_a_takeover_is_dropped(self, store: Store, other: Store) -> None:
        slow = FakeWorker(store, "w-1")
        task = self.remote(store, slow)
        other.take_over(["w-1"])
        assert not slow.complete(task)
        quick = FakeWorker(other, "w-2")
        again = quick.take_task()
        assert (again.epoch, again.attempt, again.crashes) == (task.epoch + 1, 1, 1)
        assert not slow.complete(task)
        assert not slow.postpone(task)
        assert quick.complete(again, event=b"quick")
        assert inbox(store, task.uid) == [("result:1:1", b"quick")]

    def test_a_result_after_the_end_is_dropped(self, store: Store) -> None:
        worker = FakeWorker(store)
        task = self.remote(store, worker)
        ended = self.end(store, worker)
        assert not worker.complete(task)
        assert not worker.postpone(task)
        assert look(store) == ended
        assert inbox(store, task.uid) == []
        assert len(events(store, task.uid)) == 2

    def end(self, store: Store, worker: FakeWorker) -> object:
        send(store)
        return worker.finish(worker.take())

    def test_a_result_after_delete_is_dropped(self, store: Store) -> None:
        worker = FakeWorker(store)
        task = self.remote(store, worker)
        worker.complete(task)
        terminate(store)
        store.delete("i-1")
        assert not worker.complete(task)

    def test_results_are_not_refused_by_a_full_inbox(self, small: Store) -> None:
        worker = FakeWorker(small)
        task = self.remote(small, worker)
        small.send([a_message("i-1", f"m-{n}") for n in range(3)])
        assert worker.complete(task)
        assert len(inbox(small, task.uid)) == 3

    def test_results_arrive_out_of_order(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        schedule(worker, *(a_task(store, n) for n in range(4)))
        tasks = {task.command: task for task in worker.claim().tasks}
        for n in (2, 0, 3, 1):
            assert worker.complete(tasks[n])
        assert [id for id, _ in inbox(store, uid)] == [f"result:1:{n}" for n in (2, 0, 3, 1)]

    def test_a_batch_of_results_tells_of_each(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        schedule(worker, *(a_task(store, n) for n in range(4)))
        tasks = sorted(worker.claim().tasks, key=lambda task: task.command)
        told = store.complete(
            "w-1",
            [a_completion(tasks[0]), a_completion(tasks[1], epoch=9)],
            [a_postponed(tasks[2]), a_postponed(tasks[3], epoch=9)],
        )
        assert told == [COMMITTED, LOST, COMMITTED, LOST]
        assert [task.command for task in store.tasks(uid)] == [1, 2, 3]
        assert [task.owner for task in store.tasks(uid)] == ["w-1", "", "w-1"]
        assert store.complete("w-1", [], []) == []

    # -- another attempt ----------------------------------------------------------------

    def test_a_postponed_task_is_tried_again(self, store: Store, other: Store) -> None:
        worker = FakeWorker(store)
        task = self.remote(store, worker)
        at = store.now() + HOUR
        assert worker.postpone(task, wake_at=at, attempt=5, last_error=b"error")
        assert store.tasks(task.uid) == [
            replace(task, owner="", wake_at=at, attempt=5, last_error=b"error")
        ]
        assert inbox(store, task.uid) == []
        assert FakeWorker(other, "w-2").claim().next_wake_at == at

    def test_the_next_attempt_has_the_next_epoch(self, store: Store, other: Store) -> None:
        worker, second = FakeWorker(store, "w-1"), FakeWorker(other, "w-2")
        task = self.remote(store, worker)
        worker.postpone(task, last_error=None)
        again = second.take_task()
        assert (again.epoch, again.attempt, again.owner) == (2, 2, "w-2")
        assert again.last_error is None

    def test_an_overrun_attempt_cannot_complete_the_next_one(self, store: Store) -> None:
        worker = FakeWorker(store)
        first = self.remote(store, worker)
        worker.postpone(first)
        assert not worker.complete(first, event=b"late")
        second = worker.take_task()
        assert not worker.complete(first, event=b"late")
        assert not worker.postpone(first)
        assert store.tasks(first.uid) == [second]
        assert worker.complete(second)
        assert inbox(store, first.uid) == [("result:1:1", b"result")]

    def test_a_cancelled_task_is_not_tried_again(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        instance = worker.advance(worker.take(), tasks=[a_task(store, owner="w-1")])
        worker.advance(instance, cancels=[CANCEL], release=True)
        [task] = store.tasks(instance.uid)
        assert worker.postpone(task)
        assert store.tasks(task.uid) == []
        assert inbox(store, task.uid) == [("result:1:1", b"cancelled")]
        assert worker.postpone(task)
        assert len(worker.take().messages) == 1

    def test_a_postponed_task_can_be_cancelled(self, store: Store) -> None:
        worker = FakeWorker(store)
        task = self.remote(store, worker)
        worker.postpone(task, wake_at=store.now() + HOUR)
        send(store)
        worker.advance(worker.take(), cancels=[CANCEL], release=True)
        assert store.tasks(task.uid) == []
        assert inbox(store, task.uid) == [("result:1:1", b"cancelled")]

    def test_a_task_is_cancelled_when_a_timer_is_due(self, store: Store) -> None:
        start(store)
        worker, due = FakeWorker(store), store.now() - MINUTE
        tasks = [a_task(store, queue="other")]
        instance = worker.advance(worker.take(), tasks=tasks, wake_at=due)
        worker.advance(instance, cancels=[CANCEL], wake_at=due)
        worker.finish(worker.take(), COMPLETED)
        assert worker.ids() == []
        assert store.owned("w-1").instances == {}

    def test_tasks_of_an_ended_instance_are_gone(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        tasks = [a_task(store, 1), a_task(store, 2, owner="w-1"), a_task(store, 3, queue="other")]
        instance = worker.advance(worker.take(), tasks=tasks)
        worker.finish(instance, COMPLETED)
        assert store.tasks(uid) == []
        assert store.owned("w-1").tasks == {}
        assert FakeWorker(store, "w-2", queues=("default", "other")).claim().tasks == []
