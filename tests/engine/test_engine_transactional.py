"""Activities whose result is committed with what they write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import parse_qs, urlsplit

import peewee
import pytest
from engine_kit import TIMEOUT, Engine, StoreProxy, kinds, proxy
from store_table import fresh_url
from using_kit import Driver, peewee_database

from durable import Client, Retry, Worker, Workflow, activity, current_activity, workflow
from durable.errors import OutcomeUnknown, UsageError, WorkflowError
from durable.store import Store
from durable.stores import open_store

ONCE = Retry(max_attempts=3, first_delay=0)


def write(id: str) -> None:
    """Add a row to the table of the application, in the transaction of this activity."""
    connection = current_activity().connection
    text = f"INSERT INTO own_rows (id) VALUES ('{id}')"
    if isinstance(connection, peewee.Database):
        run: Any = connection.execute_sql  # which has no types
        run(text)
    else:
        connection.cursor().execute(text)


@activity(transactional=True, retry=ONCE)
def book(id: str) -> str:
    write(f"{id}.{current_activity().attempt}")
    if id == "always" or (id == "once" and current_activity().attempt == 1):
        raise LookupError("no room")
    return f"booked {id}"


@workflow
def shop(id: str) -> Workflow[str]:
    return (yield from book.call(id))


@pytest.fixture(params=("sqlite", "postgresql", "mysql"))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return fresh_url(request.param, tmp_path)


@pytest.fixture(params=("url", "peewee"))
def sql(request: pytest.FixtureRequest, url: str) -> Iterator[Engine]:
    def given(store: Store) -> Store:
        if request.param == "url":
            return store
        prefix = parse_qs(urlsplit(url).query).get("prefix", ["durable_"])[0]
        return open_store(peewee_database(url), prefix=prefix)

    made = Engine(url, 100, given)
    yield made
    made.stop()
    made.client.close()


@pytest.fixture
def rows(url: str) -> Iterator[Driver]:
    made = Driver(url)
    yield made
    made.close()


def test_what_it_writes_comes_with_its_result(sql: Engine, rows: Driver) -> None:
    sql.work([shop], [book])
    handle = sql.start(shop, "o-1")
    assert handle.result(timeout=TIMEOUT) == "booked o-1"
    assert rows.rows() == ["o-1.1"]
    assert kinds(handle) == [
        "WorkflowStarted",
        "ActivityScheduled",
        "ActivityCompleted",
        "WorkflowCompleted",
    ]


def test_what_fails_is_rolled_back(sql: Engine, rows: Driver) -> None:
    sql.work([shop], [book])
    assert sql.run(shop, "once") == "booked once"
    with pytest.raises(WorkflowError, match="no room"):
        sql.run(shop, "always")
    assert rows.rows() == ["once.2"]


def test_it_starts_a_workflow_with_what_it_writes(sql: Engine, rows: Driver) -> None:
    @activity(transactional=True, retry=ONCE)
    def order(id: str) -> str:
        write(id)
        within = sql.client.using(current_activity().connection)
        within.start(shop.options(id=f"{id}.{current_activity().attempt}"), id)
        if current_activity().attempt == 1:
            raise LookupError
        return sql.store.url

    @workflow
    def orders(id: str) -> Workflow[str]:
        return (yield from order.call(id))

    sql.work([orders, shop], [order, book])
    sql.run(orders, "o-1")
    assert sql.client.get("o-1.2").result(timeout=TIMEOUT) == "booked o-1"
    assert sql.client.count(search="o-1.") == 1
    assert sorted(rows.rows()) == ["o-1", "o-1.1"]


@proxy
class Losing(StoreProxy):
    """The answer to the first transaction is lost. stored: whether that was committed."""

    stored = True
    lost = False

    def transact(self, worker: str, work: Any) -> bool:
        if self.lost:
            return self.inner.transact(worker, work)
        self.lost = True
        if self.stored:
            assert self.inner.transact(worker, work)
        raise OutcomeUnknown("the answer was lost")


@proxy
class Failing(Losing):
    stored = False


@pytest.mark.parametrize("wrap", [Losing, Failing])
def test_an_outcome_that_nobody_knows(url: str, rows: Driver, wrap: type[Losing]) -> None:
    engine = Engine(url, 100, wrap)
    engine.work([shop], [book])
    assert engine.run(shop, "o-1") == "booked o-1"
    assert rows.rows() == ["o-1.1"]
    engine.stop()
    engine.client.close()


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_an_attempt_that_took_too_long_is_rolled_back(kind: str, tmp_path: Path) -> None:
    url = fresh_url(kind, tmp_path)
    again, engine, app = Event(), Engine(url, 100), Driver(url)

    @activity(transactional=True, retry=Retry(max_attempts=None, first_delay=0), timeout=0.05)
    def slow() -> str:
        number = str(current_activity().attempt)
        write(number)
        if number == "1":
            assert again.wait(TIMEOUT)
        again.set()
        return number

    @workflow
    def patient() -> Workflow[str]:
        return (yield from slow.call())

    engine.work([patient], [slow])
    number = engine.run(patient)
    engine.stop()
    assert number != "1"
    assert app.rows() == [number]
    app.close()
    engine.client.close()


def test_a_statement_that_failed_is_not_hidden(tmp_path: Path) -> None:
    """PostgreSQL would roll back what is committed after it, and say nothing."""

    @activity(transactional=True, retry=None)
    def careless() -> None:
        with pytest.raises(Exception, match="nothing"):
            current_activity().connection.execute("SELECT nothing")

    @workflow
    def flow() -> Workflow[None]:
        yield from careless.call()

    engine = Engine(fresh_url("postgresql", tmp_path), 100)
    engine.work([flow], [careless])
    with pytest.raises(WorkflowError, match="the transaction has failed"):
        engine.run(flow)
    engine.stop()
    engine.client.close()


def test_where_it_cannot_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="book is transactional: that needs a store in SQLite"):
        Worker("memory://", activities=[book])
    with pytest.raises(UsageError, match="book is transactional: that needs executor='thread'"):
        Worker(f"sqlite:///{tmp_path / 'x.db'}", activities=[book], executor="process")
    with pytest.raises(UsageError, match="has no transactions"):
        Client("memory://").store.transact("w", lambda connection: pytest.fail("called"))


def test_others_have_no_connection(tmp_path: Path) -> None:
    @activity
    def plain() -> str:
        with pytest.raises(UsageError, match=r"plain is not decorated with @activity\(trans"):
            write("x")
        return "none"

    @workflow
    def flow() -> Workflow[str]:
        return (yield from plain.call())

    engine = Engine(fresh_url("sqlite", tmp_path), 100)
    engine.work([flow], [plain])
    assert engine.run(flow) == "none"
    engine.stop()
    engine.client.close()
