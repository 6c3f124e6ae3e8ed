"""What went wrong in a database, and what is done about it: one table, as data.

Rules
-----
* A driver's error has *signs*: names from the most to the least specific.  The first sign
  that stands in the driver's table tells its class; the class alone tells the action.
* Nobody catches an error inside a transaction.  Any error ends it: the transaction is
  rolled back, and then the action is taken.
* Before COMMIT was sent nothing can have been stored; an error of COMMIT itself is
  *unknown* if the table says so, and then the connection is not used again.
* What is not in the table is fatal: neither repeated nor blamed on somebody's data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from durable.errors import DurableError, OutcomeUnknown, StoreError
from durable.store import Poison, Unavailable

__all__ = [
    "ACTIONS",
    "MYSQL",
    "POSTGRESQL",
    "REDIS",
    "SQLITE",
    "Action",
    "CommitFailed",
    "Errors",
    "Kind",
    "mysql_signs",
    "postgresql_signs",
    "redis_signs",
    "sqlite_signs",
    "text_of",
]


class Kind(Enum):
    """The classes of errors."""

    RETRY_TXN = "not applied; the same transaction can succeed at once"
    UNKNOWN = "the connection cannot be trusted; at COMMIT: applied or not"
    NOT_SENT = "no connection, nothing was sent"
    LATER = "not applied; it needs help or time: disk full, read-only"
    POISON = "not applied; this data will never be accepted"
    FATAL = "not applied; the database or our SQL is broken"


@dataclass(frozen=True, slots=True)
class Action:
    """What is done about a class of errors.

    raises: what the caller gets. at_commit: what it gets if COMMIT itself failed.
    redo: first the transaction is repeated, with jitter, while the busy timeout lasts.
    drop: the connection is closed; the next verb opens another.
    """

    raises: type[DurableError]
    at_commit: type[DurableError]
    redo: bool = False
    drop: bool = False


ACTIONS: Mapping[Kind, Action] = {
    Kind.RETRY_TXN: Action(Unavailable, Unavailable, redo=True),
    Kind.UNKNOWN: Action(Unavailable, OutcomeUnknown, drop=True),
    Kind.NOT_SENT: Action(Unavailable, OutcomeUnknown, drop=True),
    Kind.LATER: Action(Unavailable, Unavailable),
    Kind.POISON: Action(Poison, Poison),
    Kind.FATAL: Action(StoreError, StoreError, drop=True),
}

SQLITE: Mapping[str, Kind] = {
    # Another connection has the lock. LOCKED: one of our own, in the same process.
    "SQLITE_BUSY": Kind.RETRY_TXN,
    "SQLITE_LOCKED": Kind.RETRY_TXN,
    "SQLITE_PROTOCOL": Kind.RETRY_TXN,
    "SQLITE_SCHEMA": Kind.RETRY_TXN,
    "SQLITE_ABORT": Kind.RETRY_TXN,
    # A failed fsync may have written all, or nothing, or anything between.
    "SQLITE_IOERR": Kind.UNKNOWN,
    "SQLITE_CANTOPEN": Kind.NOT_SENT,
    "SQLITE_FULL": Kind.LATER,
    "SQLITE_READONLY": Kind.LATER,
    "SQLITE_NOMEM": Kind.LATER,
    "SQLITE_PERM": Kind.LATER,
    "SQLITE_INTERRUPT": Kind.LATER,
    "MemoryError": Kind.LATER,
    "SQLITE_CONSTRAINT": Kind.POISON,
    "SQLITE_TOOBIG": Kind.POISON,
    "SQLITE_MISMATCH": Kind.POISON,
    # Values that the driver cannot bind: integers over 64 bits, lone surrogates, others.
    "OverflowError": Kind.POISON,
    "UnicodeEncodeError": Kind.POISON,
    "InterfaceError": Kind.POISON,
    "ProgrammingError": Kind.POISON,
    "DataError": Kind.POISON,
    "SQLITE_CORRUPT": Kind.FATAL,
    "SQLITE_NOTADB": Kind.FATAL,
    # "no such table" and the like: the fault of the schema, never of a row.
    "SQLITE_ERROR": Kind.FATAL,
}

REDIS: Mapping[str, Kind] = {
    # Another script runs too long; the server still loads; the cluster is being changed.
    "BUSY": Kind.RETRY_TXN,
    "BusyLoadingError": Kind.RETRY_TXN,
    "TryAgainError": Kind.RETRY_TXN,
    "ClusterDownError": Kind.RETRY_TXN,
    "NoScriptError": Kind.RETRY_TXN,
    "MaxConnectionsError": Kind.NOT_SENT,
    "MISCONF": Kind.LATER,
    "NOREPLICAS": Kind.LATER,
    "OutOfMemoryError": Kind.LATER,
    "ReadOnlyError": Kind.LATER,
    "MasterDownError": Kind.LATER,
    "UnicodeEncodeError": Kind.POISON,
    "OverflowError": Kind.POISON,
    "AuthenticationError": Kind.FATAL,
    "NoPermissionError": Kind.FATAL,
    # What the server says of our scripts, or of tables that are not ours.
    "ResponseError": Kind.FATAL,
    # The connection broke. While connecting nothing was sent: `redis_link` tells the two apart.
    "ConnectionError": Kind.UNKNOWN,
    "TimeoutError": Kind.UNKNOWN,
    "OSError": Kind.UNKNOWN,
    "InvalidResponse": Kind.UNKNOWN,
}


def redis_signs(error: BaseException) -> Iterable[str]:
    """The code of the server's answer, if the driver has no class for it; then the names of
    the Python classes."""
    code = str(error).partition(" ")[0]
    if code.isupper():
        yield code
    for cls in type(error).__mro__:
        yield cls.__name__


POSTGRESQL: Mapping[str, Kind] = {
    "40001": Kind.RETRY_TXN,
    "40P01": Kind.RETRY_TXN,
    "55P03": Kind.RETRY_TXN,
    # Another transaction, which has ended since, was the first to insert that key.
    "23505": Kind.RETRY_TXN,
    # Of a session that the server ended; and what has no code came from the connection.
    "08": Kind.UNKNOWN,
    "25P03": Kind.UNKNOWN,
    "57P01": Kind.UNKNOWN,
    "57P02": Kind.UNKNOWN,
    "57P03": Kind.NOT_SENT,
    "57P05": Kind.UNKNOWN,
    "57014": Kind.LATER,  # it took longer than the statement timeout
    "53300": Kind.NOT_SENT,
    "53": Kind.LATER,
    "25006": Kind.LATER,
    "22": Kind.POISON,
    "23": Kind.POISON,
    "54": Kind.POISON,
    "XX": Kind.FATAL,
    "42": Kind.FATAL,
    "connection failed": Kind.NOT_SENT,
    "UnicodeEncodeError": Kind.POISON,
    "OverflowError": Kind.POISON,
    "DataError": Kind.POISON,
    "OperationalError": Kind.UNKNOWN,
    "InterfaceError": Kind.UNKNOWN,
}


MYSQL: Mapping[str, Kind] = {
    "1205": Kind.RETRY_TXN,  # waited too long for a lock: rolls back one statement only
    "1213": Kind.RETRY_TXN,
    "1020": Kind.RETRY_TXN,
    "3572": Kind.RETRY_TXN,
    # The connection was lost, or is out of step.
    "0": Kind.UNKNOWN,
    "1053": Kind.UNKNOWN,
    "1152": Kind.UNKNOWN,
    "1158": Kind.UNKNOWN,
    "1159": Kind.UNKNOWN,
    "1160": Kind.UNKNOWN,
    "1161": Kind.UNKNOWN,
    "1317": Kind.UNKNOWN,
    "1927": Kind.UNKNOWN,
    "2006": Kind.UNKNOWN,
    "2013": Kind.UNKNOWN,
    "2014": Kind.UNKNOWN,
    "2055": Kind.UNKNOWN,
    "4031": Kind.UNKNOWN,
    # No connection: refused, too many of them, or the server blocks this host.
    "1040": Kind.NOT_SENT,
    "1129": Kind.NOT_SENT,
    "1203": Kind.NOT_SENT,
    "1226": Kind.NOT_SENT,
    "2002": Kind.NOT_SENT,
    "2003": Kind.NOT_SENT,
    # Disk or memory is full, read-only, or it took longer than the statement timeout.
    "28": Kind.LATER,
    "1021": Kind.LATER,
    "1037": Kind.LATER,
    "1038": Kind.LATER,
    "1041": Kind.LATER,
    "1114": Kind.LATER,
    "1290": Kind.LATER,
    "1792": Kind.LATER,
    "1836": Kind.LATER,
    "1969": Kind.LATER,
    "3024": Kind.LATER,
    "3100": Kind.LATER,
    "1048": Kind.POISON,
    # Another transaction, which has ended since, was the first to insert that key.
    "1062": Kind.RETRY_TXN,
    "1118": Kind.POISON,
    "1153": Kind.POISON,  # longer than max_allowed_packet
    "1264": Kind.POISON,
    "1300": Kind.POISON,
    "1366": Kind.POISON,
    "1406": Kind.POISON,
    "1690": Kind.POISON,
    "UnicodeEncodeError": Kind.POISON,
    "OverflowError": Kind.POISON,
}
"""By number: what is not here, such as a wrong password or a table that is missing, is fatal."""


def mysql_signs(error: BaseException) -> Iterable[str]:
    """The number, and then the names of the Python classes."""
    if error.args and isinstance(error.args[0], int):
        yield str(error.args[0])
    for cls in type(error).__mro__:
        yield cls.__name__


def text_of(error: BaseException) -> str:
    """What a driver says, in one line; of PostgreSQL without the statement that it quotes."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return " ".join((primary or str(error)).split()) or type(error).__name__


