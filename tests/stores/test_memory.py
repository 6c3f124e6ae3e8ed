"""The memory store keeps the contract; and what is its own: clock, agenda, forks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import durable.testing
from durable.errors import UsageError
from durable.store import Filter, Store
from durable.stores.memory import MemoryStore
from durable.stores.memory_agenda import Agenda, Place
from durable.stores.memory_claims import OWN_AT_ONCE
from durable.testing import StoreContract
from durable.testing.store_contract.base import (
    COMPLETED,
    PATIENCE,
    FakeWorker,
    a_task,
    look,
    schedule,
    send,
    start,
)


class TestMemory(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return MemoryStore()

    def another(self, store: Store, tmp_path: Path) -> Store:
        return store

    def make_small_store(self, tmp_path: Path, max_inbox: int) -> Store:
        return MemoryStore(max_inbox=max_inbox)


def test_no_part_of_the_suite_hides_a_test_of_another() -> None:
    """The parts are bases of one class: what two of them define would run once."""
    parts = StoreContract.__bases__
    names = Counter(name for part in parts for name in vars(part) if not name.startswith("_"))
    assert [name for name, count in names.items() if count > 1] == []


class Clock:
    """A clock that is moved by hand."""

    def __init__(self, now: int = 1000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class TestClock:
    def test_every_moment_is_the_clocks(self) -> None:
        clock = Clock()
        store = MemoryStore(clock)
        uid = start(store)
        assert (store.now(), look(store).created_at) == (1000, 1000)
        worker = FakeWorker(store)
        claimed = worker.take()
        clock.now = 2000
        running = worker.advance(claimed, tasks=[a_task(store)])
        assert running.started_at == 2000
        assert store.tasks(uid)[0].scheduled_at == 2000
        clock.now = 3000
        send(store)
        assert store.inbox(uid)[0].arrived_at == look(store).wake_at == 3000
        assert worker.finish(worker.take()).finished_at == 3000

    def test_a_timer_is_due_at_its_moment_and_not_before(self) -> None:
        clock = Clock()
        store = MemoryStore(clock)
        worker = FakeWorker(store)
        start(store, "i-1", start_at=1500)
        start(store, "i-2", start_at=1501)
        clock.now = 1499
        assert worker.claim().next_wake_at == 1500
        clock.now = 1500
        claimed = worker.claim()
        assert [one.instance.id for one in claimed.instances] == ["i-1"]
        assert claimed.next_wake_at == 1501

    def test_a_task_is_due_at_its_moment_and_not_before(self) -> None:
        clock = Clock()
        store = MemoryStore(clock)
        worker = FakeWorker(store)
        start(store)
        schedule(worker, a_task(store, wake_at=1500))
        clock.now = 1499
        assert worker.claim().tasks == []
        clock.now = 1500
        assert worker.take_task().wake_at == 1500

    def test_a_lease_ends_at_its_moment(self) -> None:
        clock = Clock()
        store = MemoryStore(clock)
        FakeWorker(store, lease=100)
        clock.now = 1099
        assert store.take_over(None) == 0
        assert store.heartbeat("w-1", 100) == []
        clock.now = 1199
        assert store.heartbeat("w-1", 100) is None
        assert store.take_over(None) == 1

    def test_what_is_unknown_is_blocked_after_a_while(self) -> None:
        clock = Clock()
        store = MemoryStore(clock)
        watcher = FakeWorker(store)
        start(store, workflow="lost")
        clock.now = 1500
        assert store.block_unknown(watcher.info, after=500) == 1
        assert look(store).wake_at == 1000
        clock.now = 1501
        assert store.block_unknown(watcher.info, after=500) == 1
        assert look(store).wake_at is None

    def test_a_clock_that_goes_back_makes_nothing_due_too_early(self) -> None:
        clock = Clock(2000)
        store = MemoryStore(clock)
        worker = FakeWorker(store)
        start(store, "i-1", "i-2", start_at=1500)
        assert len(worker.claim(instances=1).instances) == 1
        clock.now = 1000
        claimed = worker.claim()
        assert (claimed.instances, claimed.next_wake_at) == ([], 1500)

    def test_what_falls_due_together_comes_in_the_order_of_arrival(self) -> None:
        store = MemoryStore(Clock())
        ids = [f"i-{n}" for n in range(50)]
        start(store, *ids)
        worker = FakeWorker(store)
        assert worker.ids() == ids
        store.take_over(["w-1"])
        assert FakeWorker(store, "w-2").ids() == ids

    def test_purge_and_listings_have_exact_bounds(self) -> None:
        store = MemoryStore(Clock())
        start(store)
        worker = FakeWorker(store)
        worker.finish(worker.take(), COMPLETED)
        assert len(store.instances(Filter(since=1000, until=1001)).rows) == 1
        assert store.instances(Filter(until=1000)).rows == []
        assert store.purge(1000, [COMPLETED.status], 1) == 0
        assert store.purge(1001, [COMPLETED.status], 1) == 1


def test_a_claim_of_own_instances_is_bounded() -> None:
    store = MemoryStore(Clock())
    worker = FakeWorker(store)
    start(store, *(f"i-{n}" for n in range(OWN_AT_ONCE + 1)))
    for claimed in worker.claim(instances=2 * OWN_AT_ONCE).instances:
        worker.advance(claimed, wake_at=store.now())
    first, second = worker.claim(), worker.claim()
    assert (len(first.instances), first.more) == (OWN_AT_ONCE, True)
    assert (len(second.instances), second.more) == (1, False)


@pytest.mark.parametrize("cursor", ["", "x", "1-zz", "-"])
def test_a_cursor_of_something_else_is_refused(cursor: str) -> None:
    store = MemoryStore()
    with pytest.raises(UsageError, match="cursor"):
        store.instances(Filter(cursor=cursor))


def test_the_testing_package_does_not_need_pytest() -> None:
    code = "import durable.testing, sys; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = durable.testing.Nothing


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # that is the case
def test_a_forked_child_has_a_whole_copy() -> None:
    """While another thread writes, a child finds the lock free and its copy true."""
    store = MemoryStore()
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            start(store, f"i-{n}", f"j-{n}")

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(int(PATIENCE))
                total = sum(store.stats().instances.values())
                start(store, "in the child")
                os._exit(total % 2)
            _, status = os.waitpid(child, 0)
            assert status == 0
    finally:
        stop.set()
        writer.join(PATIENCE)
    assert store.instance("in the child") is None


class TestAgenda:
    """The index does what a sorted list of all places would do."""

    moves = st.lists(
        st.tuples(
            st.integers(0, 9),
            st.none()
            | st.tuples(
                st.sampled_from("ab"), st.sampled_from("qr"), st.sampled_from("mn")
            ).flatmap(lambda where: st.integers(0, 20).map(lambda at: Place(*where, at))),
            st.integers(0, 20),
        ),
        max_size=60,
    )

    @given(moves)
    def test_it_agrees_with_a_list(self, moves: list[tuple[int, Place | None, int]]) -> None:
        agenda: Agenda[int] = Agenda()
        model: dict[int, Place] = {}
        for key, place, now in moves:
            agenda.put(key, place)
            model.pop(key, None)
            if place is not None:
                model[key] = place
            later = [p.wake_at for p in model.values() if p[:2] == ("a", "q") and p.wake_at > now]
            assert agenda.next_after("a", now, "q") == min(later, default=None)
            assert sorted(agenda.look("a", now, "q")) == sorted(
                (k, p) for k, p in model.items() if p[:2] == ("a", "q") and p.wake_at <= now
            )
            assert agenda.earliest("b") == min(
                (p.wake_at for p in model.values() if p.owner == "b"), default=None
            )
        self.check_drained(agenda, model)

    def check_drained(self, agenda: Agenda[int], model: dict[int, Place]) -> None:
        for owner, queues, names, now in (
            ("a", "q", "mn", 7),
            ("a", None, "m", 15),
            ("b", None, None, 20),
        ):
            drained = []
            fits = None if names is None else names.__contains__
            for key in agenda.due(owner, now, queues, fits):
                agenda.put(key, None)
                drained.append(model.pop(key))
            assert [place.wake_at for place in drained] == sorted(p.wake_at for p in drained)
            assert all(place.owner == owner and place.wake_at <= now for place in drained)
            assert not [
                place
                for place in model.values()
                if place.owner == owner
                and place.wake_at <= now
                and (queues is None or place.queue in queues)
                and (names is None or place.name in names)
            ]

    def test_moves_leave_nothing_behind(self) -> None:
        agenda: Agenda[int] = Agenda()
        for at in range(10_000):
            agenda.put(at % 10, Place("", "q", "m", 10_000_000 - at))
        [bucket] = agenda._among("")
        assert len(bucket.due) + len(bucket.later) < 200
        for key in range(10):
            agenda.put(key, None)
        assert agenda._among("") == []

    def test_standing_still_keeps_the_turn(self) -> None:
        agenda: Agenda[str] = Agenda()
        for key in ("first", "second", "first"):
            agenda.put(key, Place("", "q", "m", 1))
        order = []
        for key in agenda.due("", 1):
            agenda.put(key, None)
            order.append(key)
        assert order == ["first", "second"]
