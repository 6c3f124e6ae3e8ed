"""``durable where``: the line at which a workflow waits, now or at any moment of its past."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from durable.cli.connect import client_at
from durable.cli.errors import EXIT_FAILED, say
from durable.cli.options import moment_options, output_option, store_option, utc_option
from durable.cli.output import print_rows, print_table, print_value
from durable.cli.text import moment_text
from durable.cli.walking import QuietWalk, walking

if TYPE_CHECKING:
    from durable.client import Handle, Where

KEYS = "Enter or n: next, p: previous, a number: that event, q: quit"


@click.command("where")
@click.argument("id")
@moment_options
@click.option("--step", is_flag=True, help="Walk through the history, from --at or its start.")
@store_option
@output_option
@utc_option
def where_command(
    id: str,
    modules: tuple[str, ...],
    at: int | None,
    run: int | None,
    step: bool,
    url: str,
    output: str,
    utc: bool,
) -> int:
    """Show where a workflow is: its lines, its local variables, and what it waits for.

    Its history is replayed here with the code of --module; nothing is run or changed. With
    --at it is shown as it was after an event. --step shows one moment after the other: it asks
    on a terminal, and prints them all otherwise. The exit code is 1 if the code does not fit
    the history.
    """
    with client_at(url, modules=modules) as client:
        handle = client.get(id)
        with walking(handle, run) as walk:
            if step:
                return _step(handle, walk, at, run, output, utc)
            found = walk.where(at)
    if output == "table":
        _print(found, utc)
    else:
        print_value(found, output)
    return _exit_code(found)


def _exit_code(where: Where) -> int:
    return 0 if where.problem is None else EXIT_FAILED


def _print(where: Where, utc: bool) -> None:
    from durable.client.where_text import where_lines

    for line in where_lines(where, lambda at: moment_text(at, utc)):
        click.echo(line)


def _step(
    handle: Handle[Any], walk: QuietWalk, at: int | None, run: int | None, output: str, utc: bool
) -> int:
    moments = walk.moments
    if not moments:
        found = walk.where(at)
        _print(found, utc) if output == "table" else print_rows([_row(found)], (), output, utc)
        return 0
    first = 0
    if at is not None:
        walk.where(at)  # there is such an event
        first = bisect_left(moments, at)
    if output != "table":
        wheres = [walk.where(seq) for seq in moments[first:]]
        print_rows(map(_row, wheres), (), output, utc)
        return max(map(_exit_code, wheres))
    steps = Steps(walk, _event_rows(handle, run, utc), utc)
    if all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        return steps.ask(first)
    return max(steps.show(place) for place in range(first, len(moments)))


def _row(where: Where) -> dict[str, Any]:
    return {name: getattr(where, name) for name in type(where).__slots__}


def _event_rows(handle: Handle[Any], run: int | None, utc: bool) -> list[list[str]]:
    """A row of a table for each event."""
    from durable.cli.event_text import EventText

    text = EventText(utc=utc)
    return [
        [str(event.seq), moment_text(event.at, utc), type(event).__name__, text.line(event)]
        for event in handle.history(run)
    ]


class Steps:
    """Shows the moments of a walk, each with the events of its step. rows: of the events."""

    def __init__(self, walk: QuietWalk, rows: list[list[str]], utc: bool) -> None:
        self.walk = walk
        self.rows = rows
        self.utc = utc

    def show(self, place: int) -> int:
        """Print one moment; gives the exit code that it would have."""
        moments = self.walk.moments
        before = moments[place - 1] if place else -1
        print_table(("SEQ", "AT", "EVENT", "WHAT"), self.rows[before + 1 : moments[place] + 1])
        click.echo()
        found = self.walk.where(moments[place])
        _print(found, self.utc)
        click.echo()
        return _exit_code(found)

    def ask(self, place: int) -> int:
        """Let the user go through them; gives the exit code of the last that was seen."""
        code = self.show(place)
        while True:
            click.echo(f"{KEYS} > ", nl=False, err=True)
            answer = sys.stdin.readline()
            wanted = self._wanted(answer.strip(), place) if answer else None
            if wanted is None:
                return code
            if wanted != place:
                place = wanted
                code = self.show(place)

    def _wanted(self, answer: str, place: int) -> int | None:
        """The place that is meant, the same one if there is none such; None to leave."""
        move: Callable[[int], int] | None = {
            "": lambda here: here + 1, "n": lambda here: here + 1, "p": lambda here: here - 1,
        }.get(answer)  # fmt: skip
        if answer == "q":
            return None
        moments = self.walk.moments
        if answer.isdecimal():
            wanted = bisect_left(moments, int(answer))
        elif move is not None:
            wanted = move(place)
        else:
            say(f"{answer!r} is none of these")
            return place
        if not 0 <= wanted < len(moments):
            say(f"there are events 0 to {moments[-1]}")
            return place
        return wanted
