"""Starts, signals and cancels in transactions of applications, for each framework."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from engine_kit import TIMEOUT, Engine, until
from store_table import fresh_url
from using_kit import APPLICATIONS, Application, Driver, connect

from durable import (
    Handle,
    InstanceAlreadyExists,
    InstanceNotFound,
    Retry,
    Status,
    Workflow,
    activity,
    current_activity,
    gather,
    send_signal,
    sleep,
    spawn,
    workflow,
)
from durable import wait_signal as waits_for
from durable.errors import InstanceFinished, StoreError

SQL = ("sqlite", "postgresql", "mysql")


@workflow
def echo(value: str) -> Workflow[str]:
    yield from ()
    return value


@workflow
def listen() -> Workflow[str]:
    value = yield waits_for("go")
    return f"went {value}"


class Broken(Exception):
    """Why the application rolls back."""


@pytest.fixture(params=SQL)
def sql(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = Engine(fresh_url(request.param, tmp_path), 100)
    yield made
    made.stop()
    made.client.close()


@pytest.fixture(params=APPLICATIONS, ids=lambda kind: kind.__name__)
def app(request: pytest.FixtureRequest, sql: Engine) -> Iterator[Application]:
    made = request.param(sql.url)
    yield made
    made.close()


@pytest.fixture
def driver(sql: Engine) -> Iterator[Driver]:
    made = Driver(sql.url)
    yield made
    made.close()


def is_there(sql: Engine, id: str) -> bool:
    return sql.store.instance(id) is not None


def result(handle: Handle[Any]) -> Any:
    return handle.result(timeout=TIMEOUT)


def test_what_is_committed_runs_and_what_is_rolled_back_never_was(
    sql: Engine, app: Application
) -> None:
    sql.work([echo, listen])
    signalled, cancelled = sql.start(listen), sql.start(listen)
    with suppress(Broken), app.transaction() as connection:
        app.write("gone")
        within = sql.client.using(connection)
        within.start(echo.options(id="naïve-1"), "x")
        within.signal(signalled.id, "go", "nowhere")
        raise Broken
    assert (app.rows(), is_there(sql, "naïve-1")) == ([], False)
    with app.transaction() as connection:
        app.write("o-1")
        within = sql.client.using(connection)
        started = within.start(echo.options(id="naïve-1", tags=["t"]), "grüße")
        with pytest.raises(InstanceAlreadyExists, match="'naïve-1'"):
            within.start(echo.options(id="naïve-1"), "x")
        many = within.start_many([(echo, "1"), (echo, "2")])
        named = within.start_named("echo", ["3"], id="named")
        within.signal(signalled.id, "go", "far")
        within.cancel(cancelled.id, "enough")
        assert (app.rows(), is_there(sql, "naïve-1")) == ([], False)
        if not sql.url.startswith("sqlite"):
            # Others go on, and so do workers.
            assert sql.run(echo, "meanwhile") == "meanwhile"
    assert app.rows() == ["o-1"]
    assert result(started) == "grüße"
    assert [result(one) for one in (*many, named)] == ["1", "2", "3"]
    assert result(signalled) == "went far"
    assert sql.becomes(cancelled, Status.CANCELLED)["reason"] == "enough"


def test_what_is_refused_leaves_the_transaction_as_it_was(sql: Engine, driver: Driver) -> None:
    sql.work([echo])
    assert sql.run(echo.options(id="there"), "x") == "x"
    with driver.transaction() as connection:
        within = sql.client.using(connection)
        within.start(echo.options(id="first"), "1")
        with pytest.raises(InstanceAlreadyExists, match="'there'"):
            within.start(echo.options(id="there"), "y")
        with pytest.raises(InstanceAlreadyExists, match="'first'"):
            within.start_many([(echo, "z"), (echo.options(id="first"), "2")])
        with pytest.raises(InstanceNotFound):
            within.signal("nobody", "go")
        with pytest.raises(InstanceFinished):
            within.cancel("there")
        used = within.start(echo.options(id="there", if_exists="use"), "y")
        again = within.start(echo.options(id="there", if_exists="restart"), "again")
        driver.write("o-1")
    assert driver.rows() == ["o-1"]
    assert (used.new, again.new) == (False, True)
    assert (result(again), result(sql.client.get("first"))) == ("again", "1")
    assert sql.client.count() == 2


def test_what_was_started_in_a_transaction_can_be_signalled_there(
    sql: Engine, driver: Driver
) -> None:
    sql.work([listen])
    with driver.transaction() as connection:
        within = sql.client.using(connection)
        within.start(listen.options(id="a"))
        within.signal("a", "go", "first")
        within.signal_or_start(listen.options(id="a"), signal="go", value="second")
        within.signal_or_start(listen.options(id="b"), signal="go", value="at once")
    assert result(sql.client.get("a")) == "went first"
    assert result(sql.client.get("b")) == "went at once"


# -- sessions with settings of their own ------------------------------------------------


@pytest.fixture(params=("postgresql", "mysql"))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made = Engine(fresh_url(request.param, tmp_path), 100)
    yield made
    made.stop()
    made.client.close()


def repeatable(engine: Engine) -> Any:
    """A connection with a transaction that goes on seeing what there is now."""
    connection = connect(engine.url)
    cursor = connection.cursor()
    if engine.url.startswith("mysql"):
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    else:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT count(*) FROM pg_catalog.pg_class")
    return connection


def test_a_transaction_that_shows_what_was(server: Engine) -> None:
    """What others have committed since it began is found all the same, or the transaction is
    to be repeated; never is it taken for what is not there."""
    old = server.start(listen.options(id="old"))
    with closing(repeatable(server)) as connection:
        server.start(echo.options(id="new"), "x")
        server.client.pause("old")
        within = server.client.using(connection)
        within.start(echo.options(id="mine"), "y")
        with pytest.raises(InstanceAlreadyExists, match="'new'"):
            within.start(echo.options(id="new"), "y")
        if server.url.startswith("mysql"):
            assert not within.start(echo.options(id="new", if_exists="use"), "y").new
            within.signal("old", "go", "on")
            within.signal("new", "go")
        else:
            with pytest.raises(StoreError, match=r"cannot see.* do the whole transaction again"):
                within.start(echo.options(id="new", if_exists="use"), "y")
            with pytest.raises(StoreError, match="do the whole transaction again"):
                within.signal("old", "go", "on")
        connection.commit()
    assert is_there(server, "mine")
    assert len(server.store.inbox(old._uid)) == server.url.startswith("mysql")


def test_ids_that_are_free_are_not_locked(server: Engine) -> None:
    """Two transactions and a client start what would stand side by side in the index."""
    with closing(repeatable(server)) as one, closing(repeatable(server)) as two:
        server.client.using(one).start(echo.options(id="a-1"), "x")
        server.client.using(two).start(echo.options(id="a-2"), "x")
        server.start(echo.options(id="a-3"), "x")
        server.client.using(one).start_many([(echo.options(id=f"a-{n}"), "x") for n in (4, 6)])
        server.client.using(two).start_many([(echo.options(id=f"a-{n}"), "x") for n in (5, 7)])
        two.commit()
        one.commit()
    assert server.client.count(search="a-") == 7


def test_a_worker_goes_on_with_what_is_not_held(server: Engine) -> None:
    """A step of an instance that a transaction holds comes when it is given free."""
    began, may_end = Event(), Event()

    @activity
    def work() -> str:
        began.set()
        assert may_end.wait(TIMEOUT)
        return "done"

    @workflow
    def busy() -> Workflow[str]:
        done = yield work.call()
        value = yield waits_for("go")
        return f"{done}, {value}"

    server.work([busy, echo], [work], max_in_flight=10)
    held = server.start(busy)
    assert began.wait(TIMEOUT)
    with closing(connect(server.url)) as connection:
        within = server.client.using(connection)
        within.signal(held.id, "go", "went")
        may_end.set()
        assert [server.run(echo, f"{n}") for n in range(5)] == ["0", "1", "2", "3", "4"]
        assert held.status() is Status.RUNNING
        connection.commit()
    assert result(held) == "done, went"


@activity(retry=Retry(max_attempts=2, first_delay=0))
def second_time() -> None:
    if current_activity().attempt == 1:
        raise LookupError


@workflow
def child() -> Workflow[str]:
    yield from second_time.call()
    value: str = yield waits_for("go")
    return value


@workflow
def family(name: str) -> Workflow[list[Any]]:
    ids = [f"{name}-{number}" for number in range(3)]
    tasks = [spawn(child.options(id=id).call()) for id in ids]
    yield sleep(0)
    for id in ids[1:]:
        yield send_signal(id, "go", id)
    tasks[0].cancel()
    found: list[Any] = yield gather(*tasks, return_exceptions=True)
    return found[1:]


def test_a_worker_waits_for_no_transaction(server: Engine) -> None:
    """The tables are small, and a database likes to look at all of a small table."""
    server.work([family, child, listen], [second_time])
    held = server.start(listen)
    until(lambda: held.status() is Status.RUNNING)
    with closing(connect(server.url)) as connection:
        within = server.client.using(connection)
        within.signal(held.id, "go", "on")
        within.start_many([(listen,)] * 3)
        started = [server.start(family, name) for name in "ab"]
        assert [result(one) for one in started] == [["a-1", "a-2"], ["b-1", "b-2"]]
        connection.commit()
    assert result(held) == "went on"


def test_a_cancel_of_what_is_held(server: Engine) -> None:
    server.work([listen])
    held = server.start(listen)
    with closing(connect(server.url)) as connection, closing(connect(server.url)) as other:
        server.client.using(connection).signal(held.id, "other")
        cancelling = Thread(target=cancel_and_commit, args=(server, other, held.id))
        cancelling.start()
        connection.commit()
        cancelling.join(TIMEOUT)
    assert server.becomes(held, Status.CANCELLED)["unread"] == ["other"]


def cancel_and_commit(engine: Engine, connection: Any, id: str) -> None:
    engine.client.using(connection).cancel(id)
    connection.commit()


def test_the_session_stays_as_it_was(sql: Engine) -> None:
    connection = connect(sql.url)
    with closing(connection):
        before = session(connection)
        sql.client.using(connection).start(echo.options(id="x"), "x")
        with suppress(InstanceAlreadyExists):
            sql.client.using(connection).start(echo.options(id="x"), "x")
        connection.rollback()
        assert session(connection) == before


def session(connection: Any) -> Any:
    """The settings of a connection, and of its session."""
    own = ("isolation_level", "row_factory", "text_factory", "cursorclass")
    found = [getattr(connection, name, None) for name in own]
    cursor = connection.cursor()
    if isinstance(connection, sqlite3.Connection):
        texts = [f"PRAGMA {name}" for name in ("synchronous", "foreign_keys", "busy_timeout")]
    elif isinstance(connection, psycopg.Connection):
        found.append(connection.autocommit)
        texts = ["SELECT name, setting FROM pg_catalog.pg_settings"]
    else:
        names = ("autocommit", "sql_mode", "time_zone", "tx_isolation", "wait_timeout")
        texts = [f"SELECT @@{name}" for name in names]
    for text in texts:
        cursor.execute(text)
        found.append(cursor.fetchall())
    connection.rollback()
    return found
