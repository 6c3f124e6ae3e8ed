"""Children: how they begin, and how their parent learns of their end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from durable.model import Instance, Parent, ParentClose, Status
from durable.store import ClaimedInstance, End, Filter, Sent, Store
from durable.testing.store_contract.base import (
    CHILDREN,
    CLOSE,
    COMMITTED,
    COMPLETED,
    DEADLOCK,
    HOUR,
    LOST,
    MINUTE,
    REFUSED,
    REPLY,
    UNSEEN,
    Base,
    FakeWorker,
    a_child,
    a_family,
    a_finished,
    a_message,
    a_next,
    a_step,
    an_instance,
    claim_all,
    end_of,
    events,
    inbox,
    look,
    nurse,
    pause,
    resume,
    send,
    start,
    terminate,
)


def a_pair(store: Store) -> tuple[FakeWorker, Instance, ClaimedInstance]:
    """A worker, the parent that it has released, and its child, claimed by the nurse."""
    start(store)
    worker = FakeWorker(store)
    parent = worker.advance(a_family(worker), release=True)
    return worker, parent, nurse(store).take()


class Children(Base):
    # -- starts -------------------------------------------------------------------------

    def test_a_step_starts_a_child(self, store: Store, other: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        at = store.now() - MINUTE
        child = a_child(store, claimed, header=b"header", memo=b"memo", tags=("t",), start_at=at)
        before = store.now()
        worker.advance(claimed, starts=[child])
        born = look(other, "child")
        assert before <= born.created_at <= store.now()
        assert born == Instance(
            uid=child.new.uid,
            id="child",
            workflow="flow",
            version=None,
            queue=CHILDREN,
            run=1,
            status=Status.PENDING,
            owner="",
            epoch=0,
            wake_at=at,
            history_length=0,
            crashes=0,
            blocked_by="",
            reason="",
            args=b"args",
            kwargs=None,
            vars=None,
            result=None,
            failure=None,
            memo=b"memo",
            tags=("t",),
            created_at=born.created_at,
            started_at=None,
            finished_at=None,
            parent=Parent(uid, "i-1", 1, 1, ParentClose.CANCEL),
            header=b"header",
        )
        assert inbox(store, uid) == []
        assert nurse(other).ids() == ["child"]

    @pytest.mark.parametrize("close", list(ParentClose))
    def test_a_parent_is_stored(self, store: Store, close: ParentClose) -> None:
        """A client may name one, too: a store does not ask whether it is there."""
        parent = Parent(b"\x00nobody's uid\xff  ", "pärent'", 7, 300, close)
        start(store, parent=parent)
        assert look(store).parent == parent
        assert FakeWorker(store).take().instance.parent == parent

    def test_what_has_no_parent(self, store: Store) -> None:
        start(store)
        assert (look(store).parent, look(store).header) == (None, None)

    def test_a_child_begins_with_its_history_and_messages(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        child = a_child(store, claimed, history=[b"a", b"b"], messages=[("m-1", b"first")])
        worker.advance(claimed, starts=[child])
        assert look(store, "child").history_length == 2
        assert events(store, child.new.uid) == [b"a", b"b"]
        assert inbox(store, child.new.uid) == [("m-1", b"first")]

    def test_children_are_there_before_anything_is_sent(self, store: Store) -> None:
        start(store, "i-1", "i-2")
        worker = FakeWorker(store)
        first, second = claim_all(worker)
        sends = [a_message("child", answers={Sent.NOT_FOUND: b"no"})]
        child = a_child(store, second)
        steps = [a_step(first, sends=sends), a_step(second, starts=[child])]
        assert worker.commit(*steps) == [COMMITTED] * 2
        assert inbox(store, child.new.uid) == [("m-1", b"m-1")]
        assert inbox(store, first.instance.uid) == []

    @pytest.mark.parametrize("ended", [False, True])
    def test_an_id_in_use_is_told(self, store: Store, ended: bool) -> None:
        if ended:
            a_finished(store, "child")
        else:
            start(store, "child", queue="elsewhere")
        uid = start(store)
        before = look(store, "child")
        worker = FakeWorker(store)
        claimed = worker.take()
        later = store.now() + HOUR
        starts = [a_child(store, claimed, id, messages=[("m-1", b"")]) for id in ("free", "child")]
        starter = worker.advance(claimed, starts=starts, release=True, wake_at=later)
        assert look(store, "child") == before
        assert inbox(store, before.uid) == []
        assert store.instance("free") is not None
        assert inbox(store, uid) == [("start:child", b"taken")]
        assert starter.wake_at is not None
        assert starter.wake_at <= store.now()
        assert len(worker.take().messages) == 1

    def test_an_id_that_another_step_takes(self, store: Store) -> None:
        start(store, "i-1", "i-2")
        worker = FakeWorker(store)
        claimed = claim_all(worker)
        starts = {one.instance.uid: a_child(store, one) for one in claimed}
        steps = [a_step(one, starts=[starts[one.instance.uid]]) for one in claimed]
        assert worker.commit(*steps) == [COMMITTED] * 2
        born = look(store, "child")
        assert born.uid in {child.new.uid for child in starts.values()}
        for uid, child in starts.items():
            told = [] if child.new.uid == born.uid else [("start:child", b"taken")]
            assert inbox(store, uid) == told

    def test_an_id_twice_in_one_step(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        starts = [a_child(store, claimed) for _ in range(2)]
        worker.advance(claimed, starts=starts)
        assert look(store, "child").uid == starts[0].new.uid
        assert inbox(store, uid) == [("start:child", b"taken")]

    def test_a_repeated_start_finds_its_own_row(self, store: Store) -> None:
        """Whoever takes over repeats the step that was lost on the way back."""
        uid = start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        child = a_child(store, claimed, messages=[("m-1", b"first")])
        instance = worker.advance(claimed, starts=[child])
        nursed = nurse(store)
        nursed.advance(nursed.take())
        before = look(store, "child")
        again = replace(child, new=replace(child.new, uid=b"another uid     "))
        worker.advance(instance, starts=[again, child])
        assert look(store, "child") == before
        assert (inbox(store, uid), inbox(store, before.uid)) == ([], [])

    def test_one_that_ends_is_not_told(self, store: Store) -> None:
        start(store, "child", queue="elsewhere")
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        starts = [a_child(store, claimed), a_child(store, claimed, "free")]
        ended = worker.advance(claimed, starts=starts, end=COMPLETED)
        assert (ended.status, ended.wake_at) == (Status.COMPLETED, None)
        assert inbox(store, ended.uid) == []
        assert look(store, "free").status is Status.PENDING

    def test_a_run_that_is_over_is_not_told(self, store: Store) -> None:
        start(store, "child", queue="elsewhere")
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        starts = [a_child(store, claimed), a_child(store, claimed, "free")]
        instance = worker.advance(claimed, starts=starts, next=a_next(store))
        assert inbox(store, instance.uid) == []
        parent = look(store, "free").parent
        assert parent is not None
        assert (parent.uid, parent.run) == (instance.uid, 1)

    @pytest.mark.parametrize("verdict", [LOST, UNSEEN])
    def test_a_step_that_is_not_stored_starts_nothing(self, store: Store, verdict: Any) -> None:
        start(store, "child", queue="elsewhere")
        uid = start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        starts = [a_child(store, claimed), a_child(store, claimed, "free")]
        send(store)
        step = a_step(claimed, starts=starts, end=COMPLETED)
        step.epoch += verdict is LOST
        assert worker.commit(step) == [verdict]
        assert store.instance("free") is None
        assert [id for id, _ in inbox(store, uid)] == ["m-1"]

    def test_what_is_taken_is_told_to_a_full_inbox(self, small: Store) -> None:
        start(small, "child", queue="elsewhere")
        uid = start(small)
        worker = FakeWorker(small)
        claimed = worker.take()
        small.send([a_message("i-1", f"m-{n}") for n in range(3)])
        worker.advance(claimed, starts=[a_child(small, claimed)])
        assert len(inbox(small, uid)) == 3

    def test_many_children(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        parent = a_family(worker, *(f"child-{n}" for n in range(500)))
        assert len(store.instances(Filter(parent=parent.uid, limit=1000)).rows) == 500
        assert len(claim_all(nurse(store))) == 500

    # -- listings -----------------------------------------------------------------------

    def test_children_are_listed_by_their_parent(self, store: Store, other: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        parent = a_family(worker, "c-1", "c-2")
        start(store, "grandchild", parent=Parent(look(store, "c-1").uid, "c-1", 1, 1))
        terminate(store, "c-2")

        def listed(**where: Any) -> list[str]:
            rows = other.instances(Filter(**where)).rows
            return sorted(row.id for row in rows)

        assert listed(parent=parent.uid) == ["c-1", "c-2"]
        assert listed(parent=parent.uid, statuses=(Status.PENDING,)) == ["c-1"]
        assert listed(parent=parent.uid, prefix="c-2") == ["c-2"]
        assert listed(parent=look(store, "c-1").uid) == ["grandchild"]
        assert listed(parent=look(store, "c-2").uid) == []
        page = store.instances(Filter(parent=parent.uid, limit=1))
        rest = store.instances(Filter(parent=parent.uid, limit=1, cursor=page.cursor))
        assert sorted(row.id for row in page.rows + rest.rows) == ["c-1", "c-2"]

    def test_a_restart_by_a_client_has_no_parent(self, store: Store) -> None:
        start(store)
        parent = a_family(FakeWorker(store))
        terminate(store, "child")
        store.create([an_instance(store, "child")], "restart")
        assert look(store, "child").parent is None
        assert store.instances(Filter(parent=parent.uid)).rows == []

    # -- how the parent learns of the end -----------------------------------------------

    def test_the_end_of_a_child_is_told(self, store: Store) -> None:
        worker, parent, child = a_pair(store)
        assert store.commit("nurse", [a_step(child, end=REPLY)]) == [COMMITTED]
        assert inbox(store, parent.uid) == [end_of(child.instance)]
        claimed = worker.take()
        assert [message.event for message in claimed.messages] == [b"child's end"]
        worker.finish(claimed)

    @pytest.mark.parametrize("release", [True, False])
    def test_it_wakes_the_parent(self, store: Store, release: bool) -> None:
        start(store)
        worker = FakeWorker(store)
        parent = a_family(worker)
        worker.advance(parent, release=release, wake_at=store.now() + HOUR)
        nursed = nurse(store)
        nursed.finish(nursed.take(), REPLY)
        assert len(worker.take().messages) == 1

    def test_an_end_without_a_reply_is_silent(self, store: Store) -> None:
        _, parent, child = a_pair(store)
        assert store.commit("nurse", [a_step(child, end=COMPLETED)]) == [COMMITTED]
        assert inbox(store, parent.uid) == []

    @pytest.mark.parametrize("end", [REFUSED, DEADLOCK], ids=["refused", "deadlock"])
    def test_only_an_end_is_told(self, store: Store, end: End) -> None:
        _, parent, child = a_pair(store)
        step = a_step(child, end=replace(end, reply=b"no end"))
        assert store.commit("nurse", [step]) == [COMMITTED]
        assert inbox(store, parent.uid) == []

    def test_a_reply_without_a_parent_is_nobodys(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        assert worker.finish(worker.take(), REPLY).status is Status.COMPLETED
        start(store, "i-2", parent=Parent(b"nobody's uid    ", "nobody", 1, 1))
        assert worker.finish(worker.take(), REPLY).status is Status.COMPLETED

    @pytest.mark.parametrize("unread", ["lost", "unseen"])
    def test_an_end_that_is_not_stored_is_not_told(self, store: Store, unread: str) -> None:
        _, parent, child = a_pair(store)
        send(store, "m-1", "child")
        step = a_step(child, end=REPLY)
        step.epoch += unread == "lost"
        assert store.commit("nurse", [step]) != [COMMITTED]
        assert inbox(store, parent.uid) == []

    @pytest.mark.parametrize("how", ["ended", "deleted", "continued", "restarted"])
    def test_it_is_told_to_its_run_alone(self, store: Store, how: str) -> None:
        start(store)
        worker = FakeWorker(store)
        parent = a_family(worker)
        if how == "continued":
            worker.advance(parent, next=a_next(store))
        else:
            worker.finish(parent)
        if how == "deleted":
            store.delete("i-1")
        if how == "restarted":
            store.create([an_instance(store)], "restart")
        before = store.instance("i-1")
        nursed = nurse(store)
        assert nursed.finish(nursed.take(), REPLY).status is Status.COMPLETED
        assert store.instance("i-1") == before
        assert inbox(store, parent.uid) == []

    def test_a_terminated_child_is_told(self, store: Store) -> None:
        worker, parent, _ = a_pair(store)
        sent = store.terminate("child", "t-1", b"terminated", "enough", reply=b"terminated")
        assert sent is Sent.SENT
        child = look(store, "child")
        assert inbox(store, parent.uid) == [end_of(child, b"terminated")]
        assert len(worker.take().messages) == 1
        assert store.terminate("child", "t-1", b"again", "again", reply=b"again") is Sent.SENT
        assert store.terminate("child", "t-2", b"again", "again", reply=b"again") is Sent.FINISHED
        assert inbox(store, parent.uid) == [end_of(child, b"terminated")]

    def test_each_run_of_a_child_has_its_end(self, store: Store) -> None:
        _, parent, child = a_pair(store)
        step = a_step(child, next=a_next(store))
        assert store.commit("nurse", [step]) == [COMMITTED]
        assert inbox(store, parent.uid) == []
        nursed = nurse(store, "nurse-2")
        second = nursed.finish(nursed.take(), REPLY)
        assert second.run == 2
        assert inbox(store, parent.uid) == [end_of(second)]
        store.rerun("child", "r-1", 2, a_next(store))
        third = nursed.finish(nursed.take(), REPLY)
        assert inbox(store, parent.uid) == [end_of(second), end_of(third)]

    def test_it_is_told_to_a_full_inbox(self, small: Store) -> None:
        _, parent, child = a_pair(small)
        small.send([a_message("i-1", f"m-{n}") for n in range(3)])
        assert small.commit("nurse", [a_step(child, end=REPLY)]) == [COMMITTED]
        assert len(inbox(small, parent.uid)) == 3

    def test_a_paused_parent_learns_of_it_later(self, store: Store) -> None:
        worker, parent, child = a_pair(store)
        pause(store)
        assert store.commit("nurse", [a_step(child, end=REPLY)]) == [COMMITTED]
        assert worker.ids() == []
        resume(store)
        assert len(worker.take().messages) == 1
        assert len(inbox(store, parent.uid)) == 1

    def test_parent_and_child_end_in_one_commit(self, store: Store) -> None:
        for order in (1, -1):
            ids = [f"parent{order}", f"child{order}"]
            start(store, ids[0])
            worker = FakeWorker(store, f"w{order}")
            parent = a_family(worker, ids[1], queue="default")
            child = worker.take()
            steps = [a_step(parent, end=COMPLETED, close=CLOSE), a_step(child, end=REPLY)]
            assert worker.commit(*steps[::order]) == [COMMITTED] * 2
            assert look(store, ids[0]).status is Status.COMPLETED
            assert look(store, ids[1]).status is Status.COMPLETED
            assert inbox(store, parent.uid) == []
            assert events(store, child.instance.uid) == [b"event-0"]
