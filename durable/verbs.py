"""The verbs that make commands, to be yielded; `durable.calls` has those that are called."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from inspect import isgenerator
from typing import Any, Literal, ParamSpec, TypeVar, overload

from durable.commands import (
    MISSING,
    ActivityCall,
    ChildCall,
    Command,
    Gather,
    Race,
    Request,
    SendSignal,
    SideEffect,
    Sleep,
    SleepUntil,
    WaitSignal,
    WaitUntil,
    Winner,
    WithTimeout,
    made,
    mistake,
    parts,
)
from durable.decorated import resolved_hints
from durable.errors import UsageError
from durable.model import MAX_ID_BYTES, checked_text
from durable.moments import checked_moment
from durable.retry import Duration, microseconds

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
P = ParamSpec("P")
T = TypeVar("T")


# -- commands ---------------------------------------------------------------------------


def sleep(duration: Duration) -> Request[None]:
    """Wait for a duration: seconds or a `timedelta`. 0 is a timer that is due at once.

    Raises `ValueError` for a negative or endless duration, `TypeError` for anything else.

    >>> yield sleep(timedelta(hours=24))
    """
    return made(Sleep(microseconds(duration, "sleep")))


def sleep_until(due_at: datetime) -> Request[None]:
    """Wait until a moment: an aware datetime. One that is past is due at once.

    Raises `ValueError` without a time zone, and outside the years 1 to 9999 in UTC.
    """
    return made(SleepUntil(checked_moment(due_at, "sleep_until")))


@overload
def wait_signal(name: str) -> Request[Any]: ...
@overload
def wait_signal(name: str, type: type[T]) -> Request[T]: ...
@overload  # a hint that is no class, such as int | None
def wait_signal(name: str, type: Any) -> Request[Any]: ...
def wait_signal(name: str, type: Any = Any) -> Request[Any]:
    """Wait for the next signal of a name, in order of arrival; early ones are kept.

    type: a type hint by which the value is rebuilt.
    """
    checked_text(name, "wait_signal takes a name")
    return made(WaitSignal(name, type))


def send_signal(instance_id: str, name: str, value: Any = None) -> Request[None]:
    """Send a signal to another instance. Raises, when yielded, `InstanceNotFound` or
    `InstanceFinished`."""
    checked_text(instance_id, "send_signal takes an id", MAX_ID_BYTES)
    checked_text(name, "send_signal takes a name")
    return made(SendSignal(instance_id, name, value))


@overload
def side_effect(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Request[T]: ...
@overload
def side_effect(fn: Callable[..., Any], *a: Any, type: type[T], **k: Any) -> Request[T]: ...
@overload
def side_effect(fn: Callable[..., Any], *a: Any, type: Any, **k: Any) -> Request[Any]: ...
def side_effect(
    fn: Callable[..., Any], *args: Any, type: Any = MISSING, **kwargs: Any
) -> Request[Any]:
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


def wait_until(predicate: Callable[[], Any]) -> Request[None]:
    """Wait until a function of the workflow's own state gives something true.

    It is called when this is yielded and then after each event; it must only look.  If it
    raises, the yield raises that.

    >>> yield wait_until(lambda: len(votes) >= 3)
    """
    if not callable(predicate) or isinstance(predicate, Command):
        raise TypeError(f"wait_until takes a function without arguments, not {predicate!r}")
    return made(WaitUntil(predicate))


def with_timeout(command: Command[T], duration: Duration) -> Request[T]:
    """A command that must end within a duration: seconds or a `timedelta`.

    Raises `TimeoutExpired`, when yielded, if it does not; it is then no longer waited for.

    >>> answer = yield with_timeout(wait_signal("approve"), timedelta(hours=24))
    """
    _check_commands((command,), "with_timeout")
    return made(WithTimeout(command, microseconds(duration, "with_timeout")))


@overload
def gather(a: Command[A], /) -> Request[tuple[A]]: ...
@overload
def gather(a: Command[A], b: Command[B], /) -> Request[tuple[A, B]]: ...
@overload
def gather(a: Command[A], b: Command[B], c: Command[C], /) -> Request[tuple[A, B, C]]: ...
@overload
def gather(
    a: Command[A], b: Command[B], c: Command[C], d: Command[D], /
) -> Request[tuple[A, B, C, D]]: ...
@overload
def gather(*commands: Command[T]) -> Request[list[T]]: ...
@overload
def gather(  # type: ignore[overload-overlap]  # False fits the last one, too
    *, return_exceptions: Literal[False] = ..., **named: Command[T]
) -> Request[dict[str, T]]: ...
@overload
def gather(
    a: Command[A], b: Command[B], /, *, return_exceptions: bool
) -> Request[tuple[A | Exception, B | Exception]]: ...
@overload
def gather(*commands: Command[T], return_exceptions: bool) -> Request[list[T | Exception]]: ...
@overload
def gather(
    *, return_exceptions: bool, **named: Command[T]
) -> Request[dict[str, T | Exception]]: ...
def gather(*commands: Any, return_exceptions: bool = False, **named: Any) -> Request[Any]:
    """Wait for all; gives a list of their results in order (a dict, if they are named).

    The first failure cancels the rest, and is raised when the activities that were started
    have ended.  return_exceptions: put failures into the list instead.

    >>> a, b = yield gather(fetch.call(1), fetch.call(2))
    """
    _check_reserved(return_exceptions, "return_exceptions", "gather")
    if commands and named:
        raise UsageError("gather takes commands or named commands, not both")
    every = commands or tuple(named.values())
    _check_commands(every, "gather")
    names = tuple(named) if named else None
    return made(Gather(every, names, return_exceptions))


@overload
def race(a: Command[A], /) -> Request[Winner[A]]: ...
@overload
def race(a: Command[A], b: Command[B], /) -> Request[Winner[A | B]]: ...
@overload
def race(a: Command[A], b: Command[B], c: Command[C], /) -> Request[Winner[A | B | C]]: ...
@overload
def race(
    a: Command[A], b: Command[B], c: Command[C], d: Command[D], /
) -> Request[Winner[A | B | C | D]]: ...
@overload
def race(*commands: Command[T]) -> Request[Winner[T]]: ...
@overload
def race(a: Command[A], /, *, default: D) -> Request[Winner[A | D]]: ...
@overload
def race(a: Command[A], b: Command[B], /, *, default: D) -> Request[Winner[A | B | D]]: ...
@overload  # named: which type it is depends on the name
def race(
    *commands: Command[Any],
    default: Any = ...,
    return_exceptions: bool = ...,
    **named: Command[Any],
) -> Request[Winner[Any]]: ...
def race(
    *commands: Any, default: Any = MISSING, return_exceptions: bool = False, **named: Any
) -> Request[Any]:
    """Wait for the first to finish; the losers are cancelled. Gives a `Winner`.

    default: do not wait; if nothing is ready, the winner is "default" with this value.
    return_exceptions: put the failure of the first into ``Winner.value``.

    >>> answer = yield race(approved=wait_signal("approve"), expired=sleep(3600))
    >>> answer.name, answer.value
    """
    _check_reserved(default, "default", "race")
    _check_reserved(return_exceptions, "return_exceptions", "race")
    every = (*commands, *named.values())
    if not every:
        raise ValueError("race() of nothing would never end")
    _check_commands(every, "race")
    if default is not MISSING:
        _check_ready(every)
    names = (*(None for _ in commands), *named)
    return made(Race(every, names, default, return_exceptions))


# -- checks -----------------------------------------------------------------------------


def _check_reserved(value: object, name: str, verb: str) -> None:
    if isinstance(value, Command):
        raise UsageError(f"the name `{name}` is reserved in {verb}: give the command another name")


def _check_commands(commands: tuple[Any, ...], verb: str) -> None:
    for index, command in enumerate(commands):
        if isinstance(command, Command):
            continue
        if isinstance(command, (list, tuple)):
            raise TypeError(f"{verb} takes commands, not a list: write {verb}(*commands)")
        if isgenerator(command):
            name = command.__qualname__.rpartition("<locals>.")[2]
            raise TypeError(f"{verb} takes commands: write {verb}(spawn({name}(…)), …)")
        raise TypeError(f"argument {index} of {verb} is {mistake(command)}")


def _check_ready(commands: tuple[Any, ...]) -> None:
    for one in commands:
        for command in parts(one):
            if isinstance(command, (ActivityCall, ChildCall, Sleep, SleepUntil, SendSignal)):
                raise UsageError(
                    f"race(default=) does not wait, so {command} could never be ready; leave it out"
                )


def _return_hint(fn: Any) -> Any:
    """The return annotation, if it is no mere text; a value is rebuilt by it."""
    hint = getattr(fn, "__annotations__", {}).get("return", Any)
    return resolved_hints(fn).get("return", Any) if isinstance(hint, str) else hint


__all__ = [
    "gather",
    "race",
    "send_signal",
    "side_effect",
    "sleep",
    "sleep_until",
    "wait_signal",
    "wait_until",
    "with_timeout",
]
