"""How clients call a store: until the outcome is known, and with errors that name the instance."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from durable.codec import Codec
from durable.current import running
from durable.errors import (
    DurableError,
    InstanceFinished,
    InstanceNotFound,
    OutcomeUnknown,
    UsageError,
)
from durable.events import Event, load
from durable.model import Instance
from durable.store import Intake, Outgoing, Sent, Store, Unavailable

T = TypeVar("T")


class Sender:
    """What takes requests, and how a client calls it.

    intake: a store, or a transaction in one. codec: how values become bytes. deadline: seconds
    for which a call is repeated while the store cannot be reached.
    """

    def __init__(self, intake: Intake, codec: Codec, deadline: float) -> None:
        self.intake = intake
        self.codec = codec
        self.deadline = deadline

    def repeat(self, call: Callable[[], T]) -> T:
        """Call until the outcome is known, or the deadline has passed: then it raises
        `Unavailable` if none of the calls was stored, and else `OutcomeUnknown`. So it does if
        a call is refused after one whose outcome is unknown: that may take effect still.

        Raises `UsageError` in the code of a workflow.

        The call must be one that is harmless when it is repeated: it reads, or carries a token.
        """
        if running.get() is not None:
            raise UsageError(
                "workflow code must not use a client: each replay would do it again; there are"
                " commands for children and signals, and activities for the rest"
            )
        end = time.monotonic() + self.deadline
        pause = 0.02
        unknown: OutcomeUnknown | None = None
        last: DurableError
        while True:
            try:
                answer = call()
            except OutcomeUnknown as error:
                unknown = last = error
            except Unavailable as error:
                last = unknown or error
            else:
                if unknown is not None and isinstance(answer, Sent) and answer is not Sent.SENT:
                    raise unknown
                return answer
            if time.monotonic() + pause > end:
                raise last
            time.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 2, 1.0)

    def send(self, message: Outgoing) -> Sent:
        """Put a message into an inbox."""
        return self.repeat(lambda: self.intake.send([message])[0])


class Caller(Sender):
    """A whole store, and how a client calls it. store: an open one."""

    def __init__(self, store: Store, codec: Codec, deadline: float) -> None:
        super().__init__(store, codec, deadline)
        self.store = store

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

    def delete(self, id: str) -> Sent | None:
        """Delete a finished instance. One that is gone after a call whose outcome was unknown
        was deleted by that call, or by somebody else: it is what was asked for."""
        unknown = False

        def delete() -> Sent | None:
            nonlocal unknown
            try:
                sent = self.store.delete(id)
            except OutcomeUnknown:
                unknown = True
                raise
            return Sent.SENT if unknown and sent is Sent.NOT_FOUND else sent

        return self.repeat(delete)


def check_sent(sent: Sent, id: str) -> None:
    """Raise unless it was sent."""
    if sent is Sent.NOT_FOUND:
        raise InstanceNotFound(f"there is no instance {id!r}")
    if sent is Sent.FINISHED:
        raise InstanceFinished(f"instance {id!r} has ended")
    if sent is Sent.FULL:
        raise UsageError(f"too many messages wait for instance {id!r}: let it read some first")
