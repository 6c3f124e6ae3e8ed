"""What is read from the command line, and how values are shown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import click
import pytest

from durable.cli.arguments import json_value, named_values
from durable.cli.options import parse_duration, parse_moment
from durable.cli.output import print_table
from durable.cli.text import call_text, duration_text, moment_text, shorten, value_text
from durable.cli.where import parse_where
from durable.plain import plain
from durable.reprs import escape


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("1.5", 1.5),
        ("90s", 90.0),
        ("500ms", 0.5),
        ("1h30m", 5400.0),
        ("2d", 172800.0),
        ("1w", 604800.0),
        ("", None),
        ("x", None),
        ("-5", None),
        ("1h30", None),
        ("5 m", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


def test_moments() -> None:
    at = parse_moment("2026-05-04T13:00+02:00", ago=False)
    assert at == datetime(2026, 5, 4, 11, tzinfo=UTC)
    hour = parse_moment("1h", ago=True)
    assert hour is not None
    assert timedelta(0) <= datetime.now(UTC) - timedelta(hours=1) - hour < timedelta(minutes=1)
    assert parse_moment("1h", ago=False) is None
    assert parse_moment("yesterday", ago=True) is None
    naive = parse_moment("2026-05-04", ago=True)
    assert naive is not None
    assert naive.tzinfo is not None


def test_json_arguments() -> None:
    assert json_value('{"a": [1, null]}', "x") == {"a": [1, None]}
    with pytest.raises(click.UsageError, match="""'"o-1"'"""):
        json_value("o-1", "argument 1")
    for wrong in ("NaN", "", "{", "[" * 100_000):
        with pytest.raises(click.UsageError):
            json_value(wrong, "argument 1")


def test_named_arguments() -> None:
    given = ["a=x=y", "b:=500", 'c:={"k": 1}', "d=", "e:=null"]
    assert named_values(given) == {"a": "x=y", "b": 500, "c": {"k": 1}, "d": "", "e": None}


@pytest.mark.parametrize("wrong", [["a"], ["=x"], ["1a=x"], ["a:=x"], ["a=1", "a:=2"]])
def test_wrong_named_arguments(wrong: list[str]) -> None:
    with pytest.raises(click.UsageError):
        named_values(wrong)


def test_filters() -> None:
    found = parse_where("status=failed,cancelled workflow='my order' search=o-")
    assert found == {"status": ["failed", "cancelled"], "workflow": "my order", "search": "o-"}
    assert parse_where("since=2h")["since"].tzinfo is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stats=x", "did you mean status"),
        ("status=fail", "there is no status"),
        ("status", "status=VALUE"),
        ("since=noon", "neither a moment"),
        ("tag=a tag=b", "once"),
        ("tag='a", "quotation"),
        ("", "needs a filter"),
    ],
)
def test_wrong_filters(text: str, said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        parse_where(text)


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: Decimal


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 5, 4, 11, tzinfo=UTC), "2026-05-04T11:00:00Z"),
        (datetime(2026, 5, 4, 11), "2026-05-04T11:00:00"),
        (date(2026, 5, 4), "2026-05-04"),
        (timedelta(minutes=1), 60.0),
        (Decimal("1.10"), "1.10"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "AP8="),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ((1, (2,)), [1, [2]]),
        ({1: "a", (1, 2): "b", None: "c"}, {"1": "a", "[1, 2]": "b", "null": "c"}),
        (float("inf"), "inf"),
        (2**80, 2**80),
        (Colour.RED, "red"),
        (Point(1, Decimal(2)), {"x": 1, "y": "2"}),
        (1 + 2j, "(1+2j)"),
    ],
)
def test_plain_values(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_text_of_values() -> None:
    assert value_text({"a": "é\n"}) == r'{"a": "é\n"}'
    assert value_text("x" * 100, 10) == '"xxxxxxxx…'
    assert call_text("charge", ("o-1", 500), {"fast": True}) == "charge('o-1', 500, fast=True)"
    assert shorten("abc", 3) == "abc"


@pytest.mark.parametrize("text", ["a\x1b[31m", "a\nb", "\u202eabc", "a\u2028b", "\x9b1m", "\0"])
def test_control_characters_are_escaped(text: str) -> None:
    assert escape(text).isprintable()


def test_text_of_moments_and_durations() -> None:
    assert moment_text(datetime(2026, 5, 4, 11, tzinfo=UTC), utc=True) == "2026-05-04 11:00:00Z"
    assert moment_text(None, utc=True) == ""
    shown = [duration_text(s) for s in (0.0124, 4.21, 90, 3600, 5400, 90000)]
    assert shown == ["0.012s", "4.2s", "1m30s", "1h", "1h30m", "1d1h"]


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "LONG"), [["xxx", ""], ["y", "z"]])
    assert capsys.readouterr().out == "A    LONG\nxxx\ny    z\n"
