"""SQLite: its dialect, its connections, and how it notices what other processes do.

Rules
-----
* Write transactions begin with ``BEGIN IMMEDIATE``: a transaction that first reads and then
  wants to write would fail at once, whatever the timeout, if somebody wrote in between.
* Threads of this process queue for one lock of ours; other processes are met at BEGIN,
  which is repeated every few milliseconds (SQLite's own waiting sleeps up to 100 ms at a
  time, and starves whoever came late).
* In WAL mode readers and the one writer never wait for each other.
* Lock order: a link's lock, then the store's write lock.
* No connection crosses a fork: see ``sqlite_link``.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from peewee import SqliteDatabase

from durable.errors import DurableError, StoreError
from durable.store import DEFAULT_MAX_INBOX
from durable.stores.errors import SQLITE, CommitFailed, Errors, sqlite_signs
from durable.stores.schema import DEFAULT_PREFIX
from durable.stores.sql import SqlStore
from durable.stores.sql_text import JUMPING_HEADS, NO_LOCKS, Dialect
from durable.stores.sql_tx import Tx
from durable.stores.sqlite_link import Link, Links
from durable.stores.sqlite_migrations import MIGRATIONS
from durable.stores.sqlite_watch import Watch

__all__ = ["DEFAULT_BUSY_TIMEOUT", "DIALECT", "OLDEST", "SqliteStore"]

T = TypeVar("T")

DEFAULT_BUSY_TIMEOUT = 10.0

OLDEST = (3, 35, 0)
"""The oldest SQLite with all that our SQL uses (UPDATE … FROM, JSON)."""

DIALECT = Dialect(
    name="sqlite",
    errors=Errors(
        (sqlite3.Error, OverflowError, UnicodeEncodeError, MemoryError), sqlite_signs, SQLITE
    ),
    field_types={"KEY": "BLOB", "NAME": "TEXT", "WORDS": "TEXT", "PAYLOAD": "BLOB"},
    parameter="?",
    partial_indexes=True,
    clustered=True,
    compares_rows=True,
    packed=True,
    locks=NO_LOCKS,
    exclude="",
    migration_lock="",
    free="owner = '' AND wake_at IS NOT NULL",
    heads=JUMPING_HEADS,
    values="(VALUES {list})",
    row="({item})",
    between=", ",
    casts={"n": "", "t": "", "b": ""},
    update="UPDATE {table} SET {changes} FROM {values} AS v WHERE {key} = v.column1",
    texts_as_bytes=False,
    has_table="SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?",
    migrations=MIGRATIONS,
)

PRAGMAS = {
    # The mode comes first: it may have to wait, and the others do not depend on it.
    "journal_mode": "wal",
    "synchronous": "full",
    "foreign_keys": 0,
    # Pages that commits touch stay in memory: KiB, of which only what is used is allocated.
    "cache_size": -32768,
    "temp_store": "memory",
    # Pages in the log until it is written back (16 MiB): a page that many commits change is
    # then written back once. Measured: more makes the pauses longer and nothing faster.
    "wal_autocheckpoint": 4000,
    # After a burst the log is cut to this many bytes.
    "journal_size_limit": 64 << 20,
}

_NOT_WRITABLE = {"SQLITE_READONLY", "SQLITE_CANTOPEN"}


class SqliteStore(SqlStore):
    """A store in one SQLite file.

    prefix: what the names of its tables begin with. Defaults to ``durable_``.
    synchronous: ``"full"`` (what was acknowledged survives a power failure; the default) or
    ``"normal"`` (it survives a crash of the process; a power failure may take the last
    commits, and leaves a consistent prefix).
    busy_timeout: seconds to wait for other writers. Defaults to 10.
    clock: gives microseconds since 1970. Defaults to the system's.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        prefix: str = DEFAULT_PREFIX,
        synchronous: str = "full",
        busy_timeout: float = DEFAULT_BUSY_TIMEOUT,
        max_inbox: int = DEFAULT_MAX_INBOX,
        clock: Callable[[], int] | None = None,
    ) -> None:
        if sqlite3.sqlite_version_info < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            raise StoreError(f"SQLite {wanted} is needed; this is {sqlite3.sqlite_version}")
        self._path = os.path.abspath(path)
        database = SqliteDatabase(
            self._path,
            pragmas=PRAGMAS,
            field_types=DIALECT.field_types,
            # Ours is the waiting; the driver's is for what SQLite does unasked.
            timeout=0,
            check_same_thread=False,
            cached_statements=1000,
        )
        super().__init__(
            f"sqlite:///{os.fspath(path)}",
            database,
            DIALECT,
            prefix,
            max_inbox=max_inbox,
            patience=busy_timeout,
        )
        self._clock = clock or _system_clock
        self._syncs = synchronous == "full"
        # Peewee's connections, with its pragmas, but without its bookkeeping: that keeps
        # one connection a thread, which would not survive a fork.
        connect = database._connect  # type: ignore[attr-defined]  # no public way makes one
        self._links = Links(connect, self._path)
        self._watch = Watch(self._links)
        self._writing = threading.Lock()
        _stores.add(self)

    # -- transactions -------------------------------------------------------------------

    def _transact(self, work: Callable[[Tx], T], *, durable: bool) -> T:
        while True:
            link = self._links.mine()
            with link.lock, self._writing:
                if link.connection is not None:  # else it was closed just now
                    self._sync(link, durable and self._syncs)
                    return self._in_transaction(link, work)

    def _sync(self, link: Link, full: bool) -> None:
        """Choose whether the next COMMIT waits for the disk."""
        if link.full is not full:
            link.cursor.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            link.full = full

    def _in_transaction(self, link: Link, work: Callable[[Tx], T]) -> T:
        execute = link.cursor.execute
        try:
            execute("BEGIN IMMEDIATE")
            result = work(Tx(link.cursor, self._texts, self._clock()))
            try:
                execute("COMMIT")
            except sqlite3.Error as error:
                raise CommitFailed(error) from error
            return result
        finally:
            # Whatever was raised ends the transaction, whoever raised it.
            if link.connection is not None and link.connection.in_transaction:
                with suppress(sqlite3.Error):
                    execute("ROLLBACK")

    def _look(self, work: Callable[[Tx], T]) -> T:
        while True:
            link = self._links.mine()
            with link.lock:
                if link.connection is not None:
                    return work(Tx(link.cursor, self._texts, self._clock()))

    def _distrust(self) -> None:
        self._links.drop_mine()

    def _translated(self, error: BaseException, at_commit: bool) -> DurableError:
        found = super()._translated(error, at_commit)
        if not _NOT_WRITABLE.isdisjoint(sqlite_signs(error)):
            return type(found)(
                f"{found} (this user must be able to write {self._path} and its folder)"
            )
        return found

    # -- the file -----------------------------------------------------------------------

    def close(self) -> None:
        self._watch.close()
        self._links.close()

    def size(self) -> int:
        """The database, and the log that has not been written back yet."""
        total = 0
        for name in (self._path, f"{self._path}-wal"):
            with suppress(FileNotFoundError):
                total += os.stat(name).st_size
        return total

    # -- time and waking ----------------------------------------------------------------

    def now(self) -> int:
        return self._clock()

    def mark(self) -> int:
        return self._watch.mark()

    def wait(self, mark: int, timeout: float | None) -> None:
        self._watch.wait(mark, timeout)

    def wake(self) -> None:
        self._watch.change()

    def _changed(self) -> None:
        self._watch.change()

    # -- forks --------------------------------------------------------------------------

    def _freeze(self) -> list[threading.Lock]:
        return self._links.freeze()

    def _forget(self) -> None:
        self._links.forget()
        self._watch.forget()
        self._writing = threading.Lock()


def _system_clock() -> int:
    return time.time_ns() // 1000


_stores: weakref.WeakSet[SqliteStore] = weakref.WeakSet()


_frozen: list[threading.Lock] = []


def _before_fork() -> None:
    for store in list(_stores):
        _frozen.extend(store._freeze())


def _in_parent() -> None:
    while _frozen:
        _frozen.pop().release()


def _in_child() -> None:
    _frozen.clear()
    for store in list(_stores):
        store._forget()


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
