"""Payloads: what can be stored comes back exactly."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import (
    Any,
)
from zoneinfo import ZoneInfo

import pytest
from codec_values import CODEC, GOLDEN, ORDER, Order, exact
from hypothesis import given, settings
from hypothesis import strategies as st

from durable.codec import Codec
from durable.errors import PayloadError

# ---------------------------------------------------------------- round trip


OFFSETS = st.timedeltas(
    min_value=timedelta(days=-1) + timedelta(microseconds=1),
    max_value=timedelta(days=1) - timedelta(microseconds=1),
)
ZONES = st.none() | st.just(UTC) | st.builds(timezone, OFFSETS)
FOLDS = st.integers(0, 1)
HASHABLE_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**200), max_value=2**200)
    | st.floats()
    | st.text()
    | st.binary()
    | st.builds(lambda at, fold: at.replace(fold=fold), st.datetimes(timezones=ZONES), FOLDS)
    | st.builds(lambda at, fold: at.replace(fold=fold), st.times(timezones=ZONES), FOLDS)
    | st.dates()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.sampled_from([Decimal("NaN"), Decimal("-NaN12"), Decimal("-0"), Decimal("1E+9")])
    | st.uuids()
    | st.complex_numbers()
)
HASHABLES = st.recursive(
    HASHABLE_LEAVES,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
VALUES = st.recursive(
    HASHABLES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(HASHABLES, inner, max_size=4)
        | st.sets(HASHABLES, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=1000, deadline=None)
@given(VALUES)
def test_what_is_stored_comes_back_exactly(value: Any) -> None:
    data = CODEC.encode(value)
    back = CODEC.decode(data)
    assert exact(back) == exact(value)
    assert CODEC.encode(back) == data


@settings(max_examples=200, deadline=None)
@given(st.lists(HASHABLES, max_size=8, unique=True), st.randoms())
def test_equal_sets_have_equal_bytes(elements: list[Any], shuffler: random.Random) -> None:
    data = CODEC.encode(set(elements))
    shuffler.shuffle(elements)
    assert CODEC.encode(set(elements)) == data


def test_sets_do_not_depend_on_the_hash_seed() -> None:
    program = (
        "from durable.codec import Codec;"
        "value = [{'a', 'b', 'c', 'dd', b'x'}, frozenset('qwertz'), {('a', 1), 2.5}];"
        "print(Codec().encode(value).hex())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(p for p in sys.path if p) + ":."},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize(
    "number", [2**63 - 1, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 1 << 9999], ids=hex
)
def test_integers_of_any_size(number: int) -> None:
    assert CODEC.decode(CODEC.encode([number, {number: 1}])) == [number, {number: 1}]


def test_order_and_keys_of_dicts_survive() -> None:
    value = {2: "two", 1: "one", "1": "text", None: 0, (1, (2,)): [3], False: 1}
    back = CODEC.decode(CODEC.encode(value))
    assert list(back.items()) == list(value.items())
    assert [type(key) for key in back] == [type(key) for key in value]


def test_utc_is_the_utc_of_datetime_and_zones_become_offsets() -> None:
    at = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Paris"))
    utc, back = CODEC.decode(CODEC.encode([at.astimezone(UTC), at]))
    assert utc.tzinfo is UTC
    assert back == at
    assert back.tzinfo == timezone(timedelta(hours=2))


def test_a_decimal_is_stored_the_same_in_every_decimal_context() -> None:
    number = Decimal("1E+30")
    data = CODEC.encode(number)
    with localcontext() as context:
        context.capitals = 0
        context.prec = 2
        assert CODEC.encode(number) == data
        assert str(CODEC.decode(CODEC.encode(Decimal("1.23456")))) == "1.23456"


def test_a_signalling_nan_is_stored() -> None:
    assert str(CODEC.decode(CODEC.encode(Decimal("sNaN7")))) == "sNaN7"


def test_threads_share_a_codec() -> None:
    values = [[index, ("x" * index, Decimal(index), {"k": (index,)})] for index in range(40)]
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(100):
            wrong.extend(v for v in values if CODEC.decode(CODEC.encode(v)) != v)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---------------------------------------------------------------- bytes, for ever


@pytest.mark.parametrize(("value", "expected"), GOLDEN, ids=range(len(GOLDEN)))
def test_golden_bytes(value: Any, expected: str) -> None:
    stored = bytes.fromhex(expected)
    assert CODEC.encode(value).hex() == stored.hex()
    back = CODEC.decode(stored)
    assert CODEC.encode(back) == stored


# ---------------------------------------------------------------- wrapping


class Xor(Codec):
    """A stand-in for encryption."""

    def wrap(self, plain: bytes) -> bytes:
        return b"\x01" + bytes(byte ^ 0x55 for byte in plain)

    def unwrap(self, payload: bytes) -> bytes:
        if payload[:1] == b"\x01":
            return bytes(byte ^ 0x55 for byte in payload[1:])
        return super().unwrap(payload)


def test_a_wrapping_codec() -> None:
    codec = Xor()
    payload = codec.encode([ORDER])
    assert b"o-1" not in payload
    assert codec.pack([ORDER]) == CODEC.pack([ORDER])
    assert codec.decode(payload, list[Order]) == [ORDER]
    assert codec.decode(CODEC.encode("old")) == "old"
    with pytest.raises(PayloadError, match=r"another codec \(id 1\)"):
        CODEC.decode(payload)
