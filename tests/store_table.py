"""The stores that tests run on: a line each, with how a new and empty one is made there.

    @pytest.mark.parametrize("store", STORES)
    def test_something(store: str, tmp_path: Path) -> None:
        url = fresh_url(store, tmp_path)  # skips the test if its server cannot be here

A store of `durable.stores` that has no line fails a test.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import servers
from servers import Server

__all__ = [
    "CLUSTER",
    "EVERYTHING",
    "LOCAL",
    "SERVERS",
    "STORES",
    "fresh_url",
    "stores_of",
    "ways_of",
]

EVERYTHING = os.environ.get("DURABLE_TEST_LONG", "").lower() not in ("", "0", "false")
"""Whether tests run in all their combinations, as they do by ``tests/run --long``."""

LOCAL: Mapping[str, Callable[[Path], str]] = {
    "memory": lambda folder: "memory://",
    "sqlite": lambda folder: f"sqlite:///{folder / 'store.db'}",
}

SERVERS: Mapping[str, Callable[[], Server]] = {
    "postgresql": servers.postgres,
    "mysql": servers.mariadb,
    "redis": servers.redis,
    "redis-cluster": servers.redis_cluster,
}

STORES = (*LOCAL, *SERVERS)

CLUSTER = "redis-cluster"

FAMILIES = re.compile(r"children|cancels|search|retention|told|forks")
"""In the names of modules whose tests concern several instances: only such tests differ on a
cluster from what they are on one server of its kind."""


def fresh_url(store: str, folder: Path) -> str:
    """The address of a new and empty store; of a file, the one in this folder."""
    if store in LOCAL:
        return LOCAL[store](folder)
    return servers.fresh_prefix(SERVERS[store]())


def stores_of(module: str, *, everything: bool) -> list[str]:
    """On which stores the tests of a module of this name run."""
    here = everything or FAMILIES.search(module)
    return [store for store in STORES if here or store != CLUSTER]


def ways_of(
    test: str, ways: Sequence[str], stores: Sequence[str] = STORES, *, everything: bool
) -> Iterator[tuple[str, str]]:
    """(store, way) for each time that a test of this name runs on these stores.

    In all ways on the stores that need no server.  On those in servers, where a test takes a
    few times as long, in one of them unless everything is to run: another one on the next
    server, and for other tests.
    """
    turn = zlib.crc32(test.encode())
    for number, store in enumerate(stores):
        if everything or store in LOCAL:
            yield from ((store, way) for way in ways)
        else:
            yield store, ways[(turn + number) % len(ways)]
