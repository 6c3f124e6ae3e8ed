"""What the tests of the command line share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from durable.cli.app import app

ROOT = Path(__file__).resolve().parents[2]

ORDERS = """
from datetime import timedelta
from pathlib import Path

from durable import Retry, Workflow, activity, set_var, sleep, wait_signal, workflow


@activity(retry=None)
def charge(order_id: str, cents: int) -> str:
    with Path("effects.txt").open("a") as file:
        file.write(f"charged {order_id}\\n")
    if cents < 0:
        raise ValueError(f"cents must not be {cents}")
    return f"receipt-{order_id}"


@activity(queue="parcels")
def ship(order_id: str) -> str:
    with Path("effects.txt").open("a") as file:
        file.write(f"shipped {order_id}\\n")
    return f"parcel-{order_id}"


@workflow
def order(order_id: str, cents: int = 100, pause: float = 0) -> Workflow[dict[str, str]]:
    set_var("stage", "charging")
    receipt = yield charge.call(order_id, cents)
    yield sleep(pause)
    set_var("stage", "shipping")
    parcel = yield ship.call(order_id)
    return {"receipt": receipt, "parcel": parcel}


@workflow
def approval() -> Workflow[str]:
    return (yield wait_signal("approve"))


def helper() -> None: ...
"""


class Cli:
    """Runs commands in a directory with a module ``orders`` and its own store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "orders.py").write_text(ORDERS)

    def __call__(self, *args: str, input: str | None = None, **env: str) -> Result:
        return CliRunner().invoke(app, args, input=input, env=env)

    def ok(self, *args: str, **env: str) -> str:
        """The stdout of a command that must succeed."""
        result = self(*args, **env)
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    def json(self, *args: str, **env: str) -> Any:
        return json.loads(self.ok(*args, "-o", "json", **env))

    def fails(self, code: int, *args: str, **env: str) -> str:
        """The stderr of a command that must end with this exit code."""
        result = self(*args, **env)
        assert result.exit_code == code, result.output
        assert "Traceback (most recent call last)" not in result.stderr
        return str(result.stderr)

    def spawn(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """A command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "durable", *args],
            cwd=self.directory,
            env=clean_env(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def effects(self) -> list[str]:
        file = self.directory / "effects.txt"
        return file.read_text().splitlines() if file.exists() else []


def clean_env(**more: str) -> dict[str, str]:
    """The environment without settings of durable."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_")}
    return env | {"PYTHONPATH": str(ROOT)} | more


def follow(child: subprocess.Popen[str], until: str) -> str:
    """Read a child's stderr up to a line with this text."""
    assert child.stderr is not None
    seen = ""
    for line in child.stderr:
        seen += line
        if until in line:
            return seen
    raise AssertionError(f"{until!r} was not said:\n{seen}")
