"""A client and a worker in one process: for scripts, tests and development servers."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from durable.client import DEFAULT_STORE, Client
from durable.codec import Codec
from durable.store import Store
from durable.worker import Worker

if TYPE_CHECKING:
    from peewee import Database


class Orchestrator:
    """A context manager: inside, a worker runs in a background thread.

    Leaving is a graceful stop; what has not ended stays for the next worker.

    store: as for `Client`. modules and options: as for `Worker`.

    >>> with Orchestrator("sqlite:///orders.db", [orders]) as here:
    ...     here.client.start(orders.process_order, "o-1", 500).result()
    """

    def __init__(
        self,
        store: Store | Database | str = DEFAULT_STORE,
        modules: Iterable[ModuleType] = (),
        *,
        codec: Codec | None = None,
        propagators: Iterable[Any] = (),
        **options: Any,
    ) -> None:
        carried = tuple(propagators)
        modules, workflows = tuple(modules), tuple(options.pop("workflows", ()))
        self.client = Client(
            store, codec=codec, propagators=carried, modules=modules, workflows=workflows
        )
        self.worker = Worker(
            self.client.store,
            modules,
            workflows=workflows,
            codec=self.client.codec,
            propagators=carried,
            **options,
        )

    def __enter__(self) -> Orchestrator:
        self.worker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.worker.stop()
        self.client.close()
