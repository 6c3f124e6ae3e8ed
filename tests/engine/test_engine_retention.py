"""What ended long ago is purged: by clients, by workers, while others write."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from engine_kit import Engine, StoreProxy, proxy, until

from durable import Status, Worker, Workflow, wait_signal, workflow
from durable import retention as module
from durable.errors import UsageError
from durable.purging import DEFAULT_BATCH
from durable.retention import Retention, checked_retain
from durable.store import Filter, Store, Unavailable
from durable.stores.memory import MemoryStore
from durable.testing.store_contract.base import a_finished, look, start

SECOND = 1_000_000
DAY = 24 * 3600 * SECOND


@workflow
def quick(fails: bool = False) -> Workflow[str]:
    if fails:
        raise ValueError("as asked")
    return "done"
    yield


@workflow
def waits() -> Workflow[Any]:
    return (yield wait_signal("go"))


@proxy
class Counting(StoreProxy):
    """Notes how much each purge has deleted; some fail before they begin."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.batches: list[int] = []
        self.fails_at = -1
        self.reached = threading.Event()

    def purge(self, finished_before: int, statuses: Sequence[Status], limit: int) -> int:
        if len(self.batches) == self.fails_at:
            self.fails_at = -1
            raise Unavailable("injected")
        count = self.inner.purge(finished_before, statuses, limit)
        self.batches.append(count)
        self.reached.set()
        return count


def left(store: Store) -> int:
    return sum(store.stats().instances.values())


def test_each_status_has_its_age() -> None:
    clock = [0]
    store = MemoryStore(lambda: clock[0])
    a_finished(store, "done")
    a_finished(store, "failed", status=Status.FAILED)
    a_finished(store, "cancelled", status=Status.CANCELLED)
    start(store, "open")
    retention = Retention(
        store, checked_retain({"completed": timedelta(days=7), Status.FAILED: 90 * 86400})
    )
    for at, ids in (
        (7 * DAY, {"open", "cancelled", "failed", "done"}),
        (7 * DAY + 1, {"open", "cancelled", "failed"}),
        (90 * DAY, {"open", "cancelled", "failed"}),
        (90 * DAY + 1, {"open", "cancelled"}),
        (900 * DAY, {"open", "cancelled"}),
    ):
        clock[0] = at
        retention.sweep()
        assert {row.id for row in store.instances(Filter()).rows} == ids


def test_ages_are_of_what_ends_and_not_too_short() -> None:
    for retain, text in (
        ({"running": 3600}, "finished statuses"),
        ({"done": 3600}, "finished statuses .*, not 'done'"),
        ({"completed": 59.9}, "at least 60 seconds"),
    ):
        with pytest.raises(UsageError, match=text):
            Worker("memory://", retain=retain)
    with pytest.raises(ValueError, match="a duration is 0 or more"):
        Worker("memory://", retain={"completed": -1})
    assert checked_retain({"failed": 60}) == {Status.FAILED: 60 * SECOND}
    assert checked_retain(None) == {}


def test_a_worker_purges_by_itself(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    monkeypatch.setattr(module, "SHORTEST", 0)
    failed = engine.start(quick.options(id="failed"), True)
    live = engine.start(waits.options(id="live"))
    done = [engine.start(quick.options(id=f"done-{n}")) for n in range(20)]
    for _ in range(2):
        engine.work([quick, waits], retain={"completed": 0})
    until(lambda: not engine.client.count(search="done-"), "they are purged")
    assert not any(engine.store.instance(handle.id) for handle in done)
    assert engine.becomes(failed, Status.FAILED)
    live.signal("go", 1)
    until(lambda: engine.store.instance("live") is None, "it has ended, and is purged")
    engine.stop()
    assert not [t for t in threading.enumerate() if t.name == "durable-retention" and t.is_alive()]


def test_a_store_that_does_not_answer_is_purged_later(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The purge breaks off between two batches: what was deleted is, and the rest follows."""
    monkeypatch.setattr(module, "DEFAULT_BATCH", 10)
    engine = Engine(store_url, 10, Counting)
    store = engine.store
    assert isinstance(store, Counting)
    a_finished(store, *(f"i-{n}" for n in range(45)))
    start(store, "open")
    retention = Retention(store, {Status.COMPLETED: -SECOND})
    store.fails_at = 2
    with pytest.raises(Unavailable):
        retention.sweep()
    assert left(store) == 26
    assert all(look(store, row.id) for row in store.instances(Filter()).rows)
    assert retention.sweep() == 25
    assert store.batches == [10, 10, 10, 10, 5, 0]
    assert look(store, "open").status is Status.PENDING
    engine.client.close()


def test_a_worker_that_stops_does_not_wait_for_the_whole_purge(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.001)
    monkeypatch.setattr(module, "SHORTEST", 0)
    monkeypatch.setattr(module, "DEFAULT_BATCH", 1)
    engine = Engine(store_url, 10, Counting)
    store = engine.store
    assert isinstance(store, Counting)
    a_finished(store, *(f"i-{n}" for n in range(500)))
    worker = engine.work([quick], retain={"completed": 0})
    assert store.reached.wait(20)
    worker.stop()
    assert left(store) > 0
    assert set(store.batches) == {1}
    engine.client.close()


def test_others_have_their_turn_while_thousands_are_purged(store_url: str) -> None:
    engine = Engine(store_url, 10, Counting)
    store = engine.store
    assert isinstance(store, Counting)
    for first in range(0, 5000, 1000):  # as many as one claim takes
        a_finished(store, *(f"i-{n}" for n in range(first, first + 1000)))
    slow: list[float] = []
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            began = time.perf_counter()
            engine.client.start(waits)
            slow.append(time.perf_counter() - began)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        purged = engine.client.purge(datetime.now(UTC) + timedelta(hours=1))
    finally:
        done.set()
        for writer in writers:
            writer.join(20)
    assert purged == 5000
    assert max(store.batches) <= DEFAULT_BATCH
    assert len(store.batches) >= 5000 / DEFAULT_BATCH
    assert left(store) == len(slow) >= len(store.batches)  # all that was started is there
    print(f"{len(slow)} starts, the slowest took {max(slow):.3f} s")  # shown with -s
    engine.client.close()


def test_a_dry_run_counts_and_deletes_nothing(engine: Engine) -> None:
    engine.work([quick, waits])
    engine.start(waits)
    for number in range(5):
        engine.start(quick, number > 2)
    until(lambda: engine.client.count(status=["completed", "failed"]) == 5, "five have ended")
    later = datetime.now(UTC) + timedelta(hours=1)
    purge = engine.client.purge
    assert purge(later, dry_run=True) == 5
    assert purge(later, status="failed", dry_run=True) == 2
    assert purge(datetime.now(UTC) - timedelta(hours=1), dry_run=True) == 0
    assert engine.client.count() == 6
    assert purge(later, status="failed") == 2
    assert purge(later, dry_run=True) == 3
