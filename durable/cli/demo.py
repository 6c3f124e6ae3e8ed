"""``durable demo``: a workflow that survives the death of its process, before your eyes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

import durable
from durable.cli.errors import Failed

SOURCE = Path(__file__).with_name("demo_orders.py")
COMMAND = ["run", "orders:process_order", '"o-1"', "500", "--id", "order-1"]
SHOWN = """durable run orders:process_order '"o-1"' 500 --id order-1"""
EXPECTED = ["charged o-1 500", "shipped o-1"]
HALF_WAY = "timer until"
"""What the program says when the charge is stored and the parcel is not yet shipped."""


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep the directory, to look at the program.")
def demo_command(keep: bool) -> None:
    """See a workflow survive a SIGKILL.

    Starts an order (charge, wait, ship), kills its process half-way, starts it again, and
    shows that it went on and that nothing was done twice. Takes a few seconds.
    """
    place = Path(tempfile.mkdtemp(prefix="durable-demo-"))
    try:
        _show(place)
    finally:
        if keep:
            click.echo(f"\nThe program and its store are in {place}")
        else:
            shutil.rmtree(place, ignore_errors=True)


def _show(place: Path) -> None:
    source = SOURCE.read_text("utf-8")
    (place / "orders.py").write_text(source, "utf-8")
    click.echo("A workflow that charges an order, waits while it is packed, and ships it:\n")
    click.echo(_indented(source[source.index("@workflow") :].rstrip().splitlines()))
    click.echo(f"\n$ {SHOWN}")
    child = _start(place)
    _follow(child, HALF_WAY)
    child.kill()
    child.wait()
    if child.returncode != -signal.SIGKILL:
        raise Failed("the program ended before it could be killed")
    click.echo(f"  (process {child.pid} was killed with SIGKILL: no clean-up, no goodbye)")
    click.echo("\nThe charge is in effects.txt, the parcel is not yet:\n")
    click.echo(_indented(_effects(place)))
    click.echo(f"\nThe same command again, in a new process, goes on where it was:\n\n$ {SHOWN}")
    child = _start(place)
    _follow(child, None)
    if child.wait() != 0:
        raise Failed("the program failed; see above")
    effects = _effects(place)
    click.echo("\nWhat happened to the outside world, over both processes:\n")
    click.echo(_indented(effects))
    if effects != EXPECTED:
        raise Failed("each line should be there exactly once")
    click.echo(
        "\nEach of them once: the charge was not repeated, because its result was in the\n"
        "history (sqlite:///durable.db), and the workflow was brought back from there."
    )


def _start(place: Path) -> subprocess.Popen[str]:
    """The program as a child process, with no environment variables of ours."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_")}
    above = str(Path(durable.__file__).parent.parent)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [above, env.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "durable", *COMMAND],
        cwd=place,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def _follow(child: subprocess.Popen[str], until: str | None) -> None:
    """Show what a child prints, up to a line with this text, or to its end."""
    assert child.stdout is not None
    for line in child.stdout:
        click.echo(f"  {line.rstrip()}")
        if until is not None and until in line:
            return


def _effects(place: Path) -> list[str]:
    file = place / "effects.txt"
    return file.read_text().splitlines() if file.exists() else []


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}".rstrip() for line in lines)
