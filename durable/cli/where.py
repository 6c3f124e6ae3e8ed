"""Which instances a command is about: ids, or ``--where 'status=failed since=2h'``."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from durable.cli.options import STATUSES, parse_moment

if TYPE_CHECKING:
    from durable.client import Client, InstanceRow

FILTERS = ("workflow", "status", "queue", "tag", "since", "until", "search", "parent")
PAGE = 1000


def parse_where(text: str) -> dict[str, Any]:
    """The filters of ``Client.list`` from ``status=failed,cancelled workflow=order``."""
    found: dict[str, Any] = {}
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise click.UsageError(f"--where {text!r}: {error}") from None
    for word in words:
        name, equals, value = word.partition("=")
        if name not in FILTERS:
            close = difflib.get_close_matches(name, FILTERS, 1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(FILTERS)}"
            raise click.UsageError(f"--where: there is no filter {name!r}; {hint}")
        if not equals or not value or name in found:
            raise click.UsageError(f"--where: each filter is given once, as {name}=VALUE")
        found[name] = _filter(name, value)
    if not found:
        raise click.UsageError("--where needs a filter, like status=failed")
    return found


def _filter(name: str, value: str) -> Any:
    if name == "status":
        statuses = value.split(",")
        for status in statuses:
            if status not in STATUSES:
                raise click.UsageError(
                    f"--where: there is no status {status!r}; there are {', '.join(STATUSES)}"
                )
        return statuses
    if name in ("since", "until"):
        at = parse_moment(value, ago=True)
        if at is None:
            raise click.UsageError(f"--where: {name}={value} is neither a moment nor a duration")
        return at
    return value


def matching(client: Client, filters: dict[str, Any]) -> Iterator[InstanceRow]:
    """All instances that match, newest first, page by page."""
    cursor = None
    while True:
        page = client.list(**filters, limit=PAGE, cursor=cursor)
        yield from page.rows
        cursor = page.cursor
        if cursor is None:
            return


def chosen(
    client: Client, ids: Sequence[str], where: str | None, applicable: Sequence[str]
) -> list[str]:
    """The ids that a command is about. With --where, only those whose status is among the
    applicable ones, unless a status is asked for."""
    if bool(ids) == (where is not None):
        raise click.UsageError("give IDs, or --where")
    if where is None:
        return list(dict.fromkeys(ids))
    filters = parse_where(where)
    filters.setdefault("status", list(applicable))
    return [row.id for row in matching(client, filters)]
