"""The verbs that are called inside a workflow, not yielded.

What they give is recorded or derived, and so the same in every replay.
"""

from __future__ import annotations

import logging as _logging
import sys
from collections.abc import Callable, Generator, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from inspect import GEN_CREATED, getgeneratorstate, isgenerator
from itertools import count
from random import Random
from types import CoroutineType
from typing import Any, TypeVar, overload
from uuid import UUID

from durable.commands import Command, ContinueAsNew, Promise, Task, mistake
from durable.current import acting, inside, running
from durable.errors import PayloadError, UsageError
from durable.interpreter import Interpreter
from durable.interpreter.derive import derived_random, derived_uuid
from durable.interpreter.patches import is_patched
from durable.interpreter.promises import PromiseState
from durable.interpreter.signals import handler_of
from durable.model import checked_text
from durable.retry import Duration, microseconds
from durable.verbs import wait_signal

T = TypeVar("T")

_LOG = _logging.getLogger("durable.workflow")


def spawn(work: Command[T] | Generator[Any, Any, T], name: str | None = None) -> Task[T]:
    """Run a generator, or a command, beside this coroutine; it starts at the next yield.

    Yield the task to wait for its result.  A failure that nobody has waited for when the
    workflow returns fails the workflow.

    It belongs to the scope in which it is spawned and is cancelled with it; the block does
    not wait for it.  `shield` around the call detaches it.

    name: shown in logs; tasks with names keep their random numbers when others are added.
    """
    coroutine = acting("spawn")
    if name is not None:
        checked_text(name, "spawn takes a name")
    if not isinstance(work, Command) and not isgenerator(work):
        raise TypeError(f"spawn takes a generator or a command, not {mistake(work)}")
    if isinstance(work, Task):
        raise TypeError(f"{work} runs already")
    if isgenerator(work):
        _check_fresh(coroutine.interpreter, work)
    return Task(coroutine.interpreter.spawn(coroutine, work, name))


def _check_fresh(interpreter: Any, work: Generator[Any, Any, Any]) -> None:
    """Refuse a generator that runs already, or will."""
    name = work.__qualname__.rpartition("<locals>.")[2]  # type: ignore[attr-defined]  # a real one
    if getgeneratorstate(work) != GEN_CREATED:
        raise UsageError(f"{name}(…) was started before: write spawn({name}(…)) with a fresh one")
    if work in interpreter.unstarted:
        raise UsageError(f"{name}(…) was spawned before: write spawn({name}(…)) for each task")
    interpreter.unstarted[work] = None


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
    interpreter = acting("set_var").interpreter
    checked_text(name, "set_var takes a name")
    _set(interpreter, {name: value})


def set_vars(**values: Any) -> None:
    """Set several variables at once: all of them, or none if one cannot be stored."""
    interpreter = acting("set_vars").interpreter
    for name in values:
        checked_text(name, "set_vars takes names, each one")
    _set(interpreter, values)


def _set(interpreter: Interpreter, values: dict[str, Any]) -> None:
    """Set variables. They are written together, so together they are no larger than a payload."""
    codec = interpreter.codec
    new = {name: codec.encode(value, f"var {name}") for name, value in values.items()}
    variables = interpreter.variables | new
    size = sum(map(len, variables.values()))
    if len(variables) > 1 and size > codec.max_size:
        raise PayloadError(
            f"all variables together: {size:,} bytes are more than the limit of "
            f"{codec.max_size:,}; store references instead, or raise the limit with "
            "Codec(max_size=)"
        )
    interpreter.variables = variables
    interpreter.decision.vars_changed = True


def patched(change_id: str) -> bool:
    """Whether to run the new code of a change, in a workflow that has running instances.

    True in a run that comes to this for the first time now, and in every replay of it; False
    in a run that had passed here before the change.  The first call decides for the run.
    When no run of before is left, the call can be taken out.

    >>> if patched("check-fraud"):
    ...     yield check_fraud.call(order_id)
    """
    interpreter = acting("patched").interpreter
    checked_text(change_id, "patched takes a name of the change")
    return is_patched(interpreter, change_id)


