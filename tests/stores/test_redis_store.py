"""What is Redis's own: its keys, its settings, replies that are lost, and other processes."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from redis._parsers import _RESP2Parser
from servers import Redis, drop, fresh, redis
from servers.base import as_user
from servers.proxy import FaultProxy, scripts
from sqlite_kit import ended, python

from durable.errors import OutcomeUnknown, StoreError
from durable.model import Status
from durable.store import Filter, NextRun, Poison, Sent, Unavailable, Verdict
from durable.stores import open_store, redis_reads
from durable.stores.errors import Kind
from durable.stores.redis import RedisStore
from durable.stores.redis_keys import SCRIPTS, TABLES, tables
from durable.stores.redis_link import ERRORS
from durable.testing.store_contract.base import (
    DEADLOCK,
    HOUR,
    PATIENCE,
    FakeWorker,
    a_completion,
    a_message,
    a_step,
    a_task,
    an_instance,
    inbox,
    look,
    pause,
    resume,
    schedule,
    send,
    start,
    terminate,
)


@pytest.fixture
def server() -> Redis:
    return redis()


@pytest.fixture
def url(server: Redis) -> Iterator[str]:
    url = fresh(server)
    yield url
    drop(redis(), url)


@pytest.fixture
def store(url: str) -> Iterator[RedisStore]:
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

    def calls() -> int:
        before = _calls(store)
        worker.claim()
        return _calls(store) - before

    worker = FakeWorker(store)
    start(store, "later-0", start_at=store.now() + HOUR)
    start(store, "other-0", workflow="other")
    worker.claim()  # from now on the server knows the script
    few = calls()
    for n in range(3):
        later, now = store.now() + HOUR, store.now()
        ids = [f"{n}-{m}" for m in range(500)]
        store.create([an_instance(store, f"later-{id}", start_at=later) for id in ids], "raise")
        other = [an_instance(store, f"o-{id}", workflow="other", start_at=now) for id in ids]
        store.create(other, "raise")
    assert calls() == few


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


def _calls(store: RedisStore) -> int:
    stats = store._link.command("INFO", "commandstats").decode()
    return sum(map(int, re.findall(r"cmdstat_(?!info)[^:]+:calls=(\d+)", stats)))


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


# -- the connection ---------------------------------------------------------------------


@pytest.fixture
def far(store: RedisStore, server: Redis, url: str) -> Iterator[tuple[RedisStore, FaultProxy]]:
    """The same store, behind a proxy."""
    every = scripts(script.sha for script in SCRIPTS.values())
    proxy = FaultProxy(server.processes[0].port, every)
    far = opened(proxy.url(url))
    for script in SCRIPTS.values():
        store._link.command("SCRIPT", "LOAD", script.text)
    yield far, proxy
    far.close()
    proxy.close()


def test_a_lost_reply_is_unknown_and_nothing_runs_twice(
    store: RedisStore, far: tuple[RedisStore, FaultProxy]
) -> None:
    there, proxy = far
    start(store)
    there.send([])
    proxy.cut("after")
    with pytest.raises(OutcomeUnknown, match="not known whether"):
        send(there)
    proxy.cut("after")
    with pytest.raises(Unavailable):
        there.instance("i-1")  # what only reads has no outcome
    assert proxy.hits["after"] == 2
    assert send(there) is Sent.SENT
    assert [id for id, _ in inbox(store, look(store).uid)] == ["m-1"]


Verb = Callable[[RedisStore], object]


def paused(store: RedisStore) -> None:
    start(store)
    pause(store)


def terminated(store: RedisStore) -> None:
    start(store)
    terminate(store)


def created(store: RedisStore) -> Verb:
    new = an_instance(store)
    return lambda at: [one.new for one in at.create([new], "raise")]


def rerun_later(store: RedisStore) -> Verb:
    terminated(store)
    return lambda at: at.rerun("i-1", "r-1", 1, following)


def blocked(store: RedisStore) -> None:
    start(store)
    worker = FakeWorker(store)
    worker.advance(worker.take(), end=DEADLOCK)


def settled(store: RedisStore) -> Verb:
    start(store)
    worker = FakeWorker(store)
    schedule(worker)
    done = a_completion(worker.take_task())
    return lambda at: at.settle(done)


def completed(store: RedisStore) -> Verb:
    start(store)
    worker = FakeWorker(store)
    schedule(worker)
    done = a_completion(worker.take_task())
    return lambda at: at.complete(worker.id, [done], [])


def committed(store: RedisStore) -> Verb:
    """Whoever does not know the outcome must not commit the same again: it is too late."""
    start(store)
    worker = FakeWorker(store)
    step = a_step(worker.take())
    return lambda at: at.commit(worker.id, [step])


def then(before: Verb, call: Verb) -> Callable[[RedisStore], Verb]:
    def prepare(store: RedisStore) -> Verb:
        before(store)
        return call

    return prepare


following = NextRun(b"next", None, 0, None)

# verb: what is done before, which gives the call, and what this answers when it is repeated.
REPEATS: dict[str, tuple[Callable[[RedisStore], Verb], object]] = {
    "send": (then(start, send), Sent.SENT),
    "pause": (then(start, pause), Sent.SENT),
    "resume": (then(paused, resume), Sent.SENT),
    "terminate": (then(start, terminate), Sent.SENT),
    "delete": (then(terminated, lambda store: store.delete("i-1")), Sent.NOT_FOUND),
    "purge": (
        then(terminated, lambda store: store.purge(store.now() + HOUR, list(Status), 10)),
        0,
    ),
    "create": (created, [True]),
    "rerun": (rerun_later, Sent.SENT),
    "unblock": (then(blocked, lambda store: store.unblock("i-1", "u-1")), Sent.SENT),
    "settle": (settled, Sent.SENT),
    "complete": (completed, [Verdict.COMMITTED]),
    "commit": (committed, [Verdict.LOST]),
}


@pytest.mark.parametrize("verb", REPEATS)
def test_a_call_can_be_repeated(
    verb: str, store: RedisStore, far: tuple[RedisStore, FaultProxy]
) -> None:
    there, proxy = far
    prepare, answer = REPEATS[verb]
    call = prepare(store)
    before = keyspace(store)
    there.now()
    proxy.cut("after")
    with pytest.raises(OutcomeUnknown):
        call(there)
    once = keyspace(store)
    assert once != before
    assert call(there) == answer
    assert keyspace(store) == once


def test_a_server_that_is_away_was_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    store = RedisStore(f"redis://127.0.0.1:{port}/0", timeout=1)
    with pytest.raises(Unavailable):
        start(store, start_at=0)
    store.close()


def test_a_server_that_was_killed(store: RedisStore, server: Redis) -> None:
    """What was acknowledged is there, and connections of before do no harm."""
    mark = store.mark()
    start(store)
    server.kill()
    with pytest.raises(Unavailable):
        store.instance("i-1")
    server.start()
    assert look(store).id == "i-1"
    store.wait(mark, PATIENCE)
    assert send(store) is Sent.SENT


# -- other processes --------------------------------------------------------------------

SEND = """
import sys
from durable.stores import open_store, redis_reads
from durable.testing.store_contract.base import send
store = open_store(sys.argv[1])
for line in sys.stdin:
    send(store, line.strip())
    print("sent", flush=True)
