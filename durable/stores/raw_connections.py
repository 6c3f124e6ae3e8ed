"""What applications have, and the connection of the driver in it.

None of the frameworks is imported: they are known by what they can do.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, Proxy

from durable.errors import UsageError

__all__ = ["CLOSED", "NO_TRANSACTION", "database_of", "raw_connection", "refuse_foreign"]

CLOSED = "this connection is closed"
NO_TRANSACTION = (
    "this connection has no transaction open, and commits each statement by itself: begin one"
    " first, or start without using()"
)


def database_of(given: Any) -> Any:
    """What a Peewee proxy stands for; anything else as it is."""
    if isinstance(given, Proxy):
        if given.obj is None:
            raise UsageError("this Peewee proxy was not initialised")
        return given.obj
    return given


def raw_connection(given: Any) -> Any:
    """The connection of the driver, in what `durable.Client.using` takes."""
    given = database_of(given)
    if isinstance(given, Database):
        if given.is_closed():
            raise UsageError(
                "this Peewee database has no connection open in this thread: write"
                " `with db.atomic():` around it"
            )
        connection: Any = given.connection  # which has no types
        return connection()
    if hasattr(given, "ensure_connection"):  # Django
        given.ensure_connection()
        given.validate_thread_sharing()
        return given.connection
    if hasattr(given, "sync_session") or hasattr(given, "sync_connection"):
        raise UsageError("using() takes SQLAlchemy's Session or Connection, not an async one")
    if hasattr(given, "get_bind") and hasattr(given, "in_nested_transaction"):
        given = given.connection()  # of SQLAlchemy's session: it begins the transaction
    if hasattr(given, "in_nested_transaction"):
        if not given.in_transaction():
            # As at its first statement. Else its commit() would do nothing.
            given.begin()
        given = given.connection
    return getattr(given, "driver_connection", given)


def refuse_foreign(connection: Any, wanted: type, url: str, driver: str) -> None:
    """Raise unless a connection is of this class."""
    if not isinstance(connection, wanted):
        cls = type(connection)
        raise UsageError(
            f"{url} takes part in transactions of {driver}; this is a {cls.__module__}."
            f"{cls.__qualname__}"
        )
