"""The PostgreSQL store keeps the contract."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest

from durable.store import Store
from durable.stores import open_store
from durable.testing.store_contract import StoreContract

URL = os.environ.get("DURABLE_TEST_POSTGRES", "")
_names = count()

pytestmark = pytest.mark.skipif(not URL, reason="DURABLE_TEST_POSTGRES names no server")


class TestPostgresql(StoreContract):
    prefixes: dict[Path, str]

    def make_store(self, tmp_path: Path) -> Store:
        return open_store(URL, prefix=_prefix(tmp_path))

    def another(self, store: Store, tmp_path: Path) -> Store:
        return open_store(URL, prefix=_prefix(tmp_path))

    def make_small_store(self, tmp_path: Path, max_inbox: int) -> Store:
        return open_store(URL, prefix="s" + _prefix(tmp_path), max_inbox=max_inbox)


def _prefix(tmp_path: Path) -> str:
    return f"t{abs(hash(str(tmp_path))) % 10**12}_"
