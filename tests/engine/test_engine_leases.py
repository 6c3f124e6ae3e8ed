"""A worker whose lease is gone, and one that begins, while the store takes over from nobody."""

from __future__ import annotations

from collections.abc import Sequence

from engine_kit import Engine, StoreProxy, proxy, until

from durable import Workflow, activity, workflow
from durable.store import Store, Unavailable


@activity
def echo(value: str) -> str:
    return value


@workflow
def echoed(value: str) -> Workflow[str]:
    return (yield from echo.call(value))


@proxy
class NoTakeover(StoreProxy):
    """Cannot take over from anybody while ``fails``; ``tried`` counts."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.fails = True
        self.tried = 0

    def take_over(self, workers: Sequence[str] | None) -> int:
        self.tried += 1
        if self.fails:
            raise Unavailable("somebody has the locks")
        return self.inner.take_over(workers)


def test_it_begins_without_taking_over(store_url: str) -> None:
    engine = Engine(store_url, 10, NoTakeover)
    try:
        engine.work([echoed], [echo], lease=0.6)
        assert engine.run(echoed, "begun") == "begun"
        assert engine.store.tried  # type: ignore[attr-defined]
    finally:
        engine.stop()


def test_it_goes_on_under_its_new_name(store_url: str) -> None:
    engine = Engine(store_url, 10, NoTakeover)
    try:
        worker = engine.work([echoed], [echo], lease=0.6)
        before = worker.runner.worker.id
        engine.store.inner.take_over([before])  # type: ignore[attr-defined]
        until(lambda: worker.runner.worker.id != before, "it has not registered anew")
        assert [info.id for info in engine.client.workers()] == [worker.runner.worker.id]
        assert engine.run(echoed, "again") == "again"
    finally:
        engine.stop()
