"""Walking through a history on the command line: what workflow code prints meanwhile is not
shown, for it is not what was asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from durable.cli.errors import Failed
from durable.errors import UsageError

if TYPE_CHECKING:
    from durable.client import Handle, Walk, Where


class QuietWalk:
    """A `Walk` whose workflow prints nothing, and whose mistakes are failures of a command."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self.moments = walk.moments

    def where(self, at: int | None = None) -> Where:
        with _quiet(), _no_such_event():
            return self._walk.where(at)

    def vars(self, at: int | None = None) -> dict[str, Any]:
        with _quiet(), _no_such_event():
            return self._walk.vars(at)

    def close(self) -> None:
        with _quiet():
            self._walk.close()


@contextmanager
def walking(handle: Handle[Any], run: int | None) -> Iterator[QuietWalk]:
    """Look at moments of a run. Raises `Failed` if there is no such run or event."""
    last = handle.row().run
    if run is not None and run > last:
        raise Failed(f"instance {handle.id!r} has runs 1 to {last}, and no run {run}")
    walk = QuietWalk(handle.walk(run))
    try:
        yield walk
    finally:
        walk.close()


@contextmanager
def _quiet() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        yield


@contextmanager
def _no_such_event() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise Failed(str(error)) from None
