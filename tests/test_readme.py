"""The README is executed: its programs, its commands, and what they print."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.rst").read_text("utf-8")
LIMIT = 60


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    found = re.findall(
        rf"^\.\. code-block:: {language}\n\n((?:    .*\n|\n)+)", README, re.MULTILINE
    )
    return ["\n".join(line[4:] for line in text.rstrip().splitlines()) + "\n" for text in found]


PROGRAM, EMBEDDED = blocks("python")
(EMBEDDED_OUTPUT,) = blocks("text")
INSTALL_AND_RUN, GO_ON, SIGNAL, INSTALL_AGAIN, TESTS = blocks("console")
COMMAND = INSTALL_AND_RUN.splitlines()[0].removeprefix("$ ")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the program where the commands look for it, and as a module."""
    (tmp_path / "examples").mkdir()
    for name in ("examples/orders.py", "orders.py"):
        (tmp_path / name).write_text(PROGRAM, "utf-8")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "durable"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m durable "$@"\n', "utf-8")
    script.chmod(0o755)
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "PATH": path}


def shell(command: str, place: Path) -> subprocess.Popen[str]:
    """A command as it stands in the README; the shell is replaced by it."""
    return subprocess.Popen(
        ["sh", "-c", f"exec {command}"],
        cwd=place,
        env=environment(place),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def shape(lines: list[str]) -> list[str]:
    """Lines without what differs each time: moments and durations."""
    text = "\n".join(lines)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "MOMENT", text)
    text = re.sub(r"^ +\d+\.\d{3}s  ", "TIME ", text, flags=re.MULTILINE)
    return re.sub(r"  \d+(\.\d+)?(ms|µs|s)$", " TOOK", text, flags=re.MULTILINE).splitlines()


def until_it_waits(stream: IO[str] | None) -> list[str]:
    assert stream is not None
    lines = []
    for line in stream:
        lines.append(line.rstrip("\n"))
        if "waiting;" in line:
            return lines
    raise AssertionError(f"it did not wait: {lines}")


def output(block: str) -> list[str]:
    return [line for line in block.splitlines() if not line.startswith("$ ")]


def test_a_whole_program_by_line_8() -> None:
    lines = README.splitlines()
    first = lines.index(f"    {PROGRAM.splitlines()[0]}") + 1
    assert first <= 8


def test_the_program_is_that_of_the_example() -> None:
    example = ast.parse((ROOT / "examples" / "orders.py").read_text("utf-8"))
    there = {ast.dump(node) for node in example.body if isinstance(node, ast.FunctionDef)}
    here = [node for node in ast.parse(PROGRAM).body if isinstance(node, ast.FunctionDef)]
    assert [node.name for node in here] == ["charge", "ship", "process_order"]
    assert [node.name for node in here if ast.dump(node) not in there] == []


def test_install_is_two_commands() -> None:
    assert INSTALL_AGAIN.splitlines() == [f"$ {COMMAND}"]
    install, run = COMMAND.split(" && ")
    assert install == "pip install ."
    assert GO_ON.splitlines()[0] == f"$ {run}"
    assert TESTS.splitlines() == ["$ tests/run"]
    assert os.access(ROOT / "tests" / "run", os.X_OK)


def test_kill_it_and_watch_it_go_on(place: Path) -> None:
    """All but the installation, which the tox environment "package" does."""
    run = COMMAND.removeprefix("pip install . && ")
    first = shell(run, place)
    try:
        assert shape(until_it_waits(first.stderr)) == shape(output(INSTALL_AND_RUN))
    finally:
        first.kill()
        first.communicate(timeout=LIMIT)
    second = shell(run, place)
    try:
        assert shape(until_it_waits(second.stderr)) == shape(output(GO_ON))
        signal, result = [
            line.removeprefix("$ ") for line in SIGNAL.splitlines() if line.startswith("$ ")
        ]
        sent = shell(signal, place)
        sent.communicate(timeout=LIMIT)
        assert sent.returncode == 0
        out, err = second.communicate(timeout=LIMIT)
    finally:
        second.kill()
        second.wait()
    assert second.returncode == 0, err
    assert "charge(" not in err
    shown = shell(result, place)
    assert shown.communicate(timeout=LIMIT)[0] == out == output(SIGNAL)[0] + "\n"


def test_the_embedded_program(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDED],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.stdout == EMBEDDED_OUTPUT, done.stderr
