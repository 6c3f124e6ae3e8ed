"""``durable tree``: an instance, the children that it has started, and theirs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from durable.cli.connect import client_at
from durable.cli.options import output_option, store_option
from durable.cli.output import MAX_CELL, print_rows, print_table
from durable.cli.text import shorten
from durable.cli.where import matching
from durable.errors import InstanceNotFound
from durable.reprs import escape

if TYPE_CHECKING:
    from durable.client import Client

INDENT = "  "


@click.command("tree")
@click.argument("id")
@store_option
@output_option
def tree_command(id: str, url: str, output: str) -> None:
    """Show an instance and its children, with theirs, in the order of their start.

    As JSON it is a list of rows, with the depth and the parent of each.
    """
    with client_at(url) as client:
        rows = list(_rows(client, id))
    if output != "table":
        print_rows(rows, (), output, utc=True)
        return
    lines = [
        [
            INDENT * row["depth"] + escape(row["id"]),
            escape(row["workflow"]),
            row["status"],
            shorten(escape(row["reason"]), MAX_CELL),
        ]
        for row in rows
    ]
    print_table(("ID", "WORKFLOW", "STATUS", "REASON"), lines)


def _rows(client: Client, id: str) -> Iterator[dict[str, Any]]:
    todo = [(client.get(id).row(), 0)]
    while todo:
        row, depth = todo.pop()
        own = {name: getattr(row, name) for name in ("id", "parent", "workflow", "status")}
        yield {"depth": depth, **own, "run": row.run, "reason": row.reason}
        try:
            todo += [(child, depth + 1) for child in matching(client, {"parent": row.id})]
        except InstanceNotFound:  # deleted just now
            continue
