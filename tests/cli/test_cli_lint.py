"""``durable lint``: what it prints, where, and how it ends."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_kit import Cli

from durable.lint.rules import RULES

CLOCK = """\
import time
from durable import Workflow, sleep, workflow


@workflow
def flow() -> Workflow[float]:
    print("ünïcode", time.time())
    yield sleep(1)
    return 0.0
"""
FOUND = [
    "flows.py:7:5 DUR105 print() says it again in every replay: use logger()",
    "flows.py:7:22 DUR101 time.time() gives another time in each replay: use now()",
]


@pytest.fixture
def flows(cli: Cli) -> Path:
    path = cli.directory / "flows.py"
    path.write_text(CLOCK, "utf-8")
    return path


def test_findings_are_lines(cli: Cli, flows: Path) -> None:
    result = cli("lint", "flows.py")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == FOUND
    assert result.stderr == "2 findings\n"


def test_nothing_is_found(cli: Cli) -> None:
    result = cli("lint", "orders.py")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_json(cli: Cli, flows: Path) -> None:
    result = cli("lint", ".", "--format", "json")
    assert result.exit_code == 1
    rows = json.loads(result.stdout)
    lines = ["{path}:{line}:{column} {code} {message}".format(**row) for row in rows]
    assert lines == FOUND
    assert json.loads(cli.ok("lint", "orders.py", "--format", "json")) == []


def test_github(cli: Cli, flows: Path) -> None:
    folder = cli.directory / "a,b:c%"
    folder.mkdir()
    flows.rename(folder / "flows.py")
    result = cli("lint", str(folder.name), "--format", "github", "--select", "DUR101")
    assert result.stdout == (
        "::error file=a%2Cb%3Ac%25/flows.py,line=7,col=22,title=DUR101::"
        "time.time() gives another time in each replay: use now()\n"
    )


def test_no_path_or_message_ends_a_line_of_github(cli: Cli, flows: Path) -> None:
    path = cli.directory / "a\r\n::b\x1b[2J\x07\u2028é.py"
    path.write_bytes(b"x = 1\n\0")
    result = cli("lint", ".", "--format", "github", "--select", "DUR101")
    broken, clock = result.stdout.splitlines()
    assert broken.startswith(
        "::error file=a%0D%0A%3A%3Ab\\x1b[2J\\x07\\u2028é.py,line=1,col=1,title=DUR100::cannot be"
    )
    assert clock.startswith("::error file=flows.py,line=7,")


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_a_folder_without_programs_is_no_good_news(cli: Cli, form: str) -> None:
    (cli.directory / "empty" / "build").mkdir(parents=True)
    (cli.directory / "empty" / "build" / "flows.py").write_text(CLOCK, "utf-8")
    (cli.directory / "empty" / "flows.txt").write_text(CLOCK, "utf-8")
    result = cli("lint", "orders.py", "empty", "--format", form)
    assert result.exit_code == 0
    assert result.stdout == ("[]\n" if form == "json" else "")
    assert result.stderr == "warning: there is no *.py in empty: nothing of it was checked\n"


def test_a_folder_that_cannot_be_read_is_found(
    cli: Cli, flows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who runs the tests may be root, and may read everything."""
    (cli.directory / "locked").mkdir()

    def refuse(what: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: str) -> Any:
            if path.endswith("locked"):
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return what(path)

        return call

    monkeypatch.setattr(os, "scandir", refuse(os.scandir))
    monkeypatch.setattr(os, "listdir", refuse(os.listdir))
    result = cli("lint", ".", "--select", "DUR105")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        FOUND[0],
        "locked:1:1 DUR100 cannot be read: Permission denied",
    ]


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        (["--select", "DUR101"], ["DUR101"]),
        (["--select", "dur101, DUR105"], ["DUR105", "DUR101"]),
        (["--select", "DUR1", "--ignore", "DUR101"], ["DUR105"]),
        (["--ignore", "DUR101", "--ignore", "DUR105"], []),
        (["--select", "DUR12"], []),
    ],
)
def test_select_and_ignore(cli: Cli, flows: Path, options: list[str], codes: list[str]) -> None:
    result = cli("lint", "flows.py", *options)
    assert [line.split()[1] for line in result.stdout.splitlines()] == codes
    assert result.exit_code == (1 if codes else 0)


@pytest.mark.parametrize("option", ["--select", "--ignore", "--explain"])
def test_an_unknown_code_is_refused(cli: Cli, flows: Path, option: str) -> None:
    assert "there is no rule DUR999" in cli.fails(2, "lint", "flows.py", option, "DUR999")


def test_a_path_that_does_not_exist_is_refused(cli: Cli, flows: Path) -> None:
    result = cli("lint", "flows.py", "nowhere/flows.py")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "there is no nowhere/flows.py" in result.stderr


