"""Disks that are full, servers that only read, and rows that somebody has damaged.

What cannot be written is refused with its reason, and goes on by itself when it can be; what is
damaged stops one instance, and no other.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
import servers
from fault_kit import PATIENCE, WRITES, Campaign, campaign, tap, until
from servers.base import as_user
from servers.redis_servers import connect
from servers.sql_servers import mysql_arguments
from store_table import fresh_url
from ticking_flows import ledger, tick, ticking

from durable import (
    Client,
    Handle,
    Status,
    Worker,
)
from durable.store import Unavailable
from durable.stores import open_store

# -- outages ----------------------------------------------------------------------------

Outage = Callable[[Any], Any]
"""A context: in it the store, which is given, cannot write. It gives what is said of that."""


def _links(store: Any, statement: str) -> list[Any]:
    """Run something on each connection to a file that there is; the first rows."""
    found = []
    for link in list(store._links._all):
        with link.lock:
            found.append(link.cursor.execute(statement).fetchone())
    return found


@contextmanager
def full_file(store: Any) -> Iterator[str]:
    pages = max(count for [count] in _links(store, "PRAGMA page_count"))
    _links(store, f"PRAGMA max_page_count = {pages}")
    yield "full"
    _links(store, "PRAGMA max_page_count = 1000000000")


@contextmanager
def full_disk(store: Any) -> Iterator[str]:
    """Of a file system of its own (see `disk`)."""
    filler = Path(store._path).with_name("filler")
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield "full"
    filler.unlink()


@contextmanager
def read_only_file(store: Any) -> Iterator[str]:
    _links(store, "PRAGMA query_only = 1")
    yield "must be able to write"
    _links(store, "PRAGMA query_only = 0")


@contextmanager
def read_only_postgresql(store: Any) -> Iterator[str]:
    with psycopg.connect(servers.postgres().url, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        yield "read-only transaction"
        admin.execute("SET default_transaction_read_only = off")
        admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        admin.execute("SELECT pg_reload_conf()")


@contextmanager
def _mysql() -> Iterator[Any]:
    arguments = mysql_arguments(servers.mariadb().url)
    with pymysql.connect(**arguments, autocommit=True, ssl_disabled=True) as connection:
        yield connection.cursor()


@contextmanager
def read_only_mysql(store: Any) -> Iterator[str]:
    with _mysql() as admin:
        admin.execute("SET GLOBAL read_only = 1")
        yield "read-only"
        admin.execute("SET GLOBAL read_only = 0")


@contextmanager
def no_memory(store: Any) -> Iterator[str]:
    with connect(servers.redis().url) as admin:
        admin.config_set("maxmemory", "1")
        yield "maxmemory"
        admin.config_set("maxmemory", "0")


@contextmanager
def replica(store: Any) -> Iterator[str]:
    """Of a server that nobody reaches."""
    with connect(servers.redis().url) as admin:
        admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        yield "read only replica"
        admin.execute_command("REPLICAOF", "NO", "ONE")


OUTAGES: Mapping[str, tuple[str, Outage]] = {
    "sqlite-full": ("sqlite", full_file),
    "sqlite-disk": ("disk", full_disk),
    "sqlite-read-only": ("sqlite", read_only_file),
    "postgresql-read-only": ("postgresql", read_only_postgresql),
    "mysql-read-only": ("mysql", read_only_mysql),
    "redis-memory": ("redis", no_memory),
    "redis-replica": ("redis", replica),
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB: more than the log of a file takes before it is written back."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own needs the right to mount one")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def opened(store: str, folder: Path) -> Any:
    """A store; of MariaDB for a user who has no more rights than he needs."""
    url = fresh_url(store, folder)
    if store == "mysql":
        place = mysql_arguments(url)["database"].partition("?")[0]
        with _mysql() as admin:
            admin.execute("CREATE USER IF NOT EXISTS modest@'%' IDENTIFIED BY 'secret'")
            admin.execute(f"GRANT ALL ON `{place}`.* TO modest@'%'")
        url = as_user(url, "modest", "secret")
    made = open_store(url, **({} if store == "sqlite" else {"timeout": 1}))
    made.open()
    return made


@pytest.mark.parametrize("name", OUTAGES)
def test_what_cannot_write_goes_on_by_itself(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kind, outage = OUTAGES[name]
    folder = request.getfixturevalue("disk") if kind == "disk" else tmp_path
    kind = "sqlite" if kind == "disk" else kind
    with campaign(f"outage-{name.partition('-')[2]}", kind) as report:
        store = opened(kind, folder)
        run_through(store, outage, report)
        if kind == "sqlite":
            assert _links(store, "PRAGMA integrity_check")[0] == ("ok",)
        store.close()


def run_through(store: Any, outage: Outage, report: Campaign) -> None:
    """An outage while a worker is at work: it is noticed, and forgotten."""
    ledger.clear()
    refused: list[str] = []

    def noticing(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Unavailable as error:
            refused.append(str(error))
            raise

    for verb in WRITES:
        tap(store, verb, noticing)
    client, patient = Client(store, deadline=0.3), Client(store, deadline=PATIENCE)
    worker = Worker(store, workflows=[ticking], activities=[tick], lease=60)
    worker.start()
    try:
        handles = [client.start(ticking, 20) for _ in range(5)]
        until(lambda: len(ledger) >= 10, "the work is under way")
        with outage(store) as said:
            with pytest.raises(Unavailable, match=said):
                fill(client, handles)
            begun = len(refused)
            until(lambda: len(refused) >= begun + 2, "the worker notices, too")
            assert client.get(handles[0].id).status() in Status
            assert client.stats()["instances"]
        report.faults["refused"] = len(refused)
        handles.append(patient.start(ticking, 2))
        found = [handle.result(timeout=PATIENCE) for handle in handles]
        assert found == [190] * 5 + [1] * (len(handles) - 5)
        assert client.count() == len(handles)
        assert ledger.twice() == []
        report.figures["ops"] = report.figures["acked"] = len(handles)
    finally:
        worker.stop(0)


def fill(client: Client, handles: list[Handle[int]]) -> None:
    """Start some: a few may fit still."""
    for _ in range(1000):
        handles.append(client.start(ticking, 2))


# -- too many connections ---------------------------------------------------------------


@contextmanager
def no_connections(store: str) -> Iterator[None]:
    """All that the server gives are somebody else's."""
    with ExitStack() as stack:
        if store == "mysql":
            admin = stack.enter_context(_mysql())
            admin.execute("SET GLOBAL max_connections = 10")
            stack.callback(admin.execute, "SET GLOBAL max_connections = 200")
        elif store == "redis":
            clerk = stack.enter_context(connect(servers.redis().url))
            clerk.config_set("maxclients", 20)
            stack.callback(clerk.config_set, "maxclients", 10000)
        makers: dict[str, Callable[[], Any]] = {
            "postgresql": lambda: psycopg.connect(servers.postgres().url),
            "mysql": lambda: pymysql.connect(
                **mysql_arguments(servers.mariadb().url), ssl_disabled=True
            ),
            "redis": lambda: connect(servers.redis().url).client(),
        }
        with suppress(Exception):
            while True:
                one = makers[store]()
                stack.callback(one.close)
                if store == "redis":
                    one.ping()
        yield


@pytest.mark.parametrize("store", ["postgresql", "mysql", "redis"])
def test_too_many_connections(store: str, tmp_path: Path) -> None:
    """Who has one goes on, and who has none says so and tries again."""
    with campaign("no-connections", store) as report:
        url = fresh_url(store, tmp_path)
        first = open_store(url, timeout=1)
        first.open()
        worker = Worker(first, workflows=[ticking], activities=[tick], lease=60)
        worker.start()
        client = Client(first)
        assert client.start(ticking, 2).result(timeout=PATIENCE) == 1
        second = open_store(url, timeout=1)
        try:
            with no_connections(store):
                with pytest.raises(Unavailable, match=r"(?i)too many|max number|sorry"):
                    second.stats()
                report.faults["refused"] += 1
                assert client.start(ticking, 2).result(timeout=PATIENCE) == 1
            until(lambda: Client(second).count() == 2, "there are connections again")
        finally:
            worker.stop(0)
        report.figures.update(ops=2, acked=2)
        first.close()
        second.close()
