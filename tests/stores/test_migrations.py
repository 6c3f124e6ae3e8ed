"""Migrations on each SQL store: at once, broken off, by hand, and by who may not."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from signal import SIGKILL
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result
from servers.base import with_prefix
from servers.sql_servers import MariaDB, Postgres, mysql_arguments
from sql_kit import SQL_STORES, described, ending, forked, killed_after
from store_table import SERVERS, fresh_url

from durable.cli.app import app
from durable.errors import StoreError
from durable.stores import migrations, open_store
from durable.stores.migrations import WANTED
from durable.stores.sql import SqlStore
from durable.stores.sql_text import Migration
from durable.testing.store_contract.base import FakeWorker, look, send, start

TOGETHER = 8

MORE = Migration(
    WANTED + 1, "more", "CREATE TABLE {schema}{prefix}more (n INTEGER); DELETE FROM nowhere;"
)


@pytest.fixture(params=SQL_STORES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(name: str, tmp_path: Path) -> str:
    return fresh_url(name, tmp_path)


Open = Callable[..., SqlStore]


@pytest.fixture
def at() -> Iterator[Open]:
    """Gives stores, which are closed at the end."""
    opened: list[SqlStore] = []

    def make(url: str, **options: object) -> SqlStore:
        store = open_store(url, **options)
        assert isinstance(store, SqlStore)
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(url: str, at: Open) -> SqlStore:
    return at(url)


def made_in_one_go(store: SqlStore) -> list[str]:
    """What a schema is that nothing has disturbed; the store is empty afterwards."""
    store.open()
    found = described(store)
    store.erase()
    return found


def run(*words: str, url: str) -> Result:
    """A command of ``durable store`` on that store."""
    return CliRunner().invoke(app, ["store", *words], env={"DURABLE_STORE": url})


# -- several, and dead ones -------------------------------------------------------------


def test_processes_that_start_at_once_migrate_once(store: SqlStore) -> None:
    begin, told = os.pipe(), os.pipe()

    def work() -> None:
        os.close(begin[1])
        os.read(begin[0], 1)  # ends when the parent begins
        did = store.migrate()
        store.open()
        os.write(told[1], f"{bool(did)} {store.schema()} {store.secret().hex()}\n".encode())

    processes = [forked(work) for _ in range(TOGETHER)]
    for end in (begin[1], told[1]):
        os.close(end)
    assert [ending(pid) for pid in processes] == [0] * TOGETHER
    with os.fdopen(told[0]) as file:
        lines = [line.split(" ", 1) for line in file]
    os.close(begin[0])
    assert sorted(did for did, _ in lines) == ["False"] * (TOGETHER - 1) + ["True"]
    assert {line for _, line in lines} == {f"{store.schema()} {store.secret().hex()}\n"}


def test_what_was_broken_off_is_gone_on_with(store: SqlStore) -> None:
    """Each process dies one statement later than the one before, until one gets to the end."""
    expected = made_in_one_go(store)
    whole = store.dialect.name != "mysql"

    def dying(statements: int) -> None:
        killed_after(statements)
        store.migrate()

    deaths = 0
    while (code := ending(forked(partial(dying, deaths + 1)))) == -SIGKILL:
        deaths += 1
        assert store.schema()[0] in ((0,) if whole else (0, WANTED))
    assert code == 0
    assert deaths > 10
    assert described(store) == expected
    assert store.migrate() == []
    start(store)
    FakeWorker(store).take()


def test_a_migration_that_fails_is_told(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.open()
    before = described(store)
    monkeypatch.setattr(migrations, "WANTED", MORE.version)
    store.dialect = replace(store.dialect, migrations=(*store.dialect.migrations, MORE))
    with pytest.raises(StoreError, match="nowhere"):
        store.open()
    assert store.schema() == (WANTED, MORE.version)
    if store.dialect.name != "mysql":
        assert described(store) == before


# -- versions ---------------------------------------------------------------------------


def test_a_newer_schema_is_refused(store: SqlStore, url: str) -> None:
    store.open()
    later = f"INSERT INTO {store.models.names['migration']} VALUES (99, 'of tomorrow', 1)"
    store._write(lambda tx: tx.do(later))
    for refused in (store.open, store.migrate, lambda: store.migrate(dry_run=True)):
        with pytest.raises(StoreError, match=rf"schema version 99.* up to {WANTED}: upgrade"):
            refused()
    assert store.schema() == (99, WANTED)
    shown = run("status", url=url)
    assert shown.exit_code == 3
    assert "newer than this version" in shown.stdout
    for words in (["list"], ["worker", "durable.bench.workflows"], ["store", "migrate"]):
        result = CliRunner().invoke(app, [*words, "--store", url])
        assert result.exit_code == 3, result.output
        assert "99" in result.stderr


def test_a_store_that_is_behind_is_told(
    store: SqlStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.open()
    monkeypatch.setattr(migrations, "WANTED", WANTED + 1)
    shown = run("status", url=url)
    assert shown.exit_code == 3
    assert "too old: `durable store migrate`" in shown.stdout
    for words in (["list"], ["worker", "durable.bench.workflows"]):
        result = CliRunner().invoke(app, [*words, "--store", url])
        assert result.exit_code == 3, result.output
        assert "`durable store migrate` brings it up to date" in result.stderr


# -- by hand ----------------------------------------------------------------------------


def program(name: str) -> str:
    """A client's path; skips the test if it is not here."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run_sqlite(url: str, script: str) -> None:
    with closing(sqlite3.connect(urlsplit(url).path[1:])) as connection:
        connection.executescript(script)


