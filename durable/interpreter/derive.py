"""Values that look random and are the same in replay.

They derive from (seed of the run, coroutine path, yields that the coroutine has made, n-th
call since), so that a call which is added shifts only those up to the next yield.
"""

from __future__ import annotations

from hashlib import blake2b
from random import Random
from uuid import UUID

from durable.model import MAX_ID_BYTES


def digest(seed: bytes, *parts: str | int) -> bytes:
    """16 bytes that depend on all of this."""
    text = "\0".join(str(part) for part in parts)
    return blake2b(text.encode(), digest_size=16, key=seed).digest()


def derived_uuid(seed: bytes, *parts: str | int) -> UUID:
    """A UUID of version 4 (RFC 9562) made of a digest instead of random bits."""
    return UUID(bytes=digest(seed, "uuid4", *parts), version=4)


def derived_random(seed: bytes, *parts: str | int) -> Random:
    """A generator seeded by a digest. Only ``.random()`` is promised to give the same
    numbers on every version of Python."""
    return Random(digest(seed, "random", *parts))


def child_id(parent: str, run: int, ordinal: int) -> str:
    """The id of a child that was given none; of the parent's id, if that is not too long."""
    id = f"{parent}/{run}.{ordinal}"
    if len(id.encode()) <= MAX_ID_BYTES:
        return id
    return f"{digest(b'', parent).hex()}/{run}.{ordinal}"
