"""``durable start`` and ``durable fork``: new instances; their code need not be here."""

from __future__ import annotations

import difflib
from datetime import datetime
from typing import TYPE_CHECKING

import click

from durable.cli.arguments import json_values, named_values
from durable.cli.connect import client_at
from durable.cli.errors import Failed, say
from durable.cli.options import (
    DURATION,
    MOMENT,
    output_option,
    parameter_options,
    store_option,
)
from durable.cli.output import print_value
from durable.errors import InstanceAlreadyExists

if TYPE_CHECKING:
    from durable.client import Client


@click.command("start")
@click.argument("workflow")
@parameter_options
@click.option("--id", help="The instance's id; a random one if it is not given.")
@click.option(
    "--if-exists", type=click.Choice(["raise", "use", "restart"]), default="raise",
    show_default=True,
    help="If the id exists: an error, take that one, or restart it if it has finished.",
)  # fmt: skip
@click.option("--delay", type=DURATION, help="Begin after this time.")
@click.option("--at", type=MOMENT, help="Begin at this moment (ISO-8601).")
@click.option("--queue", help="Which workers run it.  [default: default]")
@click.option("--tag", "tags", multiple=True, help="A word to find it by; may be repeated.")
@click.option(
    "--run-timeout", type=DURATION, help="Let it fail if it takes longer, once it has begun."
)
@click.option("--wait", is_flag=True, help="Wait for the end and print the result as JSON.")
@click.option("--timeout", type=DURATION, help="With --wait: stop waiting (exit code 5).")
@store_option
@output_option
def start_command(
    workflow: str,
    values: tuple[str, ...],
    params: tuple[str, ...],
    id: str | None,
    if_exists: str,
    delay: float | None,
    at: datetime | None,
    queue: str | None,
    tags: tuple[str, ...],
    run_timeout: float | None,
    wait: bool,
    timeout: float | None,
    url: str,
    output: str,
) -> None:
    """Start a workflow by its name, and print the id of the instance.

    Each ARG is JSON: '"o-1"' is a text, 500 a number. A running `durable worker` that knows
    the workflow runs it.

    \b
    durable start process_order '"o-1"' 500 --id order-1
    durable start process_order -P order_id=o-1 -P cents:=500 --wait
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout is for --wait")
    if run_timeout == 0:
        raise click.UsageError("--run-timeout must be more than 0 seconds")
    args, kwargs = json_values(values), named_values(params)
    with client_at(url, create=True) as client:
        handle = client.start_named(
            workflow,
            args,
            kwargs,
            id=id,
            if_exists=if_exists,
            delay=delay,
            start_at=at,
            queue=queue,
            tags=tags,
            timeout=run_timeout,
        )
        _note_unknown(client, workflow)
        if wait:
            say(handle.id)
            print_value(handle.result(timeout), output)
        else:
            click.echo(handle.id)


def _note_unknown(client: Client, workflow: str) -> None:
    """Say so if workers are there and none knows the workflow: the name may be misspelt."""
    now = client.store.now()
    alive = [worker for worker in client.workers() if worker.expires_at > now]
    known = sorted({name for worker in alive for name in worker.workflows if "@" not in name})
    if alive and workflow not in known:
        close = difflib.get_close_matches(workflow, known, 1)
        more = f"; did you mean {close[0]!r}?" if close else ""
        say(f"note: no worker knows a workflow {workflow!r} just now{more}")


@click.command("fork")
@click.argument("id")
@click.option(
    "--at", type=int, required=True, metavar="SEQ",
    help="The last event that is kept: the end of a step; `durable history` shows the numbers.",
)  # fmt: skip
@click.option("--id", "new_id", metavar="NEW", help="The new instance's id.  [default: random]")
@click.option("--run", type=click.IntRange(1), help="An earlier run.  [default: the last]")
@store_option
def fork_command(id: str, at: int, new_id: str | None, run: int | None, url: str) -> None:
    """Start a new instance with the history of another, up to an event, and print its id.

    The other may have ended, and is left as it is.

    \b
    durable fork order-1 --at 5 --id order-1-again
    """
    with client_at(url) as client:
        try:
            click.echo(client.fork(id, at, new_id, run=run).id)
        except InstanceAlreadyExists as error:
            raise Failed(str(error), "give the fork another --id") from None
