"""Replies that are lost, calls that are repeated, and other processes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from redis_kit import calls, keyspace, opened, own_store, own_url
from servers import redis
from servers.proxy import FaultProxy, scripts
from sqlite_kit import ended, python

from durable.errors import OutcomeUnknown
from durable.model import Status
from durable.store import NextRun, Sent, Unavailable, Verdict
from durable.stores.redis import RedisStore
from durable.stores.redis_keys import SCRIPTS
from durable.testing.store_contract.base import (
    DEADLOCK,
    HOUR,
    PATIENCE,
    FakeWorker,
    a_completion,
    a_step,
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
def url() -> Iterator[str]:
    with own_url(redis) as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[RedisStore]:
    with own_store(url) as store:
        yield store


# -- the connection ---------------------------------------------------------------------


@pytest.fixture
def far(store: RedisStore, url: str) -> Iterator[tuple[RedisStore, FaultProxy]]:
    """The same store, behind a proxy."""
    every = scripts(script.sha for script in SCRIPTS.values())
    proxy = FaultProxy(redis().processes[0].port, every)
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


def test_a_server_that_was_killed(store: RedisStore) -> None:
    """What was acknowledged is there, and connections of before do no harm."""
    mark = store.mark()
    start(store)
    server = redis()
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
    before = calls(store)
    store.wait(store.mark(), 1.0)
    assert calls(store) == before


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
