"""PostgreSQL: its dialect, its transactions, and how it tells who waits.

Rules
-----
* Transactions are READ COMMITTED, and short.
* A transaction that writes first locks the instances that it changes, and then reads what it
  decides by.  Workers leave out what is locked, and so wait for no application's transaction;
  clients wait.  Who deadlocks is repeated, as is who was not the first to use an id.
* What need not be acknowledged is committed with ``synchronous_commit = off``.
* A transaction that changes something for others sends NOTIFY after it was committed: a
  hint, which may be lost.  Within the transaction it would make all commits of the database
  wait for each other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from peewee import PostgresqlDatabase
from psycopg import sql

from durable.store import DEFAULT_MAX_INBOX
from durable.stores.errors import POSTGRESQL, CommitFailed, Errors, postgresql_signs
from durable.stores.postgresql_migrations import MIGRATIONS
from durable.stores.schema import DEFAULT_PREFIX
from durable.stores.server_links import ServerLink, ServerLinks
from durable.stores.server_store import DEFAULT_TIMEOUT, ServerStore
from durable.stores.server_watch import ServerWatch
from durable.stores.sql_text import JUMPING_HEADS, Dialect
from durable.stores.sql_tx import Tx

__all__ = ["DIALECT", "PostgresqlStore"]

T = TypeVar("T")

# As UPDATE locks a row; it leaves in peace who only keeps it from being deleted.
LOCK = "FOR NO KEY UPDATE"

DIALECT = Dialect(
    name="postgresql",
    errors=Errors((psycopg.Error, UnicodeEncodeError, OverflowError), postgresql_signs, POSTGRESQL),
    field_types={
        "KEY": "BYTEA",
        "NAME": 'TEXT COLLATE "C"',
        "WORDS": "TEXT",
        "PAYLOAD": "BYTEA",
    },
    parameter="%s",
    partial_indexes=True,
    clustered=False,
    compares_rows=True,
    packed=False,
    locks={
        "lock": f" {LOCK}",
        **{f"lock_{alias}": f" {LOCK} OF {alias}" for alias in "ipt"},
        "skip_locked": f" {LOCK} SKIP LOCKED",
        "share": " FOR KEY SHARE",
        "alone": " FOR UPDATE",
    },
    exclude="SELECT name FROM {settings} WHERE name = 'secret' FOR UPDATE",
    migration_lock="SELECT pg_advisory_xact_lock({key})",
    free="owner = '' AND wake_at IS NOT NULL",
    heads=JUMPING_HEADS,
    values="(VALUES {list})",
    row="({item})",
    between=", ",
    casts={"n": "::bigint", "t": "::text", "b": "::bytea"},
    update="UPDATE {table} SET {changes} FROM {values} AS v WHERE {key} = v.column1",
    texts_as_bytes=False,
    has_table=(
        "SELECT count(*) FROM pg_catalog.pg_tables"
        " WHERE schemaname = current_schema() AND tablename = %s"
    ),
    migrations=MIGRATIONS,
)

CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

WEAK = """
    SELECT name || ' is off' FROM pg_catalog.pg_settings
    WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting = 'off'
    ORDER BY name
"""
"""What the server does not do for what is acknowledged to last."""


# A client that is gone without a word, or stands still, leaves its locks for so long.
SETTINGS = """
    lock_timeout={lock} statement_timeout={limit} idle_in_transaction_session_timeout={limit}
    tcp_keepalives_idle=10 tcp_keepalives_interval=5 tcp_keepalives_count=3
