"""Lists cut into parts that a database takes in one statement.

Rules
-----
* A part has at most the largest of `SIZES` members, and so many bytes of payloads; a member
  with more of them is a part of its own.  A server refuses, or drops the connection, when a
  statement is larger than its packet.
* What is not inserted may be filled up to a size of `SIZES` by repeating a member: the
  lightest one, so that the part has at most twice the bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from durable.stores.sql_text import SIZES, Statement

__all__ = ["exact_parts", "filled_parts"]

Part = tuple[int, Sequence[Any]]
"""(size, parameters)."""

_flat = chain.from_iterable


def filled_parts(statement: Statement, items: Sequence[Any], most: int) -> Iterator[Part]:
    """Parts that are filled up."""
    largest = SIZES[-1]
    for light in _light(statement, items, most):
        for start in range(0, len(light), largest):
            part = light[start : start + largest] if len(light) > largest else light
            size = SIZES[bisect_left(SIZES, len(part))]
            missing = size - len(part)
            if missing:
                part = [*part, *[_lightest(statement, part)] * missing]
            yield size, list(_flat(part)) if statement.nested else part


def exact_parts(statement: Statement, rows: Sequence[tuple[Any, ...]], most: int) -> Iterator[Part]:
    """Parts that have each row once, in this order."""
    for light in _light(statement, rows, most):
        start = 0
        while left := len(light) - start:
            size = SIZES[bisect_right(SIZES, left) - 1]
            yield size, list(_flat(light[start : start + size]))
            start += size


def _light(statement: Statement, items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    """The list in parts of so many bytes."""
    places = statement.large
    if not places or _weight(items, places) <= most:
        yield items
        return
    start = total = 0
    for end, item in enumerate(items):
        weight = _weight([item], places)
        if total and total + weight > most:
            yield items[start:end]
            start, total = end, 0
        total += weight
    yield items[start:]


def _lightest(statement: Statement, items: Sequence[Any]) -> Any:
    places = statement.large
    return min(items, key=lambda item: _weight([item], places)) if places else items[-1]


def _weight(items: Sequence[Any], places: Sequence[int]) -> int:
    return sum([len(item[place] or b"") for place in places for item in items])
