"""MySQL and MariaDB: their dialect, their transactions, and how they tell who waits.

Rules
-----
* SQL that both understand, in sessions whose settings are ours (`SETTINGS`): what the server
  has by default differs from one to the next.
* Names are VARBINARY: a text column would take ``order-1`` and ``Order-1 `` for the same id.
  They come back as bytes, and `Tx` decodes them.
* Transactions are READ COMMITTED, and lock the rows that they change, as in `postgresql`.
* An error may leave the transaction open, with its locks (a lock wait that took too long
  does): so whatever did not commit is rolled back.
* Nothing notifies.  A transaction that changes something for others counts that, in one of
  `SLOTS` rows, so that such transactions need not wait for each other; who waits looks at the
  sum, soon after what its own process did, and then more and more seldom.
* DDL commits by itself: a migration has a lock of its own, and each of its statements may be
  run again.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from ssl import create_default_context
from typing import Any, ClassVar, TypeVar

import pymysql
from peewee import MySQLDatabase
from pymysql import cursors
from pymysql.constants import CLIENT, ER, SERVER_STATUS

from durable.errors import StoreError, UsageError
from durable.store import DEFAULT_MAX_INBOX
from durable.stores.errors import MYSQL, CommitFailed, Errors, mysql_signs
from durable.stores.mysql_migrations import GUESTS, MIGRATIONS, SLOTS
from durable.stores.raw_connections import CLOSED, NO_TRANSACTION, refuse_foreign
from durable.stores.schema import DEFAULT_PREFIX, TABLES
from durable.stores.server_links import ServerLink, ServerLinks
from durable.stores.server_store import DEFAULT_TIMEOUT, ServerStore
from durable.stores.server_watch import ServerWatch
from durable.stores.sql_text import Dialect
from durable.stores.sql_tx import Tx

__all__ = ["DIALECT", "MysqlStore"]

T = TypeVar("T")

# GROUP BY names all columns before it, so that the index is jumped through: "Using index for
# group-by". The minimum in a subquery that depends on its row would look at the whole range.
HEADS = """
    SELECT f.found, f.first, l.later
    FROM (
        SELECT {column} AS found, min(wake_at) AS first FROM {table}
        WHERE {free} AND queue = ? GROUP BY {lead}, queue, {column}
    ) AS f
    LEFT JOIN (
        SELECT {column} AS found, min(wake_at) AS later FROM {table}
        WHERE {free} AND queue = ? AND wake_at > ? GROUP BY {lead}, queue, {column}
    ) AS l ON l.found = f.found
"""

# SYSDATE and not NOW: that is when the statement began, before it had waited for its lock.
CLOCK = "CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)"

DIALECT = Dialect(
    name="mysql",
    errors=Errors(
        (pymysql.MySQLError, UnicodeEncodeError, OverflowError),
        mysql_signs,
        MYSQL,
        rights=frozenset({"1044", "1142", "1227"}),
    ),
    field_types={
        "KEY": "VARBINARY(255)",
        "NAME": "VARBINARY(255)",
        "WORDS": "LONGBLOB",
        "PAYLOAD": "LONGBLOB",
    },
    parameter="%s",
    partial_indexes=False,
    fixed_leads=True,
    clustered=False,
    compares_rows=False,
    packed=False,
    locks={
        "by_id": " FORCE INDEX (instances_id)",
        "by_uid": " FORCE INDEX (instances_uid)",
        "by_parent": " FORCE INDEX (instances_open_children)",
        "by_number": " FORCE INDEX (PRIMARY)",
        # MariaDB has no OF: what is joined is locked, too. It is the transaction's own by then.
        **dict.fromkeys(("lock", "lock_i", "lock_p", "lock_t", "alone"), " FOR UPDATE"),
        "skip_locked": " FOR UPDATE SKIP LOCKED",
        "share": " LOCK IN SHARE MODE",
    },
    exclude="SELECT name FROM {settings} WHERE name = 'lock' FOR UPDATE",
    clock=CLOCK,
    free="free = 1",
    heads=HEADS,
    values="(SELECT {nulls} FROM DUAL WHERE FALSE UNION ALL {list})",
    row="SELECT {item}",
    between=" UNION ALL ",
    casts={"n": "", "t": "", "b": ""},
    # The values first and then the key, whatever the optimizer thinks of small tables: a scan
    # would wait for rows of others.
    update=(
        "UPDATE {values} AS v STRAIGHT_JOIN {table} FORCE INDEX (PRIMARY) ON {key} = v.column1"
        " SET {changes}"
    ),
    delete=(
        "DELETE {table} FROM {values} AS v STRAIGHT_JOIN {table} FORCE INDEX ({index})"
        " ON {key} = v.column1 WHERE TRUE"
    ),
    texts_as_bytes=True,
    has_table=(
        "SELECT count(*) FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND table_name = '{name}'"
    ),
    migrations=MIGRATIONS,
)

OLDEST = {"MariaDB": (10, 6), "MySQL": (8, 0)}
"""The oldest servers with SKIP LOCKED and recursive queries."""

ISOLATION = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
# UTC: in a local time zone an hour comes twice each autumn. wait_timeout: a client that is
# gone without a word leaves its locks for so long.
SETTINGS = """
    SET SESSION time_zone = '+00:00', wait_timeout = 60, default_storage_engine = InnoDB,
        sql_mode = 'STRICT_ALL_TABLES,PIPES_AS_CONCAT,NO_ENGINE_SUBSTITUTION',
        innodb_lock_wait_timeout = {lock}, lock_wait_timeout = {lock}, {limit}
