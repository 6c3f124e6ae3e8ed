"""The header of an instance: what its present run begins with, besides its arguments.

The store keeps it as bytes and looks into none of it.  Most instances have none at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from durable.retry import Retry

__all__ = ["Header"]


@dataclass(frozen=True, slots=True)
class Header:
    """What a run begins with.

    retry, timeout: given at the start, in place of the definition's; ``has_retry`` tells
    ``retry=None`` (no retries) from nothing given. context: what is propagated (a payload).
    carried: encoded events of the run before that this one applies first (signals that
    nobody had read, a cancel); of a run that has ended, those that came too late for it.
    attempt: from 1, under the retry policy. version: that the start asked for; None lets
    each run take the highest that its first worker has.
    """

    retry: Retry | None = None
    has_retry: bool = False
    timeout: float | None = None
    context: bytes | None = None
    carried: tuple[bytes, ...] = ()
    attempt: int = 1
    version: int | None = None

    def dump(self, empty: bool = False) -> bytes | None:
        """The stored form; None for a header that says nothing, unless ``empty`` is given."""
        if self == _EMPTY and not empty:
            return None
        retry = None if self.retry is None else self.retry.to_data()
        data: bytes = msgpack.packb(
            [
                retry,
                self.has_retry,
                self.timeout,
                self.context,
                list(self.carried),
                self.attempt,
                self.version,
            ]
        )
        return data

    @classmethod
    def load(cls, data: bytes | None) -> Header:
        """The header that was stored."""
        if data is None:
            return _EMPTY
        retry, has_retry, timeout, context, carried, attempt, version = msgpack.unpackb(data)
        policy = None if retry is None else Retry.from_data(retry)
        return cls(policy, has_retry, timeout, context, tuple(carried), attempt, version)


_EMPTY = Header()
