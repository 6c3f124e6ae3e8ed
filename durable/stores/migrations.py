"""Numbered migrations: how a stored schema gets to the version that this code wants.

Rules
-----
* The table ``migration`` has a row for each migration that was applied; the version of a
  schema is the largest of their numbers, 0 without the table.
* Migrations run one process at a time (SQLite's write lock, `Dialect.migration_lock`
  elsewhere), in one transaction where the database can (SQLite, PostgreSQL); elsewhere each of
  their statements can be run again, and the version comes last.  They look at the version
  when they have the lock: of several processes that start at once, one migrates and the
  others find it done.
* A migration that was published is never changed: it is text (``sqlite_migrations``), and
  does not depend on the models.  All of them together lead to what the models say, from
  wherever a store was.
* A schema of a newer version is refused: code that does not know it could break it.
"""

from __future__ import annotations

import os
from zlib import crc32

from durable.errors import StoreError
from durable.stores.schema import Schema
from durable.stores.sql_text import Dialect, Query, Statement
from durable.stores.sql_tx import Tx

__all__ = ["WANTED", "migrate", "refuse_newer", "stored_version"]

WANTED = 2
"""The version that this code wants."""

ENTROPY = 32
"""How many bytes a parameter of a migration gets."""

_VERSION = Query("SELECT max(version) FROM {migration}", kinds="v")
_APPLIED = Statement("INSERT INTO {migration} (version, name, applied_at) VALUES (?, ?, ?)")


def stored_version(tx: Tx, schema: Schema, dialect: Dialect) -> int:
    """The version of the stored schema, 0 if there is none."""
    [[tables]] = tx.raw(dialect.has_table, [schema.migration._meta.table_name])
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


def migrate(
    tx: Tx, schema: Schema, dialect: Dialect, url: str, *, dry_run: bool = False
) -> list[str]:
    """Bring the schema up to date; returns the statements (to be) run."""
    if dialect.migration_lock and not dry_run:
        tx.raw(dialect.migration_lock.format(key=crc32(schema.prefix.encode())))
    stored = stored_version(tx, schema, dialect)
    refuse_newer(stored, url)
    statements = [] if stored else schema.migration_table()
    for text in () if dry_run else statements:
        tx.do(text)
    for migration in dialect.migrations:
        if migration.version <= stored:
            continue
        texts = migration.statements(schema.prefix)
        statements += texts
        if not dry_run:
            for text in texts:
                tx.do(text, [os.urandom(ENTROPY) for _ in range(text.count(dialect.parameter))])
            tx.run(_APPLIED, migration.version, migration.name, tx.now)
    return statements
