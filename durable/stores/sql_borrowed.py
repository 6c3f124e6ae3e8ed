"""Requests of clients within a transaction that belongs to an application.

Rules
-----
* The transaction, the connection and the settings of its session belong to the application:
  nothing is committed, rolled back, closed or changed.  A cursor of our own reads rows as we
  want them, whatever the application has set for its own.
* What a request does stands between a savepoint and its release: one that failed has changed
  nothing, and on PostgreSQL the transaction can go on.
* Nothing is repeated after an error of the database, which may have ended the transaction: it
  is a `StoreError`, and none of those that a client repeats.
* The session may be REPEATABLE READ, and a plain read then shows what was.  So what is decided
  is decided by unique keys and by locked rows, never by counting changed rows (which MySQL
  does in two ways).
* Rows are locked by their number: by an id MySQL would lock the gap before it as well, and
  whoever starts what comes there would wait.  Only what was not found, and an id that is taken,
  is asked for by id.
* Workers leave out rows that others have locked, and so wait for no application.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from durable.errors import DurableError, InstanceAlreadyExists, StoreError, UsageError
from durable.store import Created, NewInstance, Outgoing, Poison, Sent
from durable.stores import sql_clients, sql_messages, sql_secret
from durable.stores.errors import Kind, text_of
from durable.stores.raw_connections import raw_connection
from durable.stores.sql_tx import Tx

if TYPE_CHECKING:
    from durable.stores.sql import SqlStore

__all__ = ["Borrowed"]

T = TypeVar("T")

SAVEPOINT = "durable_request"

DUPLICATE = {"23505", "1062"}
"""The signs of a key that somebody else has."""


class Borrowed:
    """What takes requests on a connection of the application.

    connection: as `durable.Client.using` takes it. It is unwrapped at each request: what is
    behind it may be another one in another thread.
    """

    def __init__(self, store: SqlStore, connection: Any) -> None:
        self._store = store
        self._connection = connection
        self._is_ours = False

    def now(self) -> int:
        return self._store.now()

    def create(self, new: Sequence[NewInstance], if_exists: str) -> list[Created]:
        try:
            return self.run(lambda tx: sql_clients.create(tx, new, if_exists))
        except _Taken:
            pass  # by a transaction that was committed meanwhile: by now it can be locked
        try:
            return self.run(lambda tx: sql_clients.create(tx, new, if_exists, latest=True))
        except _Taken as taken:
            names = ", ".join(repr(one.id) for one in new)
            if if_exists == "raise" and len(new) == 1:
                raise InstanceAlreadyExists(f"an instance with the id {names} exists") from taken
            raise StoreError(
                f"{self._store.url}: there is an instance that this transaction cannot see, with"
                f" one of the ids {names}: roll back, and do the whole transaction again"
            ) from taken

    def send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        limit, lock = self._store.max_inbox, sql_messages.BY_NUMBER
        return self.run(lambda tx: sql_messages.send(tx, messages, limit, lock=lock))

    def run(self, work: Callable[[Tx], T], *, writes: bool = True) -> T:
        """Run a function in the transaction of the application; if it raises, nothing is
        stored."""
        store = self._store
        cursor = None
        try:
            cursor = store.borrow(raw_connection(self._connection))
            cursor.execute(f"SAVEPOINT {SAVEPOINT}")
            return self._in_savepoint(cursor, work, writes)
        except store.dialect.errors.caught as error:
            raise self._translated(error) from error
        finally:
            if cursor is not None:
                cursor.close()

    def _in_savepoint(self, cursor: Any, work: Callable[[Tx], T], writes: bool) -> T:
        store = self._store
        try:
            self._prepare(cursor, writes)
            result = work(Tx(cursor, store.texts, store.now()))
            if writes:
                store.tell_at_commit(cursor)
        except BaseException:
            # If the whole transaction is gone, so is the savepoint.
            with suppress(*store.dialect.errors.caught):
                cursor.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
                cursor.execute(f"RELEASE SAVEPOINT {SAVEPOINT}")
            raise
        cursor.execute(f"RELEASE SAVEPOINT {SAVEPOINT}")
        return result

    def _prepare(self, cursor: Any, writes: bool) -> None:
        """Raise unless this connection leads to the tables of our store: they have its secret."""
        store = self._store
        secret = store.secret()
        try:
            if writes:
                store.lock_to_write(cursor)
            if self._is_ours:
                return
            found = sql_secret.stored(Tx(cursor, store.texts, 0))
        except store.dialect.errors.caught as error:
            if store.dialect.errors.kind(error) is not Kind.FATAL:
                raise
            raise UsageError(
                f"this connection does not lead to the tables of {store.url}: {text_of(error)}"
            ) from error
        if found != secret:
            raise UsageError(f"this connection leads to another store than {store.url}")
        self._is_ours = True

    def _translated(self, error: BaseException) -> DurableError:
        errors = self._store.dialect.errors
        kind, text = errors.kind(error), f"{self._store.url}: {text_of(error)}"
        if kind in (Kind.RETRY_TXN, Kind.UNKNOWN):
            text += "; roll back, and do the whole transaction again"
        if not DUPLICATE.isdisjoint(errors.signs(error)):
            return _Taken(text)
        return Poison(text) if kind is Kind.POISON else StoreError(text)


class _Taken(StoreError):
    """Somebody else has the id."""
