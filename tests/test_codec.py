"""Payloads: what can be stored comes back exactly; what cannot is refused where it is."""

from __future__ import annotations

import asyncio
import enum
import math
import random
import re
import struct
import subprocess
import sys
import threading
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, localcontext
from inspect import Parameter
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable.codec import DEEPEST, DEFAULT_MAX_DEPTH, DEFAULT_MAX_SIZE, Codec
from durable.errors import PayloadError, UsageError

CODEC = Codec()
T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"
    PAIR = (1, 2)


class Priority(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Level(enum.StrEnum):
    INFO = "info"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Item:
    sku: str
    count: int = 1
    color: Color = Color.RED


@dataclass(frozen=True)
class Point:
    x: float
    y: float


@dataclass
class Order:
    id: str
    items: list[Item]
    when: datetime | None = None
    points: dict[str, Point] = field(default_factory=dict)
    total: Decimal = Decimal(0)
    size: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.size = len(self.items)


@dataclass
class Node:
    name: str
    children: list[Node] = field(default_factory=list)
    parent: Node | None = None


@dataclass
class Box(Generic[T]):
    inside: T


@attrs.define
class Parcel:
    weight: float
    _secret: str
    to: Point | None = None
    label: str = attrs.field(init=False, default="new")


@attrs.frozen
class Positive:
    number: int = attrs.field()

    @number.validator
    def _check(self, _: Any, value: int) -> None:
        if value <= 0:
            raise ValueError("must be positive")


class Place(NamedTuple):
    name: str
    at: Point
    color: Color = Color.RED


OldPlace = namedtuple("OldPlace", ["name", "at"])  # the untyped kind


class Address(TypedDict):
    street: str
    color: Color
    point: NotRequired[Point]


class Crate(TypedDict, Generic[T], total=False):
    content: list[T]
    other: T


@dataclass
class Cat:
    name: str
    lives: int


@dataclass
class Dog:
    name: str
    bark: str


@dataclass
class Twin:
    name: str
    lives: int


class MyStr(str):
    __slots__ = ()


class MyInt(int):
    pass


class MyList(list[int]):
    pass


class Command:
    __durable_command__ = True


@dataclass(frozen=True)
class DataCommand:
    name: str
    __durable_command__ = True


class Naked:
    pass


# ---------------------------------------------------------------- round trip


def exact(value: Any) -> Any:
    """A value as something that is equal only for the same types, signs, folds and offsets."""
    kind = type(value).__name__
    if isinstance(value, float):
        return kind, struct.pack(">d", value)
    if isinstance(value, complex):
        return kind, struct.pack(">dd", value.real, value.imag)
    if isinstance(value, (datetime, time)):
        return kind, value.replace(tzinfo=None).isoformat(), value.fold, value.utcoffset()
    if isinstance(value, dict):
        return kind, [(exact(key), exact(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return kind, [exact(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return kind, sorted((exact(item) for item in value), key=repr)
    return kind, str(value) if isinstance(value, Decimal) else value


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

GOLDEN: list[tuple[Any, str]] = [
    (None, "00c0"),
    (["o-1", 500, True, 1.5, b"\x01"], "0095a36f2d31cd01f4c3cb3ff8000000000000c40101"),
    ({"a": 1, 2: None}, "0082a161 01 02c0"),
    (datetime(1970, 1, 1, 0, 0, 1), "00c70901 00 00000000000f4240"),
    (datetime(1969, 12, 31, 23, 59, 59, 999999), "00c70901 00 ffffffffffffffff"),
    (datetime(1970, 1, 1, fold=1), "00c70901 01 0000000000000000"),
    (datetime(1970, 1, 1, tzinfo=UTC), "00c71101 02 0000000000000000 0000000000000000"),
    (
        datetime(2024, 2, 29, 1, 2, 3, 4, timezone(timedelta(hours=-2)), fold=1),
        "00c71101 03 0006127aceacb8c4 fffffffe52d8b800",
    ),
    (date(1970, 1, 2), "00d602 00000001"),
    (date(1, 1, 1), "00d602 fff506c6"),
    (time(0, 0, 1), "00c70903 00 00000000000f4240"),
    (
        time(0, tzinfo=timezone(timedelta(seconds=1))),
        "00c71103 02 0000000000000000 00000000000f4240",
    ),
    (timedelta(0), "00d404 00"),
    (timedelta(microseconds=-1), "00d404 ff"),
    (timedelta(days=1), "00c70504 141dd76000"),
    (timedelta(microseconds=128), "00d504 0080"),
    (Decimal("-1.50"), "00c70505 2d312e3530"),
    (UUID(int=1), "00d806 00000000000000000000000000000001"),
    ({"b", "a", 3}, "00c70607 93 03 a161 a162"),
    (frozenset(), "00d408 90"),
    ((1, (2,)), "00c70609 92 01 d50991 02"),
    (complex(1, -2), "00d80a 3ff0000000000000 c000000000000000"),
    (2**64, "00c7090b 010000000000000000"),
    (-(2**63) - 1, "00c7090b ff7fffffffffffffff"),
    (Color.BLUE, "00a4626c7565"),
    (Point(1.5, 2), "0082 a178 cb3ff8000000000000 a179 02"),
    (Parcel(1, "s"), "0083 a6776569676874 01 a75f736563726574 a173 a2746f c0"),
    (OldPlace("a", 1), "00d609 92 a161 01"),
]


@pytest.mark.parametrize(("value", "expected"), GOLDEN, ids=range(len(GOLDEN)))
def test_golden_bytes(value: Any, expected: str) -> None:
    stored = bytes.fromhex(expected)
    assert CODEC.encode(value).hex() == stored.hex()
    back = CODEC.decode(stored)
    assert CODEC.encode(back) == stored


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
    ({"a b": {3: Naked()}}, "value['a b'][3]: cannot store a Naked (test_codec.Naked)"),
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


# ---------------------------------------------------------------- hints

ORDER = Order(
    id="o-1",
    items=[Item("a", 2, Color.BLUE), Item("b")],
    when=datetime(2024, 1, 2, tzinfo=UTC),
    points={"home": Point(1, 2.5)},
    total=Decimal("9.90"),
)
UserId = NewType("UserId", str)
OrderAlias = NewType("OrderAlias", Order)

REBUILT: list[tuple[Any, Any]] = [
    (Color.RED, Color),
    (Color.PAIR, Color),
    (Priority.HIGH, Priority),
    (Level.INFO, Level),
    (Access.READ | Access.WRITE, Access),
    ([Priority.LOW], list[Priority]),
    ({Level.INFO: Priority.HIGH}, dict[Level, Priority]),
    ({Color.RED}, set[Color]),
    (frozenset([Color.RED]), frozenset[Color]),
    ((Color.RED, Color.BLUE), tuple[Color, ...]),
    ((Color.RED, 1, Point(1, 2)), tuple[Color, int, Point]),
    (ORDER, Order),
    (ORDER, Annotated[Order, "metadata"]),
    (ORDER, Annotated[Order, ["cannot be hashed"]]),
    ([ORDER], list[Annotated[Order, ["cannot be hashed"]]]),
    (ORDER, OrderAlias),
    (ORDER, Order | None),
    (None, Order | None),
    (None, Optional[Order]),  # noqa: UP045
    ([ORDER, None], list[Order | None]),
    ({"a": [ORDER]}, dict[str, list[Order]]),
    ({"a": ORDER}, Mapping[str, Order]),
    ([ORDER], Sequence[Order]),
    ((ORDER,), Sequence[Order]),
    ([ORDER], Iterable[Order]),
    (Node("a", [Node("b", [Node("c")])]), Node),
    (Node("a", parent=Node("b")), Node),
    (Box(Point(1, 2)), Box[Point]),
    (Parcel(1.5, "s", Point(1, 2)), Parcel),
    (Place("a", Point(1, 2), Color.BLUE), Place),
    ([OldPlace("a", (1, 2))], list[OldPlace]),
    ({"street": "s", "color": Color.RED}, Address),
    ({"content": [Point(1, 2)]}, Crate[Point]),
    ({"content": [5]}, Crate),
    ({"street": "s", "color": Color.RED, "point": Point(1, 2)}, Address),
    (Cat("c", 9), Cat | Dog),
    (Dog("d", "wuff"), Cat | Dog),
    ([Dog("d", "wuff"), None, Cat("c", 9)], list[Cat | Dog | None]),
    (Point(1, 2), Point | int | str),
    (7, Point | int | str),
    ("x", Point | int | str),
    (7, Point | float),
    ({"a": 1}, Point | dict[str, int]),
    (Point(1, 2), Point | dict[str, int]),
    ([Point(1, 2)], Point | list[Point]),
    (Color.RED, Color | int),
    (5, Color | int),
    ("other", Color | str),
    (True, Priority | bool),
    (Priority.LOW, Union[Priority, None, Point]),  # noqa: UP007
    (Color.RED, Literal[Color.RED, "x"]),
]


@pytest.mark.parametrize(("value", "hint"), REBUILT, ids=[str(hint) for _, hint in REBUILT])
def test_rebuilt_by_hint(value: Any, hint: Any) -> None:
    back = CODEC.decode(CODEC.encode(value), hint)
    assert back == value
    assert type(back) is type(value)


PASSED: list[Any] = [
    Any, object, Parameter.empty, None, int, str, float, bool, bytes, list, dict, tuple, set,
    datetime, Decimal, UUID, list[int], dict[str, int], tuple[int, ...], set[float], int | None,
    UserId, T, Literal["a", 1], Annotated[int, []], list[Annotated[int, []]],
    "Order", Naked, enum.Enum, Path, type[Order], Iterable[int], Sequence, ["no hint"], 5,
]  # fmt: skip


@pytest.mark.parametrize("hint", PASSED, ids=str)
@pytest.mark.parametrize("value", ["5", 5, 5.5, None, [1, "2"], {"a": (1,)}, Decimal(1)])
def test_nothing_is_coerced(value: Any, hint: Any) -> None:
    assert exact(CODEC.decode(CODEC.encode(value), hint)) == exact(value)


def test_nothing_is_coerced_inside_a_dataclass() -> None:
    stored = {"sku": 5, "count": "7", "color": "red"}
    back = CODEC.decode(CODEC.encode(stored), Item)
    assert back == Item(5, "7", Color.RED)  # type: ignore[arg-type]
    point = CODEC.decode(CODEC.encode({"x": 1, "y": 2}), Point)
    assert type(point.x) is int
    box = CODEC.decode(CODEC.encode({"inside": [1, (2,)]}), Box)
    assert box == Box([1, (2,)])


@dataclass
class Everything:
    color: Color  # so that cattrs is needed for certain
    a: int | str
    b: list[Any]
    c: dict[int, tuple[int, ...]]
    d: bytes
    e: timedelta
    f: set[int] | None
    g: Literal["x", 2]
    h: UserId
    i: complex
    j: Any
    k: list[list[Point]]
    l: frozenset[date]  # noqa: E741
    m: tuple[Color, list[Point]]
    n: Sequence[Point]


def test_a_dataclass_with_everything() -> None:
    value = Everything(
        Color.RED, "x", [1, (2,)], {1: (1, 2)}, b"x", timedelta(1), {1}, "x", UserId("u"), 1j,
        {"any": (1,)}, [[Point(1, 2)]], frozenset([date(2024, 1, 1)]), (Color.BLUE, [Point(3, 4)]),
        (Point(5, 6),),
    )  # fmt: skip
    back = CODEC.decode(CODEC.encode(value), Everything)
    assert back == value
    assert type(back.n) is tuple


def test_without_a_hint_the_plain_value_comes_back() -> None:
    assert CODEC.decode(CODEC.encode(Item("a", 2, Color.BLUE))) == {
        "sku": "a",
        "count": 2,
        "color": "blue",
    }
    place = CODEC.decode(CODEC.encode(Place("a", Point(1, 2))))
    assert exact(place) == exact(("a", {"x": 1, "y": 2}, "red"))
    assert type(CODEC.decode(CODEC.encode(Priority.HIGH))) is int
    assert type(CODEC.decode(CODEC.encode(Level.INFO))) is str
    assert CODEC.decode(CODEC.encode({Level.INFO: 1, Place("k", 2): 2})) == {  # type: ignore[arg-type]
        "info": 1,
        ("k", 2, "red"): 2,
    }


def test_old_data_without_a_new_field_and_with_one_that_has_gone() -> None:
    assert CODEC.decode(CODEC.encode({"sku": "a", "gone": 1}), Item) == Item("a")
    assert CODEC.decode(CODEC.encode(("a", {"x": 1, "y": 2})), Place) == Place("a", Point(1, 2))
    longer = ("a", {"x": 1, "y": 2}, "blue", "gone")
    assert CODEC.decode(CODEC.encode(longer), Place) == Place("a", Point(1, 2), Color.BLUE)
    as_list = ["a", {"x": 1, "y": 2}]
    assert CODEC.decode(CODEC.encode(as_list), Place) == Place("a", Point(1, 2))


def test_plain_data_rebuilds_classes_and_tuples() -> None:
    stored = {"id": "o", "items": ({"sku": "a"},), "points": {"p": {"x": 1, "y": 2}}}
    order = CODEC.decode(CODEC.encode(stored), Order)
    assert order == Order("o", [Item("a")], points={"p": Point(1, 2)})
    assert order.size == 1
    assert CODEC.decode(CODEC.encode([["red"]]), list[tuple[Color, ...]]) == [(Color.RED,)]


MISFITS: list[tuple[Any, Any, str]] = [
    ("green", Color, r"does not fit Color: ValueError: 'green' is not a valid Color"),
    (["red", "green"], list[Color], r"list\[.*Color\]: .*'green' is not .* at value\[1\]"),
    ({"id": "o"}, Order, r"does not fit Order: required field missing at value\.items"),
    (
        {"id": "o", "items": [{"sku": "a"}, {"sku": "b", "color": "green"}]},
        Order,
        r"'green' is not a valid Color at value\.items\[1\]\.color",
    ),
    ("x", Item, "expected a dict, not a str"),
    ("x", Box[Point], "expected a dict, not a str"),
    ([1], Point, "expected a dict, not a list"),
    ("red", list[Color], "expected a list, not a str"),
    ({"red": 1}, tuple[Color, ...], "expected a list, not a dict"),
    (["red"], dict[str, Color], "does not fit dict"),
    (("red",), tuple[Color, int], "2 items expected, not 1"),
    (("red", 1, 2), tuple[Color, int], "2 items expected, not 3"),
    (("a",), Place, "does not fit Place"),
    ({"street": "s"}, Address, r"required field missing at value\.color"),
    ([], Address, "expected a dict, not a list"),
    ({"number": -1}, Positive, "must be positive"),
    (None, Order, "expected a dict, not a NoneType"),
    (5, Order | None, "a int is no"),
    ({"x": 1}, Point | int, "required field missing"),
    ({"name": "n"}, Cat | Dog, r"does not fit .*Cat.*Dog"),
    ({"name": "n", "lives": 1}, Cat | Twin, r"does not fit .*Cat.*Twin"),
    ("blue", Literal[Color.RED], "blue not in literal"),
]


@pytest.mark.parametrize(("value", "hint", "message"), MISFITS)
def test_misfit(value: Any, hint: Any, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        CODEC.decode(CODEC.encode(value), hint)


def test_many_misfits_are_cut_short() -> None:
    with pytest.raises(PayloadError, match=r"; and 7 more$"):
        CODEC.decode(CODEC.encode(["green"] * 10), list[Color])


@dataclass
class WithInitVar:
    kept: int
    given: InitVar[int] = 3

    def __post_init__(self, given: int) -> None:
        self.kept += given


def test_only_stored_fields_are_stored() -> None:
    assert CODEC.decode(CODEC.encode(WithInitVar(1, 0))) == {"kept": 1}
    assert set(CODEC.decode(CODEC.encode(ORDER))) == {"id", "items", "when", "points", "total"}


def test_cattrs_is_loaded_only_when_a_hint_needs_it() -> None:
    program = (
        "import sys; from durable.codec import Codec; c = Codec();"
        "assert c.decode(c.encode([1, (2,)]), list[int]) == [1, (2,)];"
        "assert 'cattrs' not in sys.modules"
    )
    path = ":".join(p for p in sys.path if p) + ":."
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": path}, check=True)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type X = ... is Python 3.12")
def test_type_aliases() -> None:
    scope: dict[str, Any] = {"Color": Color, "Order": Order}
    exec("type Colors = list[Color]\ntype Json = dict[str, Json] | list[Json] | int", scope)
    exec("type Tree = list[Tree] | Color", scope)
    assert CODEC.decode(CODEC.encode([Color.RED]), scope["Colors"]) == [Color.RED]
    assert CODEC.decode(CODEC.encode({"a": [1]}), scope["Json"]) == {"a": [1]}
    assert CODEC.decode(CODEC.encode([[Color.RED]]), scope["Tree"]) == [[Color.RED]]


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
