"""Payloads that are read by the hints of a signature."""

from __future__ import annotations

import enum
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from inspect import Parameter
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    Optional,
    Union,
)
from uuid import UUID

import pytest
from codec_values import (
    CODEC,
    ORDER,
    Access,
    Address,
    Box,
    Cat,
    Color,
    Crate,
    Dog,
    Item,
    Level,
    Naked,
    Node,
    OldPlace,
    Order,
    Parcel,
    Place,
    Point,
    Positive,
    Priority,
    T,
    Twin,
    exact,
)

from durable.errors import PayloadError

# ---------------------------------------------------------------- hints


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
