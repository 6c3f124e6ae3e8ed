"""The secret of a store: the key of its tokens, made when it is first asked for.

It is no part of the schema: whoever makes the tables, the statements for that show no secret.
"""

from __future__ import annotations

import os

from durable.stores.sql_text import Query, Statement
from durable.stores.sql_tx import Tx

__all__ = ["make", "stored"]

LENGTH = 32

SECRET = Query("SELECT value FROM {settings} WHERE name = 'secret'", kinds="b")
# Of several who do this at once, one is the first.
SET_SECRET = Statement(
    "UPDATE {settings} SET value = ? WHERE name = 'secret' AND length(value) = 0"
)


def stored(tx: Tx) -> bytes:
    """The secret; nothing if nobody has asked for it yet."""
    [[value]] = tx.rows(SECRET)
    return bytes(value)


def make(tx: Tx) -> bytes:
    """The secret, made if there is none."""
    tx.tell = False
    tx.run(SET_SECRET, os.urandom(LENGTH))
    return stored(tx)
