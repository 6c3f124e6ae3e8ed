"""A store in the Peewee database of an application.

Rules
-----
* Of the database only its parameters are taken.  The connections are the store's own, as they
  are with an address: its settings, its timeouts and its care for threads and forks are not
  those of an application, whose connections and pool stay as they are.
* What the parameters say about a session is left out, where the store has a setting of its own.
* A transaction that the application has open there is taken part in: see `SqlStore.shared`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from peewee import Database, MySQLDatabase, PostgresqlDatabase, SqliteDatabase

from durable.errors import UsageError
from durable.store import Store
from durable.stores.raw_connections import database_of
from durable.stores.sql import SqlStore

__all__ = ["kind_of", "store_in"]

KINDS: Mapping[str, type[Database]] = {
    "sqlite": SqliteDatabase,
    "mysql": MySQLDatabase,
    "postgresql": PostgresqlDatabase,
}

ADDRESS = frozenset(
    (
        "bind_address",
        "host",
        "passwd",
        "password",
        "port",
        "read_default_file",
        "read_default_group",
        "server_public_key",
        "unix_socket",
        "user",
    )
)
"""What PyMySQL takes that is no setting of a session; and all that begins with ``ssl``."""


SESSION = frozenset(
    (
        "autocommit",
        "connect_timeout",
        "context",
        "cursor_factory",
        "prepare_threshold",
        "row_factory",
    )
)
"""What psycopg takes that libpq does not, and what the store sets."""


def kind_of(given: Any) -> tuple[Database, str]:
    """The Peewee database, and the scheme of its addresses."""
    database = database_of(given)
    for kind, cls in KINDS.items():
        if isinstance(database, cls):
            if database.deferred:
                raise UsageError("this Peewee database was not initialised: call its init()")
            return database, kind
    raise UsageError(
        "a store is an address such as 'sqlite:///durable.db', a Store, or a Peewee database of"
        f" SQLite, MySQL or PostgreSQL, and not {given!r}"
    )


def store_in(database: Database, kind: str, options: dict[str, Any]) -> Store:
    """The store in this database. options: as `open_store` has checked them."""
    store = _MAKERS[kind](database, options)
    store.shared = database
    return store


def _sqlite(database: Database, options: dict[str, Any]) -> SqlStore:
    from durable.stores.sqlite import SqliteStore

    path = os.fspath(database.database)
    if path == ":memory:" or path.startswith("file:"):
        raise UsageError(f"a store needs a file that it can open by itself, not {path!r}")
    return SqliteStore(path, **options)


def _mysql(database: Database, options: dict[str, Any]) -> SqlStore:
    from durable.stores.mysql import MysqlStore

    given = database.connect_params
    address = {k: v for k, v in given.items() if k in ADDRESS or k.startswith("ssl")}
    address["database"] = database.database
    host = address.get("host") or "localhost"
    return MysqlStore(address, url=f"mysql://{host}/{database.database}", **options)


def _postgresql(database: Database, options: dict[str, Any]) -> SqlStore:
    try:
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        from durable.stores.postgresql import PostgresqlStore
    except ImportError as error:
        raise UsageError(
            f"a store in PostgreSQL needs psycopg 3 ({error}): pip install 'psycopg[binary]'"
        ) from None
    name = database.database
    given = {"conninfo": name} if "://" in name else {"dbname": name}
    known = {k: v for k, v in database.connect_params.items() if k not in SESSION}
    conninfo = make_conninfo(**{**known, **given})
    parts = conninfo_to_dict(conninfo)
    url = f"postgresql://{parts.get('host', '')}/{parts.get('dbname', '')}"
    return PostgresqlStore(conninfo, url=url, **options)


_MAKERS = {"sqlite": _sqlite, "mysql": _mysql, "postgresql": _postgresql}
