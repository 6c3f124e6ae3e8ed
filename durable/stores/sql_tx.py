"""One transaction (or one read): what runs statements and gives rows.

The verbs are functions of a `Tx`.  It knows the moment at which the transaction began, the
texts of this store's statements, and nothing of connections and errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from json import loads
from typing import Any

from durable.stores.sql_cuts import exact_parts, filled_parts
from durable.stores.sql_text import MANY_ROWS, Query, Statement, Texts

__all__ = ["Row", "Tx"]

Row = list[Any]

_from_hex = bytes.fromhex


class Tx:
    """Runs statements on one connection.

    now: when the transaction began. tell: whether somebody else may wait for its changes.
    """

    __slots__ = ("_cursor", "_execute", "_texts", "now", "tell")

    def __init__(self, cursor: Any, texts: Texts, now: int) -> None:
        self._cursor = cursor
        self._execute = cursor.execute
        self._texts = texts
        self.now = now
        self.tell = True

    def run(self, statement: Statement, *params: object) -> int:
        """Run a statement without a list; how many rows it changed."""
        self._execute(self._texts.plain(statement, 0), params)
        return int(self._cursor.rowcount)

    def each(
        self,
        statement: Statement,
        items: Sequence[Any],
        before: Sequence[object] = (),
        after: Sequence[object] = (),
    ) -> int:
        """Run a statement over a list; how many rows it changed.

        An item is a value, or a tuple if the statement's item is one. before, after: the
        parameters that stand before and after the list.
        """
        changed = 0
        for size, params in filled_parts(statement, items, self._texts.statement_bytes):
            self._execute(self._texts.plain(statement, size), [*before, *params, *after])
            changed += self._cursor.rowcount
        return changed

    def insert(self, statement: Statement, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, in this order."""
        for size, params in exact_parts(statement, rows, self._texts.statement_bytes):
            self._execute(self._texts.plain(statement, size), params)

    def one(self, query: Query, *params: object) -> Row | None:
        """The first row of a query without a list."""
        rows = self.rows(query, *params)
        return rows[0] if rows else None

    def rows(self, query: Query, *params: object) -> list[Row]:
        """The rows of a query without a list."""
        return self._read(query, 0, params)

    def heads(self, query: Query, queue: str) -> list[Row]:
        """The rows of a query whose parameters are the queue, as often as it needs it, and now."""
        return self.rows(query, *[queue] * (self._texts.places(query) - 1), self.now)

    def fetch(
        self,
        query: Query,
        items: Sequence[Any],
        before: Sequence[object] = (),
        after: Sequence[object] = (),
    ) -> list[Row]:
        """The rows of a query over a list; of none if the list is empty."""
        rows: list[Row] = []
        for size, params in filled_parts(query, items, self._texts.statement_bytes):
            found = self._read(query, size, [*before, *params, *after])
            rows = rows + found if rows else found
        return rows

    def pairs(
        self, query: Query, items: Sequence[Any], after: Sequence[object] = ()
    ) -> dict[Any, Any]:
        """The rows of a query with two columns, from the first to the second."""
        return {row[0]: row[1] for row in self.fetch(query, items, after=after)}

    def raw(self, text: str, params: Sequence[object] = ()) -> list[Any]:
        """The rows of a query that was made elsewhere."""
        rows: list[Any] = self._execute(self._texts.composed(text), params).fetchall()
        return rows

    @property
    def locks_rows(self) -> bool:
        """Whether others write at the same time, each to rows that it has locked."""
        return self._texts.locks_rows

    def exclude(self) -> None:
        """Until the end of the transaction, be the only one who decides by all workers."""
        if self._texts.exclude:
            self.do(self._texts.exclude)

    def do(self, text: str, params: Sequence[object] = ()) -> None:
        """Run what was made elsewhere and gives no rows."""
        self._execute(self._texts.composed(text), params)

    def _read(self, query: Query, size: int, params: Sequence[object]) -> list[Row]:
        if self._texts.packs:
            [text] = self._execute(self._texts.packed(query, size), params).fetchone()
            rows: list[Row] = loads(text)
            if len(rows) <= MANY_ROWS and _unpack(rows, query.binary):
                return rows
        found = self._execute(self._texts.plain(query, size), params).fetchall()
        rows = list(map(list, found))
        if self._texts.as_bytes:
            _decode(rows, query.plain)
        return rows


def _decode(rows: list[Row], places: Sequence[int]) -> None:
    """Turn what should be text into text."""
    for row in rows:
        for place in places:
            value = row[place]
            if value.__class__ is bytes:
                row[place] = value.decode()


def _unpack(rows: list[Row], binary: Sequence[int]) -> bool:
    """Turn what is hexadecimal into bytes; False if something was too big to be packed."""
    for place in binary:
        for row in rows:
            value = row[place]
            if value == 0:
                return False
            if value is not None:
                row[place] = _from_hex(value)
    return True
