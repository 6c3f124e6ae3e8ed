"""The way to the nodes of a cluster: who has what, what is refused, and what is heard."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from redis_kit import opened, own_store, own_url
from servers import redis, redis_cluster
from test_redis_cluster import in_partition

from durable.errors import OutcomeUnknown, StoreError, UsageError
from durable.store import Poison, Sent, Unavailable
from durable.stores import open_store
from durable.stores.redis import ON_CLUSTER, RedisStore
from durable.stores.redis_agenda import Agenda
from durable.stores.redis_keys import SCRIPTS
from durable.testing.store_contract.base import (
    PATIENCE,
    FakeWorker,
    an_instance,
    send,
    start,
)


@pytest.fixture
def url() -> Iterator[str]:
    with own_url(redis_cluster) as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[RedisStore]:
    with own_store(url) as store:
        yield store


# -- addresses --------------------------------------------------------------------------


def test_any_node_that_answers_tells_of_the_others(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = listener.getsockname()[1]
    store = opened(url.replace("127.0.0.1:", f"127.0.0.1:{dead},127.0.0.1:", 1))
    start(store)
    store.close()


def test_nobody_there_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = listener.getsockname()[1]
    store = open_store(f"redis+cluster://127.0.0.1:{dead}")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="refused"):
        store.open()
    assert time.monotonic() - began < PATIENCE / 6


def test_one_server_is_no_cluster() -> None:
    store = open_store(redis().url.replace("redis://", "redis+cluster://").removesuffix("/0"))
    with pytest.raises(StoreError, match="cluster support disabled"):
        store.open()


def test_a_cluster_is_not_one_server() -> None:
    node = redis_cluster().url.replace("redis+cluster://", "redis://")
    stores = [open_store(node, prefix=f"one_{number}") for number in range(16)]
    with pytest.raises(StoreError, match=r"a node of a cluster: write redis\+cluster://"):
        [store.schema() for store in stores]  # some of them would be on other nodes


def test_the_weakest_node_tells_the_tier(store: RedisStore) -> None:
    assert store.durability() == "durable"
    node = store._parts.keys[5]["ids"]
    store._link.command("CONFIG", "SET", "appendfsync", "everysec", key=node)
    try:
        assert store.durability() == "prefix"
    finally:
        store._link.command("CONFIG", "SET", "appendfsync", "always", key=node)


# -- calls ------------------------------------------------------------------------------


def test_who_has_moved_is_followed(store: RedisStore) -> None:
    start(store)
    nodes = store._link._nodes  # type: ignore[union-attr]
    masters = nodes.masters()
    for keys in store._parts.keys:  # all of them wrong
        key = keys["ids"]
        nodes._of[key] = masters[masters.index(nodes.of(key)) - 1]
    assert send(store) is Sent.SENT
    assert sum(store.stats().instances.values()) == 1


def test_nodes_that_forgot_the_scripts(store: RedisStore) -> None:
    start(store)
    store._link.each("SCRIPT", "FLUSH")
    assert send(store) is Sent.SENT
    store._link.each("SCRIPT", "FLUSH")
    assert sum(store.stats().instances.values()) == 1


def test_ids_of_ones_own_are_created_together_in_one_partition(store: RedisStore) -> None:
    apart = [an_instance(store, in_partition(n, "i")) for n in range(2)]
    with pytest.raises(UsageError, match='only with if_exists="use"'):
        store.create(apart, "raise")
    assert [store.instance(one.id) for one in apart] == [None, None]
    assert all(one.new for one in store.create(apart, "use"))
    nameless = [an_instance(store, uid.hex(), uid=uid) for uid in (b"%016d" % n for n in range(9))]
    assert all(one.new for one in store.create(nameless, "raise"))


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        ([Unavailable("away")], OutcomeUnknown),
        ([Unavailable("away")] * 3, Unavailable),
        ([Unavailable("away")] * 2 + [OutcomeUnknown("lost")], OutcomeUnknown),
        ([OutcomeUnknown("lost"), Poison("never")], Poison),
    ],
    ids=["one of three", "all", "one was lost", "one refused"],
)
def test_what_becomes_of_a_call_of_which_parts_failed(
    store: RedisStore, errors: list[StoreError], raised: type[Exception]
) -> None:
    parts = store._parts
    assert type(parts._together(SCRIPTS["commit"], errors, 3)) is raised
    assert parts._together(SCRIPTS["stats"], errors[:1], 3) is errors[0]


# -- what is heard ----------------------------------------------------------------------


def test_it_hears_again_after_it_had_to_listen_elsewhere(store: RedisStore, url: str) -> None:
    start(store)
    other = opened(url)
    mark = store.mark()
    store.wait(mark, PATIENCE)  # it has begun to listen
    mark = store.mark()
    store._watch.renew()
    store.wait(mark, PATIENCE)
    mark = store.mark()
    send(other)
    store.wait(mark, PATIENCE)
    assert store.mark() != mark
    other.close()


def test_a_claim_asks_where_something_is_due_and_nowhere_else(
    store: RedisStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable.stores.redis_agenda.ASK_EVERY", 60.0)
    other, worker = opened(url), FakeWorker(store)
    asked: list[int] = []
    run = store._parts._run

    def spy(name: str, requests: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        asked.extend(requests)
        return run(name, requests)

    monkeypatch.setattr(store._parts, "_run", spy)
    for _ in range(int(PATIENCE * 10)):  # until it listens, and has heard what was before
        asked.clear()
        store.wait(store.mark(), 0.1)
        if not worker.ids() and not asked:
            break
    assert asked == []
    mark = store.mark()
    start(other)
    store.wait(mark, PATIENCE)
    assert worker.ids() == ["i-1"]
    assert asked == [store._parts.of_id("i-1")]
    other.close()


def test_what_changed_while_it_was_asked_is_asked_again() -> None:
    agenda = Agenda(ON_CLUSTER)
    view = agenda.view("worker")
    marks = view.to_ask(0, everywhere=False)
    assert set(marks) == set(range(ON_CLUSTER))
    agenda.changed([3])
    for partition, mark in marks.items():
        view.told(partition, mark, 1000 if partition == 5 else None, more=partition == 7)
    assert set(view.to_ask(0, everywhere=False)) == {3, 7}
    assert set(view.to_ask(1000, everywhere=False)) == {3, 5, 7}
    assert view.next_wake_at() == 1000
    assert set(agenda.view("another").to_ask(0, everywhere=False)) == set(marks)
