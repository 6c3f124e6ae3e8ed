"""The PostgreSQL store: it keeps the contract; what its server refuses, and what it survives."""

from __future__ import annotations

import gc
import logging
import os
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql
from row_locks import RowLocks
from servers import postgres

from durable.errors import OutcomeUnknown
from durable.store import Poison, Store, Unavailable
from durable.stores import open_store
from durable.stores.errors import ACTIONS, CommitFailed, Kind
from durable.stores.postgresql import DIALECT, PostgresqlStore, Watch
from durable.stores.sql_tx import Tx
from durable.testing.store_contract import StoreContract
from durable.testing.store_contract.base import an_instance, start


def prefix_of(tmp_path: Path) -> str:
    """One for each test: tables of their own."""
    return f"t{zlib.crc32(bytes(tmp_path)):x}_"


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = open_store(postgres().url, prefix=prefix_of(tmp_path), timeout=2)
    opened.open()
    yield opened
    opened.close()


class TestPostgresql(StoreContract):
    """In a schema of its own, which is not on the search_path; other tests have none."""

    def make_store(self, tmp_path: Path) -> Store:
        return open_store(postgres().url, prefix=prefix_of(tmp_path), schema="Elsewhere")

    def another(self, store: Store, tmp_path: Path) -> Store:
        return self.make_store(tmp_path)

    def make_small_store(self, tmp_path: Path, max_inbox: int) -> Store:
        options = {"schema": "Elsewhere", "max_inbox": max_inbox}
        return open_store(postgres().url, prefix="s" + prefix_of(tmp_path), **options)


# -- errors -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("40001", Kind.RETRY_TXN),
        ("40P01", Kind.RETRY_TXN),
        ("55P03", Kind.RETRY_TXN),
        ("08006", Kind.UNKNOWN),
        ("57P01", Kind.UNKNOWN),
        ("57P03", Kind.NOT_SENT),
        ("57P05", Kind.UNKNOWN),
        ("25P03", Kind.UNKNOWN),
        ("57014", Kind.LATER),
        ("53300", Kind.NOT_SENT),
        ("53100", Kind.LATER),
        ("25006", Kind.LATER),
        ("22001", Kind.POISON),
        ("23505", Kind.RETRY_TXN),
        ("23502", Kind.POISON),
        ("54000", Kind.POISON),
        ("42P01", Kind.FATAL),
        ("XX001", Kind.FATAL),
    ],
)
def test_the_class_of_a_state(state: str, kind: Kind) -> None:
    assert DIALECT.errors.kind(errors.lookup(state)("no")) is kind


def test_errors_without_a_state_come_from_the_connection() -> None:
    lost = psycopg.OperationalError("server closed the connection unexpectedly")
    assert DIALECT.errors.kind(lost) is Kind.UNKNOWN
    assert ACTIONS[Kind.UNKNOWN].at_commit is OutcomeUnknown
    refused = psycopg.OperationalError("connection failed: refused")
    assert DIALECT.errors.kind(refused) is Kind.NOT_SENT
    assert DIALECT.errors.kind(psycopg.InterfaceError("closed")) is Kind.UNKNOWN
    assert DIALECT.errors.kind(psycopg.DataError("NUL")) is Kind.POISON


# -- connections ------------------------------------------------------------------------


