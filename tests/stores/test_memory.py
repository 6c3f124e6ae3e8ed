"""The memory store keeps the contract, and what is its own: clock, agenda and forks."""

from __future__ import annotations

from pathlib import Path

from durable.store import Store
from durable.stores.memory import MemoryStore
from durable.testing.store_contract import StoreContract


class TestMemory(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return MemoryStore()

    def another(self, store: Store, tmp_path: Path) -> Store:
        return store

    def make_small_store(self, tmp_path: Path, max_inbox: int) -> Store:
        return MemoryStore(max_inbox=max_inbox)
