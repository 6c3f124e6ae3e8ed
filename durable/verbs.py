"""The verbs that authors of workflows import.

Those that make commands (to yield): `sleep`, `sleep_until`, `wait_signal`, `send_signal`,
`side_effect`, `gather`, `race`.  Those that are called: `spawn`, `now`, `uuid4`, `random`,
`info`, `logger`, `set_var`; what they give is the same in every replay.
"""

from __future__ import annotations

import logging as _logging
from collections.abc import Callable, Generator, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from inspect import isgenerator
from random import Random
from typing import Any, TypeVar, overload
from uuid import UUID

from durable.commands import (
    MISSING,
    ActivityCall,
    Command,
    Gather,
    Race,
    SendSignal,
    SideEffect,
    Sleep,
    SleepUntil,
    Task,
    WaitSignal,
    Winner,
    made,
    mistake,
)
from durable.current import inside, running
from durable.errors import UsageError
from durable.interpreter.derive import derived_random, derived_uuid
from durable.retry import Duration, microseconds

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
T = TypeVar("T")

_LOG = _logging.getLogger("durable.workflow")


# -- commands ---------------------------------------------------------------------------


def sleep(duration: Duration) -> Command[None]:
    """Wait for a duration: seconds or a `timedelta`. 0 is a timer that is due at once.

    Raises `ValueError` for a negative or endless duration, `TypeError` for anything else.

    >>> yield sleep(timedelta(hours=24))
    """
    return made(Sleep(microseconds(duration, "sleep")))


def sleep_until(due_at: datetime) -> Command[None]:
    """Wait until a moment: an aware datetime. One that is past is due at once."""
    if not isinstance(due_at, datetime):
        raise TypeError(f"sleep_until takes a datetime, not {due_at!r}")
    if due_at.tzinfo is None:
        raise ValueError(f"sleep_until takes an aware datetime; {due_at!r} has no time zone")
    return made(SleepUntil(due_at))


@overload
def wait_signal(name: str) -> Command[Any]: ...
@overload
def wait_signal(name: str, type: type[T]) -> Command[T]: ...
def wait_signal(name: str, type: Any = Any) -> Command[Any]:
    """Wait for the next signal of a name, in order of arrival; early ones are kept.

    type: a type hint by which the value is rebuilt.
    """
    if not isinstance(name, str):
        raise TypeError(f"wait_signal takes a name, not {name!r}")
    return made(WaitSignal(name, type))


def send_signal(instance_id: str, name: str, value: Any = None) -> Command[None]:
    """Send a signal to another instance. Raises, when yielded, `InstanceNotFound` or
    `InstanceFinished`."""
    if not isinstance(instance_id, str) or not isinstance(name, str):
        raise TypeError(f"send_signal takes an id and a name, not {instance_id!r}, {name!r}")
    return made(SendSignal(instance_id, name, value))


def side_effect(fn: Callable[..., T], *args: Any, type: Any = MISSING, **kwargs: Any) -> Command[T]:
    """Call a function once and record its value, which every replay gets.

    For what is quick and not deterministic: a clock, a random number, a setting.  What may
    fail or takes long is an activity.  If fn raises, the yield raises `SideEffectError`.

    type: a type hint by which the value is rebuilt; defaults to fn's return annotation.
    """
    if not callable(fn) or isinstance(fn, Command):
        raise TypeError(f"side_effect takes a function and its arguments, not {fn!r}")
    if hasattr(fn, "__durable_definition__"):
        raise TypeError(f"side_effect takes a plain function; {fn!r} is yielded by .call(…)")
    if type is MISSING:
        type = _return_hint(fn)
    return made(SideEffect(fn, args, kwargs, type))


@overload
def gather(a: Command[A], /, *, return_exceptions: bool = ...) -> Command[tuple[A]]: ...
@overload
def gather(
    a: Command[A], b: Command[B], /, *, return_exceptions: bool = ...
) -> Command[tuple[A, B]]: ...
@overload
def gather(
    a: Command[A], b: Command[B], c: Command[C], /, *, return_exceptions: bool = ...
) -> Command[tuple[A, B, C]]: ...
@overload
def gather(*commands: Command[T], return_exceptions: bool = ...) -> Command[list[T]]: ...
@overload
def gather(*, return_exceptions: bool = ..., **named: Command[T]) -> Command[dict[str, T]]: ...
def gather(*commands: Any, return_exceptions: bool = False, **named: Any) -> Command[Any]:
    """Wait for all; gives a list of their results in order (a dict, if they are named).

    The first failure cancels the rest, and is raised when the activities that were started
    have ended.  return_exceptions: put failures into the list instead.

    >>> a, b = yield gather(fetch.call(1), fetch.call(2))
    """
    if commands and named:
        raise UsageError("gather takes commands or named commands, not both")
    every = commands or tuple(named.values())
    _check_commands(every, "gather")
    names = tuple(named) if named else None
    return made(Gather(every, names, return_exceptions))


