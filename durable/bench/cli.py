"""The command ``durable bench``."""

from __future__ import annotations

import click

from durable.bench.measuring import Row, machine
from durable.bench.places import Places
from durable.bench.reading import backlog, replay
from durable.bench.report import print_block, print_json
from durable.bench.scenarios import Scenario, Sizes, fan_out, idle, latency, long, sequential

SCENARIOS: dict[str, Scenario] = {
    "sequential": sequential,
    "fan-out": fan_out,
    "long": long,
    "backlog": backlog,
    "latency": latency,
    "replay": replay,
    "idle": idle,
}
ALL = "all"


@click.command("bench")
@click.option(
    "--scenario", "names", multiple=True, type=click.Choice([*SCENARIOS, ALL]),
    default=["sequential"], show_default=True, help="What to measure; may be repeated.",
)  # fmt: skip
@click.option(
    "--store", "url", metavar="URL",
    help="The kind and place of the stores that are made for this: new files beside a SQLite "
    "file, new tables in a database, removed afterwards. Defaults to temporary SQLite files.",
)  # fmt: skip
@click.option("-n", "--instances", type=click.IntRange(1), help="Instances, or histories.")
@click.option("-k", "--activities", type=click.IntRange(1), help="Activities of each instance.")
@click.option(
    "--in-flight", type=click.IntRange(1), default=500, show_default=True,
    help="Instances that the worker holds at one time.",
)  # fmt: skip
@click.option(
    "-t", "--threads", type=click.IntRange(1),
    help="Activities at one time. Defaults to the number in flight.",
)  # fmt: skip
@click.option(
    "--payload", type=click.IntRange(0), default=0, show_default=True,
    help="Bytes that each activity takes and gives.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How the figures are shown.",
)  # fmt: skip
def bench(
    names: tuple[str, ...],
    url: str | None,
    instances: int | None,
    activities: int | None,
    in_flight: int,
    threads: int | None,
    payload: int,
    output: str,
) -> None:
    """Measure what this machine and store can do.

    The ceiling is the very transactions of the run, written again by a bare loop:
    ceiling_ratio says how much of it the engine reaches.

    \b
    durable bench
    durable bench --scenario latency --scenario long
    durable bench -n 1000 -k 10 --in-flight 64 -o json
    """
    places = Places(url)
    sizes = Sizes(instances, activities, in_flight, threads, payload)
    about = machine(places)
    if output == "table":
        print_block("machine", about)
    found: dict[str, Row] = {}
    for name in SCENARIOS if ALL in names else dict.fromkeys(names):
        click.echo(f"{name} …", err=True)
        found[name] = SCENARIOS[name](places, sizes)
        if output == "table":
            print_block(name, found[name])
    if output == "json":
        print_json(about, found)
