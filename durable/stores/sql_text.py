"""SQL as values: what a statement says, apart from the dialect and the names of tables.

Rules
-----
* A statement is a constant beside the function that runs it.  ``{instances}`` is the name
  of a table, ``?`` a parameter, ``{list}`` a list of any length and ``{values}`` the same as
  something to select from; everything that comes from outside is a parameter.
* Its text is made once for each store and each of the `SIZES` of its list.  A shorter list
  is filled up by repeating its last item, which changes nothing in ``IN (…)`` and in
  ``FROM (VALUES …)``; rows to insert are cut into these sizes instead.
* **One step of the database for many rows.**  Python's sqlite3 gives the GIL away at each
  row that it reads and each statement that it runs, and waits up to 5 ms to get it back
  while one other thread computes: a commit of 100 steps took 0.5 s row by row.  So writes
  are statements over lists, and reads are *packed* where the dialect can: all rows come as
  one JSON text.  It is a little slower when nobody else computes, and 100 times faster then.
* ``nullif(owner, '')`` hides the owner from a planner that has the keys of the rows: it might
  read all that a worker owns, which statistics of a minute ago say is little.
* What differs between databases is an attribute of `Dialect`, not a branch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from durable.stores.errors import Errors

__all__ = [
    "BIG",
    "JUMPING_HEADS",
    "MANY_ROWS",
    "NO_HINTS",
    "NO_LOCKS",
    "SIZES",
    "Delete",
    "Dialect",
    "Migration",
    "Query",
    "Statement",
    "Texts",
    "Update",
]

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 500)

BIG = 2048
"""A longer payload is not packed: it would be written in hexadecimal."""

NO_HINTS = dict.fromkeys(("by_id", "by_number", "by_parent", "by_uid"), "")
"""Behind a table whose rows are locked: by which index. It matters to MySQL, which locks all that
it looks at, and would look at all of a small table."""

NO_LOCKS = NO_HINTS | dict.fromkeys(
    ("lock", "lock_i", "lock_p", "lock_t", "skip_locked", "share", "alone"), ""
)
"""How rows are locked where a transaction that writes is alone anyhow, so not at all.

``lock`` waits for the rows; ``lock_i``, ``lock_p``, ``lock_t``: those of the table with that alias.
``skip_locked`` leaves rows out that others have locked.  ``share`` keeps a row from being deleted,
``alone`` waits for whoever keeps it so.
"""

MANY_ROWS = 10_000
"""More rows are not packed, so that a packed text stays of a bearable size."""


JUMPING_HEADS = """
    WITH RECURSIVE ranges (found) AS (
        SELECT (SELECT {column} FROM {table} WHERE {free} AND queue = ? ORDER BY {column} LIMIT 1)
        UNION ALL
        SELECT (
            SELECT {column} FROM {table} WHERE {free} AND queue = ? AND {column} > found
            ORDER BY {column} LIMIT 1
        )
        FROM ranges WHERE found IS NOT NULL
    )
    SELECT found,
        (SELECT wake_at FROM {table} WHERE {free} AND queue = ? AND {column} = found
            ORDER BY wake_at LIMIT 1),
        (SELECT wake_at FROM {table} WHERE {free} AND queue = ? AND {column} = found
            AND wake_at > ? ORDER BY wake_at LIMIT 1)
    FROM ranges WHERE found IS NOT NULL
