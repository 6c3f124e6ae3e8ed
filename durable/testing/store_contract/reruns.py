"""What has ended runs again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from durable.events import Event, Forked, Retried, dump
from durable.model import ParentClose, Status
from durable.store import Completion, Sent, Store
from durable.testing.store_contract.base import (
    CLOSE,
    COMPLETED,
    HOUR,
    LOST,
    MINUTE,
    REPLY,
    Base,
    FakeWorker,
    a_family,
    a_finished,
    a_next,
    a_step,
    end_of,
    events,
    inbox,
    look,
    nurse,
    rerun,
    schedule,
    send,
    start,
    terminate,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Reruns(Base):
    def test_what_has_ended_runs_again(self, store: Store, other: Store) -> None:
        uid = start(store, tags=("t",), memo=b"memo", version=1, header=b"old")
        worker = FakeWorker(store)
        end = replace(COMPLETED, failure=b"failure", reason="why", unread=("s",))
        ended = worker.advance(worker.take(), vars=b"vars", end=end)
        at = store.now() - MINUTE
        first = [("m-1", b"first")]
        new = a_next(store, start_at=at, history=[b"x"], header=b"new", version=2, messages=first)
        assert store.rerun("i-1", "r-1", 1, new) is Sent.SENT
        assert look(other) == replace(
            ended,
            run=2,
            status=Status.PENDING,
            epoch=ended.epoch + 1,
            wake_at=at,
            finished_at=None,
            history_length=1,
            version=2,
            reason="",
            args=b"next",
            result=None,
            failure=None,
            header=b"new",
        )
        assert store.unread(uid) == ()
        assert events(store, uid, 1) == [b"event-0"]
        assert events(store, uid, 2) == [b"x"]
        assert inbox(store, uid) == first

    def test_a_rerun_goes_its_way(self, store: Store) -> None:
        a_finished(store, "i-1", status=Status.FAILED)
        uid = look(store).uid
        assert rerun(store, kwargs=b"kwargs") is Sent.SENT
        worker = FakeWorker(store, queues=("ended",))
        claimed = worker.take()
        assert (claimed.instance.run, claimed.instance.kwargs) == (2, b"kwargs")
        running = worker.advance(claimed)
        assert running.started_at == claimed.instance.started_at
        assert send(store, run=1) is Sent.FINISHED
        assert send(store, run=2) is Sent.SENT
        worker.finish(worker.take())
        assert events(store, uid, 2) == [b"event-0", b"event-1"]
        assert rerun(store, "r-2", 2) is Sent.SENT
        assert look(store).run == 3

    def test_a_rerun_may_begin_later(self, store: Store) -> None:
        a_finished(store, "i-1")
        at = store.now() + HOUR
        rerun(store, start_at=at, messages=[("m-1", b"")])
        send(store, "m-2")
        assert look(store).wake_at == at
        assert FakeWorker(store, queues=("ended",)).ids() == []

    def test_messages_of_a_rerun_are_for_it_alone(self, store: Store) -> None:
        a_finished(store, "i-1")
        rerun(store, messages=[("m-1", b"")])
        worker = FakeWorker(store, queues=("ended",))
        worker.advance(worker.take(), messages=[], next=a_next(store))
        assert inbox(store, look(store).uid) == []

    @pytest.mark.parametrize("event", [Retried(1, NOW, 1), Forked(1, NOW, "i-1", 1, b"")])
    def test_a_copy_that_is_terminated_says_so(self, store: Store, event: Event) -> None:
        """Else nothing would tell that what is before the end was copied."""
        a_finished(store, "i-1")
        uid, again = look(store).uid, dump(event)
        new = a_next(store, history=[b"x"], messages=[("again", again), ("m-1", b"later")])
        store.rerun("i-1", "r-1", 1, new)
        terminate(store)
        assert events(store, uid, 2) == [b"x", again, b"terminated"]
        assert look(store).history_length == 3

    def test_a_copy_goes_with_its_parent_and_says_so(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        parent = a_family(worker, close=ParentClose.TERMINATE)
        nursed = nurse(store)
        uid = nursed.finish(nursed.take()).uid
        again = dump(Retried(1, NOW, 1))
        store.rerun("child", "r-1", 1, a_next(store, history=[b"x"], messages=[("again", again)]))
        worker.advance(parent, end=COMPLETED, close=CLOSE)
        assert events(store, uid, 2) == [b"x", again, b"closed"]

    def test_a_rerun_fences_the_run_before(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        schedule(worker)
        task = worker.take_task()
        send(store)
        claimed = worker.take()
        terminate(store)
        rerun(store)
        again = worker.take()
        assert again.instance.epoch > claimed.instance.epoch
        assert worker.commit(a_step(claimed)) == [LOST]
        assert not worker.complete(task)
        late = Completion(task.uid, 1, 1, task.epoch, "late", b"late")
        assert store.settle(late) is Sent.FINISHED
        assert inbox(store, task.uid) == []

    @pytest.mark.parametrize("run", [1, 2])
    def test_only_what_has_ended_in_that_run(self, store: Store, run: int) -> None:
        assert rerun(store, run=run) is Sent.NOT_FOUND
        start(store)
        before = look(store)
        assert rerun(store, run=run) is Sent.REFUSED
        assert look(store) == before
        worker = FakeWorker(store)
        ended = worker.advance(worker.take(), end=COMPLETED)
        assert rerun(store, run=2) is Sent.REFUSED
        assert rerun(store, run=0) is Sent.REFUSED
        assert look(store) == ended
        assert rerun(store) is Sent.SENT

    def test_a_repeated_rerun_runs_once(self, store: Store) -> None:
        a_finished(store, "i-1")
        assert rerun(store) is Sent.SENT
        before = look(store)
        assert rerun(store, messages=[("m-1", b"")]) is Sent.SENT
        assert rerun(store, "r-2") is Sent.REFUSED
        assert look(store) == before
        assert inbox(store, before.uid) == []
        worker = FakeWorker(store, queues=("ended",))
        ended = worker.finish(worker.take())
        assert rerun(store, run=2) is Sent.SENT
        assert look(store) == ended

    def test_a_rerun_of_a_child_tells_the_same_parent(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        parent = a_family(worker)
        nursed = nurse(store)
        first = nursed.finish(nursed.take(), REPLY)
        store.rerun("child", "r-1", 1, a_next(store))
        second = nursed.finish(nursed.take(), REPLY)
        assert (second.parent, second.run) == (first.parent, 2)
        assert inbox(store, parent.uid) == [end_of(first), end_of(second)]
