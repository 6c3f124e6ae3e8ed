"""Which files are checked, and checking them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator

from durable.lint.checking import check_source
from durable.lint.rule import Finding
from durable.lint.rules import UNREADABLE

SKIPPED = frozenset(
    {"__pycache__", "build", "dist", "node_modules", "site-packages", "venv", "virtualenv"}
)
"""Folders that have no code of one's own; those that are hidden, and virtual environments of
any name, are skipped as well."""


def python_files(paths: Iterable[str]) -> Iterator[str]:
    """The files that are named, whatever they are called, and ``*.py`` below the folders; each
    once, in order."""
    seen: set[str] = set()
    for path in paths:
        for file in _below(path) if os.path.isdir(path) else [path]:
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                yield file


def _below(top: str) -> Iterator[str]:
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if not _is_skipped(folder, name))
        for name in sorted(files):
            if name.endswith(".py") and not name.startswith("."):
                yield os.path.normpath(os.path.join(folder, name))


def _is_skipped(folder: str, name: str) -> bool:
    if name.startswith(".") or name in SKIPPED or name.endswith(".egg-info"):
        return True
    return os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))


def check_files(paths: Iterable[str], codes: Collection[str]) -> Iterator[tuple[str, Finding]]:
    """(path, finding), file by file; one that cannot be read is a finding."""
    for path in python_files(paths):
        try:
            with open(path, "rb") as file:
                source = file.read()
        except OSError as error:
            yield path, Finding(1, 1, UNREADABLE, f"cannot be read: {error.strerror}")
            continue
        for finding in check_source(source, codes):
            yield path, finding