def run_psql(url: str, script: str) -> None:
    place = url.partition("?")[0]
    command = [program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", place]
    subprocess.run(command, input=script, text=True, check=True, capture_output=True)


def run_mariadb(url: str, script: str) -> None:
    to = mysql_arguments(url)
    command = [program("mariadb"), "--no-defaults", "--skip-ssl", "--protocol=tcp"]
    command += [f"--{name}={to[name]}" for name in ("host", "port", "user", "database")]
    env = {**os.environ, "MYSQL_PWD": to["password"]}
    subprocess.run(command, input=script, text=True, check=True, capture_output=True, env=env)


CLIENTS: dict[str, Callable[[str, str], None]] = {
    "sqlite": run_sqlite,
    "postgresql": run_psql,
    "mysql": run_mariadb,
}


@pytest.mark.parametrize(
    ("name", "schema"), [*((name, "") for name in SQL_STORES), ("postgresql", "&schema=Made_here")]
)
def test_printed_statements_make_a_store(
    name: str, schema: str, store: SqlStore, url: str, at: Open
) -> None:
    """By the database's own client: the same as the store would have made it."""
    expected = made_in_one_go(store)
    url += schema
    printed = run("migrate", "--dry-run", "--sql", url=url)
    assert "schema 0 to" in printed.stderr
    assert run("status", url=url).exit_code == 3
    CLIENTS[name](url, printed.stdout)
    assert "up to date" in run("status", url=url).stdout
    made = at(url)
    made.open()
    assert described(made) == expected
    assert len(made.secret()) == 32
    assert made.secret().hex() not in printed.stdout
    start(made)
    FakeWorker(made).take()
    again = run("migrate", "--dry-run", "--sql", url=url)
    assert (again.exit_code, again.stdout) == (0, "")
    assert "is up to date" in again.stderr
    made.erase()


def test_what_is_printed_is_what_is_run(store: SqlStore) -> None:
    printed = store.migrate(dry_run=True)
    assert store.schema() == (0, WANTED)
    assert store.migrate() == printed
    assert store.migrate() == []


# -- by somebody without the right ------------------------------------------------------


@pytest.mark.parametrize("name", ["postgresql", "mysql"])
def test_who_may_not_make_tables_learns_who_must(name: str, url: str, at: Open) -> None:
    server = SERVERS[name]()
    assert isinstance(server, Postgres | MariaDB)
    theirs = at(server.writer(url))
    refused = [theirs]
    if name == "postgresql":
        refused.append(at(server.writer(url), schema="Nowhere"))
    for store in refused:
        with pytest.raises(StoreError, match=r"denied.*run `durable store migrate` as one who may"):
            store.open()
    at(url).open()
    theirs.open()
    start(theirs)
    send(theirs)
    worker = FakeWorker(theirs)
    worker.finish(worker.take())
    assert look(theirs).result == b"result"
    assert len(theirs.secret()) == 32


# -- two stores in one place ------------------------------------------------------------


IN_SERVERS = [("postgresql", "prefix"), ("postgresql", "schema"), ("mysql", "prefix")]


@pytest.fixture
def both(way: str, url: str, at: Open) -> Iterator[tuple[SqlStore, SqlStore]]:
    """Two in one database, of which one has the other's name as the beginning of its own."""
    if way == "prefix":
        urls = [with_prefix(url, more) if "prefix=" in url else f"{url}?prefix={more}"
                for more in ("a_", "a_b_")]  # fmt: skip
    else:
        urls = [url, f"{url}&schema=Another"]
    one, two = (at(url) for url in urls)
    yield one, two
    two.erase()


@pytest.mark.parametrize(("name", "way"), [("sqlite", "prefix"), *IN_SERVERS])
def test_two_stores_in_one_database_are_two(both: tuple[SqlStore, SqlStore]) -> None:
    one, two = both
    one.open()
    assert two.schema()[0] == 0
    two.open()
    assert described(one) == described(two)
    assert one.secret() != two.secret()
    start(one, "same", args=b"one")
    assert two.instance("same") is None
    start(two, "same", "more", args=b"two")
    workers = [FakeWorker(store) for store in both]
    claimed = [worker.claim().instances for worker in workers]
    assert [[got.instance.args for got in some] for some in claimed] == [[b"one"], [b"two"] * 2]
    send(one, "m-1", "same")
    assert two.inbox(look(two, "same").uid) == []
    assert [len(worker.ids()) for worker in workers] == [1, 0]
    one.erase()
    assert (one.schema()[0], two.schema()[0]) == (0, WANTED)
    assert len(two.stats().instances) > 0
    assert look(two, "same").args == b"two"


@pytest.mark.parametrize(("name", "way"), IN_SERVERS)
def test_one_that_migrates_keeps_no_other_waiting(both: tuple[SqlStore, SqlStore]) -> None:
    one, two = both

    def work(tx: Any) -> tuple[int, int]:
        two._patience = two._timeout = 0  # type: ignore[attr-defined]
        two.open()
        return two.schema()

    assert one._alone(work) == (WANTED, WANTED)