"""


class Connection(psycopg.Connection[Any]):
    """A connection that gives up a server that does not answer.

    A server that is frozen still has a kernel that acknowledges what is sent, so that no
    timeout of TCP ends the waiting.  patience: seconds for each answer.
    """

    patience = math.inf

    def wait(self, gen: Any, *args: Any, **named: Any) -> Any:
        try:
            return super().wait(_answered(gen, self.patience), *args, **named)
        except TimeoutError as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(str(error)) from None


def _answered(gen: Any, patience: float) -> Generator[Any, Any, Any]:
    """What the driver waits with, which is told now and then that there is nothing yet."""
    end = time.monotonic() + patience
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= end:
                raise TimeoutError(f"the server has not answered for {patience:g} seconds")
            wanted = gen.send(ready)
    except StopIteration as done:
        return done.value


class PostgresqlStore(ServerStore):
    """A store in a PostgreSQL database.

    conninfo: an address, as libpq takes it. url: the same, to be shown. prefix: what the names
    of its tables begin with. timeout: seconds after which a statement, or waiting for a lock,
    is given up.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        url: str,
        prefix: str = DEFAULT_PREFIX,
        timeout: float = DEFAULT_TIMEOUT,
        max_inbox: int = DEFAULT_MAX_INBOX,
    ) -> None:
        database = PostgresqlDatabase(None, field_types=DIALECT.field_types)
        super().__init__(url, database, DIALECT, prefix, max_inbox=max_inbox, timeout=timeout)
        self._conninfo = conninfo

    def _connect(self) -> Any:
        milliseconds = int(self._timeout * 1000)
        settings = SETTINGS.format(lock=milliseconds, limit=milliseconds * 3)
        connection = Connection.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=max(2, int(self._timeout)),
            options=" ".join(f"-c {setting}" for setting in settings.split()),
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=milliseconds * 3,
            application_name="durable",
        )
        # After the server itself has given up.
        connection.patience = max(1.0, self._timeout) * 3 + 1
        return connection

    def _weaknesses(self, tx: Tx) -> list[str]:
        return [name for [name] in tx.raw(WEAK)]

    # -- transactions -------------------------------------------------------------------

    def _transact(self, work: Callable[[Tx], T], *, durable: bool) -> T:
        connection = self._links.mine()
        cursor = connection.cursor(binary=False)
        strength = "" if durable else "SET LOCAL synchronous_commit TO off;"
        try:
            cursor.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED; {strength} SELECT {CLOCK}")
            while cursor.nextset():
                pass
            result = work(Tx(cursor, self._texts, self._clock.told(cursor.fetchone()[0])))
            try:
                cursor.execute("COMMIT")
            except psycopg.Error as error:
                raise CommitFailed(error) from error
            return result
        finally:
            # Whatever was raised ends the transaction, whoever raised it.
            if not connection.closed and connection.info.transaction_status:
                with suppress(psycopg.Error):
                    cursor.execute("ROLLBACK")

    def _look(self, work: Callable[[Tx], T]) -> T:
        return work(Tx(self._links.mine().cursor(), self._texts, self.now()))

    def size(self) -> int:
        """The tables with their indexes."""
        text = "SELECT pg_total_relation_size(%s::regclass)"
        names = self.models.names.values()
        return self._read(lambda tx: sum(int(tx.raw(text, [name])[0][0]) for name in names))

    # -- time and waking ----------------------------------------------------------------

    def _ask(self) -> int:
        [now] = self._links.mine().execute(f"SELECT {CLOCK}").fetchone()
        return int(now)

    def _make_watch(self) -> Watch:
        watch = Watch(self._links, f"{self.models.prefix}changed")
        self._tell = watch.tell
        return watch

    def _changed(self) -> None:
        self._watch.change()
        try:
            self._links.mine().execute(self._tell)
        except psycopg.Error:  # a hint; but what it was sent over is of no use
            self._distrust()


class Watch(ServerWatch):
    """Listens on a channel of the database. tell: the statement that is heard there."""

    def __init__(self, links: ServerLinks, channel: str) -> None:
        self._links = links
        self._channel = sql.Identifier(channel)
        self.tell = sql.SQL("NOTIFY {}").format(self._channel)
        super().__init__()

    def forget(self) -> None:
        super().forget()
        self._link: ServerLink | None = None

    def listen(self) -> None:
        self._link = self._links.another()
        self._link.connection.execute(sql.SQL("LISTEN {}").format(self._channel))

    def heard(self, timeout: float) -> bool:
        assert self._link is not None
        return bool(list(self._link.connection.notifies(timeout=timeout, stop_after=1)))

    def deafen(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
