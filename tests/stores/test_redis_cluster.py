"""The Redis store keeps the contract on a cluster, too."""

from __future__ import annotations

import zlib
from itertools import count
from pathlib import Path

from servers import redis_cluster
from store_table import EVERYTHING

from durable.store import Store
from durable.stores import open_store
from durable.stores.redis import ON_CLUSTER
from durable.stores.redis_keys import partition_of
from durable.testing.store_contract import StoreContract


def prefix_of(tmp_path: Path) -> str:
    """One for each test: keys of their own."""
    return f"t{zlib.crc32(bytes(tmp_path)):x}_"


def in_partition(partition: int, word: str) -> str:
    """An id made of this word, in this partition."""
    ids = (f"{word}~{number}" for number in count())
    return next(id for id in ids if partition_of(id, ON_CLUSTER) == partition)


class TestRedisCluster(StoreContract):
    one_transaction = False
    verbs = 400 if EVERYTHING else 80

    def together(self, *ids: str) -> list[str]:
        return [in_partition(3, id) for id in ids]

    def make_store(self, tmp_path: Path) -> Store:
        return open_store(redis_cluster().url, prefix=prefix_of(tmp_path))

    def another(self, store: Store, tmp_path: Path) -> Store:
        return open_store(redis_cluster().url, prefix=prefix_of(tmp_path))

    def make_small_store(self, tmp_path: Path, max_inbox: int) -> Store:
        return open_store(
            redis_cluster().url, prefix="s" + prefix_of(tmp_path), max_inbox=max_inbox
        )
