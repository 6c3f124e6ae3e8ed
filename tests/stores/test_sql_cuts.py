"""Lists are cut into statements by rows and by bytes; what was in the list is in the parts."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from durable.stores.sql_cuts import exact_parts, filled_parts
from durable.stores.sql_text import SIZES, Statement, Update

MOST = 1000
ROWS = Statement("INSERT … VALUES {list}", item="(?, ?)", payloads=(1,))
CHANGES = Update("a = v.column2", columns="nb")
KEYS = Statement("DELETE … IN ({list})")


def rows_of(params: Any, size: int) -> list[tuple[int, bytes | None]]:
    assert len(params) == 2 * size
    return list(zip(params[::2], params[1::2], strict=True))


def weight(rows: list[tuple[int, bytes | None]]) -> int:
    return sum(len(data or b"") for _, data in rows)


def a_list(seed: int) -> list[tuple[int, bytes | None]]:
    chance = random.Random(seed)
    sizes = (0, 1, 10, MOST // 2, MOST - 1, MOST, MOST + 1, 3 * MOST)
    weights = chance.choice([(50, 50, 20, 1, 1, 1, 1, 1), (1,) * 8])
    many = chance.choice([0, 1, 2, 3, 60, 1200])
    return [
        (n, None if chance.random() < 0.1 else bytes(chance.choices(sizes, weights)[0]))
        for n in range(many)
    ]


@pytest.mark.parametrize("seed", range(40))
def test_rows_to_insert_are_each_there_once_in_order(seed: int) -> None:
    items = a_list(seed)
    found = []
    for size, params in exact_parts(ROWS, items, MOST):
        part = rows_of(params, size)
        assert size in SIZES
        assert weight(part) <= MOST or len(part) == 1 or sum(bool(d) for _, d in part) == 1
        found += part
    assert found == items


@pytest.mark.parametrize("seed", range(40))
def test_lists_that_are_filled_up_have_at_most_twice_the_bytes(seed: int) -> None:
    items = a_list(seed)
    found: list[tuple[int, bytes | None]] = []
    for size, params in filled_parts(CHANGES, items, MOST):
        part = rows_of(params, size)
        assert size in SIZES
        assert weight(part) <= 2 * MOST or len({n for n, d in part if d}) == 1
        found += part
    assert dict(found) == dict(items)
    assert set(Counter(found)) == set(items)


def test_keys_are_cut_by_their_number_alone() -> None:
    parts = list(filled_parts(KEYS, list(range(1003)), 1))
    assert [size for size, _ in parts] == [500, 500, 4]
    assert list(parts[2][1]) == [1000, 1001, 1002, 1002]


def test_a_part_of_exactly_so_many_bytes_is_not_cut() -> None:
    items = [(1, bytes(MOST // 2)), (2, bytes(MOST // 2))]
    assert [size for size, _ in exact_parts(ROWS, items, MOST)] == [2]
    assert [size for size, _ in exact_parts(ROWS, items, MOST - 1)] == [1, 1]
