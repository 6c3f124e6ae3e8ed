"""Commands that were created and never used, with the lines that made them.

An entry of ``unused`` is (command, code, line, coroutine that made it), by the id of the
command: an object that stands there is alive, so that its id is its own.
"""

from __future__ import annotations

import logging
import warnings
from itertools import islice
from types import CodeType
from typing import TYPE_CHECKING, Any

from durable.commands import ContinueAsNew, parts
from durable.current import observer
from durable.errors import ForgottenYield

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter
    from durable.interpreter.coroutine import Coroutine

logger = logging.getLogger("durable.workflow")


def used(it: Interpreter, command: Any) -> None:
    """A command was yielded, and is no forgotten one; nor are those inside it."""
    for one in parts(command):
        it.unused.pop(id(one), None)


def report_forgotten(it: Interpreter, coroutine: Coroutine) -> None:
    """Report what a coroutine that has returned did not use, each with what is inside it."""
    if not it.unused:
        return
    own = {
        key: row
        for key, row in it.unused.items()
        if row[3] is coroutine and not isinstance(row[0], ContinueAsNew)
    }
    inside = _inside(own)
    for key, (command, code, line, _) in own.items():
        del it.unused[key]
        if key not in inside and not it.replaying:
            _warn(command, code, line)


def not_yielded(it: Interpreter) -> list[tuple[str, str, int]]:
    """Commands that were created and not used so far: as text, file and line."""
    rows = {key: row for key, row in it.unused.items() if not row[3].ended}
    inside = _inside(rows)
    return [
        (_shown(command), code.co_filename, line)
        for key, (command, code, line, _) in rows.items()
        if key not in inside
    ]


def _inside(rows: dict[int, Any]) -> set[int]:
    """Which of them are parts of others."""
    return {id(part) for row in rows.values() for part in islice(parts(row[0]), 1, None)}


def _shown(command: Any) -> str:
    try:
        return repr(command)
    except RecursionError:  # combinators, far too deep
        return f"{type(command).__name__}(…)"


def check_no_run_was_begun(it: Interpreter) -> None:
    """Raise `TypeError` if a next run was called for, and its command not returned."""
    for command, code, line, _ in it.unused.values():
        if isinstance(command, ContinueAsNew):
            raise TypeError(
                f"continue_as_new(…) at {code.co_filename}:{line} began no run, because the "
                "workflow did not return it: write `return continue_as_new(…)` in the workflow "
                "itself"
            )


def _warn(command: Any, code: CodeType, line: int) -> None:
    text = f"{_shown(command)} was created and never yielded: nothing was done; write `yield …`"
    looking = observer.get()
    if looking is not None:
        looking.forgot(text, code.co_filename, line)
        return
    try:
        warnings.warn_explicit(text, ForgottenYield, code.co_filename, line)
    except ForgottenYield:  # warnings are errors here: the workflow has ended all the same
        logger.warning("%s:%s: %s", code.co_filename, line, text)
