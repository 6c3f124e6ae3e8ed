"""What goes from one partition of a cluster to another: nothing lost, nothing twice, in order.

A process that dies is one whose store does not run a script any more: `deaf` to its name.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from redis.crc import key_slot
from redis_kit import opened, own_store, own_url
from servers import redis_cluster
from test_redis_cluster import in_partition

from durable.model import Parent, ParentClose, Status
from durable.store import ClaimedInstance, End, Sent
from durable.stores.redis import ON_CLUSTER, RedisStore
from durable.stores.redis_keys import BEGIN, SCRIPTS, Script, partition_of, tables
from durable.testing.store_contract.base import (
    CLOSE,
    COMPLETED,
    HOUR,
    PATIENCE,
    REPLY,
    FakeWorker,
    a_child,
    a_family,
    a_message,
    end_of,
    inbox,
    look,
    nurse,
    rerun,
    start,
    terminate,
)
from durable.testing.store_contract.walks import Walk

SENDER, TARGET = in_partition(0, "sender"), in_partition(1, "target")
PARENT = "i-1"
CHILD = in_partition((partition_of(PARENT, ON_CLUSTER) + 1) % ON_CLUSTER, "child")


@pytest.fixture
def url() -> Iterator[str]:
    with own_url(redis_cluster) as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[RedisStore]:
    with own_store(url) as store:
        yield store


@pytest.fixture
def other(store: RedisStore, url: str) -> Iterator[RedisStore]:
    other = opened(url)
    yield other
    other.close()


def deaf(store: RedisStore, *names: str) -> None:
    """From now on it runs none of these scripts."""
    parts, run = store._parts, store._parts._run

    def without(name: str, requests: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        return {} if name in names else run(name, requests)

    parts._run = without  # type: ignore[method-assign]


def hear(store: RedisStore) -> None:
    del store._parts.__dict__["_run"]


def outbox(store: RedisStore) -> int:
    """How much is on its way."""
    keys = [tables["outbox"] for tables in store._parts.keys]
    return sum(store._link.command("ZCARD", key, key=key) for key in keys)


def carry_left_over(store: RedisStore) -> None:
    """Beat as a worker does, until nothing is on its way."""
    worker = FakeWorker(store, "carrier", queues=("nothing",))
    for _ in range(int(PATIENCE * 10)):
        store.heartbeat(worker.id, HOUR)
        if not outbox(store):
            break
        store.wait(store.mark(), 0.1)
    assert outbox(store) == 0
    store.unregister(worker.id)


def a_sender(store: RedisStore) -> tuple[FakeWorker, ClaimedInstance]:
    start(store, SENDER, queue="senders")
    worker = FakeWorker(store, "sending", queues=("senders",))
    return worker, worker.take()


def told(store: RedisStore, id: str) -> list[str]:
    return [event.decode() for _, event in inbox(store, look(store, id).uid)]


# -- whoever carries dies ---------------------------------------------------------------


@pytest.mark.parametrize("missed", ["accept", "clear"])
def test_what_is_left_over_is_carried_by_others(
    store: RedisStore, other: RedisStore, missed: str
) -> None:
    """Died between the commit and the delivery, or between that and the deletion."""
    start(store, TARGET, queue="targets")
    worker, claimed = a_sender(store)
    deaf(store, missed)
    worker.advance(claimed, sends=[a_message(TARGET, "m-1", answers={Sent.SENT: b"sent"})])
    assert outbox(other) > 0
    assert told(other, TARGET) == ([] if missed == "accept" else ["m-1"])
    carry_left_over(other)
    assert told(other, TARGET) == ["m-1"]
    assert told(other, SENDER) == ["sent"]


@pytest.mark.parametrize("then", ["finished", "deleted", "begun anew"])
def test_it_is_taken_once_whatever_became_of_the_target(
    store: RedisStore, other: RedisStore, then: str
) -> None:
    start(store, TARGET, queue="targets")
    worker, claimed = a_sender(store)
    deaf(store, "clear")
    worker.advance(claimed, sends=[a_message(TARGET, "m-1")])
    target = FakeWorker(other, "taking", queues=("targets",))
    target.finish(target.take())
    if then != "finished":
        other.delete(TARGET)
    if then == "begun anew":
        start(other, TARGET, queue="targets")
    carry_left_over(other)
    found = other.instance(TARGET)
    if found is not None:
        assert inbox(other, found.uid) == []


def test_a_claim_finds_what_is_left_over(store: RedisStore, other: RedisStore) -> None:
    start(store, TARGET, queue="targets")
    worker, claimed = a_sender(store)
    deaf(store, "accept")
    worker.advance(claimed, sends=[a_message(TARGET, "m-1")])
    taking = FakeWorker(other, "taking", queues=("targets",))
    [first] = taking.claim().instances
    for _ in range(int(PATIENCE * 10)):
        if again := taking.claim().instances:
            break
        other.wait(other.mark(), 0.1)
    assert first.messages == []
    assert [message.message_id for message in again[0].messages] == ["m-1"]


# -- order ------------------------------------------------------------------------------


def test_what_is_left_over_comes_first(store: RedisStore) -> None:
    start(store, TARGET, queue="targets")
    worker, claimed = a_sender(store)
    deaf(store, "accept")
    sender = worker.advance(claimed, sends=[a_message(TARGET, "m-1")])
    hear(store)
    worker.advance(sender, sends=[a_message(TARGET, f"m-{n}") for n in (2, 3)])
    assert told(store, TARGET) == ["m-1", "m-2", "m-3"]


def test_two_carry_the_same(store: RedisStore, other: RedisStore) -> None:
    """Each delivers what it has read; one of them late, when all was taken and removed."""
    start(store, TARGET, queue="targets")
    worker, claimed = a_sender(store)
    late: list[tuple[str, Mapping[int, tuple[Any, ...]]]] = []
    run = store._parts._run

    def hold(name: str, requests: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        if name == "accept":
            late.append((name, requests))
            return {}
        return run(name, requests)

    store._parts._run = hold  # type: ignore[method-assign]
    sender = worker.advance(claimed, sends=[a_message(TARGET, "m-1")])
    hear(store)
    worker.advance(sender, sends=[a_message(TARGET, "m-2")])
    assert outbox(store) == 0
    for name, requests in late:
        store._parts._run(name, requests)
    assert told(other, TARGET) == ["m-1", "m-2"]


def test_much_at_once_is_carried_in_parts(store: RedisStore) -> None:
    start(store, TARGET, queue="targets")
    worker, claimed = a_sender(store)
    ids = [f"m-{n}" for n in range(1200)]
    worker.advance(claimed, sends=[a_message(TARGET, id) for id in ids])
    assert told(store, TARGET) == ids
    assert outbox(store) == 0


def test_what_a_failover_has_lost_does_not_hold_up_the_rest(store: RedisStore) -> None:
    """The numbers of effects go on above those that were lost with their last ones."""
    start(store, TARGET, queue="targets")
    worker, claimed = a_sender(store)
    sender = worker.advance(claimed, sends=[a_message(TARGET, "m-1")])
    key = store._parts.keys[0]["settings"]
    assert store._link.command("HDEL", key, "sent", key=key) == 1
    worker.advance(sender, sends=[a_message(TARGET, "m-2")])
    assert told(store, TARGET) == ["m-1", "m-2"]


# -- answers ----------------------------------------------------------------------------


def test_the_answer_for_a_missing_target_is_not_lost(store: RedisStore, other: RedisStore) -> None:
    """It is in the outbox of the partition where the target would be, when its carrier dies."""
    worker, claimed = a_sender(store)
    deaf(store, "clear")
    run, seen = store._parts._run, []

    def once(name: str, requests: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        if name == "accept":
            seen.append(requests)
        return run(name, requests) if len(seen) < 2 else {}

    store._parts._run = once  # type: ignore[method-assign]
    worker.advance(claimed, sends=[a_message(TARGET, "m-1", answers={Sent.NOT_FOUND: b"no"})])
    assert told(other, SENDER) == []
    carry_left_over(other)
    assert told(other, SENDER) == ["no"]


def test_an_id_in_use_is_told_to_who_starts_it(store: RedisStore, other: RedisStore) -> None:
    start(store, TARGET, queue="elsewhere")
    worker, claimed = a_sender(store)
    deaf(store, "accept")
    free = in_partition(1, "free")
    worker.advance(claimed, starts=[a_child(store, claimed, id) for id in (TARGET, free)])
    assert other.instance(free) is None
    carry_left_over(other)
    assert told(other, SENDER) == ["taken"]
    assert look(other, free).status is Status.PENDING


# -- families ---------------------------------------------------------------------------


def test_a_close_follows_the_starts(store: RedisStore, other: RedisStore) -> None:
    start(store, PARENT)
    worker = FakeWorker(store)
    deaf(store, "accept")
    parent = a_family(worker, CHILD, close=ParentClose.TERMINATE)
    worker.advance(parent, end=COMPLETED, close=CLOSE)
    carry_left_over(other)
    assert look(other, CHILD).status is Status.TERMINATED


def test_a_rerun_overtakes_the_end_of_a_child(store: RedisStore, other: RedisStore) -> None:
    """The child has not heard of the next run when it ends, and so tells the one before."""
    start(store, PARENT)
    worker, nursed = FakeWorker(store), nurse(other)
    parent = a_family(worker, CHILD)
    child = nursed.take()
    worker.finish(parent, End(Status.FAILED))
    deaf(store, "accept")
    assert rerun(store) is Sent.SENT
    ended = nursed.finish(child, REPLY)
    carry_left_over(other)
    assert inbox(other, parent.uid) == [end_of(ended)]


def test_a_client_names_a_parent_elsewhere(store: RedisStore) -> None:
    start(store, PARENT, queue="elsewhere")
    parent = Parent(look(store, PARENT).uid, PARENT, 1, 1, ParentClose.TERMINATE)
    start(store, CHILD, parent=parent, queue="elsewhere")
    store.terminate(PARENT, "t-1", b"terminated", "enough", close=CLOSE)
    assert look(store, CHILD).status is Status.TERMINATED


def test_what_is_deleted_leaves_nothing(store: RedisStore) -> None:
    """But what a partition knows of others: how far it has taken what they sent."""
    start(store, PARENT)
    worker = FakeWorker(store)
    worker.finish(a_family(worker, CHILD))
    terminate(store, CHILD)
    store.unregister(worker.id)
    assert store.purge(store.now() + HOUR, list(Status), 10) == 2
    left = [
        key
        for tables in store._parts.keys
        for table, key in tables.items()
        if table != "settings" and store._link.command("EXISTS", key, key=key)
    ]
    assert left == []


# -- keys -------------------------------------------------------------------------------

SIGNS = "abz{}:~%\\'\" \0\x1f\nüß日🦆é"


def some_ids(seed: int, count: int) -> list[str]:
    made = random.Random(seed)
    return ["".join(made.choices(SIGNS, k=made.randrange(1, 60))) for _ in range(count)]


def test_scripts_and_python_agree_where_an_id_is(store: RedisStore) -> None:
    ids = some_ids(1, 500)
    begin, end = b"local at = {} for n, id in ipairs(R[1]) do ", b" end return at\n"
    library = SCRIPTS["read"].text.partition(BEGIN)[0]
    text = library + BEGIN + begin + b"at[n] = partition_of(id)" + end + b"end return verb()"
    request = store._parts._request("read", 0, (ids,))
    found = store._link.command("EVAL", text, *request, key=request[1])
    assert found == [partition_of(id, ON_CLUSTER) for id in ids]
    assert set(found) == set(range(ON_CLUSTER))


@pytest.mark.parametrize("prefix", ["durable", "shop_", "_"])
def test_the_keys_of_a_partition_are_in_one_slot(prefix: str) -> None:
    slots = [
        {key_slot(key.encode()) for key in tables(prefix, partition).values()}
        for partition in range(ON_CLUSTER)
    ]
    assert {len(some) for some in slots} == {1}
    assert len({slot for some in slots for slot in some}) == ON_CLUSTER


def test_scripts_use_the_keys_that_they_declare(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a shebang the server itself refuses a script that uses a key of another slot."""
    strict = {name: Script(name, b"#!lua\n" + one.text, "0" * 40, one.reads, one.takes)
              for name, one in SCRIPTS.items()}  # fmt: skip
    monkeypatch.setattr("durable.stores.redis_partitions.SCRIPTS", strict)
    store = opened(url)
    walk = Walk(1, store, one_transaction=False)
    for _ in range(30):
        walk.go()
    declared = {key.encode() for keys in store._parts.keys for key in keys.values()}
    pattern = store._parts.keys[0]["ids"].partition(":")[0].strip("{")
    for found in store._link.each("KEYS", f"*{pattern}*"):
        assert set(found) <= declared
    store.close()


def test_a_cluster_of_another_number_of_partitions_is_refused(store: RedisStore) -> None:
    key = store._parts.keys[0]["settings"]
    store._link.command("HSET", key, "partitions", 8, key=key)
    with pytest.raises(Exception, match="it has 8 partitions"):
        store.open()
