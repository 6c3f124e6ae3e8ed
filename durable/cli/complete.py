"""What somebody outside says by a token: complete, fail."""

from __future__ import annotations

import click

from durable.cli.arguments import json_value
from durable.cli.connect import client_at
from durable.cli.options import store_option


@click.command("complete")
@click.argument("token")
@click.argument("value", required=False, metavar="[JSON]")
@store_option
def complete_command(token: str, value: str | None, url: str) -> None:
    """Give a promise, or an activity that is completed from outside, its result.

    TOKEN is what the workflow or the activity has given away. The first result counts.

    \b
    durable complete "$TOKEN" '{"approved": true}'
    """
    result = None if value is None else json_value(value, "the value")
    with client_at(url) as client:
        client.complete(token, result)


@click.command("fail")
@click.argument("token")
@click.argument("message")
@store_option
def fail_command(token: str, message: str, url: str) -> None:
    """Let a promise, or an activity that is completed from outside, fail for good.

    \b
    durable fail "$TOKEN" "the bank has said no"
    """
    with client_at(url) as client:
        client.fail(token, message)
