"""Commands that act on instances: signal, cancel, terminate, pause, resume, retry, delete,
purge."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from durable.cli.arguments import json_value
from durable.cli.connect import client_at
from durable.cli.errors import HINTS, Failed, exit_code_of, say
from durable.cli.options import (
    DURATION,
    FINISHED,
    UNFINISHED,
    F,
    store_option,
    yes_option,
)
from durable.cli.text import counted
from durable.cli.where import chosen
from durable.errors import (
    DurableError,
    InstanceFinished,
    InstanceNotFinished,
    InstanceNotFound,
    OutcomeUnknown,
    StoreError,
    WrongStatus,
)
from durable.reprs import escape

GONE = (InstanceFinished, InstanceNotFinished, InstanceNotFound, WrongStatus)
SHOWN = 5
PAUSABLE = tuple(status for status in UNFINISHED if status != "paused")
RETRIABLE = ("failed", "blocked")
"""What --where finds if it names no status: who was cancelled was cancelled on purpose."""


def _where_option(command: F) -> F:
    return click.option(
        "--where",
        metavar="FILTERS",
        help="Those that match, like 'status=failed workflow=order since=2h'; asks first.",
    )(command)


def _many_options(command: F) -> F:
    return click.argument("ids", nargs=-1, metavar="[ID]...")(_where_option(command))


def _reason_option(command: F) -> F:
    return click.option("--reason", default="", help="Why; it is kept with the instance.")(command)


@click.command("signal")
@click.argument("words", nargs=-1, metavar="[ID] NAME [JSON]")
@_where_option
@yes_option
@store_option
def signal_command(words: tuple[str, ...], where: str | None, yes: bool, url: str) -> int:
    """Send a signal to an instance; it is kept until the workflow reads it.

    With --where there is no ID: all that match get it.

    \b
    durable signal order-1 approve '"bob"'
    durable signal --where 'workflow=order status=running' approve '"bob"'
    """
    ids, given = (words[:1], words[1:]) if where is None else ((), words)
    if not 1 <= len(given) <= 2:
        raise click.UsageError("give ID NAME [JSON], or --where FILTERS NAME [JSON]")
    name = given[0]
    sent = json_value(given[1], "the value") if len(given) == 2 else None
    with client_at(url) as client:
        found = chosen(client, ids, where, UNFINISHED)
        if where is not None:
            confirm(f"send the signal {escape(name)} to {listed(found)}", found, yes)
        return _each(found, where, lambda id: client.signal(id, name, sent), "signalled")


@click.command("cancel")
@_many_options
@_reason_option
@yes_option
@store_option
def cancel_command(
    ids: tuple[str, ...], where: str | None, reason: str, yes: bool, url: str
) -> int:
    """Ask instances to stop: Cancelled is raised where they wait, so that they can clean up."""
    with client_at(url) as client:
        found = chosen(client, ids, where, UNFINISHED)
        if where is not None:
            confirm(f"cancel {listed(found)}", found, yes)
        return _each(found, where, lambda id: client.cancel(id, reason), "asked to stop")


@click.command("terminate")
@_many_options
@_reason_option
@yes_option
@store_option
def terminate_command(
    ids: tuple[str, ...], where: str | None, reason: str, yes: bool, url: str
) -> int:
    """End instances now: none of their code runs any more, so nothing is cleaned up."""
    with client_at(url) as client:
        found = chosen(client, ids, where, UNFINISHED)
        confirm(f"terminate {listed(found)}", found, yes)
        return _each(found, where, lambda id: client.terminate(id, reason), "terminated")


@click.command("pause")
@_many_options
@yes_option
@store_option
def pause_command(ids: tuple[str, ...], where: str | None, yes: bool, url: str) -> int:
    """Let instances rest: signals and what falls due wait until they are resumed.

    Activities that run are finished, and their results kept.
    """
    with client_at(url) as client:
        found = chosen(client, ids, where, PAUSABLE)
        if where is not None:
            confirm(f"pause {listed(found)}", found, yes)
        return _each(found, where, client.pause, "paused")


@click.command("resume")
@_many_options
@yes_option
@store_option
def resume_command(ids: tuple[str, ...], where: str | None, yes: bool, url: str) -> int:
    """Let paused instances go on."""
    with client_at(url) as client:
        found = chosen(client, ids, where, ("paused",))
        if where is not None:
            confirm(f"resume {listed(found)}", found, yes)
        return _each(found, where, client.resume, "resumed")


@click.command("retry")
@_many_options
@yes_option
@store_option
def retry_command(ids: tuple[str, ...], where: str | None, yes: bool, url: str) -> int:
    """Let instances that failed, were cancelled or are blocked go on from where they went
    wrong; what failed is tried again.

    --where leaves out the cancelled ones, unless it asks for status=cancelled.
    """
    with client_at(url) as client:
        found = chosen(client, ids, where, RETRIABLE)
        if where is not None:
            confirm(f"retry {listed(found)}", found, yes)
        return _each(found, where, client.retry, "retried")


@click.command("delete")
@_many_options
@yes_option
@store_option
def delete_command(ids: tuple[str, ...], where: str | None, yes: bool, url: str) -> int:
    """Delete finished instances, with their histories."""
    with client_at(url) as client:
        found = chosen(client, ids, where, FINISHED)
        confirm(f"delete {listed(found)}", found, yes)
        return _each(found, where, client.delete, "deleted")


@click.command("purge")
@click.option(
    "--older-than", type=DURATION, required=True, help="Those that finished so long ago, like 30d."
)
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(FINISHED),
    help="Only those that ended so; may be repeated.  [default: all]",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Delete nothing; print how many there are.")
@yes_option
@store_option
def purge_command(
    older_than: float, statuses: tuple[str, ...], dry_run: bool, yes: bool, url: str
) -> None:
    """Delete instances that finished long ago, in batches, and print how many.

    A child stays while its parent could be retried, or has not ended.
    """
    before = datetime.now(UTC) - timedelta(seconds=older_than)
    with client_at(url) as client:
        if dry_run:
            click.echo(client.purge(before, status=list(statuses) or None, dry_run=True))
            return
        kinds = " or ".join(statuses) or "finished"
        confirm(f"delete every instance {kinds} before {before:%Y-%m-%d %H:%M:%S}Z", [""], yes)
        click.echo(client.purge(before, status=list(statuses) or None))


def listed(ids: Sequence[str]) -> str:
    """How many, and the first of them."""
    first = ", ".join(escape(id) for id in ids[:SHOWN])
    more = ", …" if len(ids) > SHOWN else ""
    return f"{counted(len(ids), 'instance')} ({first}{more})"


def has_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(what: str, found: Sequence[str], yes: bool) -> None:
    """Ask on a terminal; without one, ``-y`` is needed."""
    if yes or not found:
        return
    if not has_terminal():
        raise Failed(f"not done: would {what}", "there is no terminal to ask; -y means yes")
    click.confirm(f"{what[0].upper()}{what[1:]}?", abort=True, err=True)


def _each(ids: Sequence[str], where: str | None, act: Callable[[str], Any], done: str) -> int:
    """Act on each; an error of one does not stop the others. Gives the exit code."""
    code = count = 0
    hints: set[str] = set()
    for id in ids:
        try:
            act(id)
        except (StoreError, OutcomeUnknown):
            raise
        except DurableError as error:
            if where is not None and isinstance(error, GONE):
                continue  # it has changed since it was looked for
            say(f"error: {error}")
            code = code or exit_code_of(error)
            hints.update(hint for cls, hint in HINTS if isinstance(error, cls))
        else:
            count += 1
    for hint in hints:
        say(f"hint: {hint}")
    if where is not None or len(ids) > 1:
        say(f"{count} {done}")
    return code
