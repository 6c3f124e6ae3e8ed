"""Whom a worker takes over from, and how rarely the store is asked for that."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from durable import Workflow, workflow
from durable.lease import Lease
from durable.model import WorkerInfo
from durable.stores.memory import MemoryStore
from durable.worker import Worker

LEASE = 30.0


class Asked(MemoryStore):
    """looks: how often the workers were read. later: microseconds that have passed."""

    def __init__(self) -> None:
        super().__init__(lambda: 1_000_000 + self.later)
        self.looks = 0
        self.later = 0

    def workers(self) -> list[WorkerInfo]:
        self.looks += 1
        return super().workers()

    @property
    def ids(self) -> set[str]:
        return {worker.id for worker in super().workers()}


@workflow
def flow() -> Workflow[None]:
    yield from ()


@pytest.fixture
def store() -> Asked:
    return Asked()


@pytest.fixture
def lease(store: Asked, monkeypatch: pytest.MonkeyPatch) -> Lease:
    """Of a worker that has registered, and looked round."""
    monkeypatch.setattr("durable.lease.time.monotonic", lambda: store.later / 1_000_000)
    lease = Worker(store, workflows=[flow], lease=LEASE)._lease
    lease.register()
    lease.take_over(always=True)
    return lease


@pytest.fixture
def end(store: Asked, lease: Lease) -> Iterator[Callable[[], None]]:
    """Ends a neighbour: a worker of another process of this machine."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        store.register(replace(lease.info, id="neighbour", pid=process.pid))

        def end() -> None:
            process.kill()
            process.wait()

        yield end
        end()


def test_nobody_is_asked_while_nothing_changes(store: Asked, lease: Lease) -> None:
    before = store.looks
    for _ in range(5):
        lease.take_over(always=False)
    assert store.looks == before


def test_who_has_come_and_gone_since_is_taken_over(
    store: Asked, lease: Lease, end: Callable[[], None]
) -> None:
    end()
    lease.take_over(always=False)
    assert store.ids == {lease.info.id}


def test_a_known_neighbour_that_is_gone_is_taken_over(
    store: Asked, lease: Lease, end: Callable[[], None]
) -> None:
    lease.take_over(always=False)
    before = store.looks
    lease.take_over(always=False)
    assert (store.ids, store.looks) == ({lease.info.id, "neighbour"}, before)
    end()
    lease.take_over(always=False)
    assert store.ids == {lease.info.id}


def test_a_lease_that_was_not_renewed_is_looked_at(store: Asked, lease: Lease) -> None:
    expires_at = store.now() + 5_000_000
    store.register(replace(lease.info, id="far", machine="another", expires_at=expires_at))
    lease.take_over(always=False)
    before = store.looks
    store.later += 4_000_000
    lease.take_over(always=False)
    assert (store.looks, store.ids) == (before, {lease.info.id, "far"})
    store.later += 1_000_000
    lease.take_over(always=False)
    assert store.ids == {lease.info.id}
