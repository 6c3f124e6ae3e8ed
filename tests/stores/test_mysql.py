"""The MySQL store: it keeps the contract; what its server refuses, and what it survives."""

from __future__ import annotations

import logging
import os
import threading
import zlib
from pathlib import Path
from typing import Any

import pymysql
import pytest
from row_locks import RowLocks
from servers import mariadb
from servers.sql_servers import mysql_arguments

from durable.errors import OutcomeUnknown, StoreError
from durable.store import Filter, Poison, Store, Unavailable
from durable.stores import open_store, sql_reads
from durable.stores.errors import ACTIONS, CommitFailed, Kind
from durable.stores.mysql import DIALECT, MysqlStore, _kind
from durable.stores.sql_claim import INSTANCE_HEADS, TASK_HEADS
from durable.stores.sql_tx import Tx
from durable.testing.store_contract import StoreContract
from durable.testing.store_contract.base import an_instance


def prefix_of(tmp_path: Path) -> str:
    """One for each test: tables of their own."""
    return f"t{zlib.crc32(bytes(tmp_path)):x}_"


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = open_store(mariadb().url, prefix=prefix_of(tmp_path), timeout=2)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def admin() -> Any:
    """A cursor of somebody else."""
    arguments = mysql_arguments(mariadb().url)
    with pymysql.connect(**arguments, autocommit=True, ssl_disabled=True) as connection:
        yield connection.cursor()


def session_of(store: MysqlStore) -> int:
    return int(store._links.mine().thread_id())


class TestMysql(StoreContract):
    def make_store(self, tmp_path: Path) -> Store:
        return open_store(mariadb().url, prefix=prefix_of(tmp_path))

    def another(self, store: Store, tmp_path: Path) -> Store:
        return open_store(mariadb().url, prefix=prefix_of(tmp_path))

    def make_small_store(self, tmp_path: Path, max_inbox: int) -> Store:
        prefix = "s" + prefix_of(tmp_path)
        return open_store(mariadb().url, prefix=prefix, max_inbox=max_inbox)


# -- errors -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (1205, Kind.RETRY_TXN),
        (1213, Kind.RETRY_TXN),
        (0, Kind.UNKNOWN),
        (1927, Kind.UNKNOWN),
        (2006, Kind.UNKNOWN),
        (2013, Kind.UNKNOWN),
        (1040, Kind.NOT_SENT),
        (2003, Kind.NOT_SENT),
        (1021, Kind.LATER),
        (1290, Kind.LATER),
        (1969, Kind.LATER),
        (3024, Kind.LATER),
        (1062, Kind.RETRY_TXN),
        (1153, Kind.POISON),
        (1406, Kind.POISON),
        (1044, Kind.FATAL),
        (1045, Kind.FATAL),
        (1049, Kind.FATAL),
        (1146, Kind.FATAL),
    ],
)
def test_the_class_of_a_number(number: int, kind: Kind) -> None:
    assert DIALECT.errors.kind(pymysql.OperationalError(number, "no")) is kind


def test_an_error_of_commit_whose_connection_is_lost_is_unknown() -> None:
    assert ACTIONS[DIALECT.errors.kind(pymysql.InterfaceError(0, ""))].at_commit is OutcomeUnknown


def test_a_wrong_password_or_database_is_told_without_the_password(tmp_path: Path) -> None:
    url = mariadb().url
    with pytest.raises(StoreError, match="Unknown database") as raised:
        open_store(f"{url.rpartition('/')[0]}/nowhere").open()
    assert mysql_arguments(url)["password"] not in str(raised.value)
    user, _, place = url.rpartition("@")
    with pytest.raises(StoreError, match="Access denied") as raised:
        open_store(f"{user}wrong@{place}").open()
    assert mysql_arguments(url)["password"] not in str(raised.value)


