"""A store for a test: with tables or keys of its own, which are removed at the end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, cast

from durable.store import Store
from durable.stores import open_store

if TYPE_CHECKING:
    from durable.stores.sql import SqlStore
    from durable.stores.sql_tx import Tx

__all__ = ["scratch_store"]

BATCH = 1000
"""Keys that are looked for at once."""


@contextmanager
def scratch_store(url: str) -> Iterator[Store]:
    """An open store at this address that nobody else uses. Its prefix is made here."""
    if url.startswith("memory:"):
        with closing(open_store("memory://")) as store:
            store.open()
            yield store
        return
    prefix = f"test_{secrets.token_hex(6)}_"
    try:
        with closing(open_store(url, prefix=prefix)) as store:
            store.open()
            yield store
    finally:
        if url.startswith("redis"):
            _remove_keys(url, prefix)
        else:
            _drop_tables(url, prefix)


def _drop_tables(url: str, prefix: str) -> None:
    with closing(cast("SqlStore", open_store(url, prefix=prefix))) as store:
        # The last one is there in MySQL alone.
        names = [*store.models.names.values(), store.models._quoted(f"{prefix}changes")]

        def drop(tx: Tx) -> None:
            for name in names:
                tx.do(f"DROP TABLE IF EXISTS {name}")

        store._alone(drop)


def _remove_keys(url: str, prefix: str) -> None:
    import redis

    scheme, cluster, rest = url.partition("+cluster")
    kind: Any = redis.RedisCluster if cluster else redis.Redis
    with closing(kind.from_url((scheme + rest).partition("?")[0])) as client:
        # One by one, as those of a cluster are on several nodes.
        for key in client.scan_iter(match=f"*{prefix}*", count=BATCH):
            client.unlink(key)
