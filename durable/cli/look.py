"""Commands that only look: list, show, history, result, vars, stats, workers."""

from __future__ import annotations

from typing import Any

import click

from durable.cli.connect import client_at
from durable.cli.errors import EXIT_TIMEOUT, Failed, say
from durable.cli.options import (
    AGO,
    DURATION,
    STATUSES,
    moment_options,
    output_option,
    store_option,
    utc_option,
)
from durable.cli.output import print_fields, print_rows, print_table, print_value
from durable.cli.text import moment_text
from durable.cli.walking import walking
from durable.errors import ResultTimeout, UsageError
from durable.reprs import escape

PAGE = 1000
LIST_COLUMNS = ("id", "workflow", "status", "queue", "created_at", "finished_at", "reason")
WORKER_COLUMNS = ("id", "host", "pid", "state", "queues", "slots", "workflows", "started_at")


@click.command("list")
@click.option("--workflow", help="Instances of this workflow.")
@click.option(
    "--status", multiple=True, type=click.Choice(STATUSES), help="In this status; may be repeated."
)
@click.option("--queue", help="In this queue.")
@click.option("--tag", help="With this tag.")
@click.option("--since", type=AGO, help="Created since: a moment, or so long ago, like 2h.")
@click.option("--until", type=AGO, help="Created until.")
@click.option("--search", help="Whose id begins so.")
@click.option("--parent", metavar="ID", help="Children of this instance.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many."
)
@click.option("--cursor", help="Go on where a list ended.")
@store_option
@output_option
@utc_option
def list_command(
    limit: int, cursor: str | None, url: str, output: str, utc: bool, **filters: Any
) -> None:
    """List instances, newest first."""
    filters["status"] = list(filters["status"]) or None
    with client_at(url) as client:
        rows: list[dict[str, Any]] = []
        while len(rows) < limit:
            size = min(PAGE, limit - len(rows))
            page = client.list(**filters, limit=size, cursor=cursor)
            rows += [_row(row) for row in page.rows]
            cursor = page.cursor
            if cursor is None:
                break
    print_rows(rows, LIST_COLUMNS, output, utc)
    if cursor is not None:
        say(f"there is more: --cursor {cursor}")
    elif not rows and output == "table":
        say("there are none")


def _row(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in type(row).__slots__}


@click.command("show")
@click.argument("id")
@store_option
@output_option
@utc_option
def show_command(id: str, url: str, output: str, utc: bool) -> None:
    """Show all that is known of an instance."""
    from durable.cli.describe import task_lines, text_fields

    with client_at(url) as client:
        found = client.get(id).describe()
    if output != "table":
        print_value(found, output)
        return
    print_fields(text_fields(found, utc))
    if found["tasks"]:
        click.echo("\nactivities")
        print_table(*task_lines(found["tasks"], utc))


@click.command("history")
@click.argument("id")
@click.option("--payloads", is_flag=True, help="Show values whole.")
@click.option("--run", type=click.IntRange(1), help="An earlier run.  [default: the last]")
@store_option
@output_option
@utc_option
def history_command(
    id: str, payloads: bool, run: int | None, url: str, output: str, utc: bool
) -> None:
    """Show the events of an instance, in order."""
    from durable.cli.event_text import DEFAULT_WIDTH, EventText, event_data

    with client_at(url) as client:
        try:
            events = client.get(id).history(run)
        except UsageError as error:  # there is no such run
            raise Failed(str(error)) from None
    if output != "table":
        print_rows(map(event_data, events), (), output, utc)
        return
    if not events:
        say("there are none")
    text = EventText(None if payloads else DEFAULT_WIDTH, utc)
    lines = [
        [str(event.seq), moment_text(event.at, utc), type(event).__name__, text.line(event)]
        for event in events
    ]
    print_table(("SEQ", "AT", "EVENT", "WHAT"), lines)


@click.command("result")
@click.argument("id")
@click.option("--wait", is_flag=True, help="Wait for the end.")
@click.option("--timeout", type=DURATION, help="Wait at most so long (exit code 5).")
@store_option
@output_option
def result_command(id: str, wait: bool, timeout: float | None, url: str, output: str) -> None:
    """Print the result of an instance as JSON.

    One that has not ended is an error (exit code 5), unless --wait or --timeout is given.
    """
    wait = wait or timeout is not None
    with client_at(url) as client:
        handle = client.get(id)
        try:
            result = handle.result(timeout if wait else 0.0)
        except ResultTimeout as error:
            if wait:
                raise
            hint = "--wait or --timeout waits for its end"
            raise Failed(str(error), hint, EXIT_TIMEOUT) from None
        print_value(result, output)


@click.command("vars")
@click.argument("id")
@moment_options
@store_option
@output_option
def vars_command(
    id: str, modules: tuple[str, ...], at: int | None, run: int | None, url: str, output: str
) -> None:
    """Print what the workflow has set by set_var.

    With --at or --run as it was then, for which the code is replayed: --module names it.
    """
    with client_at(url, modules=modules) as client:
        handle = client.get(id)
        if at is None and run is None:
            found = handle.vars()
        else:
            with walking(handle, run) as walk:
                found = walk.vars(at)
    if output == "table":
        from durable.cli.text import value_text

        print_fields((escape(name), value_text(value)) for name, value in found.items())
    else:
        print_value(found, output)


@click.command("stats")
@store_option
@output_option
def stats_command(url: str, output: str) -> None:
    """Count instances by status, tasks, messages and workers."""
    with client_at(url) as client:
        found = client.stats()
    if output != "table":
        print_value(found, output)
        return
    counts = dict.fromkeys(STATUSES, 0) | {str(k): v for k, v in found.pop("instances").items()}
    print_fields((f"instances {name}", str(count)) for name, count in counts.items())
    print_fields((name.replace("_", " "), f"{value:g}") for name, value in found.items())


@click.command("workers")
@store_option
@output_option
@utc_option
def workers_command(url: str, output: str, utc: bool) -> None:
    """List the registered workers."""
    from durable.model import moment

    with client_at(url) as client:
        now = client.store.now()
        rows = [
            {name: getattr(worker, name) for name in type(worker).__slots__}
            | {
                "state": "alive" if worker.expires_at > now else "dead",
                "workflows": [name for name in worker.workflows if "@" not in name],
                "started_at": moment(worker.started_at),
                "expires_at": moment(worker.expires_at),
            }
            for worker in client.workers()
        ]
    print_rows(rows, WORKER_COLUMNS, output, utc)
    if not rows and output == "table":
        say("there are none")
