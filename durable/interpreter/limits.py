"""How much one run may ask for at once.

Rules
-----
* A command that would go beyond a limit is refused where it is asked for, before anything
  of it is issued: the workflow can go on.
* Each command that waits counts once, in however many combinators it stands; so does the
  timer of `with_timeout`.
* Combinators are built, settled and cancelled recursively, so that their depth has a limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durable.commands import WithTimeout, members
from durable.errors import UsageError

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter

STEP_BUDGET = 100_000
MAX_PENDING = 100_000
MAX_DEPTH = 100


def check_room(interpreter: Interpreter, command: Any = None) -> None:
    """Raise `UsageError` if there is no room for a command, or for one more that is pending."""
    if _exceeds(command, MAX_PENDING - len(interpreter.pending)):
        raise UsageError(
            f"more than {MAX_PENDING:,} commands would be pending at once: wait for "
            "some of them before the next"
        )


def _exceeds(command: Any, room: int) -> bool:
    """Whether it is made of more commands than there is room for. Raises `UsageError` if they
    are nested too deep."""
    todo, count = [(command, 1)], 0
    while todo and count <= room:
        one, depth = todo.pop()
        inner = members(one)
        if not inner or type(one) is WithTimeout:
            count += 1
        if inner and depth > MAX_DEPTH:
            raise UsageError(
                f"commands are nested more than {MAX_DEPTH} deep: write one gather(*commands) "
                "or race(*commands) instead of one inside the other"
            )
        todo += [(each, depth + 1) for each in inner]
    return count > room