@pytest.mark.parametrize("first", ["{}", "", "#!/bin/sh"])
def test_a_file_of_another_kind_is_refused(cli: Cli, flows: Path, first: str) -> None:
    (cli.directory / "flows.ipynb").write_text(f"{first}\n")
    error = cli.fails(2, "lint", "flows.py", "flows.ipynb")
    assert "flows.ipynb is no Python file: its name does not end in .py" in error


@pytest.mark.parametrize(
    ("name", "first"),
    [("flows.pyi", ""), ("flows.pyw", ""), ("flows", "#!/usr/bin/env python3")],
)
def test_python_is_known_by_its_suffix_or_first_line(
    cli: Cli, flows: Path, name: str, first: str
) -> None:
    (cli.directory / name).write_text(f"{first}\n{CLOCK}", "utf-8")
    found = cli("lint", name, "--select", "DUR105")
    assert (found.exit_code, found.stdout) == (
        1,
        FOUND[0].replace("flows.py:7", f"{name}:8") + "\n",
    )


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_stdin_is_read(cli: Cli, form: str) -> None:
    result = cli("lint", "-", "--format", form, "--select", "DUR105", input=CLOCK)
    assert (result.exit_code, result.stderr) == (1, "1 finding\n")
    assert (FOUND[0].replace("flows.py", "-") + "\n" == result.stdout) == (form == "text")


def test_stdin_that_is_closed_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durable.cli.lint.sys", SimpleNamespace(stdin=None))
    assert "-: stdin is closed" in cli.fails(2, "lint", "-")


def test_no_path_is_refused(cli: Cli) -> None:
    assert "there is no PATH to check" in cli.fails(2, "lint")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (b"x = 1\ndef f(:\n", "broken.py:2:7 DUR100 cannot be parsed: invalid syntax"),
        (b"x = 1\n\0", "broken.py:1:1 DUR100 cannot be parsed: source code string cannot"),
        (b"x = '\xff'\n", "broken.py:1:8 DUR100 cannot be parsed: (unicode error)"),
        (b"# coding: nonsense\n", "broken.py:1:1 DUR100 cannot be parsed: unknown encoding"),
        (b"x = " + b"-" * 50_000 + b"1\n", "broken.py:1:1 DUR100 "),
    ],
    ids=["syntax", "null", "not-utf-8", "encoding", "deep"],
)
def test_what_cannot_be_parsed_is_found_and_the_others_are_checked(
    cli: Cli, flows: Path, source: bytes, line: str
) -> None:
    (cli.directory / "broken.py").write_bytes(source)
    result = cli("lint", ".", "--select", "DUR105")
    assert result.exit_code == 1
    broken, *others = result.stdout.splitlines()
    assert broken.startswith(line)
    assert others == FOUND[:1]
    assert result.stderr == "2 findings\n"


def test_what_cannot_be_parsed_may_be_ignored(cli: Cli, flows: Path) -> None:
    (cli.directory / "broken.py").write_text("def f(:\n")
    (cli.directory / "gone.py").symlink_to("nowhere.py")
    assert cli("lint", ".", "--ignore", "DUR100").stdout.splitlines() == FOUND
    found = cli("lint", ".", "--select", "DUR100").stdout
    assert [line.split()[1] for line in found.splitlines()] == ["DUR100", "DUR100"]


def test_what_cannot_be_read_is_found(cli: Cli, flows: Path) -> None:
    (cli.directory / "gone.py").symlink_to("nowhere.py")
    result = cli("lint", ".", "--select", "DUR105")
    assert result.stdout.splitlines() == [
        FOUND[0],
        "gone.py:1:1 DUR100 cannot be read: No such file or directory",
    ]


def test_rules_are_listed(cli: Cli) -> None:
    lines = cli.ok("lint", "--rules").splitlines()
    assert [line.split()[0] for line in lines] == list(RULES)
    assert "DUR111  `id()` or `hash()` is called" in lines


def test_a_rule_is_explained(cli: Cli) -> None:
    assert cli.ok("lint", "--explain", "DUR101") == RULES["DUR101"].page
    both = cli.ok("lint", "--explain", "DUR102,DUR101")
    assert both == f"{RULES['DUR101'].page}\n{RULES['DUR102'].page}"


def test_user_code_is_never_imported(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cli.directory / "explosive.py"
    path.write_text(f"{CLOCK}\nraise SystemExit('imported')\n", "utf-8")
    (cli.directory / "package").mkdir()
    (cli.directory / "package" / "__init__.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(cli.directory))
    before = set(sys.modules)
    assert cli("lint", ".", "--select", "DUR105").stdout.startswith("explosive.py:7:5 DUR105")
    assert not {"explosive", "package", "orders"} & (set(sys.modules) - before)


def test_control_characters_do_not_reach_the_terminal(cli: Cli, flows: Path) -> None:
    flows.rename(cli.directory / "a\x1b[2J.py")
    assert "\x1b" not in cli("lint", ".").stdout
