"""What code has refused: who tries it next, and that each build tries it once."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from durable.model import Instance, Status
from durable.store import UNKNOWN, Sent, Store
from durable.testing.store_contract.base import (
    DEADLOCK,
    HOUR,
    LOST,
    REFUSED,
    SECOND,
    Base,
    FakeWorker,
    a_next,
    a_step,
    look,
    pause,
    refusal,
    rerun,
    resume,
    send,
    start,
)


def refuse(worker: FakeWorker) -> Instance:
    """The worker blocks the only instance that is due, as its code does not fit."""
    return worker.advance(worker.take(), events=[], end=refusal(worker.info.build), release=True)


def refused(store: Store, **changes: Any) -> FakeWorker:
    """A worker of build-1 that has blocked ``i-1``."""
    start(store, **changes)
    worker = FakeWorker(store)
    worker.advance(worker.take(), version=1, end=REFUSED, release=True)
    return worker


def due(store: Store) -> bool:
    wake_at = look(store).wake_at
    return wake_at is not None and wake_at <= store.now()


class Refusals(Base):
    # -- who comes later ----------------------------------------------------------------

    def test_other_code_tries_what_was_refused(self, store: Store, other: Store) -> None:
        refused(store)
        send(store)
        worker = FakeWorker(other, "w-2", build="build-2")
        claimed = worker.take()
        assert claimed.instance.status is Status.BLOCKED
        assert len(claimed.messages) == 1
        running = worker.advance(claimed)
        assert (running.status, running.blocked_by, running.reason) == (Status.RUNNING, "", "")

    def test_other_code_may_refuse_again(self, store: Store) -> None:
        refused(store)
        blocked = refuse(FakeWorker(store, "w-2", build="build-2"))
        assert (blocked.blocked_by, blocked.reason) == ("build-1 build-2", "not for build-2")
        assert blocked.wake_at is None
        for n, build in enumerate(("build-2", "build-1")):
            assert FakeWorker(store, f"again-{n}", build=build).ids() == []
            assert not due(store)
        assert FakeWorker(store, "w-3", build="build-3").ids() == ["i-1"]

    def test_hundreds_of_builds_may_refuse(self, store: Store) -> None:
        start(store)
        for n in range(300):
            build = hashlib.md5(str(n).encode()).hexdigest()
            worker = FakeWorker(store, f"w-{n}", build=build)
            blocked = refuse(worker)
            assert blocked.reason == f"not for {build}"
            assert blocked.wake_at is None
            assert FakeWorker(store, f"again-{n}", build=build).ids() == []
            store.unregister(f"again-{n}")
            store.unregister(f"w-{n}")
        assert FakeWorker(store, "right", build="right").ids() == ["i-1"]

    def test_the_same_code_does_not_try_again(self, store: Store) -> None:
        refused(store)
        assert FakeWorker(store, "w-2").ids() == []
        assert look(store).wake_at is None

    def test_who_refused_it_is_not_given_what_wakes_for_others(self, store: Store) -> None:
        worker = refused(store)
        second = FakeWorker(store, "w-2", build="build-2")
        assert due(store)
        claimed = worker.claim()
        assert (claimed.instances, claimed.more) == ([], False)
        assert FakeWorker(store, "w-3").ids() == []
        assert second.ids() == ["i-1"]

    @pytest.mark.parametrize(
        "changes",
        [{"workflows": ("flow", "flow@2", "FLOW@1")}, {"queues": ("other",)}],
        ids=["workflow", "queue"],
    )
    def test_code_that_cannot_run_it_does_not_wake_it(
        self, store: Store, changes: dict[str, Any]
    ) -> None:
        refused(store)
        FakeWorker(store, "w-2", build="build-2", **changes)
        assert look(store).wake_at is None

    def test_a_deadlock_is_not_tried_by_other_code(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        worker.advance(worker.take(), end=DEADLOCK, release=True)
        FakeWorker(store, "w-2", build="build-2")
        assert look(store).wake_at is None

    def test_what_somebody_tries_is_not_woken_again(self, store: Store) -> None:
        refused(store)
        second = FakeWorker(store, "w-2", build="build-2")
        claimed = second.take()
        FakeWorker(store, "w-3", build="build-3")
        assert look(store) == claimed.instance
        blocked = second.advance(claimed, end=refusal("build-2"))
        assert blocked.blocked_by == "build-1 build-2"
        assert due(store)

    # -- who is there already -----------------------------------------------------------

    def test_a_live_worker_tries_at_once(self, store: Store, other: Store) -> None:
        second = FakeWorker(other, "w-2", build="build-2")
        worker = refused(store)
        assert due(store)
        assert worker.ids() == []
        assert second.ids() == ["i-1"]

    def test_two_that_refuse_try_once_each(self, store: Store) -> None:
        start(store)
        workers = [FakeWorker(store, f"w-{n}", build=f"build-{n % 2}") for n in range(4)]
        tries = 0
        for _ in range(3):
            for worker in workers:
                for claimed in worker.claim().instances:
                    worker.advance(claimed, end=refusal(worker.info.build), release=True)
                    tries += 1
        blocked = look(store)
        assert (tries, blocked.blocked_by) == (2, "build-0 build-1")
        assert (blocked.status, blocked.wake_at) == (Status.BLOCKED, None)

    @pytest.mark.parametrize(
        "changes",
        [
            {"workflows": ("flow", "flow@2")},
            {"queues": ("other",)},
            {"lease": -SECOND},
            {"build": "build-1"},
        ],
        ids=["workflow", "queue", "lease", "build"],
    )
    def test_it_rests_if_nobody_else_can_run_it(
        self, store: Store, changes: dict[str, Any]
    ) -> None:
        fields: dict[str, Any] = {"build": "build-2", **changes}
        FakeWorker(store, "w-2", **fields)
        refused(store)
        assert look(store).wake_at is None

    def test_the_version_that_a_block_sets_is_needed(self, store: Store) -> None:
        second = FakeWorker(store, "w-2", build="build-2", workflows=("flow@1",))
        refused(store)
        assert second.ids() == ["i-1"]

    def test_many_in_a_batch(self, store: Store) -> None:
        start(store, "a", "b")
        start(store, "elsewhere", queue="other")
        start(store, "known", workflow="known")
        both: dict[str, Any] = {"queues": ("default", "other"), "workflows": ("flow", "known")}
        worker = FakeWorker(store, **both)
        second = FakeWorker(store, "w-2", build="build-2")
        worker.commit(*(a_step(one, end=REFUSED) for one in worker.claim().instances))
        assert sorted(second.ids()) == ["a", "b"]
        third = FakeWorker(store, "w-3", build="build-3", **both)
        assert sorted(third.ids()) == ["elsewhere", "known"]

    def test_who_refuses_it_does_not_keep_it(self, store: Store) -> None:
        start(store)
        worker = FakeWorker(store)
        blocked = worker.advance(worker.take(), end=REFUSED, release=False)
        assert (blocked.owner, store.owned("w-1").instances) == ("", {})
        assert worker.commit(a_step(blocked)) == [LOST]

    def test_what_might_have_been_tried_rests_again(self, store: Store) -> None:
        """Who could is gone: nobody may take it, so it is not due."""
        worker = refused(store)
        FakeWorker(store, "w-2", build="build-2")
        assert store.block_unknown(worker.info, after=HOUR) == 0
        assert due(store)
        store.take_over(["w-2"])
        before = look(store)
        assert store.block_unknown(worker.info, after=HOUR) == 1
        assert look(store) == replace(before, wake_at=None)
        assert store.block_unknown(worker.info, after=-HOUR) == 0
        assert FakeWorker(store, "w-3", build="build-3").ids() == ["i-1"]

    def test_who_tried_it_dies(self, store: Store) -> None:
        worker = refused(store)
        FakeWorker(store, "w-2", build="build-2").take()
        third = FakeWorker(store, "w-3", build="build-2")
        store.take_over(["w-2"])
        assert worker.ids() == []
        claimed = third.take()
        assert (claimed.instance.crashes, claimed.instance.blocked_by) == (1, "build-1")

    # -- what ends it -------------------------------------------------------------------

    def test_a_step_forgets_who_refused(self, store: Store) -> None:
        worker = refused(store)
        second = FakeWorker(store, "w-2", build="build-2")
        second.advance(second.take(), release=True, wake_at=store.now())
        again = refuse(worker)
        assert again.blocked_by == "build-1"
        assert second.ids() == ["i-1"]

    def test_a_deadlock_forgets_who_refused(self, store: Store) -> None:
        worker = refused(store)
        second = FakeWorker(store, "w-2", build="build-2")
        stuck = second.advance(second.take(), end=DEADLOCK, release=True)
        assert (stuck.status, stuck.blocked_by) == (Status.BLOCKED, "")
        send(store)
        assert worker.ids() == ["i-1"]

    def test_the_next_run_is_for_all(self, store: Store) -> None:
        worker = refused(store)
        second = FakeWorker(store, "w-2", build="build-2")
        second.advance(second.take(), next=a_next(store))
        assert look(store).blocked_by == ""
        assert worker.ids() == ["i-1"]

    def test_a_rerun_is_for_all(self, store: Store) -> None:
        worker = refused(store)
        store.terminate("i-1", "t-1", b"terminated", "enough")
        rerun(store)
        assert worker.ids() == ["i-1"]

    def test_unblocking_is_for_all(self, store: Store) -> None:
        worker = refused(store)
        refuse(FakeWorker(store, "w-2", build="build-2"))
        assert store.unblock("i-1", "u-1") is Sent.SENT
        assert (look(store).blocked_by, due(store)) == ("", True)
        again = refuse(worker)
        assert again.blocked_by == "build-1"

    # -- pauses -------------------------------------------------------------------------

    def test_the_right_code_came_during_a_pause(self, store: Store) -> None:
        worker = refused(store)
        pause(store)
        second = FakeWorker(store, "w-2", build="build-2")
        assert second.ids() == []
        resume(store)
        assert (look(store).status, due(store)) == (Status.BLOCKED, True)
        assert worker.ids() == []
        assert second.ids() == ["i-1"]

    def test_a_pause_while_it_is_tried(self, store: Store) -> None:
        worker = refused(store)
        second = FakeWorker(store, "w-2", build="build-2")
        second.take()
        pause(store)
        resume(store)
        assert worker.ids() == []
        assert second.ids() == ["i-1"]

    @pytest.mark.parametrize(
        "changes",
        [{"queues": ("other",)}, {"lease": -SECOND}, {"build": "build-1"}],
        ids=["queue", "lease", "build"],
    )
    def test_no_other_code_came_during_a_pause(self, store: Store, changes: dict[str, Any]) -> None:
        refused(store)
        pause(store)
        fields: dict[str, Any] = {"build": "build-2", **changes}
        FakeWorker(store, "w-2", **fields)
        resume(store)
        assert (look(store).status, look(store).wake_at) == (Status.BLOCKED, None)

    def test_who_knows_it_came_during_a_pause(self, store: Store) -> None:
        start(store, workflow="lost")
        store.block_unknown(FakeWorker(store).info, after=-HOUR)
        pause(store)
        worker = FakeWorker(store, "w-2", workflows=("lost",))
        resume(store)
        assert worker.ids() == ["i-1"]

    # -- what nobody knew ---------------------------------------------------------------

    def test_the_queue_counts_for_what_nobody_knew(self, store: Store) -> None:
        start(store, workflow="lost")
        store.block_unknown(FakeWorker(store).info, after=-HOUR)
        FakeWorker(store, "w-2", workflows=("lost",), queues=("other",))
        assert look(store).wake_at is None
        assert FakeWorker(store, "w-3", workflows=("lost",)).ids() == ["i-1"]

    def test_what_nobody_knew_may_be_refused(self, store: Store) -> None:
        start(store, workflow="lost")
        store.block_unknown(FakeWorker(store).info, after=-HOUR)
        assert look(store).blocked_by == UNKNOWN
        blocked = refuse(FakeWorker(store, "w-2", workflows=("lost",)))
        assert (blocked.blocked_by, blocked.wake_at) == ("build-1", None)

    # -- names of builds ----------------------------------------------------------------

    @pytest.mark.parametrize("build", ["a b", "b", "a", "%", "%20", "a%20b", UNKNOWN, "ü\n\x1f\t"])
    def test_builds_of_any_name(self, store: Store, build: str) -> None:
        others = [name for name in ("a b", "b", "a%20b", UNKNOWN) if name != build]
        start(store)
        worker = FakeWorker(store, "w-1", build=build)
        blocked = refuse(worker)
        assert len(blocked.blocked_by.split()) == 1
        assert (blocked.blocked_by != UNKNOWN, blocked.wake_at) == (True, None)
        assert FakeWorker(store, "w-2", build=build).ids() == []
        for n, name in enumerate(others):
            blocked = refuse(FakeWorker(store, f"other-{n}", build=name))
            assert len(blocked.blocked_by.split()) == n + 2
        assert worker.ids() == []
