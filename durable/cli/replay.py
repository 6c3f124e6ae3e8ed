"""``durable replay``: recorded histories against the code of today."""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from durable.cli.connect import client_at, loaded
from durable.cli.errors import exit_code_of, say
from durable.cli.event_text import event_data
from durable.cli.options import STATUSES, output_option, store_option
from durable.cli.output import print_rows
from durable.cli.text import counted
from durable.cli.transfer import STDIN, exports_of, lines_in
from durable.cli.walking import quiet
from durable.cli.where import chosen, parse_where
from durable.errors import DurableError, InstanceNotFound, NonDeterminismError, UsageError
from durable.exports import Export, each_export
from durable.reprs import escape

if TYPE_CHECKING:
    from durable.registry import Registry
    from durable.replay import Replayed

SUFFIX = ".jsonl"
EXIT_MISMATCH = 1

Found = Export | DurableError


@click.command("replay")
@click.argument("names", nargs=-1, metavar="[FILE|ID]...")
@click.option(
    "--module", "-m", "modules", multiple=True, required=True, metavar="MODULE",
    envvar="DURABLE_MODULES", show_envvar=True,
    help="With the code: a module (orders) or a file (shop/orders.py); may be repeated.",
)  # fmt: skip
@click.option("--where", metavar="FILTERS", help="Instances that match, like 'status=running'.")
@store_option
@output_option
def replay_command(
    names: tuple[str, ...], modules: tuple[str, ...], where: str | None, url: str, output: str
) -> int:
    """Check that today's code does what recorded histories say.

    A FILE (one that exists, ends in .jsonl, or is - for stdin) is what `durable export` has
    written; an ID is an instance in the store. Nothing is run, and nothing is written.

    \b
    durable replay --module orders tests/histories/*.jsonl
    durable replay --module orders --where 'status=running,blocked' --store $PRODUCTION

    Each history that does not match is shown with both sides, and the line of the code; then
    the exit code is 1. It is 2 if one cannot be read, or is of no workflow of the modules, and
    4 if there is no such instance, or none that matches.
    """
    from durable.registry import Registry

    files, ids = _sorted_out(names, where)
    registry = Registry(loaded(modules))
    results: list[_Result] = []
    with ExitStack() as stack:
        for found in _histories(stack, files, ids, where, url):
            result = _replayed(found, registry)
            results.append(result)
            if output == "table" and result.error is not None:
                _show(result)
    if output != "table":
        print_rows([result.row() for result in results], (), output, utc=True)
    _sum_up(results)
    folders = [id for id in ids if os.path.isdir(id)]
    if folders and any(isinstance(result.error, InstanceNotFound) for result in results):
        say(f"hint: {folders[0]} is a folder: give the files that are in it")
    return max((result.code for result in results), default=0)


def _sum_up(results: Sequence[_Result]) -> None:
    codes = [result.code for result in results]
    failed, left_out = codes.count(EXIT_MISMATCH), sum(code > EXIT_MISMATCH for code in codes)
    replayed = counted(len(results) - left_out, "history", "histories")
    others = f", {left_out} could not be replayed" if left_out else ""
    say(f"{replayed} replayed, {failed} failed{others}")


def _sorted_out(names: Sequence[str], where: str | None) -> tuple[list[str], list[str]]:
    """The files and the ids, if they can be asked for so."""
    files = [name for name in names if is_file(name)]
    ids = [name for name in names if not is_file(name)]
    if not names and where is None:
        raise click.UsageError("give FILEs, IDs, or --where")
    if ids and where is not None:
        raise click.UsageError(f"{ids[0]!r} is no file, and IDs are not given beside --where")
    if where is not None:
        parse_where(where)
    return files, ids


