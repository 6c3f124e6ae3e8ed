"""How clients call a store: until the outcome is known, and with errors that name the instance."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from durable.codec import Codec
from durable.errors import (
    InstanceFinished,
    InstanceNotFound,
    OutcomeUnknown,
    UsageError,
)
from durable.events import Event, load
from durable.model import Instance
from durable.store import Outgoing, Sent, Store, Unavailable

T = TypeVar("T")


class Caller:
    """A store, and how a client calls it.

    store: an open one. codec: how values become bytes. deadline: seconds for which a call
    is repeated while the store cannot be reached.
    """

    def __init__(self, store: Store, codec: Codec, deadline: float) -> None:
        self.store = store
        self.codec = codec
        self.deadline = deadline

    def repeat(self, call: Callable[[], T]) -> T:
        """Call until the outcome is known; raises what it raises when the deadline has passed,
        but `OutcomeUnknown` if any of the calls may have taken effect.

        The call must be one that is harmless when it is repeated: it reads, or carries a token.
        """
        end = time.monotonic() + self.deadline
        pause = 0.02
        unknown: OutcomeUnknown | None = None
        while True:
            try:
                return call()
            except (OutcomeUnknown, Unavailable) as error:
                if isinstance(error, OutcomeUnknown):
                    unknown = error
                if time.monotonic() + pause > end:
                    if unknown is None or unknown is error:
                        raise
                    raise unknown from error
            time.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 2, 1.0)

    def instance(self, id: str) -> Instance:
        """The stored row; raises `InstanceNotFound`."""
        instance = self.repeat(lambda: self.store.instance(id))
        if instance is None:
            raise InstanceNotFound(f"there is no instance {id!r}")
        return instance

    def events(self, uid: bytes, run: int) -> tuple[list[bytes], list[Event]]:
        """The history of a run: as it is stored, and as events that are not decoded."""
        (rows,) = self.repeat(lambda: self.store.history([(uid, run)]))
        return [data for _, data in rows], [load(data, seq) for seq, data in rows]

    def send(self, message: Outgoing) -> Sent:
        """Put a message into an inbox."""
        return self.repeat(lambda: self.store.send([message]))[0]


def check_sent(sent: Sent, id: str) -> None:
    """Raise unless it was sent."""
    if sent is Sent.NOT_FOUND:
        raise InstanceNotFound(f"there is no instance {id!r}")
    if sent is Sent.FINISHED:
        raise InstanceFinished(f"instance {id!r} has ended")
    if sent is Sent.FULL:
        raise UsageError(f"too many messages wait for instance {id!r}: let it read some first")
