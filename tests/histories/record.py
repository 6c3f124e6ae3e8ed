"""Record a golden history: run an example as a program, and export all that it has started.

    python tests/histories/record.py saga        # writes tests/histories/saga.jsonl

Rules
-----
* What is recorded here is replayed for ever, by ``tests/test_histories.py``: it stands for the
  instances that run somewhere when a new version is installed.  So no file is ever written
  again.  When an example has changed, or the format of histories has, a further history is
  recorded beside the first: ``saga-2.jsonl``, then ``saga-3.jsonl``.
* An example runs in an empty directory with a link to ``examples``, so that tracebacks in its
  history have no path of the machine on which it was recorded.
"""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from durable import Client, Codec, stores
from durable.exports import lines_of
from durable.store import Store

HISTORIES = Path(__file__).resolve().parent
EXAMPLES = HISTORIES.parent.parent / "examples"


def record(example: str) -> list[str]:
    """The lines of all instances that an example starts, oldest first."""
    with tempfile.TemporaryDirectory() as folder, _inside(Path(folder)), _seen() as opened:
        runpy.run_path(f"examples/{example}.py", run_name="__main__")
        lines: list[str] = []
        for client in map(Client, opened):
            for row in reversed(client.list(limit=10_000).rows):
                lines += lines_of(client.get(row.id).export(), Codec())
        return lines


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    (folder / "examples").symlink_to(EXAMPLES)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _seen() -> Iterator[list[Store]]:
    """The stores that are opened meanwhile. One in memory can be read when it was closed."""
    opened: list[Store] = []
    real = stores.open_store

    def open_store(*args: Any, **options: Any) -> Store:
        store = real(*args, **options)
        opened.append(store)
        return store

    stores.open_store = open_store
    try:
        yield opened
    finally:
        stores.open_store = real


def free_path(example: str) -> Path:
    """Where the next history of an example goes."""
    names = (example if n == 1 else f"{example}-{n}" for n in count(1))
    return next(path for name in names if not (path := HISTORIES / f"{name}.jsonl").exists())


def main() -> None:
    for example in sys.argv[1:]:
        lines = record(example)
        path = free_path(example)
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        print(f"{path.name}: {len(lines)} lines")


if __name__ == "__main__":
    main()
