"""Others lock rows in bad orders, or hold them for too long: nobody fails, and nothing is half
done."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
import servers
from fault_kit import PATIENCE, Campaign, campaign, rounds, until
from servers.sql_servers import mysql_arguments
from store_table import fresh_url

from durable import Client, Worker, Workflow, activity, sleep, workflow
from durable.model import Status
from durable.store import Unavailable
from durable.stores import open_store
from durable.stores.errors import Kind
from durable.stores.sql import SqlStore
from durable.testing.store_contract.base import (
    CLOSE,
    FakeWorker,
    a_family,
    a_message,
    events,
    inbox,
    look,
    start,
)

STORES = ("postgresql", "mysql")
ROWS = 6
STORMERS = 3
SENDERS = 2


@activity
def tick(number: int) -> int:
    return number


@workflow(queue="work")
def ticking(count: int) -> Workflow[int]:
    total = 0
    for number in range(count):
        total += yield tick.call(number)
        yield sleep(0.01)
    return total


def cursor_of(store: str) -> Any:
    """Of a session of somebody else, in which each statement is a transaction if it is not told."""
    if store == "postgresql":
        url = servers.postgres()._shared.partition("?")[0]
        return psycopg.connect(url, autocommit=True).cursor()
    arguments = mysql_arguments(servers.mariadb()._shared.partition("?")[0])
    return pymysql.connect(**arguments, autocommit=True, ssl_disabled=True).cursor()


@pytest.fixture
def session() -> Iterator[Callable[[str], Any]]:
    """Makes cursors that are closed at the end."""
    cursors: list[Any] = []

    def opened(store: str) -> Any:
        cursors.append(cursor_of(store))
        return cursors[-1]

    yield opened
    for cursor in cursors:
        cursor.connection.close()


def deadlocks(store: str, cursor: Any) -> int:
    """How many the server has seen."""
    if store == "postgresql":
        cursor.execute("SELECT sum(deadlocks) FROM pg_stat_database")
        return int(cursor.fetchone()[0])
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
    return int(cursor.fetchone()[1])


@contextmanager
def soon_found(store: str, cursor: Any) -> Iterator[None]:
    """PostgreSQL looks for deadlocks after a second, unless it is told otherwise."""
    if store == "mysql":
        yield
        return
    try:
        cursor.execute("ALTER SYSTEM SET deadlock_timeout = '50ms'")
        cursor.execute("SELECT pg_reload_conf()")
        yield
    finally:
        cursor.execute("ALTER SYSTEM RESET deadlock_timeout")
        cursor.execute("SELECT pg_reload_conf()")


class Storm:
    """Threads that do something again and again; what they raise is kept."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.errors: list[BaseException] = []

    def add(self, act: Callable[[], object]) -> None:
        def run() -> None:
            try:
                while not self._over.is_set():
                    act()
            except BaseException as error:
                self.errors.append(error)

        self._threads.append(threading.Thread(target=run))

    def __enter__(self) -> Storm:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)


def locker(store: str, cursor: Any, table: str, chance: random.Random) -> Callable[[], None]:
    """Locks some rows, in no order."""
    victims = (psycopg.OperationalError, pymysql.OperationalError)

    def lock() -> None:
        cursor.execute("BEGIN")
        try:
            for number in chance.sample(range(ROWS), 3):
                cursor.execute(
                    f"UPDATE {table} SET history_length = history_length WHERE id = %s",
                    [f"i-{number}".encode() if store == "mysql" else f"i-{number}"],
                )
                time.sleep(0.002)
        except victims:
            pass
        cursor.execute("ROLLBACK")

    return lock


def count_retries(store: SqlStore, report: Campaign) -> None:
    inner, errors = store._give_up, store.dialect.errors

    def counting(error: BaseException, at_commit: bool, late: bool) -> bool:
        if errors.kind(error) is Kind.RETRY_TXN:
            report.figures["retries"] += 1
        return inner(error, at_commit, late)

    store._give_up = counting  # type: ignore[method-assign]


@pytest.mark.parametrize("store", STORES)
def test_a_storm_of_deadlocks_fails_nobody(
    store: str, tmp_path: Path, session: Callable[[str], Any]
) -> None:
    url = fresh_url(store, tmp_path)
    admin = session(store)
    with campaign("deadlocks", store) as report, soon_found(store, admin):
        opened: Any = open_store(url)
        opened.open()
        count_retries(opened, report)
        start(opened, *(f"i-{n}" for n in range(ROWS)))
        client = Client(opened)
        before = deadlocks(store, admin)
        sent: list[str] = []
        storm = Storm()
        table = opened.models.names["instances"]
        for _ in range(STORMERS):
            storm.add(locker(store, session(store), table, random.Random(report.chance.random())))

        def send_to_all() -> None:
            message_id = f"m-{report.chance.getrandbits(64)}"
            opened.send([a_message(f"i-{n}", message_id) for n in range(ROWS)])
            sent.append(message_id)

        for _ in range(SENDERS):
            storm.add(send_to_all)
        workers = [
            Worker(url, workflows=[ticking], activities=[tick], queues=["work"]) for _ in range(2)
        ]
        for worker in workers:
            worker.start()
        handles = [client.start(ticking, 5) for _ in range(20)]
        try:
            with storm:
                until(
                    lambda: report.figures["retries"] >= rounds(10, 300) or storm.errors,
                    "deadlocks",
                )
                assert [handle.result(timeout=PATIENCE) for handle in handles] == [10] * 20
        finally:
            for worker in workers:
                worker.stop(0)
        assert storm.errors == []
        until(lambda: deadlocks(store, admin) > before, "the server counts them")
        report.faults["deadlocks"] = deadlocks(store, admin) - before
        for number in range(ROWS):
            arrived = [id for id, _ in inbox(opened, look(opened, f"i-{number}").uid)]
            assert sorted(arrived) == sorted(sent)
        report.figures["ops"] = report.figures["acked"] = len(sent) + len(handles)
        report.notes["retries"] = report.figures["retries"]
        opened.close()


@pytest.mark.parametrize("store", STORES)
def test_a_row_that_is_held_for_too_long_leaves_nothing_half_done(
    store: str, tmp_path: Path, session: Callable[[str], Any]
) -> None:
    """MySQL rolls back one statement only."""
    with campaign("lock-timeouts", store) as report:
        opened: Any = open_store(fresh_url(store, tmp_path), timeout=1)
        opened.open()
        count_retries(opened, report)
        start(opened, "parent")
        parent = a_family(FakeWorker(opened), "child")
        length = look(opened, "parent").history_length
        cursor = session(store)
        name = b"child" if store == "mysql" else "child"
        table = opened.models.names["instances"]
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT number FROM {table} WHERE id = %s FOR UPDATE", [name])
        ending = ("parent", "t-1", b"terminated", "enough", None, CLOSE)
        with pytest.raises(Unavailable):
            opened.terminate(*ending)
        assert look(opened, "parent").status is Status.RUNNING
        assert len(events(opened, parent.uid)) == length
        assert look(opened, "child").status is Status.PENDING

        threading.Timer(1.5, lambda: cursor.execute("ROLLBACK")).start()
        opened.terminate(*ending)  # waits, is refused once, and is redone
        assert look(opened, "parent").status is Status.TERMINATED
        assert len(events(opened, parent.uid)) == length + 1
        assert len(inbox(opened, look(opened, "child").uid)) == 1
        report.faults["timeouts"] = report.figures["retries"]
        assert report.figures["retries"] >= 2
        report.figures.update(ops=2, acked=1)
        opened.close()
