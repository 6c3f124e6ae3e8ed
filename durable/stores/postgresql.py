"""PostgreSQL: its dialect, its transactions, and how it tells who waits.

Rules
-----
* Transactions are READ COMMITTED, and short.
* A transaction that writes first locks the instances that it changes, and then reads what it
  decides by.  Workers leave out what is locked, and so wait for no application's transaction;
  clients wait.  Who deadlocks is repeated, as is who was not the first to use an id.
* Each statement waits for the answer of the one before.  In a pipeline the server waits for the
  rest without a limit of time, and who stands still in it would keep its locks for ever.
* What need not be acknowledged is committed with ``synchronous_commit = off``.
* Statements have ``$1``, ``$2`` …, as the server takes them: the driver takes longer to find
  each ``%s`` of a long list than all else of a commit takes.
* A transaction that changes something for others sends NOTIFY after it was committed: a
  hint, which may be lost.  Within the transaction it would make all commits of the database
  wait for each other; so it does for those of applications that have `Client.using` in them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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

CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

DIALECT = Dialect(
    name="postgresql",
    errors=Errors(
        (psycopg.Error, UnicodeEncodeError, OverflowError),
        postgresql_signs,
        POSTGRESQL,
        rights=frozenset({"42501"}),
    ),
    field_types={
        "KEY": "BYTEA",
        "NAME": 'TEXT COLLATE "C"',
        "WORDS": "TEXT",
        "PAYLOAD": "BYTEA",
    },
    parameter="%s",
    numbered="${}",
    partial_indexes=True,
    # It leaves what the condition of an index says out of the range, and then walks all of it.
    fixed_leads=False,
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
    clock=CLOCK,
    free="owner = '' AND wake_at IS NOT NULL",
    heads=JUMPING_HEADS,
    values="(VALUES {list})",
    row="({item})",
    between=", ",
    casts={"n": "::bigint", "t": "::text", "b": "::bytea"},
    update="UPDATE {table} SET {changes} FROM {values} AS v WHERE {key} = v.column1",
    delete="DELETE FROM {table} WHERE {key} IN ({list})",
    texts_as_bytes=False,
    has_table="SELECT count(to_regclass('{quoted}'))",
    migrations=MIGRATIONS,
)

PLANNING = {
    "plan_cache_mode": "force_custom_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",  # it reads all that is due, and sorts it
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
"""Settings of our sessions: statements go by their indexes, whatever the statistics say.