def _histories(
    stack: ExitStack, files: Sequence[str], ids: Sequence[str], where: str | None, url: str
) -> Iterator[Found]:
    """What is to be replayed, one after the other; or why something cannot be."""
    for name in files:
        try:
            yield from each_export(lines_in(name), name)
        except UsageError as error:
            yield error
    if ids or where is not None:
        client = stack.enter_context(client_at(url))
        matching = chosen(client, ids, where, STATUSES)
        if not matching:  # a check that looks at nothing must not pass
            yield InstanceNotFound(f"no instance matches --where {where!r}")
        for found in exports_of(client, matching):
            if where is None or isinstance(found, Export):  # else it was deleted just now
                yield found


def is_file(name: str) -> bool:
    """Whether this means a file, and not the id of an instance."""
    there = os.path.exists(name) and not os.path.isdir(name)  # pipes are files, too
    return name == STDIN or name.endswith(SUFFIX) or there


# -- one history ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Result:
    """How one history did. runs: those that match. error: why the rest does not. What could
    not be found or read has no id."""

    id: str | None = None
    workflow: str | None = None
    source: str = ""
    runs: Sequence[Replayed] = ()
    error: DurableError | None = None

    @property
    def code(self) -> int:
        """The exit code that it would have alone."""
        if isinstance(self.error, NonDeterminismError):
            return EXIT_MISMATCH
        return 0 if self.error is None else exit_code_of(self.error)

    def row(self) -> dict[str, Any]:
        """For JSON."""
        error = self.error
        row = {
            "id": self.id,
            "workflow": self.workflow,
            "source": self.source,
            "ok": error is None,
            "runs": [_run_row(run) for run in self.runs],
            "error": None if error is None else str(error),
        }
        if isinstance(error, NonDeterminismError):
            parts = ("seq", "recorded", "issued", "line")
            row |= {"run": len(self.runs) + 1} | {name: getattr(error, name) for name in parts}
        return row


def _run_row(run: Replayed) -> dict[str, Any]:
    ending = None if run.ending is None else event_data(run.ending)
    return {name: getattr(run, name) for name in type(run).__slots__} | {"ending": ending}


def _replayed(found: Found, registry: Registry) -> _Result:
    from durable.codec import Codec
    from durable.replay import replay_runs

    if isinstance(found, DurableError):
        return _Result(error=found)
    named = (found.instance.id, found.instance.workflow, found.source)
    runs = []
    try:
        with quiet():
            for replayed in replay_runs(found, registry, Codec()):
                runs.append(replayed)
    except DurableError as error:
        return _Result(*named, runs, error)
    return _Result(*named, runs)


def _show(result: _Result) -> None:
    """Why a history failed, for people."""
    error = result.error
    if result.id is None:
        kind = "not found" if isinstance(error, InstanceNotFound) else "unreadable"
        click.echo(f"{kind}: {escape(str(error))}")
        return
    source = f" ({escape(result.source)})" if result.source else ""
    kind = "failed" if result.code == EXIT_MISMATCH else "not replayed"
    click.echo(f"{kind}: instance {escape(result.id)}, run {len(result.runs) + 1}{source}")
    if not isinstance(error, NonDeterminismError) or error.seq is None:
        click.echo(f"  {escape(str(error))}")
        return
    click.echo(f"  at event {error.seq}")
    click.echo(f"  the history has {escape(error.recorded)}")
    click.echo(f"  the code {escape(error.issued)}")
    for line in error.line.split("; "):
        place, source = _with_source(line)
        click.echo(f"  at {escape(place)}")
        if source:
            click.echo(f"      {escape(source)}")


def _with_source(line: str) -> tuple[str, str]:
    """What stands at ``file:line, in function``; nothing if it cannot be read. Where it is a
    decorator, the function that it decorates is meant."""
    place, _, function = line.rpartition(", in ")
    file, _, number = place.rpartition(":")
    if not number.isdecimal():
        return line, ""
    lines = linecache.getlines(file)[int(number) - 1 :]
    source = lines[0].strip() if lines else ""
    if source.startswith("@"):
        begins = (f"def {function}(", f"def {function}[", f"async def {function}(")
        for below, text in enumerate(lines):
            if text.lstrip().startswith(begins):
                return f"{file}:{int(number) + below}, in {function}", text.strip()
    return line, source
