"""What is SQLite's own: files, connections, forks, and other processes."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlite_kit import ended, python

from durable.errors import StoreError
from durable.store import Unavailable
from durable.stores import open_store
from durable.stores.sqlite import SqliteStore
from durable.testing.store_contract.base import (
    HOUR,
    PATIENCE,
    FakeWorker,
    a_message,
    a_task,
    events,
    inbox,
    look,
    send,
    start,
)

# -- files ------------------------------------------------------------------------------


def test_a_new_file_belongs_to_its_user(store: SqliteStore, path: Path) -> None:
    start(store)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"x.db": 0o600, "x.db-wal": 0o600, "x.db-shm": 0o600}


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "absent" / "x.db")
    with pytest.raises(StoreError, match=f"directory {tmp_path}/absent of the database does not"):
        store.open()


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"something else entirely\n" * 100)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"x\.db: file is not a database"):
        SqliteStore(path).open()
    assert path.read_bytes() == before


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="unable to open"):
        SqliteStore(tmp_path).open()


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///rel.db")
    monkeypatch.chdir("/")
    store.open()
    assert (tmp_path / "rel.db").exists()
    assert store.url == "sqlite:///rel.db"
    store.close()


def test_size_counts_the_log(store: SqliteStore) -> None:
    before = store.size()
    start(store, args=b"x" * 1_000_000)
    assert store.size() >= before + 1_000_000


@pytest.mark.parametrize("tier", ["full", "normal"])
def test_only_what_must_be_on_the_disk_is_synced(path: Path, tier: str) -> None:
    store = SqliteStore(path, synchronous=tier)
    store.open()
    full = tier == "full"

    def synced() -> bool:
        link = store._links.mine()
        [level] = link.cursor.execute("PRAGMA synchronous").fetchone()
        assert level == (2 if link.full else 1)
        return link.full

    start(store)
    assert synced() is full
    worker = FakeWorker(store)
    assert not synced()
    claimed = worker.take()
    assert not synced()
    worker.advance(claimed, tasks=[a_task(store, owner="w-1")])
    assert synced() is full
    store.heartbeat("w-1", HOUR)
    assert not synced()
    send(store)
    assert synced() is full
    store.close()


# -- connections ------------------------------------------------------------------------


def test_a_connection_is_closed_when_its_thread_ends(store: SqliteStore) -> None:
    start(store)
    before = len(store._links._all)
    for _ in range(5):
        thread = threading.Thread(target=store.instance, args=["i-1"])
        thread.start()
        thread.join()
    assert len(store._links._all) == before


def test_close_waits_for_verbs_under_way(store: SqliteStore) -> None:
    start(store)
    inside, go = threading.Event(), threading.Event()

    def slow(tx: Any) -> bool:
        inside.set()
        assert go.wait(PATIENCE)
        tx.raw("UPDATE durable_instances SET reason = 'slow'")
        return True

    writer = threading.Thread(target=store._write, args=[slow])
    writer.start()
    assert inside.wait(PATIENCE)
    closer = threading.Thread(target=store.close)
    closer.start()
    go.set()
    writer.join(PATIENCE)
    closer.join(PATIENCE)
    assert not writer.is_alive()
    assert not closer.is_alive()
    assert look(store).reason == "slow"


def test_threads_never_get_what_belongs_to_others(store: SqliteStore) -> None:
    """Every value says whose it is."""
    wrong: list[object] = []

    def work(name: str) -> None:
        worker = FakeWorker(store, name, queues=(name,), workflows=(name,))
        for n in range(15):
            id = f"{name}-{n}"
            uid = start(store, id, workflow=name, queue=name, args=id.encode())
            send(store, f"m-{id}", id)
            claimed = worker.take()
            instance = worker.advance(claimed, events=[id.encode()] * 2, release=True)
            found = (claimed.instance.id, instance.args, claimed.messages[0].message_id)
            if found != (id, id.encode(), f"m-{id}") or look(store, id).uid != uid:
                wrong.append(found)
            if set(events(store, uid)) != {id.encode()}:
                wrong.append((id, "history"))
            store.send([a_message(id, f"n-{id}")])
            if [message_id for message_id, _ in inbox(store, uid)] != [f"n-{id}"]:
                wrong.append((id, "inbox"))
            worker.finish(worker.take())

    threads = [threading.Thread(target=work, args=[f"t{n}"]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10 * PATIENCE)
    assert wrong == []
    assert store.stats().instances["completed"] == 8 * 15


def child(work: Callable[[], object]) -> int:
    """Run something in a forked child; its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_and_its_parent_go_on(store: SqliteStore) -> None:
    start(store, "before")
    inherited = store._links.mine().connection
    stop = threading.Event()

    def busy() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            start(store, f"busy-{n}")

    thread = threading.Thread(target=busy)
    thread.start()

    def use(n: int) -> None:
        assert store._links.mine().connection is not inherited
        start(store, f"child-{n}")
        assert look(store, "before").id == "before"
        store.wait(store.mark(), 0.01)
        store.close()

    codes = [child(lambda n=n: use(n)) for n in range(10)]  # type: ignore[misc]
    stop.set()
    thread.join(PATIENCE)
    assert codes == [0] * 10
    assert store._links.mine().connection is inherited
    assert all(store.instance(f"child-{n}") for n in range(10))
    with sqlite3.connect(store._path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


FORK = """
import os, sys
from durable.stores import open_store
from durable.testing.store_contract.base import start
store = open_store("sqlite:///" + sys.argv[1])
store.open()
start(store, "before")
pid = os.fork()
if pid:
    # The child outlives this connection, and ends in the ordinary way.
    store.close()
    print("closed", flush=True)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
sys.stdin.readline()
sys.exit(0)
"""


def test_the_end_of_a_child_harms_nobody(path: Path) -> None:
    """It must not tidy up, with its inherited connection, a log that others write."""
    process = python(FORK, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "closed\n"
    writer = SqliteStore(path)
    start(writer, "after")
    ended(process, "go\n")
    start(writer, "later")
    other = SqliteStore(path)
    assert all(other.instance(id) for id in ("before", "after", "later"))
    writer.close()
    other.close()


# -- waking -----------------------------------------------------------------------------

SEND = """
import sys
from durable.stores import open_store
from durable.testing.store_contract.base import send
store = open_store("sqlite:///" + sys.argv[1])
for line in sys.stdin:
    send(store, line.strip())
    print("sent", flush=True)
"""


def test_another_process_wakes_who_waits(store: SqliteStore, path: Path) -> None:
    start(store)
    process = python(SEND, path)
    assert process.stdin is not None
    assert process.stdout is not None
    for n in range(5):
        mark = store.mark()
        woken = threading.Event()

        def wait(mark: int = mark, woken: threading.Event = woken) -> None:
            store.wait(mark, 10 * PATIENCE)
            woken.set()

        threading.Thread(target=wait, daemon=True).start()
        process.stdin.write(f"m-{n}\n")
        process.stdin.flush()
        assert woken.wait(PATIENCE)
        assert process.stdout.readline() == "sent\n"
    ended(process)


def test_a_change_between_mark_and_wait_is_seen(store: SqliteStore, path: Path) -> None:
    other = SqliteStore(path)
    start(other)
    store.wait(store.mark(), 0)
    mark = store.mark()
    send(other)
    began = time.monotonic()
    store.wait(mark, 10 * PATIENCE)  # nobody was watching
    assert time.monotonic() - began < PATIENCE
    other.close()


def test_the_watching_thread_ends_with_the_store(store: SqliteStore) -> None:
    def watching() -> list[str]:
        return [t.name for t in threading.enumerate() if t is store._watch._thread]

    store.wait(store.mark(), 0.001)
    assert watching() == ["durable-sqlite-watch"]
    store.close()
    assert watching() == []
