"""What the tests of the engine share: stores, workers, waiting, and faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from durable import Client, Handle, Status, Worker
from durable.codec import Codec
from durable.model import Task
from durable.store import Store
from durable.stores import open_store

T = TypeVar("T")

TIMEOUT = 10.0


def until(condition: Callable[[], object], what: str = "", timeout: float = TIMEOUT) -> None:
    """Wait for a condition; fails when the time is up."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"not within {timeout:g} s: {what}"
        time.sleep(0.005)


class Engine:
    """One store with a client, and workers that are stopped at the end.

    cache: the ``instance_cache`` of workers; with 0 every step replays the history.
    """

    def __init__(self, url: str, cache: int, wrap: Callable[[Store], Store] | None = None) -> None:
        self.url = url
        self.cache = cache
        store = open_store(url)
        store.open()
        self.store = store if wrap is None else wrap(store)
        self.client = Client(self.store)
        self.workers: list[Worker] = []

    def work(
        self, workflows: Sequence[Any] = (), activities: Sequence[Any] = (), **options: Any
    ) -> Worker:
        """Start a worker."""
        options = {"instance_cache": self.cache, "grace": 0.2, **options}
        worker = Worker(self.store, workflows=workflows, activities=activities, **options)
        worker.start()
        self.workers.append(worker)
        return worker

    def start(self, flow: Any, *args: Any) -> Handle[Any]:
        return self.client.start(flow, *args)

    def run(self, flow: Any, *args: Any) -> Any:
        """Start it and wait for its result."""
        return self.start(flow, *args).result(timeout=TIMEOUT)

    def becomes(self, handle: Handle[Any], status: Status, **others: Any) -> dict[str, Any]:
        """Wait for a status; gives the description."""
        until(lambda: handle.status() is status, f"{handle} becomes {status}")
        return handle.describe()

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop(0.2)
        self.workers.clear()


def kinds(handle: Handle[Any]) -> list[str]:
    """Names of the events."""
    history = handle.history()
    assert [event.seq for event in history] == list(range(len(history)))
    return [type(event).__name__ for event in history]


def tasks_of(engine: Engine, handle: Handle[Any]) -> list[Task]:
    """The scheduled activities of an instance, as the store has them."""
    instance = engine.store.instance(handle.id)
    assert instance is not None
    return engine.store.tasks(instance.uid)


def file_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'engine.db'}"


class StoreProxy(Store):
    """Passes every verb on to another store; a test overrides some."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.url = inner.url

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name in ("inner", "url") or name in type(self).__dict__:
            return object.__getattribute__(self, name)
        if name in Store.__dict__:
            return getattr(object.__getattribute__(self, "inner"), name)
        return object.__getattribute__(self, name)


def proxy(cls: type[T]) -> type[T]:
    """Class decorator: the abstract verbs are there, by `StoreProxy`."""
    cls.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    return cls


__all__ = ["Codec", "Engine", "StoreProxy", "file_url", "kinds", "proxy", "tasks_of", "until"]