"""


def test_another_process_wakes_who_waits(store: RedisStore, url: str) -> None:
    start(store)
    store.wait(store.mark(), 0.2)  # it listens
    process = python(SEND, url)
    mark, began = store.mark(), time.monotonic()
    assert process.stdin is not None
    process.stdin.write("m-1\n")
    process.stdin.flush()
    store.wait(mark, PATIENCE)
    assert time.monotonic() - began < PATIENCE
    ended(process)
    assert len(inbox(store, look(store).uid)) == 1


def test_a_connection_that_is_lost_without_a_word_is_noticed(
    store: RedisStore, far: tuple[RedisStore, FaultProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable.stores.redis_watch.QUIET", 0.2)
    there, proxy = far
    there.wait(there.mark(), 0.3)  # it listens
    mark, began = there.mark(), time.monotonic()
    proxy.strand()
    start(store)
    there.wait(mark, PATIENCE)
    assert time.monotonic() - began < PATIENCE
    assert proxy.hits["blackhole"] > 0


def test_who_waits_asks_for_nothing(store: RedisStore) -> None:
    store.wait(store.mark(), 0.2)
    before = _calls(store)
    store.wait(store.mark(), 1.0)
    assert _calls(store) == before


def test_the_listening_thread_ends_with_the_store(store: RedisStore) -> None:
    store.mark()
    thread = store._watch._thread
    assert thread is not None
    store.close()
    assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_and_its_parent_go_on(store: RedisStore) -> None:
    start(store, "before")
    store.mark()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            start(store, "child")
            assert look(store, "before").id == "before"
            store.wait(store.mark(), 0.05)
            store.close()
            code = 0
        finally:
            os._exit(code)
    for n in range(20):
        start(store, f"parent-{n}")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert look(store, "child").id == "child"
    assert look(store, "parent-19").id == "parent-19"


def test_rows_are_msgpack_that_anybody_can_read(store: RedisStore) -> None:
    uid = start(store, tags=("red",))
    row: Any = store._link.command("HGET", store._parts.keys[0]["instances"], uid)
    values = msgpack.Unpacker(raw=True)
    values.feed(row)
    assert list(values)[:2] == [b"i-1", b"flow"]
