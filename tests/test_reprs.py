"""Values as short text: bounded, on one line, and never an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from durable.reprs import MAX_WIDTH, bounded, call_text


@dataclass
class Item:
    name: str
    parts: Any = None
    secret: str = field(default="", repr=False)


@dataclass
class Own:
    name: str

    def __repr__(self) -> str:
        return "mine"


class Raises:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error


class Lines:
    def __repr__(self) -> str:
        return "one\ntwo\x1b[2J"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        ("it's", '"it\'s"'),
        ([1, "a", (2.5,)], "[1, 'a', (2.5,)]"),
        ({"b": 1, "a": 2}, "{'b': 1, 'a': 2}"),
        ({}, "{}"),
        ({3, 1, 2}, "{1, 2, 3}"),
        (set(), "set()"),
        (frozenset({1}), "frozenset({1})"),
        (b"abc", "b'abc'"),
        (Item("x", [1]), "Item(name='x', parts=[1])"),
        (Own("x"), "mine"),
        (Item, repr(Item)),
        (Lines(), r"one\ntwo\x1b[2J"),
        (range(100), "range(0, 100)"),
    ],
)
def test_what_is_short_is_shown_whole(value: object, text: str) -> None:
    assert bounded(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (list(range(1000)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]"),
        (dict.fromkeys(range(1000)), "{0: None, 1: None, 2: None, 3: None, 4: None, 5: None, "),
        (set(range(1000)), ", ...}"),
        ([[[[[["deep"]]]]]], "[[[[[...]]]]]"),
        (Item("x", list(range(1000))), "parts=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...])"),
        (Item("x", Item("x", Item("x", Item("x", Item("x"))))), "Item(...)"),
        ("x" * 10**6, "..."),
        (b"x" * 10**6, "…"),
        (10**3000, "..."),
    ],
)
def test_what_is_large_is_cut(value: object, text: str) -> None:
    assert text in bounded(value)
    assert len(bounded(value)) <= MAX_WIDTH


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), RecursionError()], ids=repr)
def test_a_repr_that_raises_is_named(error: BaseException) -> None:
    text = f"<Raises: its repr raised {type(error).__name__}>"
    assert bounded(Raises(error)) == text
    assert bounded({"a": [Raises(error)], "b": 1}) == f"{{'a': [{text}], 'b': 1}}"


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_that_python_does_not_print_is_cut(sign: str) -> None:
    text = bounded(int(f"{sign}0x1f{'0' * 5000}2", 16))
    assert text.startswith(f"{sign}0x1f000")
    assert text.endswith("0002")
    assert len(text) == MAX_WIDTH


def test_an_interrupt_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        bounded(Raises(KeyboardInterrupt()))


def test_what_contains_itself() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert bounded(loop) == "[[[[[...]]]]]"


def test_calls() -> None:
    assert call_text("charge", ["o-1"], {"cents": 500}) == "charge('o-1', cents=500)"
    assert len(call_text("f", ["x" * 500] * 50, {})) <= MAX_WIDTH + len("f()")
