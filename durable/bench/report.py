"""The figures as a table or as JSON, with the same keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from durable.bench.measuring import Row


def text_of(value: Any) -> str:
    """A figure for people."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,g}" if isinstance(value, float) else str(value)


def print_json(machine: Row, scenarios: Mapping[str, Row]) -> None:
    """``{"machine": {…}, "scenarios": {name: {…}}}`` on stdout."""
    click.echo(json.dumps({"machine": machine, "scenarios": scenarios}, indent=2))


def print_block(title: str, row: Row) -> None:
    """One scenario: a title, and a line for each figure."""
    click.echo(title)
    width = max(map(len, row), default=0)
    for name, value in row.items():
        click.echo(f"  {name.ljust(width)}  {text_of(value):>14}".rstrip())
    click.echo()
