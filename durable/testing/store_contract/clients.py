"""Promises 1 and 8: what clients create, restart, delete and purge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from durable.errors import InstanceAlreadyExists
from durable.model import Instance, Status
from durable.store import NewInstance, Sent, Store
from durable.testing.store_contract.base import (
    COMPLETED,
    HOUR,
    LOST,
    SECOND,
    Base,
    FakeWorker,
    a_finished,
    a_message,
    a_step,
    a_task,
    an_instance,
    claim_all,
    events,
    inbox,
    look,
    schedule,
    send,
    start,
    terminate,
)

HOSTILE_IDS = [
    "it's",
    'a "quoted" one',
    "100%",
    "a_b",
    "aXb",
    "back\\slash",
    "semi;colon -- DROP TABLE instances",
    "new\nline\ttab",
    "straße",
    "strasse",
    "STRASSE",
    "日本語",
    "🦆",
    "e\u0301",
    "\u00e9",
    "e",
    "order-1",
    "Order-1",
    "order-1 ",
    " order-1",
    "{order-1}",
    "a/b.1",
    "*",
    "0",
    "00",
    "x" * 255,
    "x" * 254 + "y",
    "ü" * 127 + "z",
]


class Clients(Base):
    # -- create -------------------------------------------------------------------------

    def test_a_new_instance_has_what_was_given(self, store: Store) -> None:
        before = store.now()
        new = an_instance(
            store, version=3, kwargs=b"kwargs", memo=b"memo", tags=("b", "a"), start_at=before
        )
        [created] = store.create([new], "raise")
        assert (created.uid, created.run, created.new) == (new.uid, 1, True)
        instance = look(store)
        assert before <= instance.created_at <= store.now()
        assert sorted(instance.tags) == ["a", "b"]
        assert replace(instance, created_at=0, tags=()) == Instance(
            uid=new.uid,
            id="i-1",
            workflow="flow",
            version=3,
            queue="default",
            run=1,
            status=Status.PENDING,
            owner="",
            epoch=0,
            wake_at=before,
            history_length=0,
            crashes=0,
            blocked_by="",
            reason="",
            args=b"args",
            kwargs=b"kwargs",
            vars=None,
            result=None,
            failure=None,
            memo=b"memo",
            tags=(),
            created_at=0,
            started_at=None,
            finished_at=None,
        )
        assert events(store, new.uid) == []
        assert store.inbox(new.uid) == []
        assert store.tasks(new.uid) == []
        assert store.unread(new.uid) == ()

    def test_what_was_created_is_seen_by_another_process(self, store: Store, other: Store) -> None:
        start(store)
        assert look(other) == look(store)

    def test_payloads_are_bytes_of_any_kind_and_size(self, store: Store) -> None:
        every = bytes(range(256)) * 8
        large = b"\x00\xff'\"\\" * 200_000
        start(store, args=large, kwargs=every, memo=b"")
        instance = look(store)
        assert (instance.args, instance.kwargs, instance.memo) == (large, every, b"")

    def test_absent_and_empty_payloads_differ(self, store: Store) -> None:
        start(store, "empty", kwargs=b"", args=b"")
        start(store, "absent", kwargs=None)
        assert look(store, "empty").kwargs == b""
        assert look(store, "empty").memo is None
        assert look(store, "absent").kwargs is None

    def test_no_instance_is_created_by_no_request(self, store: Store) -> None:
        assert store.create([], "raise") == []

    def test_many_at_once(self, store: Store) -> None:
        new = [an_instance(store, id) for id in self.together(*(f"i-{n}" for n in range(1000)))]
        created = store.create(new, "raise")
        assert [one.uid for one in created] == [one.uid for one in new]
        assert sum(store.stats().instances.values()) == 1000

    def test_ids_are_distinct_to_the_byte(self, store: Store) -> None:
        uids = {id: start(store, id) for id in HOSTILE_IDS}
        for id, uid in uids.items():
            instance = look(store, id)
            assert (instance.id, instance.uid) == (id, uid)
        for absent in ("order", "ORDER-1", "order-1  ", "100", "a%b", "x" * 253, "É", ""):
            assert store.instance(absent) is None

    def test_an_id_in_use_is_refused_by_name_and_nothing_is_created(self, store: Store) -> None:
        taken, *free = self.together("taken", "free-1", "free-2")
        uid = start(store, taken)
        new = [an_instance(store, id) for id in (free[0], taken, free[1])]
        with pytest.raises(InstanceAlreadyExists, match="taken"):
            store.create(new, "raise")
        assert [store.instance(id) for id in free] == [None, None]
        assert look(store, taken).uid == uid
        assert store.create(new[:1], "raise")[0].new

    def test_an_instance_in_use_can_be_used(self, store: Store) -> None:
        uid = start(store, "taken")
        before = look(store, "taken")
        new = [an_instance(store, "free"), an_instance(store, "taken", args=b"different")]
        free, taken = store.create(new, "use")
        assert (free.uid, free.new) == (new[0].uid, True)
        assert (taken.uid, taken.run, taken.new) == (uid, 1, False)
        assert look(store, "taken") == before

    def test_a_finished_instance_is_in_use_too(self, store: Store) -> None:
        a_finished(store, "i-1")
        before = look(store)
        with pytest.raises(InstanceAlreadyExists, match="i-1"):
            start(store)
        [created] = store.create([an_instance(store)], "use")
        assert (created.uid, created.new) == (before.uid, False)
        assert look(store) == before

    @pytest.mark.parametrize("if_exists", ["raise", "use", "restart"])
    def test_a_repeated_request_finds_its_own_row(self, store: Store, if_exists: str) -> None:
        new = [an_instance(store, id) for id in self.together("i-1", "i-2")]
        first = store.create(new, if_exists)
        assert store.create(new, if_exists) == first
        assert [one.new for one in first] == [True, True]
        assert sum(store.stats().instances.values()) == 2

    @pytest.mark.parametrize("if_exists", ["raise", "use", "restart"])
    def test_a_request_is_repeated_after_the_end(self, store: Store, if_exists: str) -> None:
        new = an_instance(store)
        first = store.create([new], if_exists)
        worker = FakeWorker(store)
        ended = worker.finish(worker.take())
        again = replace(new, uid=b"another uid     ")
        assert store.create([again], if_exists) == first
        assert look(store) == ended

    def test_an_id_twice_in_one_request(self, store: Store) -> None:
        with pytest.raises(InstanceAlreadyExists, match="twice"):
            store.create([an_instance(store, "twice"), an_instance(store, "twice")], "raise")
        assert store.instance("twice") is None
        new = [an_instance(store, "twice"), an_instance(store, "twice", args=b"second")]
        first, second = store.create(new, "use")
        assert (first.new, second.new) == (True, False)
        assert first.uid == second.uid == look(store, "twice").uid
        assert look(store, "twice").args == b"args"

    def test_an_id_can_be_used_again_after_delete(self, store: Store) -> None:
        a_finished(store, "i-1")
        old = look(store).uid
        assert store.delete("i-1") is Sent.SENT
        uid = start(store)
        assert uid != old
        assert look(store).run == 1
        assert events(store, uid) == []
        assert events(store, old) == []

    # -- restart ------------------------------------------------------------------------

    def test_a_restart_is_a_new_run_of_the_same_uid(self, store: Store) -> None:
        uid = start(store, tags=("old",), memo=b"old", kwargs=b"old")
        worker = FakeWorker(store)
        ended = worker.advance(worker.take(), end=COMPLETED, vars=b"vars", version=1)
        now = store.now()
        new = an_instance(store, args=b"new", workflow="flow-2", queue="q-2", tags=("new",))
        [created] = store.create([new], "restart")
        assert (created.uid, created.run, created.new) == (uid, 2, True)
        instance = look(store)
        assert instance.created_at >= now
        assert replace(instance, created_at=0) == replace(
            ended,
            created_at=0,
            workflow="flow-2",
            queue="q-2",
            version=None,
            run=2,
            status=Status.PENDING,
            epoch=ended.epoch + 1,
            wake_at=new.start_at,
            history_length=0,
            args=b"new",
            kwargs=None,
            memo=None,
            vars=None,
            result=None,
            tags=("new",),
            started_at=None,
            finished_at=None,
        )

    def test_a_restart_keeps_the_earlier_histories(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        for run in (1, 2, 3):
            worker.advance(worker.take(), end=COMPLETED, events=[b"run-%d" % run, b"end"])
            self.restart(store)
        for run in (1, 2, 3):
            assert events(store, uid, run) == [b"run-%d" % run, b"end"]
        assert events(store, uid, 4) == []
        assert look(store).run == 4

    def test_a_restart_clears_what_the_end_left(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        end = replace(
            COMPLETED, status=Status.FAILED, failure=b"failure", unread=("s",), reason="why"
        )
        worker.finish(worker.take(), end)
        self.restart(store)
        instance = look(store)
        assert (instance.result, instance.failure, instance.reason) == (None, None, "")
        assert store.unread(uid) == ()
        assert store.inbox(uid) == []
        assert store.tasks(uid) == []

    def test_a_restart_keeps_the_receipts(self, store: Store) -> None:
        uid = start(store)
        send(store, "m-1")
        worker = FakeWorker(store)
        worker.finish(worker.take())
        self.restart(store)
        assert send(store, "m-1") is Sent.SENT
        assert inbox(store, uid) == []
        assert send(store, "m-2") is Sent.SENT
        assert inbox(store, uid) == [("m-2", b"m-2")]

    def test_a_restart_fences_the_former_run(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        claimed = worker.take()
        terminate(store)
        self.restart(store)
        again = worker.take()
        assert again.instance.epoch > claimed.instance.epoch
        assert worker.commit(a_step(claimed)) == [LOST]
        assert worker.commit(a_step(again, run=1)) == [LOST]
        worker.advance(again)

    def test_a_result_of_the_former_run_is_dropped(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        schedule(worker)
        task = worker.take_task()
        terminate(store)
        self.restart(store)
        schedule(worker)
        assert not worker.complete(task)
        assert inbox(store, uid) == []
        assert [left.run for left in store.tasks(uid)] == [2]

    def test_a_restart_of_an_unfinished_instance_is_refused(self, store: Store) -> None:
        new, *old = self.together("new", "ended", "alive")
        a_finished(store, old[0])
        start(store, old[1])
        before = [look(store, id) for id in old]
        with pytest.raises(InstanceAlreadyExists, match="alive"):
            store.create([an_instance(store, id) for id in (new, *old)], "restart")
        assert store.instance(new) is None
        assert [look(store, id) for id in old] == before

    def test_a_restart_of_nothing_is_a_start(self, store: Store) -> None:
        [created] = store.create([an_instance(store)], "restart")
        assert (created.run, created.new) == (1, True)

    def test_a_repeated_restart_restarts_once(self, store: Store) -> None:
        a_finished(store, "i-1")
        new = an_instance(store)
        first = store.create([new], "restart")
        assert store.create([new], "restart") == first
        assert look(store).run == 2

    def test_a_restart_may_be_delayed(self, store: Store) -> None:
        a_finished(store, "i-1")
        self.restart(store, start_at=store.now() + HOUR)
        assert FakeWorker(store).ids() == []

    def restart(self, store: Store, **changes: Any) -> NewInstance:
        new = an_instance(store, **changes)
        [created] = store.create([new], "restart")
        assert created.new
        return new

    # -- delete and purge ---------------------------------------------------------------

    def test_delete_takes_all_that_the_instance_owned(self, store: Store) -> None:
        uid = start(store, tags=("t",))
        send(store, "m-1")
        worker = FakeWorker(store)
        worker.finish(worker.take(), replace(COMPLETED, unread=("s",)))
        self.restart(store)
        worker.finish(worker.take())
        assert store.delete("i-1") is Sent.SENT
        assert store.instance("i-1") is None
        assert store.history([(uid, 1), (uid, 2)]) == [[], []]
        assert (store.inbox(uid), store.tasks(uid), store.unread(uid)) == ([], [], ())
        assert send(store, "m-1") is Sent.NOT_FOUND
        assert store.delete("i-1") is Sent.NOT_FOUND
        assert sum(store.stats().instances.values()) == 0

    def test_delete_forgets_the_receipts(self, store: Store) -> None:
        start(store)
        send(store, "m-1")
        terminate(store)
        store.delete("i-1")
        uid = start(store)
        assert send(store, "m-1") is Sent.SENT
        assert inbox(store, uid) == [("m-1", b"m-1")]

    def test_delete_leaves_what_has_not_ended(self, store: Store) -> None:
        start(store, "pending")
        worker = FakeWorker(store)
        assert store.delete("pending") is None
        claimed = worker.take()
        assert store.delete("pending") is None
        worker.advance(claimed)
        assert store.delete("pending") is None
        assert look(store, "pending").status is Status.RUNNING
        assert store.delete("absent") is Sent.NOT_FOUND

    def test_delete_leaves_others_alone(self, store: Store) -> None:
        a_finished(store, "i-1", "i-2", "I-1", "i-1 ")
        uid = look(store, "i-2").uid
        store.delete("i-1")
        assert all(store.instance(id) for id in ("i-2", "I-1", "i-1 "))
        assert len(events(store, uid)) == 1

    def test_purge_never_touches_what_has_not_ended(self, store: Store) -> None:
        start(store, "running", "pending")
        a_finished(store, "ended")
        assert store.purge(store.now() + HOUR, list(Status), 100) == 1
        assert store.instance("ended") is None
        assert {look(store, id).status for id in ("running", "pending")} == {Status.PENDING}

    def test_purge_looks_at_the_end_and_the_status(self, store: Store) -> None:
        a_finished(store, "done")
        a_finished(store, "failed", status=Status.FAILED)
        before = min(look(store, id).finished_at or 0 for id in ("done", "failed"))
        assert store.purge(before - SECOND, list(Status), 100) == 0
        assert store.purge(store.now() + SECOND, [Status.FAILED], 100) == 1
        assert store.instance("failed") is None
        assert store.instance("done") is not None

    def test_purge_takes_the_oldest_first_and_not_too_many(self, store: Store) -> None:
        for n in range(5):
            a_finished(store, f"i-{n}")
        ended = sorted((look(store, f"i-{n}").finished_at, f"i-{n}") for n in range(5))
        times = [at for at, _ in ended]
        assert store.purge(store.now() + SECOND, list(Status), 2) == 2
        left = [id for _, id in ended if store.instance(id)]
        assert len(left) == 3
        if len(set(times)) == 5:  # a clock may stand still
            assert left == [id for _, id in ended[2:]]
        assert store.purge(store.now() + SECOND, list(Status), 100) == 3

    def test_purge_takes_all_that_the_instance_owned(self, store: Store) -> None:
        uid = start(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), tasks=[a_task(store)])
        send(store, "m-1")
        terminate(store)
        assert store.purge(store.now() + SECOND, [Status.TERMINATED], 1) == 1
        assert store.history([(uid, 1)]) == [[]]
        assert (store.inbox(uid), store.tasks(uid)) == ([], [])
        assert store.send([a_message()]) == [Sent.NOT_FOUND]
        assert claim_all(worker) == []
        assert worker.claim().tasks == []
