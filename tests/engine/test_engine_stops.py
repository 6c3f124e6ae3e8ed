"""Stopping a worker, and registering it anew."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from engine_kit import StoreProxy, kinds, proxy, until

from durable import Client, Workflow, activity, sleep, workflow
from durable.errors import OutcomeUnknown
from durable.store import Store, Unavailable
from durable.stores import open_store
from durable.worker import Worker


@workflow
def flow() -> Workflow[None]:
    yield sleep(1)


@proxy
class Observed(StoreProxy):
    """waits: how long somebody was ready to wait. fails: raised instead of some answers."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.waits: list[float | None] = []
        self.fails: dict[str, Exception] = {}

    def _then(self, verb: str) -> None:
        if verb in self.fails:
            raise self.fails[verb]

    def wait(self, mark: int, timeout: float | None) -> None:
        self.waits.append(timeout)
        self.inner.wait(mark, timeout)

    def unregister(self, worker: str) -> None:
        self.inner.unregister(worker)
        self._then("unregister")

    def take_over(self, workers: Sequence[str] | None) -> int:
        self._then("take_over")
        return self.inner.take_over(workers)


def observed() -> Observed:
    made: Any = Observed
    store: Observed = made(open_store("memory://"))
    return store


def test_a_stop_that_comes_before_the_start_is_kept() -> None:
    worker = Worker(open_store("memory://"), workflows=[flow])
    worker.request_stop()  # as by a signal, while the worker is being set up
    assert worker.run() == 0
    assert not worker.running


def test_a_worker_can_be_started_again() -> None:
    worker = Worker(open_store("memory://"), workflows=[flow])
    for _ in range(2):
        worker.start()
        assert worker.running
        worker.stop()
        assert not worker.running
    assert worker.store.workers() == []


def test_a_loop_that_failed_is_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(open_store("memory://"), workflows=[flow], burst=True)
    with monkeypatch.context() as patch:
        patch.setattr(worker, "_turn", lambda: 1 // 0)
        assert worker.run() == 1
    assert worker.run() == 0


def test_a_stop_whose_outcome_is_unknown_ends_the_worker() -> None:
    store = observed()
    store.fails["unregister"] = OutcomeUnknown("the answer was lost")
    worker = Worker(store, workflows=[flow])
    worker.start()
    worker.request_stop()
    until(lambda: not worker.running)
    assert store.workers() == []


def test_a_worker_that_stops_does_not_spin_beside_what_is_due() -> None:
    gate, store = threading.Event(), observed()

    @activity
    def hold() -> None:
        gate.wait(30)

    @workflow
    def busy() -> Workflow[None]:
        yield hold.call()

    @workflow
    def due() -> Workflow[None]:
        yield sleep(0.1)

    client = Client(store)
    worker = Worker(store, workflows=[busy, due], activities=[hold], grace=30)
    worker.start()
    try:
        client.start(busy)
        until(lambda: worker.stats()["activities_running"] == 1)
        handle = client.start(due)
        until(lambda: "TimerStarted" in kinds(handle))
        worker.request_stop()
        store.waits.clear()
        instance = store.instance(handle.id)
        assert instance is not None
        assert instance.wake_at is not None
        at = instance.wake_at
        until(lambda: store.now() > at + 50_000)
        assert [timeout for timeout in store.waits if not timeout] == []
    finally:
        gate.set()
        worker.stop()


def test_who_cannot_take_over_yet_is_registered_all_the_same() -> None:
    store = observed()
    store.fails["take_over"] = Unavailable("away")
    worker = Worker(store, workflows=[flow])
    try:
        worker.start()
        assert [found.id for found in store.workers()] == [worker.runner.worker.id]
    finally:
        store.fails.clear()
        worker.stop()
