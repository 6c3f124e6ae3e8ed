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
  wait for each other; so it does for those of applications that have `Client.using` in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from peewee import PostgresqlDatabase
from psycopg import pq, sql
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import tuple_row
from psycopg.types.numeric import IntLoader
from psycopg.types.string import ByteaLoader, TextLoader

from durable.errors import UsageError
from durable.store import DEFAULT_MAX_INBOX
from durable.stores.errors import POSTGRESQL, CommitFailed, Errors, postgresql_signs
from durable.stores.postgresql_migrations import MIGRATIONS
from durable.stores.raw_connections import CLOSED, NO_TRANSACTION, refuse_foreign
from durable.stores.schema import DEFAULT_PREFIX
from durable.stores.server_links import ServerLink, ServerLinks
from durable.stores.server_store import DEFAULT_TIMEOUT, ServerStore
from durable.stores.server_watch import ServerWatch
from durable.stores.sql_text import JUMPING_HEADS, NO_HINTS, Dialect
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
        **NO_HINTS,
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
    delete="DELETE FROM {table} WHERE {key} IN ({list})",
    texts_as_bytes=False,
    has_table=(
        "SELECT count(*) FROM pg_catalog.pg_tables"
        " WHERE schemaname = current_schema() AND tablename = %s"
    ),
    migrations=MIGRATIONS,
)

LOADERS: Mapping[str, type[Loader]] = {
    "bytea": ByteaLoader,
    "int4": IntLoader,
    "int8": IntLoader,
    "text": TextLoader,
}
"""The types of what is read in transactions of applications."""

CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

WEAK = """
    SELECT name || ' is off' FROM pg_catalog.pg_settings
    WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting = 'off'
    ORDER BY name
"""
"""What the server does not do for what is acknowledged to last."""


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
        # Behind those of the address: what stands last counts.
        given = conninfo_to_dict(self._conninfo).get("options") or ""
        ours = f"-c lock_timeout={milliseconds} -c statement_timeout={milliseconds * 3}"
        return psycopg.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=max(2, int(self._timeout)),
            options=f"{given} {ours}",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=milliseconds * 3,
            application_name="durable",
        )

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
            result = work(Tx(cursor, self.texts, self._clock.told(cursor.fetchone()[0])))
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
        return work(Tx(self._links.mine().cursor(), self.texts, self.now()))

    def borrow(self, connection: Any) -> Any:
        refuse_foreign(connection, psycopg.Connection, self.url, "psycopg 3")
        status = connection.info.transaction_status
        if connection.closed or status == pq.TransactionStatus.UNKNOWN:
            raise UsageError(CLOSED)
        if status == pq.TransactionStatus.INERROR:
            raise UsageError("the transaction has failed: roll it back first")
        if status == pq.TransactionStatus.IDLE and connection.autocommit:
            raise UsageError(NO_TRANSACTION)
        cursor = psycopg.Cursor(connection, row_factory=tuple_row)
        # As our own connections read them, whatever the application wants.
        for name, loader in LOADERS.items():
            cursor.adapters.register_loader(name, loader)
        return cursor

    @contextmanager
    def begin(self) -> Iterator[Any]:
        connection = self._activity_links.mine()
        try:
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            # The driver's own block: in it a commit by the activity is refused.
            with connection.transaction():
                yield connection
        except psycopg.Error as error:
            raise CommitFailed(error) from error
        finally:
            if connection.closed:
                self._activity_links.drop_mine()

    def tell_at_commit(self, cursor: Any) -> None:
        cursor.execute(self._tell)

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
        with suppress(psycopg.Error):  # a hint
            self._links.mine().execute(self._tell)


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
