"""A store in the Peewee database, or pool, of an application."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import peewee
import pytest
from engine_kit import TIMEOUT
from playhouse import pool
from store_table import fresh_url
from using_kit import peewee_database

from durable import (
    Client,
    InstanceAlreadyExists,
    InstanceNotFound,
    Orchestrator,
    Status,
    Worker,
    Workflow,
    activity,
    wait_signal,
    workflow,
)
from durable.errors import StoreError, UsageError
from durable.stores import open_store

POOLS = {
    "sqlite": pool.PooledSqliteDatabase,
    "postgresql": pool.PooledPostgresqlDatabase,
    "mysql": pool.PooledMySQLDatabase,
}


@workflow
def echo(value: str) -> Workflow[str]:
    yield from ()
    return value


@workflow
def listen() -> Workflow[str]:
    value: str = yield wait_signal("go")
    return value


@pytest.fixture(params=("plain", "pool"))
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=("sqlite", "postgresql", "mysql"))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return fresh_url(request.param, tmp_path)


@pytest.fixture
def database(url: str, way: str) -> Iterator[peewee.Database]:
    made: Any = peewee_database(url)
    if way == "pool":
        params = {**made.connect_params, "max_connections": 2}
        if urlsplit(url).scheme == "postgresql":
            params["prefer_psycopg3"] = True
        made = POOLS[urlsplit(url).scheme](made.database, **params)
    yield made
    if not made.is_closed():
        made.close()
    if way == "pool":
        made.close_all()


@pytest.fixture
def client(database: peewee.Database, url: str) -> Iterator[Client]:
    prefix = parse_qs(urlsplit(url).query).get("prefix", ["durable_"])[0]
    made = Client(open_store(database, prefix=prefix))
    made.store.open()
    yield made
    made.close()


class Broken(Exception):
    """Why the application rolls back."""


def test_what_is_started_in_a_transaction_is_part_of_it(
    client: Client, database: peewee.Database
) -> None:
    with Orchestrator(client.store, workflows=[echo, listen]) as here:
        waiting = client.start(listen)
        with suppress(Broken), database.atomic():
            gone = client.start(echo.options(id="gone"), "x")
            waiting.signal("go", "gone")
            assert gone.status() is Status.PENDING
            raise Broken
        with pytest.raises(InstanceNotFound):
            gone.status()
        with database.atomic():
            handle = client.start(echo.options(id="o-1"), "x")
            with pytest.raises(InstanceAlreadyExists):
                client.start(echo.options(id="o-1"), "x")
            with suppress(Broken), database.atomic():
                client.start(echo.options(id="o-2"), "x")
                raise Broken
            waiting.signal("go", "went")
            seen = [row.id for row in client.list(search="o-").rows]
        assert seen == ["o-1"]
        assert handle.result(timeout=TIMEOUT) == "x"
        assert waiting.result(timeout=TIMEOUT) == "went"
        assert here.client.count(search="o-") == 1
    # Outside of a transaction a start is on disk when it returns.
    assert client.start(echo, "y").status() is Status.PENDING


def test_an_activity_starts_another_with_what_it_writes(
    client: Client, database: peewee.Database
) -> None:
    """The store's own connections, and those of the thread, do not meet."""

    @activity
    def order(id: str) -> None:
        with database.connection_context(), database.atomic():
            client.start(echo.options(id=id), id)

    @workflow
    def shop() -> Workflow[None]:
        yield order.call("o-1")

    with Orchestrator(client.store, workflows=[shop, echo], activities=[order]) as here:
        here.client.start(shop).result(timeout=TIMEOUT)
        assert client.get("o-1").result(timeout=TIMEOUT) == "o-1"
    assert database.is_closed()


def test_what_takes_no_part_is_refused(client: Client, database: peewee.Database) -> None:
    handle = client.start(echo, "x")
    with database.atomic(), pytest.raises(UsageError, match="do this after its commit"):
        handle.terminate()
    handle.terminate()


def test_clients_and_workers_take_it_as_it_is(tmp_path: Path) -> None:
    database = peewee.SqliteDatabase(str(tmp_path / "own.db"))
    proxy = peewee.DatabaseProxy()
    with pytest.raises(UsageError, match="proxy was not initialised"):
        Client(proxy)  # type: ignore[arg-type]  # it has no types
    proxy.initialize(database)
    client = Client(proxy)  # type: ignore[arg-type]  # it has no types
    worker = Worker(database, workflows=[echo])
    worker.start()
    assert client.start(echo, "x").result(timeout=TIMEOUT) == "x"
    worker.stop()
    with Orchestrator(database, workflows=[echo]) as here:
        assert here.client.start(echo, "y").result(timeout=TIMEOUT) == "y"
    client.close()
    worker.store.close()
    # Its own connections had other settings, and nobody opened one of the application.
    assert database.is_closed()


def test_settings_of_the_application_do_not_matter(tmp_path: Path) -> None:
    """A journal and a durability of its own are those of its own connections."""
    database = peewee.SqliteDatabase(
        str(tmp_path / "own.db"), pragmas={"synchronous": 0, "foreign_keys": 1}, timeout=0
    )
    with database.connection_context():
        client = Client(database)
        with database.atomic("IMMEDIATE"):
            client.start(echo.options(id="x"), "x")
        assert [database.synchronous, database.foreign_keys] == [0, 1]
        assert client.count() == 1
        client.close()


def test_nothing_is_repeated_in_a_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a client would do for half a minute is for the application to do, from the beginning."""
    database = peewee.SqliteDatabase(str(tmp_path / "own.db"))
    client, calls = Client(database), list[Any]()
    create = client.store.create

    def counted(*what: Any) -> Any:
        calls.append(what)
        return create(*what)

    monkeypatch.setattr(client.store, "create", counted)
    with database.connection_context(), database.atomic() as transaction:
        assert client.count() == 0
        other = Client(f"sqlite:///{tmp_path / 'own.db'}")
        other.start(echo, "x")
        with pytest.raises(StoreError, match="do the whole transaction again"):
            client.start(echo, "y")
        transaction.rollback()
        client.start(echo, "y")
    assert len(calls) == 2
    assert client.count() == 2
    client.close()
    other.close()


def test_a_fork_shares_no_connection(client: Client, database: peewee.Database) -> None:
    client.start(echo, "x")
    pid = os.fork()
    if not pid:  # pragma: no cover — in the child
        code = 1
        with suppress(BaseException):
            code = 0 if client.count() == 1 else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert client.count() == 1


@pytest.mark.parametrize(
    ("database", "why"),
    [
        (peewee.SqliteDatabase(None), "not initialised: call its init"),
        (peewee.SqliteDatabase(":memory:"), "a file that it can open by itself"),
        (peewee.SqliteDatabase("file:x?mode=memory", uri=True), "a file that it can open"),
        (object(), "a store is an address"),
    ],
)
def test_what_is_no_place_for_a_store(database: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Client(database)
