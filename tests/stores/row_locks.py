"""What a store in a database server does about rows that others hold in open transactions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from durable.model import ParentClose, Status
from durable.store import Sent, Unavailable, Verdict
from durable.stores.sql import SqlStore
from durable.stores.sql_text import Query
from durable.testing.store_contract.base import (
    CLOSE,
    COMPLETED,
    REPLY,
    SECOND,
    FakeWorker,
    a_completion,
    a_family,
    a_message,
    a_step,
    a_task,
    inbox,
    look,
    nurse,
    schedule,
    send,
    start,
)

LOCK = Query("SELECT number FROM {instances} WHERE id = ? FOR UPDATE", kinds="v")

Hold = Callable[[str], None]


class RowLocks:
    """The tests; a class beneath gives ``elsewhere``, a cursor in somebody else's transaction.

    ``store`` waits two seconds for a lock.
    """

    @pytest.fixture
    def hold(self, store: SqlStore, elsewhere: Any) -> Hold:
        """Locks an instance, by id, in that transaction."""

        def lock(id: str) -> None:
            elsewhere.execute(store._texts.plain(LOCK, 0), [id])
            assert elsewhere.fetchall()

        return lock

    def test_a_lock_that_nobody_gives_back_is_given_up(self, store: SqlStore, hold: Hold) -> None:
        uid = start(store, "a", "b")
        hold("a")
        with pytest.raises(Unavailable, match="for 2 seconds"):
            send(store, "m-1", "a")
        assert send(store, "m-1", "b") is Sent.SENT
        assert inbox(store, uid) == []

    def test_a_worker_waits_for_nobody(self, store: SqlStore, hold: Hold) -> None:
        """What is in another transaction's hands is left out, and the rest goes on."""
        start(store, "a", "b")
        worker = FakeWorker(store)
        a, b = sorted(worker.claim().instances, key=lambda one: one.instance.id)
        start(store, "c", "d")
        hold("a")
        hold("c")
        assert worker.commit(a_step(a), a_step(b)) == [Verdict.BUSY, Verdict.COMMITTED]
        claimed = worker.claim()
        assert [one.instance.id for one in claimed.instances] == ["d"]
        before = store.now()
        none = worker.claim()
        assert none.instances == []
        assert none.next_wake_at is not None
        assert before < none.next_wake_at < store.now() + SECOND

    def test_a_result_waits_for_nobody(self, store: SqlStore, hold: Hold) -> None:
        start(store, "a")
        worker = FakeWorker(store)
        uid = schedule(worker, a_task(store)).uid
        task = worker.take_task()
        hold("a")
        done = a_completion(task)
        assert store.complete(worker.id, [done], []) == [Verdict.BUSY]
        assert (inbox(store, uid), store.tasks(uid)) == ([], [task])

    def test_a_step_waits_for_none_that_it_would_change(self, store: SqlStore, hold: Hold) -> None:
        """The target of a message, a child: held, all of the step is to come again."""
        start(store, "parent")
        worker, nursed = FakeWorker(store), nurse(store)
        parent = a_family(worker, "child", close=ParentClose.TERMINATE)
        child = nursed.take()
        start(store, "target", queue="others")
        hold("target")
        assert nursed.commit(a_step(child, sends=[a_message("target")])) == [Verdict.BUSY]
        hold("child")
        assert worker.commit(a_step(parent, end=COMPLETED, close=CLOSE)) == [Verdict.BUSY]
        assert look(store, "parent").status is Status.RUNNING
        assert inbox(store, look(store, "target").uid) == []

    def test_a_child_ends_when_its_parent_can_be_told(self, store: SqlStore, hold: Hold) -> None:
        start(store, "parent")
        parent = a_family(FakeWorker(store), "child")
        nursed = nurse(store)
        child = nursed.take()
        hold("parent")
        assert nursed.commit(a_step(child, end=REPLY)) == [Verdict.BUSY]
        assert look(store, "child").status is Status.PENDING
        assert inbox(store, parent.uid) == []

    def test_who_holds_a_row_of_a_dead_worker_only_delays_its_takeover(
        self, store: SqlStore, hold: Hold, elsewhere: Any
    ) -> None:
        start(store, "a", "b")
        FakeWorker(store, "dead", lease=-SECOND).claim()
        hold("a")
        assert store.take_over(None) == 0
        assert (look(store, "a").owner, look(store, "b").owner) == ("dead", "")
        elsewhere.execute("ROLLBACK")
        assert store.take_over(None) == 1
        assert look(store, "a").owner == ""
