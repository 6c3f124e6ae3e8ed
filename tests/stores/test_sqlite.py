"""The SQLite store keeps the contract."""

from __future__ import annotations

from pathlib import Path

from durable.store import Store
from durable.stores import open_store
from durable.testing.store_contract import StoreContract


class TestSqlite(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return open_store(f"sqlite:///{tmp_path}/x.db")

    def another(self, store: Store, tmp_path: Path) -> Store:
        return open_store(f"sqlite:///{tmp_path}/x.db")

    def make_small_store(self, tmp_path: Path, max_inbox: int) -> Store:
        return open_store(f"sqlite:///{tmp_path}/small.db", max_inbox=max_inbox)
