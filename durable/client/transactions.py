"""Requests within a transaction of the application: see `Client.using`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from durable.client.caller import Sender
from durable.client.handle import Handle
from durable.client.requests import Requests
from durable.codec import Codec
from durable.propagation import Propagators
from durable.starting import Flow
from durable.store import Created, Intake

__all__ = ["TransactionClient"]


class TransactionClient(Requests):
    """Starts, signals and cancels in the application's own transaction; made by `Client.using`.

    Whoever has begun the transaction commits it or rolls it back. A request that raises an
    error has changed nothing, and the transaction goes on; an error of the database may have
    ended all of it, so after a `StoreError` roll back, and do the whole transaction again.

    The handles that it gives are those of the client, for the time after the commit: until
    then signal by `signal`, with the id.
    """

    def __init__(
        self,
        intake: Intake,
        codec: Codec,
        propagators: Propagators,
        handle: Callable[[str, Created, Flow | None], Handle[Any]],
    ) -> None:
        # Repeating is for whoever has the transaction.
        super().__init__(Sender(intake, codec, deadline=0), propagators)
        self._outside = handle

    def _handle(self, id: str, created: Created, definition: Flow | None = None) -> Handle[Any]:
        return self._outside(id, created, definition)
