"""``durable store``: make, check and migrate a store."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory

import click

from durable.cli.connect import missing, sqlite_path, store_at
from durable.cli.errors import EXIT_STORE, say
from durable.cli.options import output_option, store_option
from durable.cli.output import print_fields, print_value
from durable.errors import UsageError


@click.group("store")
def store_command() -> None:
    """Make, check and migrate the store."""


@store_command.command("init")
@store_option
def init_command(url: str) -> None:
    """Make the store; one that is there stays as it is."""
    with store_at(url) as store:
        have, want = store.schema()
        if have == 0:
            store.open()
            say(f"made the store at {store.url}, schema {want}")
        else:
            say(f"the store at {store.url} is there already, schema {have}")


@store_command.command("status", short_help="Show whether the schema fits.")
@store_option
@output_option
def status_command(url: str, output: str) -> int:
    """Show the schema; exit code 3 if there is none, or one that does not fit."""
    path = sqlite_path(url)
    if path is not None and not os.path.exists(path):
        raise missing(url)
    with store_at(url) as store:
        have, want = store.schema()
        if have == 0:
            raise missing(store.url)
        found = {
            "store": store.url,
            "schema": have,
            "wanted": want,
            "state": _state(have, want),
            "server": store.server(),
            "durability": store.durability(),
            "bytes": store.size(),
        }
    if output == "table":
        print_fields((name, str(value)) for name, value in found.items())
    else:
        print_value(found, output)
    return 0 if have == want else EXIT_STORE


def _state(have: int, want: int) -> str:
    if have == want:
        return "up to date"
    return "too old: `durable store migrate`" if have < want else "newer than this version"


@store_command.command("migrate")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be done.")
@click.option("--sql", is_flag=True, help="Print the statements on stdout.")
@store_option
def migrate_command(dry_run: bool, sql: bool, url: str) -> None:
    """Bring the schema up to date, or make the store."""
    path = sqlite_path(url)
    with TemporaryDirectory() as elsewhere:
        if dry_run and path is not None and not os.path.exists(path):
            url = f"sqlite:///{elsewhere}/new.db"  # what a new file would get
        with store_at(url) as store:
            if sql and not store.speaks_sql:
                raise UsageError(f"{store.url}: this store has no tables, and so no SQL")
            have, want = store.schema()
            statements = store.migrate(dry_run=dry_run)
    if sql:
        for statement in statements:
            click.echo(f"{statement.rstrip().rstrip(';')};")
    if not statements:
        say(f"the schema is up to date: {have}")
    else:
        verb = "would run" if dry_run else "ran"
        say(f"{verb} {len(statements)} statements: schema {have} to {want}")
