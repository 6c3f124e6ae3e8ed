"""Stopping a worker."""

from __future__ import annotations

import pytest

from durable import Workflow, sleep, workflow
from durable.stores import open_store
from durable.worker import Worker


@workflow
def flow() -> Workflow[None]:
    yield sleep(1)


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
