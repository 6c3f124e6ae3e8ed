"""Promises 3, 6 and 8: steps that stand, steps that lost, and ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from durable.model import Instance, Status
from durable.store import End, Sent, Store
from durable.testing.store_contract.base import (
    COMMITTED,
    COMPLETED,
    DEADLOCK,
    HOUR,
    LOST,
    REFUSED,
    SECOND,
    UNSEEN,
    Base,
    FakeWorker,
    a_message,
    a_next,
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


class Commits(Base):
    # -- a step that stands -------------------------------------------------------------

    def test_events_are_numbered_on(self, store: Store, other: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        instance = worker.advance(worker.take(), events=[b"a", b"b"])
        assert instance.history_length == 2
        instance = worker.advance(instance, events=[])
        instance = worker.advance(instance, events=[b"", b"\x00d"])
        assert instance.history_length == 4
        assert events(other, uid) == [b"a", b"b", b"", b"\x00d"]

    def test_the_first_step_makes_it_running(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        first = worker.advance(worker.take())
        second = worker.advance(first)
        assert (first.status, second.status) == (Status.RUNNING, Status.RUNNING)
        assert first.started_at is not None
        assert second.started_at == first.started_at

    def test_version_and_vars_are_set_if_given(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        instance = worker.advance(worker.take(), version=1, vars=b"vars")
        assert (instance.version, instance.vars) == (1, b"vars")
        instance = worker.advance(instance)
        assert (instance.version, instance.vars) == (1, b"vars")
        instance = worker.advance(instance, vars=b"")
        assert (instance.version, instance.vars) == (1, b"")

    def test_an_instance_is_kept_or_released(self, store: Store, other: Store) -> None:
        start(store)
        worker, second = FakeWorker(store, "w-1"), FakeWorker(other, "w-2")
        instance = worker.advance(worker.take(), wake_at=store.now())
        assert (instance.owner, instance.epoch) == ("w-1", 1)
        assert second.ids() == []
        instance = worker.advance(instance, wake_at=store.now(), release=True)
        assert (instance.owner, instance.epoch) == ("", 1)
        assert second.ids() == ["i-1"]

    def test_when_to_look_again_is_stored(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        at = store.now() + HOUR
        instance = worker.advance(worker.take(), wake_at=at)
        assert instance.wake_at == at
        assert worker.advance(instance, wake_at=None).wake_at is None

    def test_a_step_forgives_the_crashes(self, store: Store) -> None:
        start(store)
        for n in (1, 2):
            worker = FakeWorker(store, f"w-{n}")
            worker.take()
            store.take_over([worker.id])
        worker = FakeWorker(store, "w-3")
        claimed = worker.take()
        assert claimed.instance.crashes == 2
        assert worker.advance(claimed).crashes == 0

    def test_no_steps(self, store: Store) -> None:
        assert FakeWorker(store).commit() == []

    def test_a_batch(self, store: Store) -> None:
        start(store, *(f"i-{n}" for n in range(300)))
        worker = FakeWorker(store)
        steps = [
            a_step(claimed, tasks=[a_task(store)], release=True)
            for claimed in worker.claim().instances
        ]
        assert worker.commit(*steps) == [COMMITTED] * 300
        assert all(len(store.tasks(step.uid)) == 1 for step in steps)
        assert all(events(store, step.uid) == [b"event-0"] for step in steps)

    def test_a_long_step(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        many = [b"%d" % n for n in range(5000)]
        tasks = [a_task(store, n) for n in range(2000)]
        worker.advance(worker.take(), events=many, tasks=tasks)
        assert events(store, uid) == many
        assert len(store.tasks(uid)) == 2000

    # -- messages -----------------------------------------------------------------------

    def test_a_step_takes_its_messages(self, store: Store) -> None:
        uid = start(store)
        send(store, "m-1")
        send(store, "m-2")
        worker = FakeWorker(store)
        instance = worker.advance(worker.take())
        assert inbox(store, uid) == []
        assert instance.wake_at is None
        assert worker.ids() == []

    @pytest.mark.parametrize("release", [True, False])
    @pytest.mark.parametrize("later", [None, HOUR])
    def test_a_message_that_is_left_is_due(
        self, store: Store, release: bool, later: int | None
    ) -> None:
        uid = start(store)
        send(store, "m-1")
        worker = FakeWorker(store)
        claimed = worker.take()
        send(store, "m-2")
        wake_at = None if later is None else store.now() + later
        instance = worker.advance(claimed, release=release, wake_at=wake_at)
        assert instance.wake_at is not None
        assert instance.wake_at <= store.now()
        assert inbox(store, uid) == [("m-2", b"m-2")]
        assert [message.event for message in worker.take().messages] == [b"m-2"]

    def test_messages_are_taken_by_set_and_not_up_to_a_number(self, store: Store) -> None:
        uid = start(store)
        for n in range(4):
            send(store, f"m-{n}")
        worker = FakeWorker(store)
        claimed = worker.take()
        odd = [claimed.messages[1].id, claimed.messages[3].id]
        worker.advance(claimed, messages=odd)
        assert [id for id, _ in inbox(store, uid)] == ["m-0", "m-2"]

    # -- a step that lost ---------------------------------------------------------------

    @pytest.mark.parametrize(
        "changes",
        [
            {"epoch": 1},
            {"epoch": 3},
            {"run": 0},
            {"run": 2},
            {"history_length": 0},
            {"history_length": 2},
            {"uid": b"nobody's uid    "},
        ],
        ids=str,
    )
    def test_a_step_computed_from_something_else_is_lost(
        self, store: Store, changes: dict[str, Any]
    ) -> None:
        self.check_lost(store, "w-1", changes)

    @pytest.mark.parametrize("worker", ["w-2", "W-1", "", "w-1 "])
    def test_a_step_of_another_worker_is_lost(self, store: Store, worker: str) -> None:
        self.check_lost(store, worker, {})

    def check_lost(self, store: Store, committer: str, changes: dict[str, Any]) -> None:
        """The step is lost, nothing of it is stored, and the right one still commits."""
        uid = start(store, "target")
        worker = FakeWorker(store)
        worker.advance(worker.take(), release=True)
        uid = start(store, "i-1")
        worker.advance(worker.take())
        send(store, "m-1")
        claimed = worker.take()
        before = look(store)
        step = a_step(
            claimed,
            **changes,
            tasks=[a_task(store)],
            sends=[a_message("target", "from-lost")],
            vars=b"lost",
        )
        assert store.commit(committer, [step]) == [LOST]
        assert look(store) == before
        assert events(store, uid) == [b"event-0"]
        assert inbox(store, uid) == [("m-1", b"m-1")]
        assert store.tasks(uid) == []
        assert inbox(store, look(store, "target").uid) == []
        worker.advance(claimed)

    def test_a_step_is_committed_once(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        step = a_step(worker.take())
        assert worker.commit(step) == [COMMITTED]
        assert worker.commit(step) == [LOST]
        assert events(store, uid) == [b"event-0"]

    def test_a_step_after_the_release_is_lost(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        released = worker.advance(worker.take(), release=True)
        assert worker.commit(a_step(released)) == [LOST]
        assert store.commit("", [a_step(released)]) == [LOST]

    def test_a_step_after_a_takeover_is_lost(self, store: Store, other: Store) -> None:
        uid = start(store)
        slow = FakeWorker(store, "w-1")
        claimed = slow.take()
        other.take_over(["w-1"])
        assert slow.commit(a_step(claimed)) == [LOST]
        quick = FakeWorker(other, "w-2")
        taken = quick.take()
        assert slow.commit(a_step(claimed)) == [LOST]
        quick.advance(taken, events=[b"quick"])
        assert slow.commit(a_step(claimed)) == [LOST]
        assert events(store, uid) == [b"quick"]

    def test_the_same_worker_under_an_old_epoch_is_lost(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        first = worker.take()
        store.take_over(["w-1"])
        store.register(worker.info)
        second = worker.take()
        assert second.instance.owner == first.instance.owner
        assert worker.commit(a_step(first, events=[b"old"])) == [LOST]
        worker.advance(second, events=[b"new"])
        assert events(store, uid) == [b"new"]

    def test_those_that_lost_are_left_out_of_a_batch(self, store: Store) -> None:
        start(store, *(f"i-{n}" for n in range(4)))
        worker = FakeWorker(store)
        claimed = {one.instance.id: one for one in worker.claim().instances}
        terminate(store, "i-1")
        send(store, "m-1", "i-2")
        steps = [a_step(claimed[f"i-{n}"], end=COMPLETED) for n in range(4)]
        assert worker.commit(*steps) == [COMMITTED, LOST, UNSEEN, COMMITTED]
        assert [look(store, f"i-{n}").status for n in range(4)] == [
            Status.COMPLETED,
            Status.TERMINATED,
            Status.PENDING,
            Status.COMPLETED,
        ]

    def test_a_step_that_takes_a_message_again_is_lost(self, store: Store) -> None:
        start(store, "a")
        send(store, "m-1", id="a")
        worker = FakeWorker(store)
        [claimed] = worker.claim().instances
        [message] = claimed.messages
        advanced = worker.advance(claimed, messages=[message.id])
        assert worker.commit(a_step(advanced, messages=[message.id])) == [LOST]
        assert worker.commit(a_step(advanced)) == [COMMITTED]

    def test_a_step_whose_task_was_lost_is_lost(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        tasks = [a_task(store, n, owner="w-1") for n in (1, 2)]
        instance = worker.advance(worker.take(), tasks=[*tasks, a_task(store, 3)])
        for done in ([(1, 0)], [(1, 2)], [(4, 1)], [(3, 0)], [(3, 1)], [(1, 1), (2, 2)]):
            assert worker.commit(a_step(instance, done=done)) == [LOST]
        assert events(store, uid) == [b"event-0"]
        assert [task.command for task in store.tasks(uid)] == [1, 2, 3]
        worker.advance(instance, done=[(1, 1), (2, 1)])
        assert [task.command for task in store.tasks(uid)] == [3]

    def test_a_step_with_a_task_of_another_worker_is_lost(self, store: Store) -> None:
        uid = start(store)
        worker, second = FakeWorker(store, "w-1"), FakeWorker(store, "w-2")
        schedule(second)
        task = second.take_task()
        send(store)
        claimed = worker.take()
        step = a_step(claimed, done=[(task.command, task.epoch)])
        assert worker.commit(step) == [LOST]
        assert second.complete(task)
        assert [id for id, _ in inbox(store, uid)] == ["m-1", "result:1:1"]

    # -- ends ---------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "end",
        [
            End(Status.COMPLETED, result=b"result", unread=("b", "a", "a")),
            End(Status.COMPLETED, result=b""),
            End(Status.FAILED, failure=b"failure", reason="it broke"),
            End(Status.CANCELLED, failure=b"failure"),
        ],
        ids=lambda end: f"{end.status}-{end.result}",
    )
    def test_an_end_is_stored(self, store: Store, end: End) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        tasks = [a_task(store, 1), a_task(store, 2, owner="w-1")]
        running = worker.advance(worker.take(), tasks=tasks)
        send(store)
        now = store.now()
        ended = worker.finish(worker.take(), end)
        assert ended.finished_at is not None
        assert now <= ended.finished_at <= store.now()
        assert ended == replace(
            running,
            status=end.status,
            reason=end.reason,
            result=end.result,
            failure=end.failure,
            owner="",
            wake_at=None,
            epoch=ended.epoch,
            finished_at=ended.finished_at,
            history_length=2,
        )
        assert store.unread(uid) == end.unread
        assert (store.tasks(uid), store.inbox(uid)) == ([], [])
        assert store.owned("w-1").tasks == {}
        assert worker.claim().tasks == []

    def test_an_end_in_the_first_step(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        ended = worker.finish(worker.take())
        assert (ended.status, ended.result) == (Status.COMPLETED, b"result")
        assert events(store, uid) == [b"event-0"]

    def test_nothing_changes_after_the_end(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        ended = worker.finish(worker.take())
        assert send(store) is Sent.FINISHED
        assert terminate(store) is Sent.FINISHED
        assert worker.commit(a_step(ended)) == [LOST]
        assert store.commit("", [a_step(ended)]) == [LOST]
        assert store.take_over(["w-1"]) == 1
        FakeWorker(store, "w-2", build="build-2")
        assert look(store) == ended
        assert events(store, uid) == [b"event-0"]

    @pytest.mark.parametrize("release", [True, False])
    def test_a_last_step_has_seen_everything(self, store: Store, release: bool) -> None:
        uid = start(store, "i-1")
        send(store, "m-1")
        worker = FakeWorker(store)
        claimed = worker.take()
        send(store, "m-2")
        last = a_step(claimed, end=COMPLETED, release=release, vars=b"vars", tasks=[a_task(store)])
        assert worker.commit(last) == [UNSEEN]
        instance = look(store)
        assert (instance.status, instance.owner, instance.vars) == (Status.PENDING, "w-1", None)
        assert instance.epoch == claimed.instance.epoch
        assert events(store, uid) == []
        assert store.tasks(uid) == []
        assert [id for id, _ in inbox(store, uid)] == ["m-1", "m-2"]
        again = worker.take()
        assert again.instance.epoch == claimed.instance.epoch + 1
        assert [message.message_id for message in again.messages] == ["m-1", "m-2"]
        assert worker.finish(again).status is Status.COMPLETED

    def test_a_last_step_that_was_told_of_its_messages_already(self, store: Store) -> None:
        """The claim consumed wake_at, the step ignores the message: it must come again."""
        start(store)
        send(store, "m-1")
        worker = FakeWorker(store)
        claimed = worker.take()
        assert worker.commit(a_step(claimed, messages=[], end=COMPLETED)) == [UNSEEN]
        again = worker.take()
        assert again.messages == claimed.messages
        worker.finish(again)

    def test_a_last_step_is_lost_before_it_is_unseen(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        send(store)
        assert worker.commit(a_step(claimed, epoch=7, end=COMPLETED)) == [LOST]

    # -- blocks -------------------------------------------------------------------------

    def test_a_block_by_code_waits_for_code(self, store: Store) -> None:
        uid = start(store)
        send(store, "m-1")
        worker = FakeWorker(store)
        blocked = worker.advance(
            worker.take(), messages=[], events=[], end=REFUSED, release=True, wake_at=store.now()
        )
        assert (blocked.status, blocked.reason) == (Status.BLOCKED, "other code")
        assert (blocked.blocked_by, blocked.wake_at, blocked.owner) == ("build-1", None, "")
        assert send(store, "m-2") is Sent.SENT
        assert send(store, "m-3", urgent=True) is Sent.SENT
        assert look(store) == blocked
        assert [id for id, _ in inbox(store, uid)] == ["m-1", "m-2", "m-3"]
        assert worker.ids() == []

    def test_a_deadlock_waits_for_messages(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        blocked = worker.advance(worker.take(), end=DEADLOCK, release=True)
        assert (blocked.status, blocked.reason) == (Status.BLOCKED, "deadlock")
        assert (blocked.blocked_by, blocked.wake_at) == ("", None)
        send(store)
        claimed = worker.take()
        assert claimed.instance.status is Status.BLOCKED
        assert len(claimed.messages) == 1

    def test_a_block_does_not_need_to_have_seen_everything(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        send(store)
        instance = worker.advance(claimed, end=DEADLOCK, release=True)
        assert instance.wake_at is not None
        assert worker.take().messages

    def test_the_next_step_ends_a_block(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        blocked = worker.advance(worker.take(), end=DEADLOCK)
        assert blocked.owner == "w-1"
        running = worker.advance(blocked)
        assert (running.status, running.reason) == (Status.RUNNING, "")

    def test_a_blocked_instance_keeps_its_tasks(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), tasks=[a_task(store)], end=REFUSED, release=True)
        assert len(store.tasks(uid)) == 1
        assert worker.complete(worker.take_task())
        assert len(store.inbox(uid)) == 1
        assert look(store).wake_at is None

    def test_a_blocked_instance_can_end(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), end=REFUSED)
        other = FakeWorker(store, "w-2", build="build-2")
        ended = other.finish(other.take())
        assert (ended.status, ended.blocked_by, ended.reason) == (Status.COMPLETED, "", "")

    def test_a_step_may_be_larger_than_a_packet(self, store: Store) -> None:
        """20 MiB, of which a server takes 16 in one statement as it comes."""
        uid = start(store)
        worker = FakeWorker(store)
        large = [bytes([n]) * (1 << 19) for n in range(40)]
        tasks = [a_task(store, n, args=data) for n, data in enumerate(large[:20])]
        worker.advance(worker.take(), events=large[20:], tasks=tasks)
        assert events(store, uid) == large[20:]
        assert [task.args for task in store.tasks(uid)] == large[:20]

    def test_restarted_runs_have_histories_of_their_own(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        ended: Instance = worker.finish(worker.take())
        assert worker.commit(a_step(ended, run=2, history_length=0)) == [LOST]
        assert store.history([(uid, 1), (uid, 2)]) == [[(0, b"event-0")], []]
        assert store.purge(store.now() + SECOND, [Status.COMPLETED], 10) == 1
        assert store.history([(uid, 1)]) == [[]]

    @pytest.mark.parametrize("size", [65_535, 65_536, 70_000, 1 << 20])
    def test_whatever_may_be_large_may_be_so_large(self, store: Store, size: int) -> None:
        large = bytes(range(256)) * (size // 256) + b"." * (size % 256)
        uid = start(store)
        worker = FakeWorker(store)
        schedule(worker, a_task(store), vars=large)
        assert look(store).vars == large
        task = worker.take_task()
        worker.beat(task, large)
        worker.postpone(task, last_error=large, details=None)
        [task] = store.tasks(uid)
        assert (task.details, task.last_error) == (large, large)
        send(store)
        next_run = a_next(store, args=large, kwargs=large, header=large)
        running = worker.advance(worker.take(), next=next_run)
        assert (running.args, running.kwargs, running.header) == (large, large, large)
        unread = ("s" * 100,) * (size // 100)
        end = End(Status.FAILED, result=large, failure=large, unread=unread, header=large)
        ended = worker.finish(worker.take(), end)
        assert (ended.result, ended.failure, ended.header) == (large, large, large)
        assert store.unread(uid) == unread
