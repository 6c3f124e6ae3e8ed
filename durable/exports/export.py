"""An instance outside of a store."""

from __future__ import annotations

from dataclasses import dataclass

from durable.events import begins_again
from durable.model import Instance

FORMAT = 1
"""The version of the text form."""

PAYLOADS = ("args", "kwargs", "memo", "result")
PACKED = ("failure", "header")
"""msgpack in the row, and shown as what is in it."""


@dataclass(frozen=True, slots=True)
class Export:
    """An instance with the history of each of its runs, and what has arrived for it.

    runs: encoded events. messages: (message id, arrived at, encoded event), in order.
    unread: names of the signals that nobody had read when it ended. source: ``file:line``
    from which it was read, or empty.
    """

    instance: Instance
    runs: tuple[tuple[bytes, ...], ...]
    messages: tuple[tuple[str, int, bytes], ...] = ()
    unread: tuple[str, ...] = ()
    source: str = ""

    @property
    def begins_again(self) -> bool:
        """Whether all of its last run is a copy, after which it has not gone on yet."""
        return begins_again(data for _, _, data in self.messages)
