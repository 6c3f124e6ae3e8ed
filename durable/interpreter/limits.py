"""How much one run may ask for at once, and how long it may grow.

Rules
-----
* A command that would go beyond a limit is refused where it is asked for, before anything
  of it is issued: the workflow can go on.
* Each command that waits counts once, in however many combinators it stands; so does the
  timer of `with_timeout`.
* What one event leads to is written in one transaction: if that would be more bytes than may
  be, the step is stopped at the line that asks for them, and nothing of it is stored.
* Combinators are built, settled and cancelled recursively, so that their depth has a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from durable.commands import WithTimeout, members
from durable.errors import UsageError
from durable.interpreter.aborted import StepAborted

if TYPE_CHECKING:
    from durable.interpreter.core import Interpreter
    from durable.interpreter.coroutine import Coroutine

STEP_BUDGET = 100_000
MAX_DEPTH = 100

MAX_HISTORY = 50_000
MAX_PENDING = 100_000
MAX_STEP_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker lets a run have.

    max_history: events of its history. max_pending: commands that wait. max_step_bytes: bytes
    of the events that one event leads to.
    """

    max_history: int = MAX_HISTORY
    max_pending: int = MAX_PENDING
    max_step_bytes: int = MAX_STEP_BYTES

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{name}={value!r} must be a whole number from 1")


DEFAULT_LIMITS = Limits()


def check_room(interpreter: Interpreter, command: Any = None) -> None:
    """Raise `UsageError` if there is no room for a command, or for one more that is pending."""
    most = interpreter.limits.max_pending
    if _exceeds(command, most - len(interpreter.pending)):
        raise UsageError(
            f"more than {most:,} commands would be pending at once: wait for some of them before "
            "the next, or give the workers a higher max_pending"
        )


def too_long(coroutine: Coroutine) -> NoReturn:
    """Stop a step with too many resumptions, at the coroutine that comes next."""
    why = f"more than {STEP_BUDGET:,} resumptions in one step"
    raise StepAborted(why, coroutine.line(), coroutine.interpreter.seq)


def too_large(interpreter: Interpreter, issuing: Coroutine | None) -> NoReturn:
    """Stop a step that writes too much, at the line that it is at."""
    line = f", at {issuing.line()}" if issuing is not None else ""
    interpreter.broken = StepAborted(
        f"a step of more than max_step_bytes={interpreter.limits.max_step_bytes:,}{line}: ask for "
        "less at a time, store references to large values, or give its workers a higher "
        "max_step_bytes and retry it"
    )
    raise interpreter.broken


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
