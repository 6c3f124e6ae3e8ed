"""What `using` refuses, and what it says."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
import servers
from engine_kit import Engine
from store_table import fresh_url
from using_kit import connect

from durable import Client, Workflow, workflow
from durable.client import TransactionClient
from durable.errors import StoreError, UsageError


@workflow
def echo(value: str) -> Workflow[str]:
    yield from ()
    return value


@pytest.fixture(params=("sqlite", "postgresql", "mysql"))
def sql(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = Engine(fresh_url(request.param, tmp_path), 100)
    yield made
    made.client.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Client]:
    client = Client(f"sqlite:///{tmp_path / 'store.db'}")
    yield client
    client.close()


def start(within: TransactionClient) -> None:
    within.start(echo.options(id="x"), "x")


def refused(client: Client, connection: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        start(client.using(connection))
    assert client.count() == 0


@pytest.mark.parametrize("url", ["memory://", "redis"])
def test_a_store_without_transactions(url: str) -> None:
    client = Client(servers.fresh_prefix(servers.redis()) if url == "redis" else url)
    with pytest.raises(UsageError, match="start after its commit, with an id of your own"):
        client.using(object())
    client.close()


def test_a_closed_connection(sql: Engine) -> None:
    connection = connect(sql.url)
    connection.close()
    refused(sql.client, connection, "closed")


def test_a_connection_without_a_transaction(sql: Engine) -> None:
    options = {"isolation_level": None} if sql.url.startswith("sqlite") else {"autocommit": True}
    with closing(connect(sql.url, **options)) as connection:
        refused(sql.client, connection, "has no transaction open, and commits each statement")
        connection.cursor().execute("BEGIN")
        start(sql.client.using(connection))
        connection.rollback()
        refused(sql.client, connection, "has no transaction open, and commits each statement")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 has the attribute")
def test_what_autocommit_means_to_sqlite(file: Client) -> None:
    path = file.store.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, autocommit=True)) as connection:  # type: ignore[call-overload]
        refused(file, connection, "has no transaction open")
    with closing(sqlite3.connect(path, autocommit=False)) as connection:  # type: ignore[call-overload]
        start(file.using(connection))
        connection.commit()
    assert file.count() == 1


def test_a_connection_of_another_driver(file: Client, tmp_path: Path) -> None:
    why = "takes part in transactions of sqlite3; this is a builtins.object"
    refused(file, object(), why)
    others = {
        "psycopg 3": fresh_url("postgresql", tmp_path),
        "PyMySQL": fresh_url("mysql", tmp_path),
    }
    for driver, url in others.items():
        with closing(connect(file.store.url)) as connection, closing(Client(url)) as client:
            refused(client, connection, f"transactions of {driver}; this is a sqlite3.Connection")


def test_a_connection_to_another_database(sql: Engine, tmp_path: Path) -> None:
    kind = sql.url.partition(":")[0]
    (tmp_path / "other").mkdir()
    if kind == "sqlite":
        elsewhere = f"sqlite:///{tmp_path / 'other' / 'x.db'}"
    else:
        server = servers.postgres() if kind == "postgresql" else servers.mariadb()
        elsewhere = servers.fresh(server)
    with closing(connect(elsewhere)) as connection:
        refused(sql.client, connection, "does not lead to the tables of")
    prefix = sql.url.partition("?")[2]
    Client(f"{elsewhere}?{prefix}").close()
    with closing(connect(elsewhere)) as connection:
        refused(sql.client, connection, "leads to another store than")


def test_a_connection_of_another_thread(file: Client) -> None:
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            start(file.using(connection))
        except UsageError as error:
            errors.append(error)

    with closing(connect(file.store.url)) as connection:
        thread = Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert "can only be used in that same thread" in str(errors[0])


def test_a_transaction_that_has_failed(tmp_path: Path) -> None:
    url = fresh_url("postgresql", tmp_path)
    with closing(Client(url)) as client, closing(connect(url)) as connection:
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT nothing")
        refused(client, connection, "roll it back first")


def test_a_lock_of_somebody_else(file: Client) -> None:
    """The application decides how long it waits, and whether it tries again."""
    path = file.store.url.removeprefix("sqlite:///")
    with (
        closing(sqlite3.connect(path)) as writer,
        closing(sqlite3.connect(path, timeout=0)) as connection,
    ):
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked; roll back, and do the whole transaction"):
            start(file.using(connection))
        writer.rollback()
        start(file.using(connection))
        connection.commit()
    assert file.count() == 1


def test_a_read_before_another_ones_write(file: Client) -> None:
    path = file.store.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM durable_instances").fetchall()
        file.start(echo.options(id="other"), "x")
        with pytest.raises(StoreError, match="do the whole transaction again"):
            start(file.using(connection))
        connection.execute("ROLLBACK")
        connection.execute("BEGIN")
        start(file.using(connection))
        connection.execute("COMMIT")
    assert file.count() == 2


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_connection_that_is_lost(kind: str, tmp_path: Path) -> None:
    url = fresh_url(kind, tmp_path)
    with (
        closing(Client(url)) as client,
        closing(connect(url)) as connection,
        closing(connect(url)) as other,
    ):
        within = client.using(connection)
        start(within)
        if kind == "mysql":
            other.cursor().execute(f"KILL {connection.thread_id()}")
        else:
            other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        with pytest.raises(StoreError, match="do the whole transaction again"):
            within.start(echo.options(id="y"), "y")
        assert client.count() == 0


def test_what_is_too_long_for_the_server(tmp_path: Path) -> None:
    """It is refused before it is sent: the server would close the application's connection."""
    url = fresh_url("mysql", tmp_path)
    with closing(Client(url)) as client, closing(connect(url)) as connection:
        within = client.using(connection)
        start(within)
        large = b"x" * (4 * 1024 * 1024 - 1000)
        with pytest.raises(StoreError, match="more than the server takes"):
            within.start_named("echo", [large], {"value": large}, memo={"m": large})
        connection.commit()
        assert client.count() == 1
