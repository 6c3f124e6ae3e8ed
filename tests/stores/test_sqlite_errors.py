"""What SQLite refuses: each row of the table of errors, and what is left behind."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from durable.errors import OutcomeUnknown, StoreError
from durable.store import Poison, Sent, Unavailable
from durable.stores.errors import ACTIONS, SQLITE, Kind
from durable.stores.sqlite import DIALECT, SqliteStore
from durable.testing.store_contract.base import (
    a_message,
    an_instance,
    inbox,
    look,
    send,
    start,
)


class Broken(sqlite3.OperationalError):
    """An error as the driver makes it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"something like {name}")
        self.sqlite_errorname = name
        self.sqlite_errorcode = 1


@pytest.mark.parametrize("name", [name for name in SQLITE if name.startswith("SQLITE_")])
def test_each_code_and_its_extensions_have_a_class(name: str) -> None:
    errors = DIALECT.errors
    assert errors.kind(Broken(name)) is SQLITE[name]
    assert errors.kind(Broken(f"{name}_SOMETHING_MORE")) is SQLITE[name]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Broken("SQLITE_OF_TOMORROW"), Kind.FATAL),
        (sqlite3.OperationalError("without a name"), Kind.FATAL),
        (OverflowError(), Kind.POISON),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), Kind.POISON),
        (sqlite3.ProgrammingError("type 'object' is not supported"), Kind.POISON),
        (MemoryError(), Kind.LATER),
    ],
    ids=repr,
)
def test_other_errors_have_a_class(error: BaseException, kind: Kind) -> None:
    assert DIALECT.errors.kind(error) is kind


def test_every_class_has_an_action() -> None:
    assert set(ACTIONS) == set(Kind)


class Failing:
    """A cursor that fails at a statement, some times."""

    def __init__(self, cursor: sqlite3.Cursor, at: str, error: BaseException, times: int) -> None:
        self.cursor, self.at, self.error, self.times = cursor, at, error, times

    def execute(self, text: str, params: Any = ()) -> sqlite3.Cursor:
        if self.times and text.startswith(self.at):
            self.times -= 1
            raise self.error
        return self.cursor.execute(text, params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cursor, name)


def fail(store: SqliteStore, at: str, name: str, times: int = 10**9) -> None:
    link = store._links.mine()
    link.cursor = Failing(link.cursor, at, Broken(name), times)  # type: ignore[assignment]


@pytest.mark.parametrize("name", [name for name in SQLITE if name.startswith("SQLITE_")])
@pytest.mark.parametrize("at", ["BEGIN", "INSERT", "COMMIT"])
def test_each_error_ends_the_transaction_and_is_told_by_its_class(
    path: Path, name: str, at: str
) -> None:
    store = SqliteStore(path, busy_timeout=0.02)
    store.open()
    action = ACTIONS[SQLITE[name]]
    connection = store._links.mine().connection
    fail(store, at, name)
    with pytest.raises(StoreError if at != "COMMIT" else Exception) as raised:
        start(store)
    assert type(raised.value) is (action.at_commit if at == "COMMIT" else action.raises)
    assert f"sqlite:///{path}" in str(raised.value)
    assert (store._links.mine().connection is connection) is not action.drop
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM durable_instances").fetchone() == (0,)
    other.close()
    store.close()
    start(store)
    store.close()


def test_a_failed_commit_is_unknown(store: SqliteStore) -> None:
    fail(store, "COMMIT", "SQLITE_IOERR_FSYNC", 1)
    with pytest.raises(OutcomeUnknown, match="not known whether the commit took effect"):
        start(store)
    start(store, "next")


def test_what_may_be_repeated_is_repeated(store: SqliteStore) -> None:
    fail(store, "INSERT", "SQLITE_BUSY_SNAPSHOT", 3)
    start(store)
    assert look(store).id == "i-1"


def test_a_lock_that_is_held_too_long(path: Path) -> None:
    store = SqliteStore(path, busy_timeout=0.05)
    store.open()
    start(store)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match=r"database is locked \(for 0\.05 seconds\)"):
            send(store)
        assert look(store).id == "i-1"  # readers do not wait
        other.execute("ROLLBACK")
    other.close()
    assert send(store) is Sent.SENT
    store.close()


def test_a_full_disk_is_for_later(store: SqliteStore) -> None:
    uid = start(store)
    link = store._links.mine()
    [pages] = link.cursor.execute("PRAGMA page_count").fetchone()
    link.cursor.execute(f"PRAGMA max_page_count = {pages + 5}").fetchall()
    with pytest.raises(Unavailable, match="full"):
        store.send([a_message(message_id="m-1"), a_message(message_id="m-2", event=b"x" * 10**6)])
    assert inbox(store, uid) == []
    link.cursor.execute("PRAGMA max_page_count = 1000000").fetchall()
    assert send(store) is Sent.SENT


def test_a_file_that_cannot_be_written_says_what_is_needed(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    store._links.mine().cursor.execute("PRAGMA query_only = 1")
    needed = f"readonly database .this user must be able to write {path} and its folder"
    with pytest.raises(Unavailable, match=needed):
        start(store)
    store.close()


@pytest.mark.parametrize(
    "changes",
    [{"version": 2**63}, {"id": "\ud800"}, {"args": {"no": "bytes"}}, {"args": None}],
    ids=ascii,
)
def test_data_that_cannot_be_stored(store: SqliteStore, changes: dict[str, Any]) -> None:
    fields = {"id": "bad", **changes}
    bad = an_instance(store, **fields)
    with pytest.raises(Poison):
        store.create([an_instance(store, "good"), bad], "raise")
    assert store.instance("good") is None
    start(store, "good")


def test_an_interruption_ends_the_transaction(store: SqliteStore) -> None:
    def interrupted(tx: Any) -> None:
        tx.raw("DELETE FROM durable_instances")
        raise KeyboardInterrupt

    start(store)
    with pytest.raises(KeyboardInterrupt):
        store._write(interrupted)
    assert look(store).id == "i-1"
    start(store, "next")
