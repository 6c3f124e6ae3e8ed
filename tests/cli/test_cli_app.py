"""The command as a whole: help, loading, errors."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import click
import pytest
from cli_kit import Cli, clean_env

import durable.client
from durable.cli import options
from durable.cli.app import COMMANDS, app

HEAVY = ("peewee", "msgpack", "redis", "cattrs", "pymysql", "asyncio")


def python(code: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", code], env=clean_env(), capture_output=True, text=True, check=True
    )
    return run.stdout


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["list", "--help"], ["no"]])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys\nfrom durable.cli import main\n"
        f"sys.argv = ['durable', *{args!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    assert python(code).splitlines()[-1] == "loaded: []"


def test_help_is_quick() -> None:
    """It takes less than 0.15 s; the margin is for a busy machine."""
    command = [sys.executable, "-m", "durable", "--help"]
    best = 9.0
    for _ in range(5):
        since = time.perf_counter()
        subprocess.run(command, env=clean_env(), stdout=subprocess.DEVNULL, check=True)
        best = min(best, time.perf_counter() - since)
    assert best < 0.5


def test_help_lists_every_command(cli: Cli) -> None:
    shown = cli.ok("--help")
    assert [name for name in COMMANDS if not re.search(rf"^  {name} ", shown, re.MULTILINE)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(cli: Cli, name: str) -> None:
    assert "Usage: " in cli.ok(name, "--help")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for(name: str) -> None:
    command = app.get_command(click.Context(app), name)
    assert command is not None
    silent = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert silent == []


def test_no_arguments_show_the_help(cli: Cli) -> None:
    result = cli()
    assert "Usage:" in result.output
    assert "worker" in result.output


def test_did_you_mean_for_commands(cli: Cli) -> None:
    assert "Did you mean 'history'?" in cli.fails(2, "histroy")


def test_did_you_mean_for_options(cli: Cli) -> None:
    assert "--store" in cli.fails(2, "list", "--stor", "x")


def test_a_negative_number_is_explained(cli: Cli) -> None:
    assert "-- -5" in cli.fails(2, "start", "order", "-5")


def test_the_default_store_is_the_clients() -> None:
    assert options.DEFAULT_STORE == durable.client.DEFAULT_STORE


def test_options_come_from_the_environment(cli: Cli) -> None:
    cli.ok("store", "init", DURABLE_STORE="sqlite:///other.db")
    assert [p.name for p in cli.directory.glob("*.db")] == ["other.db"]
    assert cli.ok("stats", DURABLE_STORE="sqlite:///other.db", DURABLE_OUTPUT="jsonl")[0] == "{"
    cli.ok("start", "order", DURABLE_START_ID="from-env", DURABLE_STORE="sqlite:///other.db")
    assert "from-env" in cli.ok("list", "--store", "sqlite:///other.db")


@pytest.mark.parametrize("where", ["before", "after", "environment"])
def test_debug_shows_tracebacks(cli: Cli, where: str) -> None:
    args = {"before": ["--debug", "show", "x"], "after": ["show", "x", "--debug"]}
    cli.ok("store", "init")
    env = {"DURABLE_DEBUG": "1"} if where == "environment" else {}
    result = cli(*args.get(where, ["show", "x"]), **env)
    assert result.exit_code == 4
    assert "Traceback (most recent call last)" in result.stderr


def test_a_closed_pipe_is_quiet(cli: Cli) -> None:
    cli.ok("store", "init")
    child = cli.spawn("--help")
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    assert child.stderr.read() == ""
    child.stderr.close()
    child.wait()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(cli: Cli, shell: str) -> None:
    assert "_DURABLE_COMPLETE" in cli.ok("completion", shell)


def test_completion_of_commands_loads_none_of_them() -> None:
    code = (
        "import os, sys\nos.environ.update(_DURABLE_COMPLETE='bash_complete',"
        "COMP_WORDS='durable wor', COMP_CWORD='1')\nfrom durable.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('loaded:', 'durable.cli.worker' in sys.modules)"
    )
    assert python(code).split() == ["plain,worker", "plain,workers", "loaded:", "False"]
