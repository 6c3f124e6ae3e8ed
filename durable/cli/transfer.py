"""``durable export`` and ``durable import``: instances as text, out of a store and into one."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from durable.cli.connect import client_at
from durable.cli.errors import Failed, exit_code_of, say
from durable.cli.options import STATUSES, store_option
from durable.cli.text import counted
from durable.cli.where import chosen
from durable.codec import Codec
from durable.errors import InstanceAlreadyExists, InstanceNotFound, UsageError
from durable.exports import Export, lines_of, lines_of_file, read_exports
from durable.reprs import escape

if TYPE_CHECKING:
    from durable.client import Client, Handle

STDIN = "-"


@click.command("export")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--where", metavar="FILTERS", help="Those that match, like 'workflow=order'.")
@click.option("--tree", is_flag=True, help="With their children, and theirs.")
@store_option
def export_command(ids: tuple[str, ...], where: str | None, tree: bool, url: str) -> int:
    """Print instances with their histories, as JSON by lines.

    \b
    durable export order-1 order-2 > orders.jsonl
    durable export --where 'status=failed since=2h' --tree > failed.jsonl

    `durable replay` checks code against them, `durable import` puts them into a store.
    """
    code = count = 0
    with client_at(url) as client:
        for export in exports_of(client, chosen(client, ids, where, STATUSES), tree):
            if isinstance(export, InstanceNotFound):
                if where is None:  # else it was deleted since it was found
                    say(f"error: {export}")
                    code = exit_code_of(export)
                continue
            for line in lines_of(export, Codec()):
                click.echo(f"{line}\n".encode(), nl=False)  # UTF-8, wherever it goes
            count += 1
    say(f"{counted(count, 'instance')} exported")
    return code


def exports_of(
    client: Client, ids: Iterable[str], tree: bool = False
) -> Iterator[Export | InstanceNotFound]:
    """Each instance, each once; with ``tree``, children after their parents."""
    seen: set[str] = set()
    todo = [*ids][::-1]
    while todo:
        id = todo.pop()
        if id in seen:
            continue
        seen.add(id)
        try:
            handle = client.get(id)
            children: list[Handle[object]] = handle.children() if tree else []
            yield handle.export()
        except InstanceNotFound as error:
            yield error
        else:
            todo += [child.id for child in reversed(children)]


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--resume", is_flag=True, help="Let those that had not ended go on here.")
@store_option
def import_command(files: tuple[str, ...], resume: bool, url: str) -> int:
    """Put exported instances into a store, with their histories; print their ids.

    What had ended has ended here, too. Anything else is paused: it can be looked at, and
    forked, and runs only when it is resumed, now by --resume or later by `durable resume`.
    What was under way is then asked for again. FILE may be - for stdin.

    \b
    durable export order-1 --store $PRODUCTION | durable import - --store sqlite:///mine.db
    """
    exports = [export for file in files for export in read_exports(lines_in(file), file)]
    _check_ids(exports)
    with client_at(url, create=True) as client:
        try:
            handles = client.take_in(exports)
        except InstanceAlreadyExists as error:
            hint = "an import does not change what is there: delete it, or take another --store"
            failed = Failed("\n".join([str(error), *getattr(error, "__notes__", ())]), hint)
            raise failed from None
        for handle in handles:
            click.echo(escape(handle.id))
        paused = [handle for handle in handles if not handle.status().finished]
        if resume:
            for handle in paused:
                handle.resume()
    _tell(len(handles), len(paused), resume)
    return 0


def _check_ids(exports: Iterable[Export]) -> None:
    """Raise `UsageError` for an instance that is there twice."""
    seen: dict[str, str] = {}
    for export in exports:
        id = export.instance.id
        if id in seen:
            raise UsageError(f"{export.source}: instance {id!r} is at {seen[id]}, too")
        seen[id] = export.source


def _tell(count: int, paused: int, resume: bool) -> None:
    what = ""
    if paused:
        what = f", {paused} of them {'resumed' if resume else 'paused'}"
    say(f"{counted(count, 'instance')} imported{what}")
    if paused and not resume:
        say("hint: `durable resume ID` lets one go on here")


def lines_in(name: str) -> Iterable[bytes]:
    """The lines of a file, or of stdin. Raises `UsageError`."""
    if name != STDIN:
        return lines_of_file(name)
    if sys.stdin is None:
        raise UsageError(f"{STDIN}: stdin is closed")
    return sys.stdin.buffer