def test_a_server_that_does_not_encrypt_is_refused() -> None:
    with pytest.raises(StoreError, match="SSL"):
        open_store(mariadb().url, ssl="on").open()


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("5.5.5-10.11.19-MariaDB-0+deb12u1", "MariaDB"),
        ("11.4.2-MariaDB", "MariaDB"),
        ("8.0.36", "MySQL"),
        ("8.4.0-commercial", "MySQL"),
    ],
)
def test_kinds_of_servers(version: str, kind: str) -> None:
    assert _kind(version, "mysql://h/d") == kind


@pytest.mark.parametrize("version", ["5.7.44-log", "5.5.5-10.5.9-MariaDB", "unknown"])
def test_servers_that_are_too_old(version: str) -> None:
    with pytest.raises(StoreError, match="is needed; this is"):
        _kind(version, "mysql://h/d")


# -- connections ------------------------------------------------------------------------


def test_a_session_that_the_server_ends_is_replaced(store: MysqlStore, admin: Any) -> None:
    session = session_of(store)
    admin.execute("KILL %s", [session])
    with pytest.raises(Unavailable):
        store.create([an_instance(store, "a")], "raise")
    assert store.create([an_instance(store, "a")], "raise")[0].new
    assert session_of(store) != session


def test_who_stands_still_in_a_transaction_keeps_no_locks(tmp_path: Path, admin: Any) -> None:
    store: Any = open_store(mariadb().url, prefix=prefix_of(tmp_path), timeout=0.1)
    store.open()

    def stand_still(tx: Tx) -> None:
        tx.rows(sql_reads.ALL_WORKERS)  # a transaction begins with what it first reads
        session = session_of(store)
        while admin.execute(
            "SELECT 1 FROM information_schema.processlist WHERE id = %s", [session]
        ):
            pass

    with pytest.raises(Unavailable):
        store._write(stand_still)
    assert store.create([an_instance(store, "a")], "raise")[0].new
    store.close()


def test_a_session_that_rested_is_replaced(store: MysqlStore) -> None:
    session = session_of(store)
    store._links._mine.link.used -= 31
    assert store.create([an_instance(store, "a")], "raise")[0].new
    assert session_of(store) != session


def test_a_commit_that_is_not_answered_is_unknown(
    store: MysqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def transact(work: Any, *, durable: bool) -> Any:
        raise CommitFailed(pymysql.OperationalError(2013, "Lost connection during query"))

    monkeypatch.setattr(store, "_transact", transact)
    with pytest.raises(OutcomeUnknown, match="not known whether the commit took effect"):
        store.create([an_instance(store, "a")], "raise")


class TestRowLocks(RowLocks):
    @pytest.fixture
    def elsewhere(self, admin: Any) -> Any:
        admin.execute("START TRANSACTION")
        return admin


def test_what_failed_leaves_no_transaction_open(store: MysqlStore, admin: Any) -> None:
    with pytest.raises(Poison):
        store.create([an_instance(store, "a"), an_instance(store, "b" * 256)], "raise")
    assert store.instance("a") is None
    count = "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = %s"
    admin.execute(count, [session_of(store)])
    assert admin.fetchone() == (0,)


def test_nobody_uses_the_connections_of_a_parent(store: MysqlStore) -> None:
    mine = session_of(store)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(session_of(store)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reading, 100)) != mine
    os.close(reading)
    os.close(writing)
    assert store._cursor().execute("SELECT CONNECTION_ID()").fetchone() == (mine,)


def test_the_connection_of_a_thread_ends_with_it(store: MysqlStore, admin: Any) -> None:
    sessions: list[int] = []
    thread = threading.Thread(target=lambda: sessions.append(session_of(store)))
    thread.start()
    thread.join()
    left = "SELECT id FROM information_schema.processlist WHERE id = %s"
    while admin.execute(left, sessions):
        pass


# -- what is stored ---------------------------------------------------------------------


def test_ids_are_compared_byte_by_byte(store: MysqlStore) -> None:
    ids = ["a", "A", "a ", "á", "a\0", "\N{SNOWMAN}", "'", "\\", "%s"]
    store.create([an_instance(store, id) for id in ids], "raise")
    found = [store.instance(id) for id in ids]
    assert [one and one.id for one in found] == ids