A plan that was made when the tables were small, or by statistics of a minute ago, reads whole
tables when a burst of instances has come.  So none is kept, and none joins in a way that reads
more than what it looks for.  What has no other way is still done, at a price that would set off
``jit``.
"""

LOADERS: Mapping[str, type[Loader]] = {
    "bytea": ByteaLoader,
    "int4": IntLoader,
    "int8": IntLoader,
    "text": TextLoader,
}
"""The types of what is read in transactions of applications."""

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

SHORTEST_LIMIT = 1000
"""Milliseconds that a statement may always take."""


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
    of its tables begin with. schema: where they are; None: the first on the ``search_path``
    that has them, or would get them. timeout: seconds after which waiting for a lock is given
    up; a statement may take three times as long.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        url: str,
        prefix: str = DEFAULT_PREFIX,
        schema: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_inbox: int = DEFAULT_MAX_INBOX,
    ) -> None:
        database = PostgresqlDatabase(None, field_types=DIALECT.field_types)
        super().__init__(
            url, database, DIALECT, prefix, schema=schema, max_inbox=max_inbox, timeout=timeout
        )
        self._conninfo = conninfo

    def _connect(self) -> Any:
        milliseconds = int(self._timeout * 1000)
        limit = max(milliseconds * 3, SHORTEST_LIMIT)
        # 0 would be no limit.
        settings = SETTINGS.format(lock=max(milliseconds, 1), limit=limit)
        ours = [*settings.split(), *(f"{name}={value}" for name, value in PLANNING.items())]
        # Behind those of the address: what stands last counts.
        given = conninfo_to_dict(self._conninfo).get("options") or ""
        connection = Connection.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=max(2, int(self._timeout)),
            options=" ".join([str(given), *(f"-c {setting}" for setting in ours)]),
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=limit,
            application_name="durable",
        )
        # After the server itself has given up.
        connection.patience = max(1.0, self._timeout) * 3 + 1
        return connection

    def server(self) -> str:
        [[version]] = self._read(lambda tx: tx.raw("SHOW server_version"))
        return f"PostgreSQL {version.partition(' ')[0]}"

    def _weaknesses(self, tx: Tx) -> list[str]:
        return [name for [name] in tx.raw(WEAK)]

    # -- transactions -------------------------------------------------------------------

    def _transact(self, work: Callable[[Tx], T], *, durable: bool) -> T:
        connection = self._links.mine()
        cursor: Any = psycopg.RawCursor(connection)
        strength = "" if durable else "SET LOCAL synchronous_commit TO off;"
        try:
            cursor.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED; {strength} SELECT {CLOCK}")
            while cursor.nextset():
                pass
            now = cursor.fetchone()[0]
            result = work(Tx(cursor, self.texts, self._clock.told(now)))
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
        cursor: Any = psycopg.RawCursor(self._links.mine())
        return work(Tx(cursor, self.texts, self.now()))

    # -- the schema ---------------------------------------------------------------------

    def _alone(self, work: Callable[[Tx], T]) -> T:
        def alone(tx: Tx) -> T:
            tx.do(self._exclusive)
            # An index over many rows takes its time; locks are still waited for no longer.
            tx.do("SET LOCAL statement_timeout TO 0")
            return work(tx)

        return self._write(alone)

    def _script(self, statements: Sequence[str]) -> list[str]:
        return ["BEGIN", self._exclusive, *statements, "COMMIT"]

    @property
    def _exclusive(self) -> str:
        """Waits until nobody else migrates these tables, until the end of the transaction."""
        schema = "current_schema()" if self.models.schema is None else f"'{self.models.schema}'"
        place = f"concat('durable:', {schema}, '.{self.models.prefix}')"
        return f"SELECT pg_advisory_xact_lock(hashtextextended({place}, 0))"

    def _before_tables(self, tx: Tx) -> list[str]:
        name = self.models.schema
        if name is None or tx.raw("SELECT 1 FROM pg_namespace WHERE nspname = %s", [name]):
            return []  # who may not make one may not say IF NOT EXISTS either
        return [f'CREATE SCHEMA IF NOT EXISTS "{name}"']

    # -- in transactions of applications --------------------------------------------------

    def borrow(self, connection: Any) -> Any:
        refuse_foreign(connection, psycopg.Connection, self.url, "psycopg 3")
        status = connection.info.transaction_status
        if connection.closed or status == pq.TransactionStatus.UNKNOWN:
            raise UsageError(CLOSED)
        if status == pq.TransactionStatus.INERROR:
            raise UsageError("the transaction has failed: roll it back first")
        if status == pq.TransactionStatus.IDLE and connection.autocommit:
            raise UsageError(NO_TRANSACTION)
        cursor = psycopg.RawCursor(connection, row_factory=tuple_row)
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
        cursor.execute(self._notice())

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
        watch = Watch(self._links, self.models.names["instances"])
        self._notice = watch.notice
        return watch

    def _changed(self) -> None:
        self._watch.change()
        try:
            connection = self._links.mine()
            connection.execute(self._notice(connection))
        except psycopg.Error:  # a hint; but what it was sent over is of no use
            self._distrust()


# Of the schema that the table is really in: two may have tables of the same name.
CHANNEL = """
    SELECT 'durable_' || md5(relnamespace::regnamespace || '.' || relname) FROM pg_class
    WHERE oid = %s::regclass
"""


class Watch(ServerWatch):
    """Listens on a channel of the database, which is named after a table of the store."""

    def __init__(self, links: ServerLinks, table: str) -> None:
        self._links = links
        self._table = table
        self._known: sql.Identifier | None = None
        super().__init__()

    def notice(self, connection: Any = None) -> sql.Composed:
        """The statement that says that something has changed. connection: one of ours."""
        return sql.SQL("NOTIFY {}").format(self._channel(connection))

    def _channel(self, connection: Any) -> sql.Identifier:
        if self._known is None:
            ours = connection or self._links.mine()
            [name] = ours.execute(CHANNEL, [self._table]).fetchone()
            self._known = sql.Identifier(name)
        return self._known

    def forget(self) -> None:
        super().forget()
        self._link: ServerLink | None = None

    def listen(self) -> None:
        self._link = self._links.another()
        connection = self._link.connection
        connection.execute(sql.SQL("LISTEN {}").format(self._channel(connection)))

    def heard(self, timeout: float) -> bool:
        assert self._link is not None
        return bool(list(self._link.connection.notifies(timeout=timeout, stop_after=1)))

    def deafen(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
