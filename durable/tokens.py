"""Tokens: what somebody outside needs to complete a promise or an attempt of an activity.

A token is an address (kind, uid, run, command, epoch) with a keyed digest over it, in a form
that fits in a URL.  The key is a secret of the store, so a token cannot be guessed, nothing
must be looked up to check it, and every worker makes the same one.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest

import msgpack

from durable.errors import UsageError

PROMISE, ATTEMPT = "p", "a"
_DIGEST = 16


@dataclass(frozen=True, slots=True)
class Token:
    """What a token is for. epoch: of the attempt; 0 for a promise."""

    kind: str
    uid: bytes
    run: int
    command: int
    epoch: int = 0

    def text(self, secret: bytes) -> str:
        """The token itself, signed with the store's secret."""
        address = msgpack.packb([self.kind, self.uid, self.run, self.command, self.epoch])
        data = urlsafe_b64encode(_digest(address, secret) + address).decode().rstrip("=")
        return f"{self.kind}{data}"  # a letter first: no program takes it for an option


def read_token(text: str, secret: bytes) -> Token:
    """What a token is for; `UsageError` for what this store has not made."""
    if not isinstance(text, str):
        raise TypeError(f"a token is text, not {text!r}")
    try:
        encoded = text[1:].encode("ascii")
        data = urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
        digest, address = data[:_DIGEST], data[_DIGEST:]
        if compare_digest(digest, _digest(address, secret)):
            return Token(*msgpack.unpackb(address))
    except (ValueError, TypeError):  # not ASCII, no base64: said below
        pass
    raise UsageError("this token was not made by a workflow or an activity of this store")


def _digest(address: bytes, secret: bytes) -> bytes:
    return blake2b(address, key=secret, digest_size=_DIGEST).digest()
