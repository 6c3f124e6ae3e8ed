"""The Redis store keeps the contract, on a server that writes each change to its disk."""

from __future__ import annotations

import zlib
from pathlib import Path

from servers import redis

from durable.store import Store
from durable.stores import open_store
from durable.testing.store_contract import StoreContract


def prefix_of(tmp_path: Path) -> str:
    """One for each test: keys of their own."""
    return f"t{zlib.crc32(bytes(tmp_path)):x}_"


class TestRedis(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return open_store(redis().url, prefix=prefix_of(tmp_path))

    def another(self, store: Store, tmp_path: Path) -> Store:
        return open_store(redis().url, prefix=prefix_of(tmp_path))

    def make_small_store(self, tmp_path: Path, max_inbox: int) -> Store:
        return open_store(redis().url, prefix="s" + prefix_of(tmp_path), max_inbox=max_inbox)
