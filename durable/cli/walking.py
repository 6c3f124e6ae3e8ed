"""Replaying on the command line: what the user's code prints meanwhile is not shown, for it is
not what was asked for, and would stand between the lines of JSON.  It can be stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durable.client import Handle, Walk, Where


class QuietWalk:
    """A `Walk` whose workflow prints nothing."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self.moments = walk.moments

    def where(self, at: int | None = None) -> Where:
        with quiet():
            return self._walk.where(at)

    def vars(self, at: int | None = None) -> dict[str, Any]:
        with quiet():
            return self._walk.vars(at)

    def close(self) -> None:
        with quiet():
            self._walk.close()


@contextmanager
def walking(handle: Handle[Any], run: int | None) -> Iterator[QuietWalk]:
    """Look at moments of a run. Raises `UsageError` if there is no such run or event."""
    walk = QuietWalk(handle.walk(run))
    try:
        yield walk
    finally:
        walk.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Around a replay: what is printed goes nowhere."""
    from durable.cli.stopping import stoppable  # it needs the interpreter, and `--help` does not

    with stoppable(), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield
