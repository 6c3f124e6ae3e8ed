"""What the tests of all SQL stores share: what a schema is, and processes that are killed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from signal import SIGKILL
from typing import Any

from durable.stores.schema import TABLES
from durable.stores.sql import SqlStore
from durable.stores.sql_tx import Tx

SQL_STORES = ("sqlite", "postgresql", "mysql")

POSTGRESQL = (
    "SELECT c.table_name, c.column_name, c.ordinal_position, c.data_type, c.is_nullable,"
    " c.column_default, c.collation_name FROM information_schema.columns c"
    " WHERE c.table_schema = {place} AND c.table_name IN ({tables})",
    "SELECT indexdef FROM pg_indexes WHERE schemaname = {place} AND tablename IN ({tables})",
    "SELECT relname, reloptions FROM pg_class WHERE relname IN ({tables})"
    " AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = {place})",
)
MYSQL = (
    "SELECT table_name, column_name, ordinal_position, column_type, is_nullable, column_default,"
    " extra, generation_expression FROM information_schema.columns"
    " WHERE table_schema = DATABASE() AND table_name IN ({tables})",
    "SELECT table_name, index_name, seq_in_index, column_name, non_unique"
    " FROM information_schema.statistics"
    " WHERE table_schema = DATABASE() AND table_name IN ({tables})",
    "SELECT table_name, engine, row_format FROM information_schema.tables"
    " WHERE table_schema = DATABASE() AND table_name IN ({tables})",
    "SELECT * FROM {prefix}changes",
)


def described(store: SqlStore) -> list[str]:
    """All that makes its schema, and what is in a new one; without its names and its secret."""
    prefix = store.models.prefix
    rows = sqlite_rows(store) if store.dialect.name == "sqlite" else server_rows(store)
    rows += asked(store, f"SELECT name FROM {store.models.names['settings']}")
    rows += asked(store, f"SELECT version, name FROM {store.models.names['migration']}")
    found = []
    for row in rows:
        text = " ".join(map(str, row)).replace(prefix, "")
        for schema in (store.models.schema, "public"):
            text = text.replace(f'"{schema}".', "").replace(f"{schema}.", "")
        found.append(text)
    return sorted(found)


def sqlite_rows(store: Any) -> list[Any]:
    with closing(sqlite3.connect(store._path)) as connection:
        found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
        tables = {f"{store.models.prefix}{name}" for name in (*TABLES, "migration")}
        return [row for row in found if row[2] in tables]


def server_rows(store: SqlStore) -> list[Any]:
    schema = store.models.schema
    place = "current_schema()" if schema is None else f"'{schema}'"
    queries = POSTGRESQL if store.dialect.name == "postgresql" else MYSQL
    prefix = store.models.prefix
    tables = ", ".join(f"'{prefix}{name}'" for name in (*TABLES, "changes", "migration"))
    texts = [query.format(place=place, prefix=prefix, tables=tables) for query in queries]
    return [row for text in texts for row in asked(store, text)]


def asked(store: SqlStore, text: str) -> list[Any]:
    """The rows of a query."""
    return store._read(lambda tx: tx.raw(text))


# -- processes --------------------------------------------------------------------------


def forked(work: Callable[[], None]) -> int:
    """Run a function in another process; it ends with 0, or with 1 if it raised."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def ending(pid: int) -> int:
    """Wait for a process; its exit code, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_after(statements: int) -> None:
    """Let this process die by SIGKILL when it has run so many statements of a migration."""
    do, left = Tx.do, statements

    def dying(tx: Tx, text: str, params: Any = ()) -> None:
        nonlocal left
        do(tx, text, params)
        left -= 1
        if not left:
            os.kill(os.getpid(), SIGKILL)

    Tx.do = dying  # type: ignore[assignment, method-assign]
