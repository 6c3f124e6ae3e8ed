"""What a Redis server must allow and promise before a store is opened on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis_kit import keyspace, opened, own_store, own_url
from servers import redis
from servers.base import as_user

from durable.errors import StoreError
from durable.store import Unavailable
from durable.stores.redis import RedisStore
from durable.testing.store_contract.base import (
    send,
    start,
)


@pytest.fixture
def url() -> Iterator[str]:
    with own_url(redis) as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[RedisStore]:
    with own_store(url) as store:
        yield store


# -- settings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value", "tier"),
    [
        ("appendonly", "no", "volatile"),
        ("appendfsync", "no", "volatile"),
        ("maxmemory-policy", "allkeys-lru", "volatile"),
        ("appendfsync", "everysec", "prefix"),
        ("appendfsync", "always", "durable"),
    ],
)
def test_what_the_server_promises(
    store: RedisStore, setting: str, value: str, tier: str, caplog: pytest.LogCaptureFixture
) -> None:
    [_, before] = store._link.command("CONFIG", "GET", setting)
    store._link.command("CONFIG", "SET", setting, value)
    try:
        assert store.durability() == tier
        if tier == "volatile":
            with pytest.raises(StoreError, match=f"{setting} {value}.*allow_loss=yes"):
                store.open()
        else:
            store.open()
            assert ("may take what was acknowledged last" in caplog.text) == (tier == "prefix")
    finally:
        store._link.command("CONFIG", "SET", setting, before)
    store.open()


def test_losses_can_be_accepted(store: RedisStore, url: str) -> None:
    store._link.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(StoreError, match="maxmemory-policy allkeys-lru"):
            opened(url)
        opened(url, allow_loss=True).close()
    finally:
        store._link.command("CONFIG", "SET", "maxmemory-policy", "noeviction")


def test_who_may_not_write_is_found_out_before(store: RedisStore, url: str) -> None:
    rights = ("on", ">secret", "~*", "&*", "+@all", "-zadd")
    store._link.command("ACL", "SETUSER", "clerk", *rights)
    before = keyspace(store)
    try:
        with pytest.raises(StoreError, match="can't run this command"):
            opened(as_user(url, "clerk", "secret"))
    finally:
        store._link.command("ACL", "DELUSER", "clerk")
    assert keyspace(store) == before


def test_a_key_of_another_kind_is_found_out_before(store: RedisStore, url: str) -> None:
    store._link.command("SET", store._parts.keys[0]["children"], "mine")
    before = keyspace(store)
    with pytest.raises(StoreError, match="wrong kind of value"):
        opened(url)
    assert keyspace(store) == before


def test_a_newer_schema_is_refused(store: RedisStore) -> None:
    store._link.command("HSET", store._parts.keys[0]["settings"], "schema", 99)
    with pytest.raises(StoreError, match="has schema 99"):
        store.open()


def test_a_server_out_of_memory_changes_nothing(store: RedisStore) -> None:
    start(store)
    before = keyspace(store)
    store._link.command("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(Unavailable, match=r"^redis://\S+: command not .* 'maxmemory'\.$"):
            send(store)
    finally:
        store._link.command("CONFIG", "SET", "maxmemory", "0")
    assert keyspace(store) == before