def test_a_value_that_is_too_long_for_a_packet_is_refused(store: MysqlStore) -> None:
    [[longest]] = store._cursor().execute("SELECT @@max_allowed_packet").fetchall()
    with pytest.raises(Poison, match="max_allowed_packet"):
        store.create([an_instance(store, "a", args=bytes(longest // 2))], "raise")
    assert store.create([an_instance(store, "a", args=bytes(longest // 3))], "raise")[0].new


def test_many_values_are_stored_in_several_packets(store: MysqlStore) -> None:
    [[longest]] = store._cursor().execute("SELECT @@max_allowed_packet").fetchall()
    some = [os.urandom(longest // 10) for _ in range(9)]
    store.create([an_instance(store, str(n), args=args) for n, args in enumerate(some)], "raise")
    found = [store.instance(str(n)) for n in range(len(some))]
    assert [one and one.args for one in found] == some


@pytest.mark.parametrize(
    ("query", "index"), [(INSTANCE_HEADS, "instances_free"), (TASK_HEADS, "tasks_free")]
)
def test_what_is_free_is_jumped_through(store: MysqlStore, query: Any, index: str) -> None:
    _fill(store)
    text = store.texts.plain(query, 0)
    plan = store._cursor().execute(f"EXPLAIN {text}", ["default", "default", 1]).fetchall()
    jumps = [row for row in plan if row[5] == index]
    assert len(jumps) == 2
    assert all("Using index for group-by" in row[-1] for row in jumps)


def _fill(store: MysqlStore) -> None:
    """Tables that are large enough that their indexes are used."""
    cursor = store._cursor()
    names = store.models.names
    cursor.execute(
        f"""
        INSERT INTO {names["instances"]} (uid, id, token, workflow, needs, queue, wake_at,
            created_at, history_length, run, status, owner, epoch, crashes, blocked_by, reason)
        SELECT seq, seq, '', 'flow', 'flow', 'default', seq, seq, 0, 1, 'pending', '', 0, 0, '', ''
        FROM seq_1_to_2000
        """
    )
    cursor.execute(
        f"""
        INSERT INTO {names["tasks"]} (number, run, command, name, queue, args, options, owner,
            epoch, wake_at, attempt, crashes, cancel_requested, scheduled_at)
        SELECT seq, 1, 1, 'step', 'default', '', '', '', 0, seq, 1, 0, 0, seq FROM seq_1_to_2000
        """
    )
    cursor.execute(f"ANALYZE TABLE {names['instances']}, {names['tasks']}")


def test_the_next_page_is_found_by_its_index(store: MysqlStore) -> None:
    _fill(store)
    conditions = [store.models.instances.status == "pending"]
    text, params = sql_reads._keys(store.models, Filter(cursor="100-00"), conditions)
    [row] = store._cursor().execute(f"EXPLAIN {text}", params).fetchall()
    assert (row[3], row[5]) == ("range", "instances_listed")
    assert "filesort" not in row[-1]


# -- the server -------------------------------------------------------------------------


def test_the_clock_is_the_servers_and_never_ahead(store: MysqlStore) -> None:
    for _ in range(100):
        before = store.now()
        assert before <= store._ask() < before + 1_000_000


def test_a_server_that_forgets_is_named(
    store: MysqlStore, admin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    admin.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        with caplog.at_level(logging.WARNING, "durable.store"):
            store.open()
    finally:
        admin.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    assert "innodb_flush_log_at_trx_commit is 2: a crash of the server may take" in caplog.text


def test_a_change_elsewhere_ends_a_wait(store: MysqlStore, tmp_path: Path) -> None:
    other = open_store(mariadb().url, prefix=prefix_of(tmp_path))
    mark = store.mark()
    woken = threading.Event()

    def wait() -> None:
        store.wait(mark, 30)
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    other.create([an_instance(other, "a")], "raise")
    assert woken.wait(4)  # sooner than a wait ends by itself
    thread.join()
    other.close()