@overload
def external(
    name: str | None = None, timeout: Duration | None = None, *, type: type[T]
) -> Promise[T]: ...
@overload  # also a hint that is no class, such as int | None
def external(
    name: str | None = None, timeout: Duration | None = None, *, type: Any = ...
) -> Promise[Any]: ...
def external(
    name: str | None = None, timeout: Duration | None = None, *, type: Any = Any
) -> Promise[Any]:
    """A promise that somebody outside completes, by its token.

    Give ``promise.token`` to an activity that tells them; ``client.complete(token, value)``
    completes it, ``client.fail(token, error)`` makes the yield raise `PromiseError`.  The
    first completion counts; one that comes before anybody waits is kept.

    name: for people. timeout: seconds (or a `timedelta`) after which it fails by itself.
    type: a type hint by which the value is rebuilt.

    >>> approval = external("approval", timeout=timedelta(days=3))
    >>> yield send_mail.call(approval.token)
    >>> answer = yield approval
    """
    interpreter = acting("external").interpreter
    limit = None if timeout is None else microseconds(timeout, "external(timeout=)")
    if name is not None:
        checked_text(name, "external takes a name")
    with interpreter.verb("external"):
        return Promise(PromiseState(interpreter, name, limit), type)


def on_signal(name: str, fn: Callable[[Any], Any], type: Any = Any) -> None:
    """Call a function for each signal of a name, in order, from now on; early ones first.

    A generator function is spawned for each. The first call is at the next yield.  If fn
    raises, the workflow fails.  No other part of the workflow may wait for this signal.

    type: a type hint by which the values are rebuilt.
    """
    coroutine = acting("on_signal")
    interpreter = coroutine.interpreter
    checked_text(name, "on_signal takes a name")
    if not callable(fn):
        raise TypeError(f"on_signal takes a name and a function, not {fn!r}")
    if handler_of(interpreter, name) is not None:
        raise UsageError(f"on_signal({name!r}, …) was called before")
    if interpreter.signals.is_awaited(name):
        raise UsageError(f"wait_signal({name!r}) waits already: on_signal must come first")
    task = interpreter.spawn(coroutine, _handle(name, fn, type), f"on_signal({name})")
    task.handler, task.vital = name, True
    interpreter.handled[name] = task


def _handle(name: str, fn: Callable[[Any], Any], type: Any) -> Generator[Any, Any, None]:
    for number in count(1):
        result = fn((yield wait_signal(name, type)))
        if isgenerator(result):
            spawn(result, f"{name}-{number}")._coroutine.vital = True
        elif isinstance(result, Command | CoroutineType):
            what = str(result) if isinstance(result, Command) else mistake(result)
            raise TypeError(
                f"the function of on_signal({name!r}, …) gave {what}: nothing would be done; "
                "write a generator function that yields it"
            )


def continue_as_new(*args: Any, **kwargs: Any) -> T:  # type: ignore[type-var]  # fits any result
    """What a workflow returns to end this run and begin the next one: same id, fresh history.

    args, kwargs: the arguments of the next run. Unread signals and vars are kept; children
    that still run are dealt with by their ``parent_close``.
    Raises `TypeError` if the workflow cannot be called like this.

    >>> return continue_as_new(cursor)
    """
    coroutine = acting("continue_as_new")
    coroutine.interpreter.definition.check_call(args, kwargs)
    marker: Any = ContinueAsNew(args, kwargs)
    coroutine.made(marker, sys._getframe(1))
    result: T = marker
    return result


@dataclass(frozen=True, slots=True)
class Info:
    """Facts about the running instance. started_at is an aware UTC datetime (of this run);
    history_length counts events so far; is_replaying: whether history is being read again
    just now; parent: the id of who started it, None for a client; attempt: of the workflow,
    under its retry policy."""

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
    parent: str | None = None
    attempt: int = 1


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
        started.parent[0] if started.parent else None,
        started.attempt,
    )


class _ReplayLogger(_logging.LoggerAdapter[_logging.Logger]):
    """A logger that is silent in replay, and when the workflow is dropped from memory."""

    def isEnabledFor(self, level: int) -> bool:
        coroutine = running.get()
        if coroutine is not None and coroutine.interpreter.silent:
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


__all__ = [
    "Info",
    "continue_as_new",
    "external",
    "info",
    "logger",
    "now",
    "on_signal",
    "patched",
    "random",
    "set_var",
    "set_vars",
    "spawn",
    "uuid4",
]