"""
"""`Dialect.heads` where a subquery jumps through an index: each finds its first row at once."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema of one dialect, from the version before to this one.

    text: statements, each ending in ``;``.  ``{prefix}`` is what names begin with; where tables
    may be in a schema of the user's choice, ``{schema}`` stands before each of their names.
    """

    version: int
    name: str
    text: str

    def statements(self, prefix: str, schema: str = "") -> list[str]:
        """What to run. schema: with a dot behind it, or nothing."""
        texts = self.text.format(prefix=prefix, schema=schema).split(";")
        return [" ".join(text.split()) for text in texts if text.strip()]


@dataclass(frozen=True)
class Dialect:
    """How one database wants its SQL.

    errors: its driver's errors. field_types: the column types that stand behind the names
        in `durable.stores.schema`. parameter: how a parameter is written. numbered: the same in a
    `Statement`, where ``{}`` is its number; none if it is the same there.
    partial_indexes, clustered: whether it has indexes over some rows, and tables that are
    their primary key. compares_rows: whether an index finds ``(a, b) < (?, ?)``.
    packed: whether JSON functions pack rows (see the rules above).
    locks: what a SELECT of rows to change ends in, by the names that stand in statements (see
    `NO_LOCKS`). exclude: the lock for what is decided by looking at all workers (or "").
    fixed_leads: whether an index over some rows begins with the column that its condition fixes.
    clock: the present moment, in microseconds since 1970.
    free: what an instance is that nobody owns and that has a moment, so that the index finds it.
    heads: gives (name, first moment, first moment after now) for each name that what is free
    has in ``{column}``, without looking at all of it; its parameters are the queue, once or
    more, and now. ``{lead}`` is the column that the index begins with.
    values: a list of rows as something to select from, with columns column1, column2 …;
    ``{nulls}`` is NULL under each of these names. row, between: how a row is written there, and
    what stands between two. casts: what stands behind a parameter, so that it has the type of
    its letter.
    update, delete: an `Update`, a `Delete`.
    texts_as_bytes: whether names come as bytes.
    has_table: counts the tables of a name, which is ``{name}``, or ``{quoted}``.
    migrations: how its schema came to be, the oldest first: see `durable.stores.migrations`.
    statement_bytes: payloads that a statement over a list may have in all, unless one row has
    more: a quarter of the smallest packet that a server takes as it comes (16 MiB), because a
    driver may write bytes as text of twice the length.
    """

    name: str
    errors: Errors
    field_types: Mapping[str, str]
    parameter: str
    partial_indexes: bool
    fixed_leads: bool
    clustered: bool
    compares_rows: bool
    packed: bool
    locks: Mapping[str, str]
    exclude: str
    clock: str
    free: str
    heads: str
    values: str
    row: str
    between: str
    casts: Mapping[str, str]
    update: str
    delete: str
    texts_as_bytes: bool
    has_table: str
    migrations: Sequence[Migration]
    statement_bytes: int = 4 * 1024 * 1024
    numbered: str = ""


@dataclass(frozen=True, eq=False)
class Statement:
    """Something to run.

    item: what stands in ``{list}`` for each of its members. columns: one letter a column of
    ``{values}``: ``n`` a number, ``t`` a text, ``b`` bytes. payloads: places of what may be
    large in a member of the list; of ``{values}``, what are bytes is known.
    """

    text: str
    item: str = "?"
    columns: str = ""
    payloads: tuple[int, ...] = ()

    @cached_property
    def large(self) -> tuple[int, ...]:
        """Places of what may be large."""
        return self.payloads or tuple(i for i, kind in enumerate(self.columns) if kind == "b")

    @property
    def nested(self) -> bool:
        """Whether the members of its list are tuples."""
        return self.item != "?" or bool(self.columns)


@dataclass(frozen=True, eq=False)
class Update(Statement):
    """Changes of rows, each with values of its own.

    text: what stands after SET, where ``v.column2`` is the second of the values. table: which
    one. key: its column that ``v.column1`` is compared with.
    """

    table: str = "instances"
    key: str = "number"


@dataclass(frozen=True, eq=False)
class Delete(Statement):
    """Rows to delete where others insert at the same time, found by an index and never by a scan.

    text: a further condition, or "". table: which one. key: its column that is compared with the
    list. index: the one that finds it.
    """

    table: str = "inbox"
    key: str = "id"
    index: str = "PRIMARY"


@dataclass(frozen=True, eq=False)
class Query(Statement):
    """Something to read.

    kinds: one letter a column: ``v`` a number or text, ``x`` a few bytes (never null),
    ``b`` a payload. unbounded: there may be any number of rows.
    binary, plain: the places of those that are bytes, and of the others.
    """

    kinds: str = ""
    unbounded: bool = False
    binary: tuple[int, ...] = field(init=False)
    plain: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        for name, kinds in (("binary", "xb"), ("plain", "v")):
            places = (place for place, kind in enumerate(self.kinds) if kind in kinds)
            object.__setattr__(self, name, tuple(places))


class Texts:
    """The texts of statements for one store.

    room: how many bytes the values of one statement may have together, if that is limited.
    """

    def __init__(self, dialect: Dialect, tables: Mapping[str, str]) -> None:
        self._dialect = dialect
        self._names = dict(
            tables,
            **dialect.locks,
            free=dialect.free,
            instance_heads=_heads(dialect, tables["instances"], "needs", dialect.free),
            task_heads=_heads(dialect, tables["tasks"], "name", "owner = ''"),
        )
        self.exclude = dialect.exclude.format_map(tables)
        self.locks_rows = any(dialect.locks.values())
        self._plain: dict[tuple[Statement, int], str] = {}
        self._packed: dict[tuple[Query, int], str] = {}
        self._places: dict[Query, int] = {}
        self.packs = dialect.packed
        self.as_bytes = dialect.texts_as_bytes
        self.statement_bytes = dialect.statement_bytes

    def plain(self, statement: Statement, size: int) -> str:
        """The text for a list of this size (0: without a list)."""
        key = (statement, size)
        text = self._plain.get(key)
        if text is None:
            text = self._plain[key] = self._written(self._make(statement, size), "?")
        return text

    def places(self, query: Query) -> int:
        """How many parameters a query without a list has."""
        found = self._places.get(query)
        if found is None:
            found = self._places[query] = self._make(query, 0).count("?")
        return found

    def packed(self, query: Query, size: int) -> str:
        """The text that gives all rows as one JSON array of arrays."""
        key = (query, size)
        text = self._packed.get(key)
        if text is None:
            text = self._packed[key] = self._pack(query, size)
        return text

    def _make(self, statement: Statement, size: int) -> str:
        dialect = self._dialect
        values = self._values(statement.columns, size) if statement.columns else ""
        names = dict(self._names, list=", ".join([statement.item] * size), values=values)
        text = statement.text
        if isinstance(statement, Update):
            table = self._names[statement.table]
            text = dialect.update.format(
                table=table, changes=text, values=values, key=statement.key
            )
        if isinstance(statement, Delete):
            start = dialect.delete.format(
                table=self._names[statement.table],
                key=statement.key,
                index=statement.index,
                list=names["list"],
                values=self._values("n", size),
            )
            text = f"{start} {text}"
        return text.format_map(names)

    def composed(self, text: str) -> str:
        """The text of what was made elsewhere."""
        return self._written(text, self._dialect.parameter)

    def _written(self, text: str, mark: str) -> str:
        """With its parameters as the driver takes them."""
        numbered = self._dialect.numbered
        if not numbered:
            return text.replace(mark, self._dialect.parameter)
        first, *others = text.split(mark)
        return first + "".join(numbered.format(n) + part for n, part in enumerate(others, 1))

    def _values(self, columns: str, size: int) -> str:
        """A list of rows as something to select from. columns: one letter each."""
        dialect = self._dialect
        item = ", ".join("?" + dialect.casts[letter] for letter in columns)
        return dialect.values.format(
            nulls=", ".join(f"NULL AS column{place}" for place in range(1, len(columns) + 1)),
            list=dialect.between.join([dialect.row.format(item=item)] * size),
        )

    def _pack(self, query: Query, size: int) -> str:
        columns = [f"c{place}" for place in range(len(query.kinds))]
        limit = f" LIMIT {MANY_ROWS + 1}" if query.unbounded else ""
        values = ", ".join(map(_packed_value, columns, query.kinds))
        # As bytes: the connection of an application may have ideas of its own about text.
        return (
            f"WITH packed ({', '.join(columns)}) AS ({self.plain(query, size)})"
            f" SELECT CAST(json_group_array(json_array({values})) AS BLOB)"
            f" FROM (SELECT * FROM packed{limit})"
        )


def _heads(dialect: Dialect, table: str, column: str, free: str) -> str:
    lead = free.split()[0]
    return dialect.heads.format(table=table, column=column, free=free, lead=lead)


def _packed_value(column: str, kind: str) -> str:
    if kind == "v":
        return column
    if kind == "x":
        return f"hex({column})"
    return (
        f"CASE WHEN length({column}) <= {BIG} THEN hex({column})"
        f" WHEN {column} IS NOT NULL THEN 0 END"
    )
