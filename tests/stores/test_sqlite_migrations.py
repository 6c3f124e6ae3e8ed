"""The schema of SQLite: how it is made, how an old one is brought up to date, and its secret."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from signal import SIGKILL

import pytest
from sql_kit import ending, forked, killed_after
from sqlite_kit import ended, python

from durable.errors import StoreError
from durable.model import Status
from durable.store import Filter, Sent, Verdict
from durable.stores.migrations import WANTED
from durable.stores.sql_text import Migration
from durable.stores.sqlite import SqliteStore
from durable.stores.sqlite_migrations import MIGRATIONS
from durable.testing.store_contract.base import (
    HOUR,
    FakeWorker,
    a_completion,
    a_task,
    events,
    inbox,
    look,
    send,
    start,
)

VERSIONS = [migration.version for migration in MIGRATIONS]

PUBLISHED = {1: "6d3f72bfe3b0e99c58b5d4ea8873bbcd045560e19ed83ef372e3d3518c4a9cbb"}
"""What stores were made by, as the hash of its statements."""


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection without a store; what was done is committed."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def an_old_store(path: Path, prefix: str = "durable_") -> None:
    """A store of the first version, without anything in it."""
    store = SqliteStore(path, prefix=prefix)
    texts = store.models.migration_table() + MIGRATIONS[0].statements(prefix)
    with connected(path) as connection:
        for text in texts:
            connection.execute(text)
        connection.execute(f"INSERT INTO {prefix}migration VALUES (1, 'first schema', 1)")


def schema(path: Path) -> list[object]:
    """All that makes a schema, to the letter."""
    with connected(path) as connection:
        what = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
        found: list[object] = connection.execute(what).fetchall()
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for [name] in tables.fetchall():
            found += [(name, *row) for row in connection.execute(f"PRAGMA table_info('{name}')")]
    return found


# -- versions ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", PUBLISHED)
def test_what_was_published_is_never_changed(version: int) -> None:
    [migration] = (one for one in MIGRATIONS if one.version == version)
    text = "\n".join(migration.statements("durable_"))
    assert sha256(text.encode()).hexdigest() == PUBLISHED[version]


def test_the_last_migration_is_what_this_code_wants() -> None:
    assert list(range(1, WANTED + 1)) == VERSIONS


@pytest.mark.parametrize("prefix", ["durable_", "a_"])
def test_every_way_leads_to_what_the_models_say(tmp_path: Path, prefix: str) -> None:
    said, made, migrated = (tmp_path / name for name in ("said", "made", "migrated"))
    models = SqliteStore(said, prefix=prefix).models
    with connected(said) as connection:
        for text in (*models.migration_table(), *models.statements()):
            connection.execute(text)
    an_old_store(migrated, prefix)
    for path in (made, migrated):
        store = SqliteStore(path, prefix=prefix)
        store.open()
        store.close()
    assert schema(made) == schema(said)
    assert schema(migrated) == schema(said)


OPEN = """
import sys
from durable.stores import open_store
store = open_store("sqlite:///" + sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
store.open()
print(*store.schema(), store.secret().hex())
store.close()
"""


@pytest.mark.parametrize("old", [False, True])
def test_processes_that_start_at_once_migrate_once(path: Path, old: bool) -> None:
    if old:
        an_old_store(path)
    processes = [python(OPEN, path) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    [said] = {ended(process) for process in processes}
    assert said.startswith(f"{WANTED} {WANTED} ")
    with connected(path) as connection:
        rows = connection.execute("SELECT version FROM durable_migration").fetchall()
    assert rows == [(version,) for version in VERSIONS]


def test_an_old_store_whose_migration_was_broken_off(path: Path, tmp_path: Path) -> None:
    """Each process dies one statement later than the one before; the next one does it all."""
    an_old_store(path)
    made = SqliteStore(tmp_path / "made.db")
    made.open()
    made.close()

    def dying(statements: int) -> None:
        killed_after(statements)
        SqliteStore(path).migrate()

    deaths = 0
    while ending(forked(partial(dying, deaths + 1))) == -SIGKILL:
        deaths += 1
    assert deaths == len(MIGRATIONS[1].statements("durable_")) + 1
    assert schema(path) == schema(tmp_path / "made.db")


@pytest.mark.parametrize("old", [False, True])
def test_a_dry_run_shows_what_open_does(path: Path, old: bool) -> None:
    if old:
        an_old_store(path)
    store = SqliteStore(path)
    assert store.schema() == (int(old), WANTED)
    shown = store.migrate(dry_run=True)
    assert store.schema() == (int(old), WANTED)
    made = any(text.startswith('CREATE TABLE "durable_instances"') for text in shown)
    assert made is not old
    assert store.migrate() == shown
    assert store.migrate() == []
    assert not any(store.secret().hex() in text for text in shown)
    store.close()


def test_a_migration_that_fails_leaves_nothing(path: Path) -> None:
    broken = Migration(WANTED + 1, "broken", "CREATE TABLE one (x); CREATE oops;")
    an_old_store(path)
    before = schema(path)
    store = SqliteStore(path)
    store.dialect = replace(store.dialect, migrations=(*MIGRATIONS, broken))
    with pytest.raises(StoreError, match="syntax error"):
        store.migrate()
    assert store.schema()[0] == 1
    assert schema(path) == before
    store.close()
    store = SqliteStore(path)
    store.open()
    start(store)
    store.close()


# -- a store of the first version goes on -----------------------------------------------

COLUMNS = {
    "instances": "(number, uid, id, workflow, version, needs, queue, run, status, owner, epoch,"
    " wake_at, history_length, crashes, blocked_by, reason, token, created_at, started_at,"
    " finished_at)",
    "payloads": "(number, args, kwargs, vars, result, failure, memo, tags, unread)",
    "history": "(number, run, seq, event)",
    "inbox": "(id, number, message_id, arrived_at, event)",
    "receipts": "(number, message_id)",
    "tasks": "(id, number, run, command, name, queue, args, kwargs, options, owner, epoch, wake_at,"
    " attempt, crashes, cancel_requested, deadline, last_error, scheduled_at)",
    "tags": "(tag, created_at, uid)",
    "workers": "(id, host, machine, pid, build, queues, slots, workflows, activities, started_at,"
    " expires_at)",
}
"""The columns of the first version."""

UIDS = [bytes([n]) * 16 for n in range(5)]


def an_old_life(path: Path, later: int) -> None:
    """In a store of the first version: an instance that runs, with a message, and activities
    of which a worker that is still there has one; a pending, a blocked and a finished one."""

    def instance(number: int, id: str, *rest: object) -> tuple[object, ...]:
        uid, token = UIDS[number], b"token-%d" % number
        workflow, version, status, owner, epoch, wake_at, length, by, started, finished = rest
        needs = workflow if version is None else f"{workflow}@{version}"
        what = (number, uid, id, workflow, version, needs, "default", 1, status, owner, epoch)
        return (*what, wake_at, length, 0, by, "", token, 5, started, finished)

    def task(id: int, command: int, owner: str, epoch: int) -> tuple[object, ...]:
        what = (id, 1, 1, command, "act", "default", b"args", None, b"options", owner, epoch)
        return (*what, 5, 1, 0, 0, None, None, 5)

    rows: dict[str, list[tuple[object, ...]]] = {
        "instances": [
            instance(1, "running", "flow", 1, "running", "", 3, 5, 2, "", 5, None),
            instance(2, "pending", "flow", None, "pending", "", 0, later, 0, "", None, None),
            instance(3, "blocked", "flow", 1, "blocked", "", 1, None, 1, "build-0", 5, None),
            instance(4, "ended", "flow", 1, "completed", "", 1, None, 1, "", 5, 6),
        ],
        "payloads": [
            (number, b"args", None, None, b"result" if number == 4 else None, None, None, tags, "")
            for number, tags in ((1, '["red"]'), (2, ""), (3, ""), (4, ""))
        ],
        "history": [(1, 1, 0, b"a"), (1, 1, 1, b"b"), (3, 1, 0, b"a"), (4, 1, 0, b"a")],
        "inbox": [(1, 1, "m-1", 5, b"signal"), (2, 1, "result:1:1", 5, b"result")],
        "receipts": [(1, "m-1"), (1, "result:1:1"), (4, "m-1")],
        "tasks": [task(1, 2, "w-0", 7), task(2, 3, "", 0)],
        "tags": [("red", 5, UIDS[1])],
        "workers": [("w-0", "host", "machine", 1, "build-0", "", 1, "", "", 5, later)],
    }
    with connected(path) as connection:
        for table, listed in rows.items():
            marks = ", ".join("?" * len(listed[0]))
            insert = f"INSERT INTO durable_{table} {COLUMNS[table]} VALUES ({marks})"
            connection.executemany(insert, listed)


@pytest.fixture
def old(path: Path) -> Iterator[SqliteStore]:
    """A store that was of the first version until just now."""
    store = SqliteStore(path)
    an_old_store(path)
    an_old_life(path, store.now() + HOUR)
    store.open()
    yield store
    store.close()


def test_the_rows_of_an_old_store_are_as_they_were(old: SqliteStore) -> None:
    assert old.schema() == (WANTED, WANTED)
    running = look(old, "running")
    assert (running.uid, running.status, running.epoch) == (UIDS[1], Status.RUNNING, 3)
    assert (running.parent, running.header, running.tags) == (None, None, ("red",))
    assert events(old, UIDS[1]) == [b"a", b"b"]
    assert inbox(old, UIDS[1]) == [("m-1", b"signal"), ("result:1:1", b"result")]
    held, free = old.tasks(UIDS[1])
    assert (held.command, held.owner, held.epoch) == (2, "w-0", 7)
    assert (free.context, free.details, free.deferrals, free.awaits) == (None, None, 0, False)
    assert [row.id for row in old.instances(Filter(tag="red")).rows] == ["running"]
    assert old.instances(Filter(parent=UIDS[1])).rows == []
    assert look(old, "ended").result == b"result"
    assert [worker.id for worker in old.workers()] == ["w-0"]


def test_an_old_store_goes_on(old: SqliteStore) -> None:
    worker = FakeWorker(old)  # its build is another than the one that has refused
    claimed = {one.instance.id: one for one in worker.claim(tasks=0).instances}
    assert set(claimed) == {"running", "blocked"}
    assert [message.event for message in claimed["running"].messages] == [b"signal", b"result"]
    assert send(old, "m-1", "running") is Sent.SENT
    assert send(old, "m-1", "ended") is Sent.SENT
    assert send(old, "m-2", "ended") is Sent.FINISHED
    held, _ = old.tasks(UIDS[1])
    assert old.complete("w-0", [a_completion(held)], []) == [Verdict.COMMITTED]
    assert worker.complete(worker.take_task())  # and what is due again comes with it
    running = replace(claimed["running"], instance=look(old, "running"))
    instance = worker.advance(running, tasks=[a_task(old, 4, context=b"context")])
    last = worker.take()
    assert [message.event for message in last.messages] == [b"result", b"result"]
    assert last.instance.history_length == instance.history_length == 3
    worker.finish(last)
    worker.finish(claimed["blocked"])
    assert send(old, "m-1", "pending", urgent=True) is Sent.SENT
    worker.finish(worker.take())
    assert old.stats().instances["completed"] == 4
    assert old.purge(old.now() + HOUR, [Status.COMPLETED], 10) == 4
    with connected(Path(old._path)) as connection:
        for table in ("instances", "payloads", "history", "inbox", "receipts", "tasks", "tags"):
            assert connection.execute(f"SELECT count(*) FROM durable_{table}").fetchone() == (0,)


def test_what_an_old_store_has_refused_is_not_for_the_same_code(old: SqliteStore) -> None:
    same = FakeWorker(old, build="build-0")
    other = FakeWorker(old, "w-2")
    assert same.ids() == ["running"]
    assert other.ids() == ["blocked"]


def test_what_an_old_store_could_not_do(old: SqliteStore) -> None:
    assert old.pause("running", "p-1", b"paused") is Sent.SENT
    assert old.resume("running", "p-2", b"resumed") is Sent.SENT
    assert old.unblock("blocked", "u-1") is Sent.SENT
    assert events(old, UIDS[1]) == [b"a", b"b", b"paused", b"resumed"]
    assert sorted(FakeWorker(old, build="build-0").ids()) == ["blocked", "running"]


# -- the secret -------------------------------------------------------------------------


def test_a_store_has_a_secret_of_its_own(store: SqliteStore, tmp_path: Path) -> None:
    assert len(store.secret()) == 32
    assert SqliteStore(store._path).secret() == store.secret()
    other = SqliteStore(tmp_path / "other.db")
    other.open()
    assert other.secret() != store.secret()
    other.close()


def test_the_secret_is_read_once(store: SqliteStore, path: Path) -> None:
    secret = store.secret()
    with connected(path) as connection:
        connection.execute("DELETE FROM durable_settings")
    assert store.secret() == secret


def test_an_old_store_gets_a_secret(old: SqliteStore) -> None:
    secret = old.secret()
    assert len(secret) == 32
    old.open()
    assert SqliteStore(old._path).secret() == secret