"""
MIGRATION = 24 * 3600
"""Seconds that one statement of a migration may take: an index over many rows."""
LIMITS = {
    # MySQL has nothing of its own for who stands still in a transaction: wait_timeout does it.
    "MariaDB": "max_statement_time = {seconds}, idle_transaction_timeout = {seconds}",
    "MySQL": "max_execution_time = {milliseconds}",
}

REST = 30.0
"""Seconds after which a connection that nobody used is replaced: before wait_timeout."""

WEAK = """
    SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite,
        CASE WHEN @@log_bin THEN @@sync_binlog ELSE 1 END
"""
SAFE: Mapping[str, Callable[[str], bool]] = {
    "innodb_flush_log_at_trx_commit": {"1", "3"}.__contains__,
    "innodb_doublewrite": lambda value: value.upper() not in ("0", "OFF"),
    "sync_binlog": lambda value: value != "0",
}
"""Which of the values in `WEAK` make what is acknowledged last."""

TRIES = 4
"""How many rows a transaction of an application tries before it counts its changes nowhere."""

SOON, LATE = 0.005, 0.1
SLOWING = 1.5
"""After how many seconds who waits looks for changes: soon after one of its own process, as an
answer may follow, and then more and more seldom."""

LITERALS: Mapping[type, Callable[[Any], str]] = {
    int: str,
    type(None): lambda value: "NULL",
    bytes: lambda value: f"_binary X'{value.hex()}'",
}
"""How most parameters are written; the driver takes 2.4 times as long to find that out.