def test_a_session_that_the_server_ends_is_replaced(store: PostgresqlStore) -> None:
    pid = store._links.mine().info.backend_pid
    with psycopg.connect(postgres().url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with pytest.raises(Unavailable):
        store.create([an_instance(store, "a")], "raise")
    assert store.create([an_instance(store, "a")], "raise")[0].new
    assert store._links.mine().info.backend_pid != pid


def test_no_time_to_wait_is_not_no_limit(tmp_path: Path) -> None:
    store: Any = open_store(postgres().url, prefix=prefix_of(tmp_path), timeout=0.0001)
    for limit in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
        [found] = store._links.mine().execute(f"SHOW {limit}").fetchone()
        assert found != "0", limit
    store.close()


def test_who_stands_still_in_a_transaction_keeps_no_locks(tmp_path: Path) -> None:
    store: Any = open_store(postgres().url, prefix=prefix_of(tmp_path), timeout=0.1)
    store.open()

    def stand_still(tx: Tx) -> None:
        pid = store._links.mine().info.backend_pid
        gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = %s"
        with psycopg.connect(postgres().url, autocommit=True) as other:
            while other.execute(gone, [pid]).fetchone() == (False,):
                pass

    with pytest.raises(OutcomeUnknown):
        store._write(stand_still)
    assert store.create([an_instance(store, "a")], "raise")[0].new
    store.close()


def test_a_commit_that_is_not_answered_is_unknown(
    store: PostgresqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = psycopg.OperationalError("server closed the connection unexpectedly")

    def transact(work: Any, *, durable: bool) -> Any:
        raise CommitFailed(lost)

    monkeypatch.setattr(store, "_transact", transact)
    with pytest.raises(OutcomeUnknown, match="not known whether the commit took effect"):
        store.create([an_instance(store, "a")], "raise")


class TestRowLocks(RowLocks):
    @pytest.fixture
    def elsewhere(self) -> Iterator[Any]:
        with psycopg.connect(postgres().url) as other:
            yield psycopg.RawCursor(other)
            other.rollback()


def test_what_postgresql_cannot_store_is_refused(store: PostgresqlStore) -> None:
    with pytest.raises(Poison):
        store.create([an_instance(store, "a\0b")], "raise")
    assert store.instance("a") is None


def test_nobody_uses_the_connections_of_a_parent(store: PostgresqlStore) -> None:
    mine = store._links.mine().info.backend_pid
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        theirs = store._links.mine().info.backend_pid
        os.write(writing, str(theirs).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reading, 100)) != mine
    os.close(reading)
    os.close(writing)
    assert store._links.mine().execute("SELECT pg_backend_pid()").fetchone() == (mine,)


def test_the_connection_of_a_thread_ends_with_it(store: PostgresqlStore) -> None:
    pids: list[int] = []
    thread = threading.Thread(target=lambda: pids.append(store._links.mine().info.backend_pid))
    thread.start()
    thread.join()
    with psycopg.connect(postgres().url, autocommit=True) as other:
        left = "SELECT pid FROM pg_stat_activity WHERE pid = %s"
        while other.execute(left, pids).fetchall():
            pass


# -- the server -------------------------------------------------------------------------


def test_the_clock_is_the_servers_and_never_ahead(store: PostgresqlStore) -> None:
    for _ in range(100):
        before = store.now()
        [there] = (
            store._links.mine()
            .execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
            .fetchone()
        )
        assert before <= there < before + 1_000_000


def test_stores_with_equal_prefixes_in_other_schemas_wake_nobody(
    store: PostgresqlStore, tmp_path: Path
) -> None:
    other = open_store(postgres().url, prefix=prefix_of(tmp_path), schema="Quiet")
    assert isinstance(other, PostgresqlStore)
    other.open()
    link = store._links.another()
    listening = link.connection
    mine, theirs = store._watch, other._watch
    assert isinstance(mine, Watch)
    assert isinstance(theirs, Watch)
    assert mine._channel(listening) != theirs._channel(listening)
    listening.execute(sql.SQL("LISTEN {}").format(mine._channel(listening)))
    start(other, "theirs")
    start(store, "ours")
    [notice] = listening.notifies(timeout=30, stop_after=1)
    assert notice.pid == store._links.mine().info.backend_pid
    link.close()
    other.close()


def test_a_store_that_nobody_closes_closes_its_connections(tmp_path: Path) -> None:
    store: Any = open_store(postgres().url, prefix=prefix_of(tmp_path))
    store._links.mine()
    store.itself = store  # so that it goes with all others of a cycle, in any order
    del store
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        gc.collect()
    assert not told


def test_a_server_that_forgets_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = postgres().url
    with psycopg.connect(url, autocommit=True) as admin:
        name = admin.info.dbname
        admin.execute(f'ALTER DATABASE "{name}" SET synchronous_commit TO off')
        try:
            weak = open_store(url, prefix=prefix_of(tmp_path))
            with caplog.at_level(logging.WARNING, "durable.store"):
                weak.open()
            weak.close()
        finally:
            admin.execute(f'ALTER DATABASE "{name}" RESET synchronous_commit')
    assert "synchronous_commit is off: a crash of the server may take" in caplog.text


def test_a_change_elsewhere_ends_a_wait(store: PostgresqlStore, tmp_path: Path) -> None:
    other = open_store(postgres().url, prefix=prefix_of(tmp_path), schema="public")
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
