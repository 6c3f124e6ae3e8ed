"""Which files are checked, and checking them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator

from durable.lint.checking import check_source
from durable.lint.rule import Finding
from durable.lint.rules import UNREADABLE

SKIPPED = frozenset(
    {"__pycache__", "build", "dist", "node_modules", "site-packages", "venv", "virtualenv"}
)
"""Folders that have no code of one's own; those that are hidden, and virtual environments of
any name, are skipped as well."""

STDIN = "-"
SUFFIXES = (".py", ".pyi", ".pyw")
SHEBANG = re.compile(rb"#!.*python")


def is_other(path: str) -> bool:
    """Whether a path is surely that of something else: a file without a suffix of Python's, nor
    ``#!`` and Python in its first line.  A notebook, being JSON, might pass for an expression."""
    if path == STDIN or path.endswith(SUFFIXES) or not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            return not SHEBANG.match(file.readline(200))
    except OSError:
        return False  # it will be reported


def python_files(paths: Iterable[str]) -> Iterator[str]:
    """The files that are named, whatever they are called, `STDIN` as well, and ``*.py`` below the
    folders; each once, in order.  Folders that cannot be read are among them."""
    seen: set[str] = set()
    for path in paths:
        for file in _below(path) if os.path.isdir(path) else [path]:
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                yield file


def _below(top: str) -> Iterator[str]:
    failed: list[OSError] = []
    for folder, folders, files in os.walk(top, onerror=failed.append):
        folders[:] = sorted(name for name in folders if not _is_skipped(folder, name))
        for name in sorted(files):
            path = os.path.normpath(os.path.join(folder, name))
            if name.endswith(".py") and not name.startswith(".") and not _is_endless(path):
                yield path
    for error in failed:
        yield os.path.normpath(error.filename)


def _is_endless(path: str) -> bool:
    """A pipe or a device; a link that leads nowhere is none, and will be reported."""
    return os.path.exists(path) and not os.path.isfile(path)


def _is_skipped(folder: str, name: str) -> bool:
    if name.startswith(".") or name in SKIPPED or name.endswith(".egg-info"):
        return True
    return os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))


def check_files(paths: Iterable[str], codes: Collection[str]) -> Iterator[tuple[str, Finding]]:
    """(path, finding), file by file; one that cannot be read is a finding."""
    for path in python_files(paths):
        try:
            source = _read(path)
        except OSError as error:
            if UNREADABLE in codes:
                yield path, Finding(1, 1, UNREADABLE, f"cannot be read: {error.strerror}")
            continue
        for finding in check_source(source, codes):
            yield path, finding


def _read(path: str) -> bytes:
    if path == STDIN:
        return sys.stdin.buffer.read()
    if os.path.isdir(path):
        os.listdir(path)  # it says why the folder cannot be read
    with open(path, "rb") as file:
        return file.read()
