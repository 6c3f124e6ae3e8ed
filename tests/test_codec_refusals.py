"""Payloads: what cannot be stored, or read, is refused where it is."""

from __future__ import annotations

import asyncio
import math
import random
import re
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import (
    Any,
)
from zoneinfo import ZoneInfo

import msgpack
import pytest
from codec_values import (
    CODEC,
    GOLDEN,
    Color,
    Command,
    DataCommand,
    Item,
    Level,
    MyInt,
    MyList,
    MyStr,
    Naked,
    Node,
    Order,
    Parcel,
    Place,
    Point,
)

from durable.codec import DEEPEST, DEFAULT_MAX_DEPTH, DEFAULT_MAX_SIZE, Codec
from durable.errors import PayloadError, UsageError

# ---------------------------------------------------------------- refusals


def generator() -> Generator[int, None, None]:
    yield 1


async def coroutine() -> None:
    await asyncio.sleep(0)


class BadZone(tzinfo):
    def utcoffset(self, at: datetime | None) -> timedelta | None:
        return None

    dst = utcoffset

    def tzname(self, at: datetime | None) -> str | None:
        return None


class Exploding:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("do not touch")


@dataclass
class Holder:
    held: Any
    other: int = 0


@dataclass
class DictLike(dict[str, int]):
    extra: int = 0


