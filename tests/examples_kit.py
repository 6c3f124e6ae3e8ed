"""What the tests of the examples share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
LIMIT = 60


def environment() -> dict[str, str]:
    """The sources are found by programs in other directories, installed or not."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}


@contextmanager
def running(*words: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A program in the background; killed at the end of the block, if it has not ended."""
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def run(*words: str, cwd: Path) -> str:
    """What a program prints; it must end with 0."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def durable(*words: str, cwd: Path) -> str:
    return run("-m", "durable", *words, cwd=cwd)


def example(target: str) -> str:
    """``module:workflow`` of an example, with its file for the module."""
    module, _, flow = target.partition(":")
    return f"{EXAMPLES / module}.py:{flow}".rstrip(":")


def read_until(stream: IO[str] | None, text: str) -> None:
    """Read lines up to one with this text."""
    assert stream is not None
    seen = []
    for line in stream:
        seen.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} is not among {seen}")


def until(condition: Callable[[], object]) -> None:
    """Wait until it gives something true."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
