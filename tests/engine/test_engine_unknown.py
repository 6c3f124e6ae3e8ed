"""A call whose outcome is unknown, at the moments when it is easily forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from engine_kit import Engine, StoreProxy, proxy

from durable import Status, Workflow, external, workflow
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
