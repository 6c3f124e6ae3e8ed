"""What becomes of the children that are open when the run of their parent ends."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from durable.model import Instance, Parent, ParentClose, Status
from durable.store import End, Filter, Sent, Store
from durable.testing.store_contract.base import (
    CHILDREN,
    CLOSE,
    COMMITTED,
    COMPLETED,
    DEADLOCK,
    HOUR,
    LOST,
    REPLY,
    SECOND,
    Base,
    FakeWorker,
    a_child,
    a_family,
    a_next,
    a_step,
    a_task,
    an_instance,
    claim_all,
    end_of,
    events,
    inbox,
    look,
    nurse,
    pause,
    rerun,
    resume,
    send,
    start,
    terminate,
)

CANCEL, TERMINATE, ABANDON = ParentClose.CANCEL, ParentClose.TERMINATE, ParentClose.ABANDON


hows = pytest.mark.parametrize("how", ["ended", "continued", "terminated"])


def a_parent(store: Store, close: ParentClose, **changes: Any) -> tuple[FakeWorker, Instance]:
    """A worker, and the parent of ``child`` that it owns."""
    start(store)
    worker = FakeWorker(store)
    return worker, a_family(worker, close=close, **changes)


def end_run(worker: FakeWorker, parent: Instance, how: str = "ended") -> None:
    """End the parent's run, closing what it started."""
    if how == "terminated":
        sent = worker.store.terminate("i-1", "t-1", b"terminated", "enough", close=CLOSE)
        assert sent is Sent.SENT
    elif how == "continued":
        worker.advance(parent, close=CLOSE, next=a_next(worker.store))
    else:
        worker.advance(parent, close=CLOSE, end=COMPLETED)