@overload
def race(a: Command[A], /, *, return_exceptions: bool = ...) -> Command[Winner[A]]: ...
@overload
def race(
    a: Command[A], b: Command[B], /, *, default: Any = ..., return_exceptions: bool = ...
) -> Command[Winner[A | B]]: ...
@overload
def race(
    *commands: Command[Any],
    default: Any = ...,
    return_exceptions: bool = ...,
    **named: Command[Any],
) -> Command[Winner[Any]]: ...
def race(
    *commands: Any, default: Any = MISSING, return_exceptions: bool = False, **named: Any
) -> Command[Any]:
    """Wait for the first to finish; the losers are cancelled. Gives a `Winner`.

    default: do not wait; if nothing is ready, the winner is "default" with this value.
    return_exceptions: put the failure of the first into ``Winner.value``.

    >>> answer = yield race(approved=wait_signal("approve"), expired=sleep(3600))
    >>> answer.name, answer.value
    """
    if isinstance(default, Command):
        raise UsageError("the name `default` is reserved in race: give the command another name")
    every = (*commands, *named.values())
    if not every:
        raise ValueError("race() of nothing would never end")
    _check_commands(every, "race")
    if default is not MISSING:
        _check_ready(every)
    names = (*(None for _ in commands), *named)
    return made(Race(every, names, default, return_exceptions))


# -- called -----------------------------------------------------------------------------


def spawn(work: Command[T] | Generator[Any, Any, T], name: str | None = None) -> Task[T]:
    """Run a generator, or a command, beside this coroutine; it starts at the next yield.

    Yield the task to wait for its result.  A failure that nobody has waited for when the
    workflow returns fails the workflow.

    name: shown in logs; tasks with names keep their random numbers when others are added.
    """
    coroutine = inside("spawn")
    if not isinstance(work, Command) and not isgenerator(work):
        raise TypeError(f"spawn takes a generator or a command, not {mistake(work)}")
    if isinstance(work, Task):
        raise TypeError(f"{work} runs already")
    return Task(coroutine.interpreter.spawn(coroutine, work, name))


def now() -> datetime:
    """The moment of the event that is handled, an aware UTC datetime; the same in replay."""
    at: datetime = inside("now").interpreter.at
    return at


def uuid4() -> UUID:
    """A UUID that is the same in replay."""
    seed, *parts = inside("uuid4").derive()
    return derived_uuid(seed, *parts)


def random() -> Random:
    """A generator of random numbers that are the same in replay; a fresh one each time.

    Only its method ``.random()`` is promised to be stable across versions of Python.
    """
    seed, *parts = inside("random").derive()
    return derived_random(seed, *parts)


def set_var(name: str, value: Any) -> None:
    """Set a variable of the instance that clients can read (``handle.vars()``), for
    progress. It is stored with the next commit and kept when the instance ends."""
    interpreter = inside("set_var").interpreter
    if not isinstance(name, str):
        raise TypeError(f"set_var takes a name, not {name!r}")
    interpreter.variables[name] = interpreter.codec.encode(value, f"var {name}")
    interpreter.decision.vars_changed = True


@dataclass(frozen=True, slots=True)
class Info:
    """Facts about the running instance. started_at is an aware UTC datetime; history_length
    counts events so far; is_replaying: whether history is being read again just now."""

    instance_id: str
    run: int
    workflow: str
    version: int
    queue: str
    started_at: datetime
    history_length: int
    is_replaying: bool
    tags: tuple[str, ...]
    memo: Any


def info() -> Info:
    """Facts about the running instance."""
    interpreter = inside("info").interpreter
    started = interpreter.started
    memo = None if started.memo is None else interpreter.codec.decode(started.memo)
    return Info(
        interpreter.instance_id,
        interpreter.run,
        started.workflow,
        started.version,
        interpreter.queue,
        started.at,
        interpreter.seq,
        interpreter.replaying,
        tuple(started.tags or ()),
        memo,
    )


class _ReplayLogger(_logging.LoggerAdapter[_logging.Logger]):
    """A logger that is silent in replay."""

    def isEnabledFor(self, level: int) -> bool:
        coroutine = running.get()
        if coroutine is not None and coroutine.interpreter.replaying:
            return False
        return self.logger.isEnabledFor(level)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


def logger() -> _logging.LoggerAdapter[_logging.Logger]:
    """A standard logger ("durable.workflow") that is silent in replay, with ``instance`` and
    ``run`` in the extra of its records."""
    interpreter = inside("logger").interpreter
    extra: Mapping[str, object] = {"instance": interpreter.instance_id, "run": interpreter.run}
    return _ReplayLogger(_LOG, extra)


# -- checks -----------------------------------------------------------------------------


def _check_commands(commands: tuple[Any, ...], verb: str) -> None:
    for index, command in enumerate(commands):
        if isinstance(command, Command):
            continue
        if isinstance(command, (list, tuple)):
            raise TypeError(f"{verb} takes commands, not a list: write {verb}(*commands)")
        if isgenerator(command):
            name = command.__qualname__
            raise TypeError(f"{verb} takes commands: write {verb}(spawn({name}(…)), …)")
        raise TypeError(f"argument {index} of {verb} is {mistake(command)}")


def _check_ready(commands: tuple[Any, ...]) -> None:
    for command in commands:
        if isinstance(command, (ActivityCall, Sleep, SleepUntil, SendSignal)):
            raise UsageError(
                f"race(default=) does not wait, so {command} could never be ready; leave it out"
            )
        if isinstance(command, (Gather, Race)):
            _check_ready(command.commands)


def _return_hint(fn: Any) -> Any:
    """The return annotation, if it is no mere text; a value is rebuilt by it."""
    hint = getattr(fn, "__annotations__", {}).get("return", Any)
    if isinstance(hint, str):
        try:
            from typing import get_type_hints

            hint = get_type_hints(fn).get("return", Any)
        except Exception:
            return Any
    return hint


__all__ = [
    "Info",
    "gather",
    "info",
    "logger",
    "now",
    "race",
    "random",
    "send_signal",
    "set_var",
    "side_effect",
    "sleep",
    "sleep_until",
    "spawn",
    "uuid4",
    "wait_signal",
]
