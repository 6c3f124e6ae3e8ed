"""Data on stdout: a table, JSON, or JSON by lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click

from durable.cli.text import moment_text, shorten
from durable.plain import plain
from durable.reprs import escape

MAX_CELL = 60
Row = dict[str, Any]


def print_value(value: Any, output: str) -> None:
    """One value as JSON: on one line for jsonl, else laid out."""
    indent = None if output == "jsonl" else 2
    click.echo(json.dumps(plain(value), ensure_ascii=False, indent=indent))


def print_rows(
    rows: Iterable[Row],
    columns: Sequence[str],
    output: str,
    utc: bool,
    width: int | None = MAX_CELL,
) -> None:
    """Rows as a table with these columns, or as JSON with all that they have."""
    if output == "json":
        print_value(list(rows), output)
    elif output == "jsonl":
        for row in rows:
            print_value(row, output)
    else:
        lines = [[cell(row.get(name), utc, width) for name in columns] for row in rows]
        print_table([name.replace("_", " ").upper() for name in columns], lines)


def cell(value: Any, utc: bool, width: int | None) -> str:
    """One field of a table."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return moment_text(value, utc)
    if isinstance(value, list | tuple):
        value = ", ".join(str(each) for each in value)
    return shorten(escape(str(value)), width)


def print_table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Columns as wide as what is in them; nothing at all if there are no lines."""
    if not lines:
        return
    widths = [max(map(len, column)) for column in zip(titles, *lines, strict=True)]
    for line in (titles, *lines):
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Name and text, a line each; further lines of a text are indented."""
    shown = [(name, text) for name, text in fields if text]
    width = max((len(name) for name, _ in shown), default=0)
    for name, text in shown:
        first, *rest = text.split("\n")
        click.echo(f"{name.ljust(width)}  {first}")
        for line in rest:
            click.echo(f"{' ' * width}  {line}".rstrip())