Without ``_binary`` MariaDB keeps of more than 65,535 bytes in a UNION the length modulo 65,536.
"""


class Cursor(cursors.Cursor):
    """A cursor whose `execute` returns it, and sends nothing that the server would refuse.

    A packet that is too long makes the server close the connection, which looks like one that
    was lost.
    """

    literals: ClassVar[Mapping[type, Callable[[Any], str]]] = LITERALS
    longest: float = math.inf

    def execute(  # type: ignore[override]  # the driver's gives a number
        self, query: str, args: Sequence[object] = ()
    ) -> Any:
        packet = (query % self._literals(args) if args else query).encode()
        longest = getattr(self.connection, "longest", self.longest)
        if len(packet) >= longest:
            raise pymysql.DataError(
                ER.NET_PACKET_TOO_LARGE,
                f"{len(packet)} bytes are more than the server takes (max_allowed_packet ="
                f" {longest})",
            )
        super().execute(packet)  # type: ignore[call-overload]  # bytes are not encoded again
        return self

    def _literals(self, values: Sequence[object]) -> tuple[str, ...]:
        escape = self.connection.escape
        literals = self.literals
        return tuple([literals.get(value.__class__, escape)(value) for value in values])


class GuestCursor(Cursor):
    """A cursor on a connection of an application. longest: what the server takes."""

    # The character set of the session may be any; all our columns are bytes.
    literals: ClassVar = {**LITERALS, str: lambda value: f"X'{value.encode().hex()}'"}

    def __init__(self, connection: Any, longest: float) -> None:
        super().__init__(connection)
        self.longest = longest


class MysqlStore(ServerStore):
    """A store in a MySQL or MariaDB database.

    address: ``host``, ``port``, ``user``, ``password``, ``database``, and whatever else of
    PyMySQL's parameters says where the server is and how to trust it. url: the same, to be
    shown. prefix: what the names of its tables begin with. timeout: seconds after which
    waiting for a lock is given up; a statement may take three times as long. ssl: ``"off"``,
    ``"on"``, or the file with the authorities by which the server is verified.
    """

    def __init__(
        self,
        address: Mapping[str, Any],
        *,
        url: str,
        prefix: str = DEFAULT_PREFIX,
        timeout: float = DEFAULT_TIMEOUT,
        ssl: str = "off",
        max_inbox: int = DEFAULT_MAX_INBOX,
    ) -> None:
        database = MySQLDatabase(None, field_types=DIALECT.field_types)
        self._address = address
        file = None if ssl == "on" else ssl
        self._tls = None if ssl == "off" else create_default_context(cafile=file)
        self._longest: float = math.inf
        super().__init__(
            url, database, DIALECT, prefix, timeout=timeout, rest=REST, max_inbox=max_inbox
        )
        self._tell = f"UPDATE {self._changes} SET n = n + 1 WHERE slot = CONNECTION_ID() % {SLOTS}"

    @property
    def _changes(self) -> str:
        return f"`{self.models.prefix}changes`"

    # -- connections --------------------------------------------------------------------

    def _connect(self, longest: int | None = None) -> Any:
        """A connection. longest: seconds for a statement. Defaults to three times the timeout."""
        patience = max(1, math.ceil(self._timeout))
        longest = longest or patience * 3
        tls: dict[str, Any] = {}
        if not any(name.startswith("ssl") for name in self._address):
            # Else PyMySQL prepares for TLS by itself, which takes 30 ms for each connection.
            tls = {"ssl": self._tls, "ssl_disabled": self._tls is None}
        connection: Any = pymysql.connect(
            **self._address,
            **tls,
            charset="utf8mb4",
            autocommit=True,
            cursorclass=Cursor,
            client_flag=CLIENT.FOUND_ROWS,
            connect_timeout=max(2, patience),
            # After the server itself has given up.
            read_timeout=longest + 1,
            write_timeout=longest + 1,
            program_name="durable",
        )
        if self._tls is not None and not connection._secure:
            connection.close()  # older drivers go on without
            raise StoreError(f"{self.url}: the server does not encrypt connections (SSL)")
        kind = _kind(connection.get_server_info(), self.url)
        limit = LIMITS[kind].format(seconds=longest, milliseconds=longest * 1000)
        cursor = connection.cursor()
        cursor.execute(ISOLATION)
        cursor.execute(SETTINGS.format(lock=patience, limit=limit))
        [[packet]] = cursor.execute("SELECT @@max_allowed_packet").fetchall()
        connection.longest = self._longest = packet
        # In hexadecimal, or quoted, each byte may become two.
        self.texts.statement_bytes = packet // 4
        return connection

    def _cursor(self) -> Any:
        connection = self._links.mine()
        if not connection.open:
            self._links.drop_mine()
            connection = self._links.mine()
        return connection.cursor()

    def server(self) -> str:
        [[version]] = self._read(lambda tx: tx.raw("SELECT VERSION()"))
        return f"{_kind(version, self.url)} {version.partition('-')[0]}"

    def _weaknesses(self, tx: Tx) -> list[str]:
        [values] = tx.raw(WEAK)
        return [
            f"{name} is {value}"
            for (name, safe), value in zip(SAFE.items(), values, strict=True)
            if not safe(str(value))
        ]

    # -- transactions -------------------------------------------------------------------

    def _transact(self, work: Callable[[Tx], T], *, durable: bool) -> T:
        cursor = self._cursor()
        committed = False
        try:
            cursor.execute("START TRANSACTION")
            [[now]] = cursor.execute(f"SELECT {CLOCK}").fetchall()
            tx = Tx(cursor, self.texts, self._clock.told(int(now)))
            result = work(tx)
            if tx.tell:
                cursor.execute(self._tell)
            try:
                cursor.execute("COMMIT")
            except pymysql.MySQLError as error:
                raise CommitFailed(error) from error
            committed = True
            return result
        finally:
            if not committed:
                with suppress(pymysql.MySQLError):
                    cursor.execute("ROLLBACK")

    def borrow(self, connection: Any) -> Any:
        refuse_foreign(connection, pymysql.connections.Connection, self.url, "PyMySQL")
        if not connection.open:
            raise UsageError(CLOSED)
        in_transaction = connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
        if connection.get_autocommit() and not in_transaction:
            raise UsageError(NO_TRANSACTION)
        return GuestCursor(connection, self._longest)

    @contextmanager
    def begin(self) -> Iterator[Any]:
        connection = self._activity_links.mine()
        connection.cursorclass = cursors.Cursor  # as people know it
        try:
            connection.begin()
            yield connection
            connection.commit()
        except BaseException as error:
            self._activity_links.drop_mine()  # the server rolls back
            if isinstance(error, pymysql.MySQLError):
                raise CommitFailed(error) from error
            raise

    def tell_at_commit(self, cursor: Any) -> None:
        # A row that is free: a transaction that waited for another one could be in a deadlock,
        # and that is for the application to choose. If there is none, nobody is told.
        changes = f"`{self.models.prefix}changes`"
        own = cursor.connection.thread_id()
        for slot in (SLOTS + (own + turn) % GUESTS for turn in range(TRIES)):
            look = f"SELECT n FROM {changes} WHERE slot = {slot} FOR UPDATE SKIP LOCKED"
            if cursor.execute(look).fetchall():
                cursor.execute(f"UPDATE {changes} SET n = n + 1 WHERE slot = {slot}")
                return

    def _look(self, work: Callable[[Tx], T]) -> T:
        return work(Tx(self._cursor(), self.texts, self.now()))

    # -- the schema ---------------------------------------------------------------------

    def _alone(self, work: Callable[[Tx], T]) -> T:
        return self._persist(lambda: self._locked(work))

    def _locked(self, work: Callable[[Tx], T]) -> T:
        """Run what commits by itself while nobody else does; the lock ends with its session."""
        with closing(ServerLink(self._connect(longest=MIGRATION))) as link:
            cursor = link.connection.cursor()
            wait = [self._exclusive, self._timeout]
            [[got]] = cursor.execute("SELECT GET_LOCK(%s, %s)", wait).fetchall()
            if not got:
                raise pymysql.OperationalError(ER.LOCK_WAIT_TIMEOUT, "somebody else migrates")
            return work(Tx(cursor, self.texts, self.now()))

    def _script(self, statements: Sequence[str]) -> list[str]:
        lock, wait = self._exclusive, math.ceil(self._timeout)
        return [f"DO GET_LOCK('{lock}', {wait})", *statements, f"DO RELEASE_LOCK('{lock}')"]

    @property
    def _exclusive(self) -> str:
        """The name of the lock of those who migrate these tables."""
        place = f"{self._address['database']}.{self.models.prefix}"
        return f"durable.{sha256(place.encode()).hexdigest()[:32]}"

    def erase(self) -> None:
        super().erase()
        self._cursor().execute(f"DROP TABLE IF EXISTS {self._changes}")

    def size(self) -> int:
        """The tables with their indexes, estimated from samples that are taken now."""
        names = (*TABLES, "changes", "migration")
        marks = ", ".join(["%s"] * len(names))
        text = (
            "SELECT coalesce(sum(data_length + index_length), 0) FROM information_schema.tables"
            f" WHERE table_schema = DATABASE() AND table_name IN ({marks})"
        )

        def work(tx: Tx) -> int:
            with suppress(pymysql.MySQLError):  # of a user who may only read
                tx.do(f"ANALYZE LOCAL TABLE {', '.join(self.models.names.values())}")
            [[total]] = tx.raw(text, [f"{self.models.prefix}{name}" for name in names])
            return int(total)

        return self._read(work)

    # -- time and waking ----------------------------------------------------------------

    def _ask(self) -> int:
        [[now]] = self._cursor().execute(f"SELECT {CLOCK}").fetchall()
        return int(now)

    def _make_watch(self) -> ServerWatch:
        return Watch(self._links, f"SELECT sum(n) FROM {self._changes}")

    def _changed(self) -> None:
        self._watch.change()


def _kind(version: str, url: str) -> str:
    """MariaDB or MySQL, from what a server says of itself."""
    kind = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    # Before its own version MariaDB may name one of MySQL, for clients that want that.
    found = [tuple(map(int, one)) for one in re.findall(r"(\d+)\.(\d+)\.\d+", version)]
    if not found or max(found) < OLDEST[kind]:
        wanted = ".".join(map(str, OLDEST[kind]))
        raise StoreError(f"{url}: {kind} {wanted} is needed; this is {version}")
    return kind


class Watch(ServerWatch):
    """Looks at the number of changes. text: the query for it."""

    def __init__(self, links: ServerLinks, text: str) -> None:
        self._links = links
        self._text = text
        super().__init__()

    def forget(self) -> None:
        super().forget()
        self._link: ServerLink | None = None
        self._seen: int | None = None
        self._pause = SOON
        self._acted = threading.Event()

    def listen(self) -> None:
        self._link = self._links.another()
        self._seen = self._look()

    def change(self) -> None:
        self._acted.set()
        super().change()

    def heard(self, timeout: float) -> bool:
        if self._acted.wait(min(self._pause, timeout)):
            self._acted.clear()
            self._pause = SOON
            return False
        if not self._waiting:
            return False
        seen = self._look()
        changed, self._seen = seen != self._seen, seen
        self._pause = min(self._pause * SLOWING, LATE)
        return changed

    def deafen(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _look(self) -> int:
        assert self._link is not None
        [[n]] = self._link.connection.cursor().execute(self._text).fetchall()
        return int(n)
