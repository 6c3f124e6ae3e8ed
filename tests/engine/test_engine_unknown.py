"""A call whose outcome is unknown, at the moments when it is easily forgotten."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from engine_kit import Engine, StoreProxy, proxy

from durable import Status, Workflow, activity, external, workflow
from durable.errors import OutcomeUnknown
from durable.model import WorkerInfo
from durable.store import Sent, Store, Unavailable


@proxy
class Once(StoreProxy):
    """Fails once at a verb, after it was done."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.at = ""

    def _after(self, verb: str, answer: Any) -> Any:
        if self.at == verb:
            self.at = ""
            raise OutcomeUnknown("the connection broke")
        return answer

    def register(self, worker: WorkerInfo) -> None:
        self._after("register", self.inner.register(worker))

    def unregister(self, worker: str) -> None:
        self._after("unregister", self.inner.unregister(worker))

    def delete(self, id: str) -> Sent | None:
        found: Sent | None = self._after("delete", self.inner.delete(id))
        return found

    def secret(self) -> bytes:
        if self.at == "secret":
            self.at = ""
            raise Unavailable("away")
        return self.inner.secret()


@pytest.fixture
def faulty() -> Iterator[Engine]:
    made: Any = Once
    engine = Engine("memory://", 10_000, made)
    yield engine
    engine.stop()
    engine.client.close()


def fail_at(engine: Engine, verb: str) -> None:
    store: Any = engine.store
    store.at = verb


@workflow
def nothing() -> Workflow[None]:
    yield from ()


@workflow
def promising() -> Workflow[Any]:
    return (yield external())


def test_a_worker_registers_once(faulty: Engine) -> None:
    fail_at(faulty, "register")
    worker = faulty.work([nothing])
    assert [info.id for info in faulty.client.workers()] == [worker.runner.worker.id]
    assert faulty.run(nothing) is None


def test_a_worker_ends_that_does_not_know_whether_it_was_released(faulty: Engine) -> None:
    worker = faulty.work([nothing])
    fail_at(faulty, "unregister")
    worker.stop()
    assert not worker.running
    assert faulty.client.workers() == []


def test_what_was_deleted_by_a_first_call_is_deleted(faulty: Engine) -> None:
    faulty.work([nothing])
    handle = faulty.start(nothing)
    handle.result(timeout=10)
    fail_at(faulty, "delete")
    handle.delete()
    assert faulty.store.instance(handle.id) is None


def test_a_store_that_is_away_blocks_no_promise(faulty: Engine) -> None:
    """The key of its token is asked for before the step."""
    fail_at(faulty, "secret")
    handle = faulty.start(promising)
    faulty.work([promising])
    faulty.becomes(handle, Status.RUNNING)


# -- a store whose clock does not answer ------------------------------------------------


@proxy
class Clockless(StoreProxy):
    """The clock fails at every fifth call of the worker's loop, while it is told to."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.calls = 0
        self.failing = False

    def now(self) -> int:
        if self.failing and threading.current_thread().name == "durable-worker":
            self.calls += 1
            if self.calls % 5 == 0:
                raise Unavailable("away")
        return self.inner.now()


@activity
def noted(number: int) -> int:
    ran.append(number)
    return number


ran: list[int] = []


@workflow
def counting(count: int) -> Workflow[int]:
    total = 0
    for number in range(count):
        total += yield from noted.call(number)
    return total


def test_a_clock_that_does_not_answer_loses_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has to be found again at a heartbeat, and nothing is run again."""
    monkeypatch.setattr("durable.worker.FIRST_PAUSE", 0.001)
    ran.clear()
    made: Any = Clockless
    engine = Engine("memory://", 10_000, made)
    store: Any = engine.store
    try:
        engine.work([counting], [noted], lease=300)
        store.failing = True
        handles = [engine.start(counting, 5) for _ in range(10)]
        assert [handle.result(timeout=20) for handle in handles] == [10] * 10
        assert sorted(ran) == sorted([*range(5)] * 10)
        assert store.calls > 20
    finally:
        store.failing = False
        engine.stop()
        engine.client.close()
