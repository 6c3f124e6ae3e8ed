"""Runs that follow one another in one instance, and what is for one of them alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from durable.model import Instance, Status
from durable.store import Cancel, Sent, Store
from durable.testing.store_contract.base import (
    COMMITTED,
    COMPLETED,
    HOUR,
    LOST,
    MINUTE,
    REFUSED,
    REPLY,
    UNSEEN,
    Base,
    FakeWorker,
    a_child,
    a_completion,
    a_family,
    a_message,
    a_next,
    a_step,
    a_task,
    an_instance,
    events,
    inbox,
    look,
    nurse,
    schedule,
    send,
    start,
    terminate,
)

ANSWERS = {Sent.NOT_FOUND: b"not found"}


# Each puts one message for run 1 into the inbox of ``i-1``, which the worker owns then.


def _complete(worker: FakeWorker) -> Instance:
    parent = schedule(worker)
    assert worker.complete(worker.take_task())
    assert worker.take().instance.uid == parent.uid
    return look(worker.store)


def _postpone(worker: FakeWorker) -> Instance:
    tasks = [a_task(worker.store, owner=worker.id)]
    instance = worker.advance(worker.take(), tasks=tasks)
    instance = worker.advance(instance, cancels=[Cancel(1, "c-1", b"cancelled")])
    assert worker.postpone(worker.store.tasks(instance.uid)[0])
    return instance


def _settle(worker: FakeWorker) -> Instance:
    tasks = [a_task(worker.store, owner=worker.id)]
    instance = worker.advance(worker.take(), tasks=tasks)
    done = a_completion(worker.store.tasks(instance.uid)[0])
    assert worker.store.settle(done) is Sent.SENT
    return instance


def _cancel(worker: FakeWorker) -> Instance:
    instance = worker.advance(worker.take(), tasks=[a_task(worker.store)])
    return worker.advance(instance, cancels=[Cancel(1, "c-1", b"cancelled")])


def _answer(worker: FakeWorker) -> Instance:
    return worker.advance(worker.take(), sends=[a_message("absent", answers=ANSWERS)])


def _taken(worker: FakeWorker) -> Instance:
    start(worker.store, "child", queue="elsewhere")
    claimed = worker.take()
    return worker.advance(claimed, starts=[a_child(worker.store, claimed)])


def _child(worker: FakeWorker) -> Instance:
    parent = a_family(worker)
    nursed = nurse(worker.store)
    nursed.finish(nursed.take(), REPLY)
    return parent


def _send(worker: FakeWorker) -> Instance:
    instance = worker.advance(worker.take())
    assert send(worker.store, run=1) is Sent.SENT
    return instance


BOUND: list[Callable[[FakeWorker], Instance]] = [
    _complete,
    _postpone,
    _settle,
    _cancel,
    _answer,
    _taken,
    _child,
    _send,
]


def a_second(store: Store, worker: FakeWorker) -> Instance:
    """An instance in its second run, which the worker owns."""
    start(store)
    worker.advance(worker.take(), next=a_next(store))
    return worker.take().instance


class Runs(Base):
    # -- how an instance begins ---------------------------------------------------------

    def test_a_run_may_begin_with_a_history(self, store: Store, other: Store) -> None:
        history = [b"a", b"", b"\x00c"]
        uid = start(store, history=history, header=b"header")
        instance = look(other)
        assert (instance.status, instance.history_length) == (Status.PENDING, 3)
        assert (instance.header, instance.started_at) == (b"header", None)
        assert events(other, uid) == history
        worker = FakeWorker(store)
        worker.advance(worker.take(), events=[b"d"])
        assert events(store, uid) == [*history, b"d"]

    def test_messages_may_wait_from_the_first(self, store: Store) -> None:
        uid = start(store, messages=[("m-1", b"first"), ("m-2", b"second")])
        assert inbox(store, uid) == [("m-1", b"first"), ("m-2", b"second")]
        assert send(store, "m-1") is Sent.SENT
        assert len(FakeWorker(store).take().messages) == 2

    def test_such_messages_do_not_end_a_start_delay(self, store: Store) -> None:
        at = store.now() + HOUR
        start(store, start_at=at, messages=[("m-1", b"first")])
        assert look(store).wake_at == at
        assert FakeWorker(store).ids() == []

    def test_an_instance_that_is_used_gets_none_of_them(self, store: Store) -> None:
        new = an_instance(store, messages=[("m-1", b"first")], history=[b"a"])
        uid = store.create([new], "raise")[0].uid
        worker = FakeWorker(store)
        worker.advance(worker.take(), release=True)
        before = look(store)
        assert not store.create([an_instance(store, messages=[("m-2", b"")])], "use")[0].new
        again = replace(new, messages=[("m-3", b"")], history=[b"b"])
        for if_exists in ("raise", "use", "restart"):
            assert store.create([again], if_exists)[0].uid == uid
        assert look(store) == before
        assert (inbox(store, uid), events(store, uid)) == ([], [b"a", b"event-1"])

    def test_a_restart_has_its_own(self, store: Store) -> None:
        uid = start(store, messages=[("m-1", b"first")], history=[b"a"], header=b"old")
        terminate(store)
        new = an_instance(store, messages=[("m-1", b"again"), ("m-2", b"new")], history=[b"b"])
        [created] = store.create([new], "restart")
        assert (created.uid, created.run) == (uid, 2)
        instance = look(store)
        assert (instance.history_length, instance.header) == (1, None)
        assert events(store, uid, 1) == [b"a", b"terminated"]
        assert events(store, uid, 2) == [b"b"]
        assert inbox(store, uid) == [("m-2", b"new")]

    # -- the next run -------------------------------------------------------------------

    def test_a_run_follows_a_run(self, store: Store, other: Store) -> None:
        start(store, tags=("t",), memo=b"memo", header=b"old")
        worker = FakeWorker(store)
        first = worker.advance(worker.take(), version=1, vars=b"vars")
        at = store.now() - MINUTE
        new = a_next(
            store, start_at=at, kwargs=b"kwargs", header=b"new", history=[b"x", b"y"], version=2
        )
        assert worker.commit(a_step(first, events=[b"last"], next=new)) == [COMMITTED]
        second = look(other)
        assert second.wake_at is not None
        assert at <= second.wake_at <= store.now()
        assert second == replace(
            first,
            run=2,
            owner="",
            wake_at=second.wake_at,
            history_length=2,
            version=2,
            args=b"next",
            kwargs=b"kwargs",
            header=b"new",
        )
        assert events(store, first.uid, 1) == [b"event-0", b"last"]
        assert events(store, first.uid, 2) == [b"x", b"y"]

    def test_the_next_worker_chooses_the_version(self, store: Store) -> None:
        start(store, version=1)
        worker = FakeWorker(store)
        instance = worker.advance(worker.take(), version=1, next=a_next(store))
        assert instance.version is None
        assert FakeWorker(store, "w-2", workflows=("flow@1",)).ids() == []
        assert FakeWorker(store, "w-3", workflows=("flow",)).ids() == ["i-1"]

    def test_a_version_may_be_kept(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), next=a_next(store, version=1))
        assert FakeWorker(store, "w-2", workflows=("flow",)).ids() == []
        assert FakeWorker(store, "w-3", workflows=("flow@1",)).ids() == ["i-1"]

    def test_vars_stay_or_change(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), vars=b"first", next=a_next(store))
        assert look(store).vars == b"first"
        worker.advance(worker.take(), next=a_next(store))
        assert look(store).vars == b"first"
        worker.advance(worker.take(), vars=b"third", next=a_next(store))
        assert look(store).vars == b"third"

    @pytest.mark.parametrize("release", [True, False])
    def test_it_is_for_anybody(self, store: Store, other: Store, release: bool) -> None:
        start(store)
        worker = FakeWorker(store)
        first = worker.advance(worker.take())
        worker.advance(first, next=a_next(store), release=release)
        assert store.owned("w-1").instances == {}
        second = FakeWorker(other, "w-2").take()
        assert (second.instance.run, second.instance.epoch) == (2, first.epoch + 1)
        assert worker.commit(a_step(first)) == [LOST]
        assert worker.commit(a_step(look(store))) == [LOST]

    def test_it_began_when_its_first_run_began(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        second = worker.advance(worker.take(), next=a_next(store))
        assert (second.status, second.wake_at is None) == (Status.RUNNING, False)
        assert second.started_at is not None
        third = worker.advance(worker.take(), next=a_next(store))
        assert (third.run, third.started_at) == (3, second.started_at)
        assert third.created_at == second.created_at

    def test_it_may_begin_later(self, store: Store) -> None:
        at = store.now() + HOUR
        uid = start(store)
        worker = FakeWorker(store)
        new = a_next(store, start_at=at, messages=[("m-1", b"m-1")])
        second = worker.advance(worker.take(), next=new)
        assert (second.status, second.wake_at) == (Status.PENDING, at)
        assert send(store, "m-2") is Sent.SENT
        claimed = worker.claim()
        assert (claimed.instances, claimed.next_wake_at) == ([], at)
        send(store, "m-3", urgent=True)
        assert len(worker.take().messages) == len(inbox(store, uid)) == 3

    def test_a_later_begin_has_seen_everything(self, store: Store) -> None:
        """Else a cancel that came at the last moment would wait for that begin, too."""
        uid = start(store)
        send(store, "m-1")
        worker = FakeWorker(store)
        claimed = worker.take()
        send(store, "m-2", urgent=True)
        later = a_next(store, start_at=store.now() + HOUR)
        assert worker.commit(a_step(claimed, next=later)) == [UNSEEN]
        first = look(store)
        assert (first.run, first.status, first.owner) == (1, Status.PENDING, "w-1")
        assert (first.epoch, events(store, uid)) == (claimed.instance.epoch, [])
        again = worker.take()
        assert [message.message_id for message in again.messages] == ["m-1", "m-2"]
        second = worker.advance(again, next=later)
        assert (second.run, second.wake_at) == (2, later.start_at)

    def test_a_begin_at_once_leaves_messages_to_the_run(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        send(store)
        worker.advance(claimed, next=a_next(store))
        claimed = worker.take()
        assert (claimed.instance.run, len(claimed.messages)) == (2, 1)

    def test_a_message_for_the_run_that_is_over_must_be_seen_too(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        send(store, run=1)
        later = a_next(store, start_at=store.now() + HOUR)
        assert worker.commit(a_step(claimed, next=later)) == [UNSEEN]
        worker.advance(worker.take(), next=later)

    def test_it_forgives_a_block_and_crashes(self, store: Store) -> None:
        start(store)
        dead = FakeWorker(store, "dead")
        dead.take()
        store.take_over(["dead"])
        worker = FakeWorker(store)
        worker.advance(worker.take(), end=REFUSED)
        worker = FakeWorker(store, "w-2", build="build-2")
        second = worker.advance(worker.take(), next=a_next(store))
        assert (second.status, second.reason, second.blocked_by) == (Status.RUNNING, "", "")
        assert second.crashes == 0

    def test_its_tasks_are_gone(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        tasks = [a_task(store, 1), a_task(store, 2, owner="w-1"), a_task(store, 3, owner="w-1")]
        first = worker.advance(worker.take(), tasks=tasks)
        held = store.tasks(uid)[1]
        step = a_step(first, done=[(3, 1)], tasks=[a_task(store, 4)], next=a_next(store))
        assert worker.commit(step) == [COMMITTED]
        assert store.tasks(uid) == []
        assert store.owned("w-1").tasks == {}
        assert not worker.complete(held)
        assert store.settle(a_completion(held)) is Sent.FINISHED
        assert worker.claim().tasks == []
        assert inbox(store, uid) == []

    def test_commands_count_anew(self, store: Store) -> None:
        """The second run's command 1 is another task than the first run's."""
        start(store)
        worker = FakeWorker(store)
        schedule(worker)
        old = worker.take_task()
        send(store)
        worker.advance(worker.take(), next=a_next(store))
        new = worker.advance(worker.take(), tasks=[a_task(store, owner="w-1")])
        assert not worker.complete(old)
        [task] = store.tasks(new.uid)
        assert (task.run, task.epoch) == (2, 1)
        assert worker.complete(task)
        assert inbox(store, new.uid) == [("result:2:1", b"result")]

    def test_it_is_not_an_end(self, store: Store) -> None:
        """A message that it has not seen is for the run that follows."""
        uid = start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        send(store)
        step = a_step(claimed, next=a_next(store, messages=[("m-2", b"m-2")]))
        assert worker.commit(step) == [COMMITTED]
        assert inbox(store, uid) == [("m-1", b"m-1"), ("m-2", b"m-2")]
        again = worker.take()
        assert len(again.messages) == 2
        worker.finish(again)

    def test_a_step_with_a_next_run_may_be_lost(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        before = look(store)
        step = a_step(claimed, epoch=7, next=a_next(store, history=[b"x"]))
        assert worker.commit(step) == [LOST]
        assert look(store) == before
        assert store.history([(uid, 1), (uid, 2)]) == [[], []]

    def test_it_sends_and_starts_too(self, store: Store) -> None:
        target = start(store, "target", queue="elsewhere")
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        sends = [a_message("target"), a_message("absent", answers=ANSWERS)]
        sends += [a_message("i-1", "m-2"), a_message("i-1", "m-3", run=1)]
        sends += [a_message("i-1", "m-4", run=2)]
        starts = [a_child(store, claimed)]
        instance = worker.advance(claimed, sends=sends, starts=starts, next=a_next(store))
        assert inbox(store, target) == [("m-1", b"m-1")]
        assert look(store, "child").status is Status.PENDING
        assert [id for id, _ in inbox(store, instance.uid)] == ["m-2", "m-4"]

    def test_many_runs(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        for run in range(1, 30):
            worker.advance(worker.take(), events=[b"%d" % run], next=a_next(store))
        assert look(store).run == 30
        keys = [(uid, run) for run in range(1, 30)]
        assert store.history(keys) == [[(0, b"%d" % run)] for run in range(1, 30)]
        terminate(store)
        assert store.delete("i-1") is Sent.SENT
        assert store.history(keys) == [[]] * 29

    # -- messages for one run -----------------------------------------------------------

    @pytest.mark.parametrize("ask", BOUND, ids=lambda ask: ask.__name__.strip("_"))
    def test_what_a_run_has_asked_for_goes_with_it(
        self, store: Store, ask: Callable[[FakeWorker], Instance]
    ) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        instance = ask(worker)
        assert len(inbox(store, uid)) == 1
        send(store, "m-any")
        worker.advance(instance, next=a_next(store))
        assert inbox(store, uid) == [("m-any", b"m-any")]
        assert len(worker.take().messages) == 1

    def test_messages_of_a_run_go_with_it(self, store: Store) -> None:
        uid = start(store, messages=[("m-0", b"m-0")])
        worker = FakeWorker(store)
        claimed = worker.take()
        new = a_next(store, messages=[("m-1", b"m-1"), ("m-2", b"m-2")])
        worker.advance(claimed, messages=[], next=new)
        second = worker.take()
        assert [message.message_id for message in second.messages] == ["m-0", "m-1", "m-2"]
        worker.advance(second, messages=[], next=new)
        assert inbox(store, uid) == [("m-0", b"m-0")]

    def test_a_message_may_be_for_one_run(self, store: Store, other: Store) -> None:
        worker = FakeWorker(store)
        second = a_second(store, worker)
        assert send(other, "m-1", run=1) is Sent.FINISHED
        assert send(other, "m-3", run=3) is Sent.FINISHED
        assert inbox(store, second.uid) == []
        assert send(other, "m-1", run=2) is Sent.SENT
        assert send(other, "m-2") is Sent.SENT
        assert [id for id, _ in inbox(store, second.uid)] == ["m-1", "m-2"]
        worker.advance(second, next=a_next(store))
        assert inbox(store, second.uid) == [("m-2", b"m-2")]
        assert send(other, "m-1", run=2) is Sent.SENT
        assert send(other, "m-4", run=2) is Sent.FINISHED
        assert inbox(store, second.uid) == [("m-2", b"m-2")]

    def test_it_is_there_until_its_run_ends(self, store: Store) -> None:
        start(store)
        send(store, run=1)
        worker = FakeWorker(store)
        claimed = worker.take()
        assert worker.commit(a_step(claimed, messages=[], end=COMPLETED)) == [UNSEEN]
        worker.finish(worker.take())
        assert send(store, "m-2", run=1) is Sent.FINISHED

    def test_a_message_may_go_to_a_uid(self, store: Store, other: Store) -> None:
        """The id is ignored then: it may be somebody else's by now."""
        old = start(store)
        start(store, "i-2")
        message = a_message("i-2", uid=old)
        assert other.send([message, message]) == [Sent.SENT] * 2
        assert inbox(store, old) == [("m-1", b"m-1")]
        assert inbox(store, look(store, "i-2").uid) == []
        terminate(store)
        assert send(store, "m-2", uid=old) is Sent.FINISHED
        store.delete("i-1")
        new = start(store)
        assert send(store, "m-2", uid=old) is Sent.NOT_FOUND
        assert send(store, "m-2", uid=b"nobody's uid    ") is Sent.NOT_FOUND
        assert inbox(store, new) == []

    def test_a_step_may_send_to_a_run_of_a_uid(self, store: Store) -> None:
        worker = FakeWorker(store)
        target = a_second(store, worker)
        start(store, "sender")
        answers = {Sent.FINISHED: b"over", Sent.SENT: b"sent"}
        sends = [
            a_message("", f"m-{run}", uid=target.uid, run=run, answers=answers)
            for run in (0, 1, 2, 3)
        ]
        sender = worker.advance(worker.take(), sends=sends)
        assert [id for id, _ in inbox(store, target.uid)] == ["m-0", "m-2"]
        assert [event for _, event in inbox(store, sender.uid)] == [
            b"sent",
            b"over",
            b"sent",
            b"over",
        ]

    def test_a_full_inbox_refuses_them_too(self, small: Store) -> None:
        uid = start(small)
        small.send([a_message("i-1", f"m-{n}", run=1) for n in range(2)])
        assert send(small, "m-2", uid=uid) is Sent.FULL
        assert send(small, "m-3", run=2) is Sent.FINISHED
        worker = FakeWorker(small)
        messages = [(f"n-{n}", b"") for n in range(3)]
        worker.advance(worker.take(), next=a_next(small, messages=messages))
        assert len(inbox(small, uid)) == 3
