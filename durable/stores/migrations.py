"""Numbered migrations: how a stored schema gets to the version that this code wants.

Rules
-----
* The table ``migration`` has a row for each migration that was applied; the version of a
  schema is the largest of their numbers, 0 without the table.
* Migrations run one process at a time (`SqlStore._alone`), in one transaction where the
  database can (SQLite, PostgreSQL); elsewhere each of their statements can be run again, and
  the version comes last.  They look at the version when they have the lock: of several
  processes that start at once, one migrates and the others find it done.
* Their statements are whole: they have no parameters, and say the same whoever runs them, a
  store or somebody with the database's own client.  What is random is no part of them: the
  secret of a store stands empty until it is first asked for.
* A migration that was published is never changed: it is text (``sqlite_migrations``), and
  does not depend on the models.  All of them together lead to what the models say, from
  wherever a store was.
* A schema of a newer version is refused: code that does not know it could break it.
"""

from __future__ import annotations

from durable.errors import StoreError
from durable.stores.schema import Schema
from durable.stores.sql_text import Dialect, Migration, Query
from durable.stores.sql_tx import Tx

__all__ = ["WANTED", "pending", "refuse_newer", "stored_version"]

WANTED = 2
"""The version that this code wants."""

_VERSION = Query("SELECT max(version) FROM {migration}", kinds="v")


def stored_version(tx: Tx, schema: Schema, dialect: Dialect) -> int:
    """The version of the stored schema, 0 if there is none."""
    names = {"name": f"{schema.prefix}migration", "quoted": schema.names["migration"]}
    [[tables]] = tx.raw(dialect.has_table.format(**names))
    if not tables:
        return 0
    row = tx.one(_VERSION)
    return int(row[0] or 0) if row else 0


def refuse_newer(stored: int, url: str) -> None:
    """Raise if the stored schema is of a newer version than this code knows."""
    if stored > WANTED:
        raise StoreError(
            f"{url} has schema version {stored}, of a newer durable; this one knows versions"
            f" up to {WANTED}: upgrade durable here"
        )


def pending(tx: Tx, schema: Schema, dialect: Dialect, url: str) -> list[str]:
    """The statements that bring the schema up to date; none if it is."""
    stored = stored_version(tx, schema, dialect)
    refuse_newer(stored, url)
    statements = [] if stored else schema.migration_table()
    for migration in dialect.migrations:
        if migration.version > stored:
            statements += migration.statements(schema.prefix, schema.qualifier)
            statements.append(_applied(migration, schema, dialect))
    return statements


def _applied(migration: Migration, schema: Schema, dialect: Dialect) -> str:
    return (
        f"INSERT INTO {schema.names['migration']} (version, name, applied_at)"
        f" VALUES ({migration.version}, '{migration.name}', {dialect.clock})"
    )
