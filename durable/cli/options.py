"""Options that several commands have, and the kinds of values they take."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    _Seconds = click.ParamType[float]
    _Moment = click.ParamType[datetime]
else:  # older versions of click have no brackets here
    _Seconds = _Moment = click.ParamType

DEFAULT_STORE = "sqlite:///durable.db"
STATUSES = (
    "pending",
    "running",
    "blocked",
    "paused",
    "completed",
    "failed",
    "cancelled",
    "terminated",
)
FINISHED = ("completed", "failed", "cancelled", "terminated")
UNFINISHED = ("pending", "running", "blocked", "paused")

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_NUMBER = r"\d+(?:\.\d+)?"
_PART = re.compile(rf"({_NUMBER})(ms|[smhdw])")
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|[smhdw]))+")


def parse_duration(text: str) -> float | None:
    """Seconds: ``90``, ``90s``, ``1h30m``, ``2d``, ``500ms``; None for anything else."""
    if re.fullmatch(_NUMBER, text):
        return float(text)
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * UNITS[unit] for number, unit in _PART.findall(text))


def parse_moment(text: str, *, ago: bool) -> datetime | None:
    """An aware moment: ISO-8601 (local time if it names no zone), or, with ``ago``, a
    duration before now; None for anything else."""
    seconds = parse_duration(text) if ago else None
    try:
        if seconds is not None:
            return datetime.now(UTC) - timedelta(seconds=seconds)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


class DurationType(_Seconds):
    """A duration, as seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        seconds = parse_duration(value)
        if seconds is None:
            self.fail(f"{value!r} is no duration, like 90, 90s, 1h30m or 2d", param, ctx)
        return seconds


class MomentType(_Moment):
    """A moment, as an aware datetime. ago: a duration means so long ago."""

    name = "moment"

    def __init__(self, *, ago: bool = False) -> None:
        self.ago = ago

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        at = parse_moment(value, ago=self.ago)
        if at is None:
            more = ", or a duration like 2h" if self.ago else ""
            self.fail(f"{value!r} is no moment like 2026-05-04T13:00+02:00{more}", param, ctx)
        return at


DURATION = DurationType()
MOMENT = MomentType()
AGO = MomentType(ago=True)


def store_option(command: F) -> F:
    """``--store URL``."""
    return click.option(
        "--store",
        "url",
        metavar="URL",
        envvar="DURABLE_STORE",
        default=DEFAULT_STORE,
        show_default=True,
        show_envvar=True,
        help="Where the workflows live.",
    )(command)


def output_option(command: F) -> F:
    """``-o table|json|jsonl``."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "jsonl"]),
        envvar="DURABLE_OUTPUT",
        default="table",
        show_default=True,
        help="How to print data; jsonl is one line a value.",
    )(command)


def utc_option(command: F) -> F:
    """``--utc``."""
    return click.option(
        "--utc",
        is_flag=True,
        envvar="DURABLE_UTC",
        help="Show moments in UTC (tables have local time, JSON always has UTC).",
    )(command)


def moment_options(command: F) -> F:
    """Which moment of which run is meant, and where the code is: ``--at``, ``--run``, ``-m``."""
    for option in (
        click.option("--run", type=click.IntRange(1), help="An earlier run.  [default: the last]"),
        click.option(
            "--at", type=click.IntRange(0), metavar="SEQ",
            help="How it was after this event of its history.  [default: the last]",
        ),
        click.option(
            "-m", "--module", "modules", multiple=True, metavar="MODULE",
            envvar="DURABLE_MODULES", show_envvar=True,
            help="The module, or file, that defines the workflow; may be repeated.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def yes_option(command: F) -> F:
    """``-y``."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)


def parameter_options(command: F) -> F:
    """The arguments of a workflow: ``ARG…`` and ``-P``."""
    command = click.option(
        "-P",
        "--param",
        "params",
        multiple=True,
        metavar="KEY=TEXT|KEY:=JSON",
        help="An argument by its name: key=some text, or key:=JSON.",
    )(command)
    return click.argument("values", nargs=-1, metavar="[ARG]...")(command)