def postgresql_signs(error: BaseException) -> Iterable[str]:
    """The SQLSTATE, its class, and then the names of the Python classes."""
    state = getattr(error, "sqlstate", None)
    if state:
        yield state
        yield state[:2]
        return
    if str(error).startswith(("connection failed", "connection timeout")):
        yield "connection failed"
    for cls in type(error).__mro__:
        yield cls.__name__


def sqlite_signs(error: BaseException) -> Iterable[str]:
    """``SQLITE_IOERR_WRITE``, ``SQLITE_IOERR``, then the names of the Python classes."""
    name = getattr(error, "sqlite_errorname", None) or ""
    while "_" in name:
        yield name
        name = name.rpartition("_")[0]
    for cls in type(error).__mro__:
        yield cls.__name__


@dataclass(frozen=True)
class Errors:
    """The errors of one driver.

    caught: the exception classes that are the driver's; all others are left alone.
    signs: gives the signs of an error; table: from sign to class. rights: the signs of those
    that say that this user may not do it.
    """

    caught: tuple[type[BaseException], ...]
    signs: Callable[[BaseException], Iterable[str]]
    table: Mapping[str, Kind]
    rights: frozenset[str] = frozenset()

    def kind(self, error: BaseException) -> Kind:
        """The class of an error."""
        found = (self.table[sign] for sign in self.signs(error) if sign in self.table)
        return next(found, Kind.FATAL)

    def denied(self, error: BaseException) -> bool:
        """Whether it says that this user may not do it."""
        return not self.rights.isdisjoint(self.signs(error))

    def action(self, error: BaseException) -> Action:
        """What is done about it."""
        return ACTIONS[self.kind(error)]


class CommitFailed(Exception):
    """COMMIT itself raised ``error``; never seen outside of the stores."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error
