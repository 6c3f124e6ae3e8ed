"""What the tests of the Redis stores share: one that is gone after the test, and its keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from servers import Server, drop, fresh

from durable.stores import open_store
from durable.stores.redis import RedisStore


@contextmanager
def own_url(server: Callable[[], Server]) -> Iterator[str]:
    """A store of its own, deleted at the end; server: gives one that runs, whatever a test
    did to it."""
    url = fresh(server())
    yield url
    drop(server(), url)


@contextmanager
def own_store(url: str) -> Iterator[RedisStore]:
    store = opened(url)
    yield store
    store.close()


def opened(url: str, **options: object) -> RedisStore:
    store = open_store(url, **options)
    assert isinstance(store, RedisStore)
    store.open()
    return store


def keyspace(store: RedisStore) -> dict[bytes, bytes]:
    """Every key of the store with all that it holds."""
    pattern = store._parts.keys[0]["ids"].replace("ids", "*")
    keys = store._link.command("KEYS", pattern)
    return {key: store._link.command("DUMP", key) for key in keys}


def calls(store: RedisStore) -> int:
    """How many commands its server has run, those of scripts as well."""
    stats = store._link.command("INFO", "commandstats").decode()
    return sum(map(int, re.findall(r"cmdstat_(?!info)[^:]+:calls=(\d+)", stats)))
