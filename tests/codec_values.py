"""Values and classes that are stored in the tests of payloads."""

from __future__ import annotations

import enum
import struct
from collections import namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import (
    Any,
    Generic,
    NamedTuple,
    NotRequired,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import attrs

from durable.codec import Codec

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


ORDER = Order(
    id="o-1",
    items=[Item("a", 2, Color.BLUE), Item("b")],
    when=datetime(2024, 1, 2, tzinfo=UTC),
    points={"home": Point(1, 2.5)},
    total=Decimal("9.90"),
)


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