REFUSED: list[tuple[Any, str]] = [
    (threading.Lock(), "value: cannot store a lock (_thread.lock): only plain values, enums"),
    ([1, {"when": threading.Lock()}], "value[1].when: cannot store a lock"),
    ({"a b": {3: Naked()}}, "value['a b'][3]: cannot store a Naked (codec_values.Naked)"),
    ((1, (2, print)), "value[1][1]: cannot store a builtin_function_or_method (print)"),
    ([lambda: 1], "value[0]: cannot store a function ("),
    (Naked, "value: cannot store a type (Naked)"),
    (math, "value: cannot store a module"),
    (ValueError("x"), "value: cannot store a ValueError"),
    (Path("x"), "value: cannot store a PosixPath"),
    (range(3), "value: cannot store a range"),
    ({}.keys(), "value: cannot store a dict_keys"),
    (Exploding(), "value: cannot be stored: RuntimeError('do not touch')"),
    (Holder([Holder(print)]), "value.held[0].held: cannot store"),
    (Place("a", print), "value[1]: cannot store"),  # type: ignore[arg-type]
    (Parcel(1, "s", print), "value.to: cannot store"),  # type: ignore[arg-type]
    ({"k": {print}}, "value.k{<built-in function print>}: cannot store"),
    ({print: 1}, "value[<built-in function print>]: cannot store"),
    # commands and generators
    (Command(), "value: is a command that was not yielded: write (yield ...) first"),
    ([DataCommand("x")], "value[0]: is a command that was not yielded"),
    ({"k": Command}, "value.k: is a command that was not yielded"),
    (generator(), "value: is a generator (generator): did you forget to yield it?"),
    # subclasses
    (MyStr("x"), "cannot store a MyStr: it would come back as a plain str"),
    (MyInt(1), "cannot store a MyInt: it would come back as a plain int"),
    (MyList([1]), "cannot store a MyList: it would come back as a plain list"),
    (OrderedDict(a=1), "cannot store a OrderedDict: it would come back as a plain dict"),
    (defaultdict(int), "cannot store a defaultdict: it would come back as a plain dict"),
    (DictLike(), "cannot store a DictLike: it would come back as a plain dict"),
    ({MyStr("k"): 1}, "value['k']: cannot store a MyStr"),
    # what msgpack would take
    (bytearray(b"x"), "cannot store a bytearray: it would come back as bytes; pass bytes(value)"),
    ([[1] * 100, bytearray(300)], "value[1]: cannot store a bytearray"),
    ({"m": memoryview(b"x")}, "value.m: cannot store a memoryview"),
    ({memoryview(b"x"): 1}, "cannot store a memoryview"),
    ([msgpack.Timestamp(1)], "value[0]: cannot store a Timestamp"),
    # leaves
    ({"t": ["ok", "\ud800"]}, "value.t[1]: a str with a lone surrogate (at 0)"),
    ({"a\udfff": 1}, "a str with a lone surrogate (at 1)"),
    (({"x", "\ud800"},), "a str with a lone surrogate (at 0)"),
    ([time(1, tzinfo=ZoneInfo("Europe/Paris"))], "value[0]: cannot store this time: its tzinfo"),
    (datetime(2024, 1, 1, tzinfo=BadZone()), "value: cannot store this datetime: its tzinfo"),
    # keys and elements
    ({Point(1, 2): 1}, "a Point cannot be a key or an element: it would come back as a dict"),
    ({(1, Point(1, 2)): 1}, "a tuple cannot be a key or an element"),
    ([{Point(1, 2)}], "a Point cannot be a key or an element"),
    ({Color.RED: 1, "red": 2}, "value: two of its keys are stored as the same value"),
    ([{Color.RED, "red"}], "value[0]: two of its elements are stored as the same value"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refused(value: Any, message: str) -> None:
    with pytest.raises(PayloadError, match=re.escape(message)):
        CODEC.encode(value)


def test_a_forged_extension_is_the_named_tuple_that_it_is() -> None:
    assert CODEC.decode(CODEC.encode([msgpack.ExtType(9, b"\x90")])) == [(9, b"\x90")]


def test_the_path_begins_with_the_given_name() -> None:
    value = [{"items": [1, 2, 3, Holder(threading.Lock())]}]
    with pytest.raises(PayloadError, match=r"^args\[0\]\.items\[3\]\.held: cannot store a lock"):
        CODEC.encode(value, "args")


def test_a_coroutine_is_refused() -> None:
    never_run = coroutine()
    with pytest.raises(
        PayloadError, match=r"is a coroutine \(coroutine\): did you forget to yield"
    ):
        CODEC.encode([never_run])
    never_run.close()


def test_self_reference() -> None:
    value: dict[str, Any] = {"a": [1]}
    value["a"].append((value,))
    message = r"^value\.a\[1\]\[0\]: contains itself \(it is value again\)"
    with pytest.raises(PayloadError, match=message):
        CODEC.encode(value)
    node = Node("x")
    node.children.append(Node("y", parent=node))
    message = r"^args\[0\]\.children\[0\]\.parent: contains itself \(it is args\[0\] again\)"
    with pytest.raises(PayloadError, match=message):
        CODEC.encode([node], "args")


def test_the_same_value_twice_is_no_cycle() -> None:
    shared = [1]
    assert CODEC.decode(CODEC.encode([shared, (shared,)])) == [[1], ([1],)]


# ---------------------------------------------------------------- limits


def nested(depth: int, wrap: Any) -> Any:
    value: Any = wrap(1)
    for _ in range(depth - 1):
        value = wrap(value)
    return value


WRAPS = [
    lambda v: [v],
    lambda v: {"k": v},
    lambda v: (v,),
    lambda v: frozenset([v]),
    lambda v: [(v,)] if isinstance(v, tuple) else (v,),
    Holder,
]


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("limit", [1, 10, DEFAULT_MAX_DEPTH, DEEPEST])
def test_depth(wrap: Any, limit: int) -> None:
    codec = Codec(max_depth=limit)
    deepest = next(n for n in range(limit, 0, -1) if depth_of(nested(n, wrap)) <= limit)
    payload = codec.encode(nested(deepest, wrap))
    codec.decode(payload)
    for too_deep in (deepest + 1, deepest + 2, 600, 3000):
        with pytest.raises(PayloadError, match=f"nested more than {limit} deep|recursion depth"):
            codec.encode(nested(too_deep, wrap))
    if limit > 1:
        with pytest.raises(PayloadError, match="nested more than"):
            Codec(max_depth=limit - 1).decode(codec.encode(nested(limit, lambda v: [v])))


def depth_of(value: Any) -> int:
    depth = 0
    while value != 1:
        depth += 1
        value = value.held if isinstance(value, Holder) else next(iter_values(value))
    return depth


def iter_values(value: Any) -> Iterator[Any]:
    return iter(value.values() if isinstance(value, dict) else value)


def test_depth_of_keys_and_of_wide_values() -> None:
    with pytest.raises(PayloadError, match="nested more than 100 deep"):
        CODEC.encode({nested(100, lambda v: (v,)): 1})
    wide = [{"a": [i, {"b": (i,)}]} for i in range(500)]
    assert CODEC.decode(CODEC.encode(wide)) == wide


def test_a_long_path_is_shortened() -> None:
    with pytest.raises(PayloadError) as caught:
        CODEC.encode(nested(101, lambda v: [v]))
    message = str(caught.value)
    assert re.fullmatch(
        r"value(\[0\]){8} \.\.\. (\[0\]){7,8}: nested more than 100 deep.*", message
    )


def hostile() -> Iterator[bytes]:
    """Plain msgpack made to overrun the stack or the memory."""
    for header in (
        b"\x91",
        b"\x81\x01",
        b"\x81\x91",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
    ):
        for count in (101, 300, 600, 1030, 5000, 100_000):
            yield header * count + b"\x01"
    yield b"\xdd\x00\x3f\xff\xff" * 800_000
    for number in (7, 8, 9):
        for array in (b"\x91", b"\x91\x91\x91", b"\x91\x81\x01", b"\x81\x01", b""):
            data = b"\x01"
            for _ in range(1500):
                data = array + data
                data = b"\xc9" + len(data).to_bytes(4, "big") + bytes([number]) + data
            yield data


def test_hostile_data_even_on_a_small_stack() -> None:
    problems: list[str] = []

    def work() -> None:
        for data in hostile():
            try:
                CODEC.decode(b"\x00" + data)
                problems.append(f"taken: {data[:9]!r}")
            except PayloadError:
                pass
            except BaseException as error:
                problems.append(repr(error))

    before = threading.stack_size(1024 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert problems == []


def test_size_both_ways() -> None:
    codec = Codec(max_size=100)
    fits = codec.encode(b"x" * 98)
    assert codec.decode(fits) == b"x" * 98
    message = r"^args: 101 bytes are more than the limit of 100; .*Codec\(max_size=\)"
    with pytest.raises(PayloadError, match=message):
        codec.encode(b"x" * 99, "args")
    with pytest.raises(PayloadError, match=r"^the payload: 102 bytes are more than .* 100"):
        codec.decode(CODEC.encode(b"x" * 100))
    with pytest.raises(PayloadError, match="more than the limit"):
        codec.encode(("x" * 200,))
    with pytest.raises(PayloadError, match=f"limit of {DEFAULT_MAX_SIZE:,}"):
        CODEC.encode("x" * DEFAULT_MAX_SIZE)


@pytest.mark.parametrize("limits", [{"max_depth": 0}, {"max_depth": 251}, {"max_size": 0}])
def test_limits_that_make_no_sense(limits: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Codec(**limits)


# ---------------------------------------------------------------- damaged data

DAMAGED: list[tuple[bytes, str]] = [
    (b"", "the payload is empty"),
    (b"\x00", "cannot be read"),
    (b"\x07\x01", r"another codec \(id 7\)"),
    (b"\x00\x01\x01", "cannot be read"),
    (b"\x00\x92\x01", "cannot be read"),
    (b"\x00\xc1", "cannot be read"),
    (b"\x00\xa1\xff", "cannot be read"),
    (b"\x00\x81\x90\x01", "cannot be read"),
    (b"\x00\xd4\x0c\x00", "extension type 12 is not known"),
    (b"\x00\xd4\x7f\x00", "extension type 127 is not known"),
    (b"\x00\xd4\x80\x00", "extension type -128 is not known"),
    (b"\x00\xd6\xff\x00\x00\x00\x00", "Timestamp"),
    (b"\x00\x81\xd6\xff\x00\x00\x00\x00\x01", "Timestamp"),
    (b"\x00\xd5\x09\x91\xc1", "cannot be read"),
    (b"\x00\xd4\x09\x01", "holds no array"),
    (b"\x00\xd5\x07\x91\x90", "cannot be read"),
    (b"\x00\xd4\x05\xff", "cannot be read"),
    (b"\x00\xd4\x05x", "cannot be read"),
    (b"\x00\xd4\x06\x00", "cannot be read"),
    (b"\x00\xc7\x00\x01", "cannot be read"),
    (b"\x00\xc7\x09\x01\x04" + bytes(8), "flags 4 are not known"),
    (b"\x00\xc7\x09\x01\x00\x7f" + bytes(7), "cannot be read"),
    (b"\x00\xd6\x02\x7f\xff\xff\xff", "cannot be read"),
    (b"\x00\xc7\x0a\x04\x7f" + bytes(9), "cannot be read"),
]


@pytest.mark.parametrize(("payload", "message"), DAMAGED)
def test_damaged(payload: bytes, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        CODEC.decode(payload)


def test_extra_bytes_deep_inside() -> None:
    data = b"\x90\x01"
    for _ in range(6):
        data = b"\x91" + b"\xc7" + bytes([len(data)]) + b"\x09" + data
    with pytest.raises(PayloadError, match="extra"):
        CODEC.decode(b"\x00" + data)


def test_mutated_payloads_give_a_value_or_a_payload_error() -> None:
    rng = random.Random(20240229)
    value = [value for value, _ in GOLDEN] + [{"deep": [((1, {2: {3}}),)] * 3, "n": 10**40}]
    blobs = [CODEC.encode(value)] + [bytes.fromhex(expected) for _, expected in GOLDEN]
    hints = [Any, list[Order], Order, Place, tuple[Color, ...], dict[str, Item | Point], set[Level]]
    for _ in range(20_000):
        blob = bytearray(rng.choice(blobs))
        for _ in range(rng.randint(1, 4)):
            action, at = rng.randrange(4), rng.randrange(len(blob) or 1)
            if action == 0 and blob:
                blob[at] = rng.randrange(256)
            elif action == 1:
                blob[at:at] = rng.randbytes(rng.randint(1, 4))
            elif action == 2:
                del blob[at : at + rng.randint(1, 4)]
            else:
                del blob[at:]
        try:
            back = CODEC.decode(bytes(blob), rng.choice(hints))
            CODEC.encode(back)  # what can be read can be stored again
        except PayloadError:
            pass
