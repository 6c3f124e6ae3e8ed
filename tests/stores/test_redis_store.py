"""What is Redis's own: its keys, its scripts, its rows, and how answers are read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from redis._parsers import _RESP2Parser
from redis_kit import calls, keyspace, own_store, own_url
from servers import redis

from durable.errors import StoreError
from durable.model import Status
from durable.store import Filter, Poison, Sent
from durable.stores import redis_reads
from durable.stores.errors import Kind
from durable.stores.redis import RedisStore
from durable.stores.redis_keys import SCRIPTS, TABLES, tables
from durable.stores.redis_link import ERRORS
from durable.testing.store_contract.base import (
    HOUR,
    FakeWorker,
    a_message,
    a_task,
    an_instance,
    look,
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


# -- keys and scripts -------------------------------------------------------------------


def test_the_library_takes_the_keys_in_our_order() -> None:
    text = SCRIPTS["commit"].text.decode()
    found = re.search(r"local (IDS,[A-Z_,\s]+) = unpack\(KEYS\)", text)
    assert found
    assert tuple(name.strip().lower() for name in found[1].split(",")) == TABLES


def test_all_keys_of_a_partition_are_in_one_slot() -> None:
    assert {key[: key.index("}") + 1] for key in tables("shop", 3).values()} == {"{shop:3}"}


def test_no_key_is_made_of_data(store: RedisStore) -> None:
    start(store, "{a}:b", "a", queue="default")
    send(store, "m-1", "a")
    FakeWorker(store)
    known = {key.encode() for key in store._parts.keys[0].values()}
    prefix = store._parts.keys[0]["ids"].strip("{").partition(":")[0]
    assert set(store._link.command("KEYS", f"*{prefix}*")) <= known


def test_each_script_says_what_it_does() -> None:
    for script in SCRIPTS.values():
        own = script.text.decode().rpartition(f"-- {script.name}(")
        assert own[1], script.name


def test_a_server_that_forgot_the_scripts(store: RedisStore) -> None:
    start(store)
    store._link.command("SCRIPT", "FLUSH")
    assert send(store) is Sent.SENT


def test_what_cannot_be_read_changes_nothing(store: RedisStore) -> None:
    """A script fails before its first write, whatever of its request is damaged."""
    worker = FakeWorker(store)
    start(store, "i-1", "i-2")
    [one, two] = worker.claim().instances
    store._link.command("HSET", store._parts.keys[0]["instances"], two.instance.uid, b"\xc1 broken")
    before = keyspace(store)
    with pytest.raises(StoreError):
        store.send([a_message("i-1"), a_message("i-2")])
    with pytest.raises(StoreError):
        worker.advance(one, sends=[a_message("i-2")])
    with pytest.raises(StoreError):
        store.take_over(["w-1"])
    assert keyspace(store) == before


def test_a_damaged_row_is_told_when_it_is_read(store: RedisStore) -> None:
    uid = start(store)
    store._link.command("HSET", store._parts.keys[0]["instances"], uid, b"\xa3i-1")
    with pytest.raises(StoreError, match="a row is damaged"):
        store.instance("i-1")
    with pytest.raises(StoreError, match="a row is damaged"):
        store.instances(Filter())


def test_text_that_is_no_text_is_poison(store: RedisStore) -> None:
    with pytest.raises(Poison, match="surrogates"):
        start(store, "i-1", args=b"", workflow="\ud800")


def test_claims_stay_flat(store: RedisStore) -> None:
    """How many commands a claim runs does not depend on what waits, or is for others."""

    def of_a_claim() -> int:
        before = calls(store)
        worker.claim()
        return calls(store) - before

    worker = FakeWorker(store)
    start(store, "later-0", start_at=store.now() + HOUR)
    start(store, "other-0", workflow="other")
    worker.claim()  # from now on the server knows the script
    few = of_a_claim()
    for n in range(3):
        later, now = store.now() + HOUR, store.now()
        ids = [f"{n}-{m}" for m in range(500)]
        store.create([an_instance(store, f"later-{id}", start_at=later) for id in ids], "raise")
        other = [an_instance(store, f"o-{id}", workflow="other", start_at=now) for id in ids]
        store.create(other, "raise")
    assert of_a_claim() == few


def test_what_is_large_is_taken_in_parts(store: RedisStore) -> None:
    """A claim that kept the server busy for longer than its client waits would never succeed."""
    large = b"x" * 4 * 1024 * 1024
    for n in range(8):
        start(store, f"i-{n}", args=large)
    worker = FakeWorker(store)
    first = worker.claim()
    assert (len(first.instances), first.more) == (4, True)
    second = worker.claim()
    assert (len(second.instances), second.more) == (4, False)
    assert all(claimed.instance.args == large for claimed in second.instances)
    uids = [claimed.instance.uid for one in (first, second) for claimed in one.instances]
    assert len(store.adopt("w-1", uids, []).instances) == 4
    for claimed, n in zip(store.adopt("w-1", uids[:4], []).instances, range(4), strict=True):
        task = a_task(store, queue="large", args=large)
        worker.advance(claimed, tasks=[task] * (n == 0) + [replace(task, command=2)])
    other = FakeWorker(store, "w-2", queues=("large",))
    claim = other.claim()
    assert (len(claim.tasks), claim.more) == (4, True)
    assert len(other.claim().tasks) == 1


def test_what_is_woken_and_blocked_comes_in_batches(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable.stores.redis.AT_ONCE", 2)
    start(store, *(f"i-{n}" for n in range(5)), workflow="strange")
    worker = FakeWorker(store)
    assert store.block_unknown(worker.info, 0) == 5
    assert {look(store, f"i-{n}").status for n in range(5)} == {Status.BLOCKED}
    assert worker.claim().instances == []
    other = FakeWorker(store, "w-2", workflows=("strange",))
    assert len(other.claim().instances) == 5


def test_what_changes_its_status_meanwhile_is_listed_once(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(store)
    worker = FakeWorker(store)
    claimed, listed = worker.take(), redis_reads._listed

    def changing(partitions: Any, where: Filter, status: Any, before: Any) -> Any:
        found = listed(partitions, where, status, before)
        if status is Status.PENDING:
            worker.advance(claimed)
        return found

    monkeypatch.setattr(redis_reads, "_listed", changing)
    assert [row.status for row in store.instances(Filter()).rows] == [Status.RUNNING]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("BUSY Redis is busy running a script", Kind.RETRY_TXN),
        ("LOADING Redis is loading the dataset in memory", Kind.RETRY_TXN),
        ("NOSCRIPT No matching script.", Kind.RETRY_TXN),
        ("CLUSTERDOWN The cluster is down", Kind.RETRY_TXN),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Kind.RETRY_TXN),
        ("MISCONF Errors writing to the AOF file", Kind.LATER),
        ("OOM command not allowed when used memory > 'maxmemory'", Kind.LATER),
        ("READONLY You can't write against a read only replica.", Kind.LATER),
        ("NOREPLICAS Not enough good replicas to write.", Kind.LATER),
        ("MASTERDOWN Link with MASTER is down", Kind.LATER),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Kind.FATAL),
        ("NOPERM this user has no permissions", Kind.FATAL),
        ("NOAUTH Authentication required.", Kind.FATAL),
        ("ERR user_script:1: a row is damaged", Kind.FATAL),
    ],
)
def test_the_class_of_an_answer(answer: str, kind: Kind) -> None:
    parser: Any = _RESP2Parser
    assert ERRORS.kind(parser(1).parse_error(answer)) is kind


def test_rows_are_msgpack_that_anybody_can_read(store: RedisStore) -> None:
    uid = start(store, tags=("red",))
    row: Any = store._link.command("HGET", store._parts.keys[0]["instances"], uid)
    values = msgpack.Unpacker(raw=True)
    values.feed(row)
    assert list(values)[:2] == [b"i-1", b"flow"]