class Closes(Base):
    @hows
    def test_a_child_is_asked_to_stop(self, store: Store, how: str) -> None:
        worker, parent = a_parent(store, CANCEL, start_at=store.now() + HOUR)
        before = look(store, "child")
        end_run(worker, parent, how)
        claimed = nurse(store).take()
        assert claimed.instance == replace(before, owner="nurse", epoch=1, wake_at=None)
        [message] = claimed.messages
        assert (message.message_id, message.event) == ("close-1", b"parent ended")

    @hows
    def test_a_child_is_terminated(self, store: Store, how: str) -> None:
        worker, parent = a_parent(store, TERMINATE)
        nursed = nurse(store)
        running = nursed.advance(nursed.take(), tasks=[a_task(store)])
        send(store, "m-1", "child")
        end_run(worker, parent, how)
        ended = look(store, "child")
        assert ended.finished_at is not None
        assert ended == replace(
            running,
            status=Status.TERMINATED,
            owner="",
            epoch=running.epoch + 1,
            wake_at=None,
            history_length=2,
            reason=CLOSE.reason,
            finished_at=ended.finished_at,
        )
        assert events(store, ended.uid) == [b"event-0", b"closed"]
        assert (store.tasks(ended.uid), inbox(store, ended.uid)) == ([], [])
        assert nursed.commit(a_step(running)) == [LOST]
        assert inbox(store, parent.uid) == []

    @hows
    def test_a_child_is_left_alone(self, store: Store, how: str) -> None:
        worker, parent = a_parent(store, ABANDON)
        before = look(store, "child")
        end_run(worker, parent, how)
        assert look(store, "child") == before
        assert inbox(store, before.uid) == []

    def test_each_child_has_its_own_way(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        starts = [a_child(store, claimed, close.value, close) for close in ParentClose]
        worker.advance(claimed, starts=starts, end=COMPLETED, close=CLOSE)
        statuses = [look(store, close.value).status for close in (CANCEL, TERMINATE, ABANDON)]
        assert statuses == [Status.PENDING, Status.TERMINATED, Status.PENDING]
        assert inbox(store, look(store, "cancel").uid) == [("close-1", b"parent ended")]
        assert inbox(store, look(store, "abandon").uid) == []

    @pytest.mark.parametrize("end", [None, DEADLOCK], ids=["a step", "a block"])
    def test_only_an_end_closes(self, store: Store, end: End | None) -> None:
        worker, parent = a_parent(store, TERMINATE)
        worker.advance(parent, close=CLOSE, end=end)
        assert look(store, "child").status is Status.PENDING

    def test_without_a_word_children_stay(self, store: Store) -> None:
        worker, parent = a_parent(store, TERMINATE)
        worker.finish(parent)
        assert look(store, "child").status is Status.PENDING

    def test_a_paused_child_is_closed(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        starts = [a_child(store, claimed, close.value, close) for close in (CANCEL, TERMINATE)]
        parent = worker.advance(claimed, starts=starts)
        for close in (CANCEL, TERMINATE):
            pause(store, close.value)
        end_run(worker, parent)
        assert look(store, "terminate").status is Status.TERMINATED
        assert look(store, "cancel").status is Status.PAUSED
        resume(store, "cancel")
        assert len(nurse(store).take().messages) == 1

    def test_the_children_of_a_terminated_child_are_closed_too(self, store: Store) -> None:
        """A line of descendants: terminated down to the one that is only asked to stop."""
        start(store, "i-1")
        line = ["i-1", *(f"c-{n}" for n in range(40))]
        for above, id in pairwise(line):
            close = CANCEL if id == "c-38" else TERMINATE
            parent = Parent(look(store, above).uid, above, 1, 1, close)
            start(store, id, parent=parent, queue=CHILDREN)
            nursed = nurse(store, id)
            nursed.advance(nursed.take())
        assert store.terminate("i-1", "t-1", b"terminated", "enough", close=CLOSE) is Sent.SENT
        for id in line[1:39]:
            assert look(store, id).status is Status.TERMINATED
            assert events(store, look(store, id).uid) == [b"event-0", b"closed"]
        assert inbox(store, look(store, "c-38").uid) == [("close-1", b"parent ended")]
        assert look(store, "c-39").status is Status.RUNNING
        assert inbox(store, look(store, "c-39").uid) == []

    def test_only_the_children_of_that_run(self, store: Store) -> None:
        """A child of the run before, one that has ended, and somebody else's."""
        worker, parent = a_parent(store, TERMINATE)
        worker.advance(parent, next=a_next(store))
        claimed = worker.take()
        starts = [a_child(store, claimed, id, TERMINATE) for id in ("ended", "open")]
        second = worker.advance(claimed, starts=starts)
        terminate(store, "ended", "t-9")
        start(store, "other", parent=Parent(b"nobody's uid    ", "i-1", 2, 1, TERMINATE))
        ended = look(store, "ended")
        end_run(worker, second)
        assert look(store, "open").status is Status.TERMINATED
        assert look(store, "ended") == ended
        assert {look(store, id).status for id in ("child", "other")} == {Status.PENDING}

    def test_children_that_are_gone(self, store: Store) -> None:
        """One was deleted; a client has restarted the other, which is nobody's child now."""
        start(store)
        worker = FakeWorker(store)
        parent = a_family(worker, "deleted", "restarted", close=TERMINATE)
        for id in ("deleted", "restarted"):
            terminate(store, id, "t-9")
        store.delete("deleted")
        store.create([an_instance(store, "restarted")], "restart")
        before = look(store, "restarted")
        end_run(worker, parent)
        assert store.instance("deleted") is None
        assert look(store, "restarted") == before

    def test_a_child_is_asked_once(self, store: Store) -> None:
        worker, parent = a_parent(store, CANCEL)
        send(store, "close-1", "child")
        end_run(worker, parent)
        assert inbox(store, look(store, "child").uid) == [("close-1", b"close-1")]

    def test_a_child_that_steps_in_the_same_commit(self, store: Store) -> None:
        for order in (1, -1):
            ids = [f"parent{order}", f"child{order}"]
            start(store, ids[0])
            worker = FakeWorker(store, f"w{order}")
            parent = a_family(worker, ids[1], close=TERMINATE, queue="default")
            child = worker.take()
            steps = [
                a_step(parent, end=COMPLETED, close=CLOSE),
                a_step(child, tasks=[a_task(store)], release=True),
            ]
            assert worker.commit(*steps[::order]) == [COMMITTED] * 2
            ended = look(store, ids[1])
            assert (ended.status, ended.history_length) == (Status.TERMINATED, 2)
            assert events(store, ended.uid) == [b"event-0", b"closed"]
            assert store.tasks(ended.uid) == []

    @pytest.mark.parametrize("count", [3, 70])
    def test_many_runs_end_at_once(self, store: Store, count: int) -> None:
        """Each child is closed once, and so is each child of those that were terminated."""
        for n in range(count):
            start(store, f"p-{n}")
            parent = Parent(look(store, f"p-{n}").uid, f"p-{n}", 1, 1, TERMINATE)
            start(store, f"c-{n}", queue=CHILDREN, parent=parent)
            parent = Parent(look(store, f"c-{n}").uid, f"c-{n}", 1, 1, CANCEL)
            start(store, f"g-{n}", queue=CHILDREN, parent=parent)
        worker = FakeWorker(store)
        ends = [a_step(one, end=COMPLETED, close=CLOSE) for one in claim_all(worker)]
        assert worker.commit(*ends) == [COMMITTED] * count
        for n in range(count):
            child, grandchild = look(store, f"c-{n}"), look(store, f"g-{n}")
            assert (child.status, child.history_length) == (Status.TERMINATED, 1)
            assert events(store, child.uid) == [b"closed"]
            assert inbox(store, grandchild.uid) == [("close-1", b"parent ended")]

    def test_many_children_are_closed_at_once(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        policies = (CANCEL, TERMINATE, ABANDON)
        starts = [a_child(store, claimed, f"c-{n}", policies[n % 3]) for n in range(300)]
        parent = worker.advance(claimed, starts=starts)
        end_run(worker, parent)
        counts = store.stats()
        assert counts.instances["terminated"] == 100
        assert (counts.instances["pending"], counts.messages) == (200, 100)

    # -- afterwards ---------------------------------------------------------------------

    def test_children_outlive_a_parent_that_is_deleted(self, store: Store) -> None:
        worker, parent = a_parent(store, ABANDON)
        end_run(worker, parent)
        before = look(store, "child")
        assert store.purge(store.now() + SECOND, [Status.COMPLETED], 10) == 1
        assert look(store, "child") == before
        rows = store.instances(Filter(parent=parent.uid)).rows
        assert [row.id for row in rows] == ["child"]
        nursed = nurse(store)
        nursed.finish(nursed.take(), REPLY)
        assert store.delete("child") is Sent.SENT
        assert store.instances(Filter(parent=parent.uid)).rows == []

    def test_open_children_go_with_a_rerun(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        parent = a_family(worker, "open", "ended", close=TERMINATE)
        terminate(store, "ended", "t-9")
        worker.finish(parent)
        ended, before = look(store, "ended"), look(store, "open")
        assert before.parent is not None
        assert rerun(store) is Sent.SENT
        assert look(store, "open") == replace(before, parent=replace(before.parent, run=2))
        assert look(store, "ended") == ended
        nursed = nurse(store)
        child = nursed.finish(nursed.take(), REPLY)
        claimed = worker.take()
        assert [(m.message_id, m.event) for m in claimed.messages] == [end_of(child)]

    def test_a_rerun_closes_what_it_took_over(self, store: Store) -> None:
        worker, parent = a_parent(store, TERMINATE)
        worker.finish(parent)
        rerun(store)
        worker.advance(worker.take(), end=COMPLETED, close=CLOSE)
        assert look(store, "child").status is Status.TERMINATED
