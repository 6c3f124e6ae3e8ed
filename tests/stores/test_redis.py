"""The Redis store keeps the contract, on a server of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from redis_kit import redis_server

from durable.store import Store
from durable.stores.redis import RedisStore
from durable.testing import StoreContract

_prefixes = count()


class TestRedis(StoreContract):
    address: str
    prefix: str

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        with redis_server(tmp_path_factory.mktemp("redis")) as port:
            cls.address = f"redis://127.0.0.1:{port}/0"
            yield

    def make_store(self, tmp_path: Path) -> Store:
        self.prefix = f"test{next(_prefixes)}"
        return RedisStore(self.address, prefix=self.prefix)

    def another(self, store: Store, tmp_path: Path) -> Store:
        return RedisStore(self.address, prefix=self.prefix)

    def make_small_store(self, tmp_path: Path, max_inbox: int) -> Store:
        return RedisStore(self.address, prefix=f"small{next(_prefixes)}", max_inbox=max_inbox)
