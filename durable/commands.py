"""Commands: what a workflow yields to ask for something.

A command is a plain frozen value.  Compared with ``==`` it compares by value, and each
time it is yielded or given to a combinator it is issued anew.  What is to be waited for
twice or cancelled has identity: a `Task`.

Every command can be yielded in two ways: ``x = yield command`` and
``x = yield from command`` (which type checkers understand better).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property, lru_cache
from inspect import isclass
from types import CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, TypedDict, TypeVar

import msgpack

from durable.current import running
from durable.reprs import arguments_text
from durable.retry import ONCE, Duration, Retry

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MISSING: Any = type("MISSING", (), {"__repr__": lambda self: "MISSING"})()

if TYPE_CHECKING:

    class _Base(Generator["Command[Any]", Any, T_co]):
        """For type checkers only: ``yield from command`` has the type of its result."""

else:

    class _Base(Generic[T_co]):
        __slots__ = ()


class Command(_Base[T_co]):
    """The base of everything that a workflow may yield."""

    __slots__ = ()
    __durable_command__: ClassVar[bool] = True
    if TYPE_CHECKING:

        def send(self, value: Any, /) -> Command[Any]: ...
        def throw(self, *args: Any) -> Command[Any]: ...

        # pyright refuses what gives no bool; mypy would skip what follows a NoReturn.
        def __bool__(self) -> object: ...

    else:

        def __bool__(self) -> NoReturn:
            raise TypeError(f"{self} has no truth value: it was not yielded; write (yield {self})")

    def __iter__(self) -> Generator[Command[Any], Any, T_co]:
        value = yield self
        if value is None:  # a result, or somebody who iterates: list(command)
            coroutine = running.get()
            if coroutine is not None and not coroutine.resumed_by(self):
                raise TypeError(f"{self} cannot be iterated: write `yield {self}`")
        return value  # type: ignore[no-any-return]  # what the engine sends is not typed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Command):
            if running.get() is not None:
                raise TypeError(
                    f"{self} is compared with {other!r}: it was not yielded; write (yield {self})"
                )
            return NotImplemented
        return type(self) is type(other) and self._key() == other._key()

    __hash__ = None  # type: ignore[assignment]  # Python's way to have no hash

    def _key(self) -> Any:
        own = fields(self)  # type: ignore[arg-type]  # all that come here are dataclasses
        return [getattr(self, f.name) for f in own if f.compare]

    def __str__(self) -> str:
        return repr(self)


if TYPE_CHECKING:

    class Request(Command[T_co]):
        """A command that does nothing until it is yielded: all but tasks and promises."""

        # A name, so that mypy's unused-awaitable finds a forgotten yield; no method, so that
        # `await` is refused.
        __await__: ClassVar[None]

else:
    Request = Command


def made(command: T, depth: int = 2) -> T:
    """Tell the coroutine that runs that a command was created, so that a forgotten one can
    be reported with its line; ``depth`` is how far up the user's frame is."""
    coroutine = running.get()
    if coroutine is not None:
        coroutine.made(command, sys._getframe(depth))
    return command


def parts(command: Any) -> Iterator[Any]:
    """A command and, each once, all that it is made of, in order; not recursive."""
    todo, seen = [command], {id(command)}
    while todo:
        one = todo.pop()
        yield one
        for inner in reversed(members(one)):
            if id(inner) not in seen:
                seen.add(id(inner))
                todo.append(inner)


def members(command: Any) -> tuple[Command[Any], ...]:
    """The commands that a command is made of, one level down."""
    if isinstance(command, (Gather, Race)):
        return command.commands
    return (command.command,) if isinstance(command, WithTimeout) else ()


ON_CANCEL = ("wait", "request", "abandon")


@dataclass(frozen=True)
class ActivityOptions:
    """How an activity is run. queue: None means the definition's, else the instance's."""

    retry: Retry | None = field(default_factory=Retry)
    timeout: float | None = None
    queue: str | None = None
    max_crashes: int = 5
    schedule_timeout: float | None = None
    heartbeat_timeout: float | None = None
    on_cancel: str = "wait"
    # The run that asked for it first, if it was copied into another (a retry); else 0.
    origin: int = 0

    @cached_property
    def data(self) -> bytes:
        """What stands in the task's row; the queue and the schedule's timeout need not."""
        retry = (self.retry or ONCE).to_data()
        own = [retry, self.timeout, self.max_crashes, self.heartbeat_timeout, self.on_cancel]
        if self.origin:
            own.append(self.origin)
        packed: bytes = msgpack.packb(own)
        return packed

    @classmethod
    @lru_cache(maxsize=1024)
    def from_data(cls, data: bytes) -> ActivityOptions:
        """The options that stand in a task's row."""
        retry, timeout, max_crashes, *rest = msgpack.unpackb(data)
        heartbeat, on_cancel = rest[:2] or (None, "wait")  # rows of the first schema end before
        return cls(
            Retry.from_data(retry),
            timeout,
            max_crashes=max_crashes,
            heartbeat_timeout=heartbeat,
            on_cancel=on_cancel,
            origin=rest[2] if len(rest) > 2 else 0,
        )


class ActivityOverrides(TypedDict, total=False):
    """What ``activity.options(...)`` takes, for type checkers; see `ActivityOptions`."""

    retry: Retry | None
    timeout: Duration | None
    queue: str | None
    max_crashes: int
    schedule_timeout: Duration | None
    heartbeat_timeout: Duration | None
    on_cancel: str


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class ActivityCall(Request[T_co]):
    """Run an activity; made by ``activity.call(...)``. Gives its result."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: ActivityOptions = field(default_factory=ActivityOptions)
    definition: Any = field(default=None, compare=False)

    def __repr__(self) -> str:
        return f"{self.name}.call({arguments_text(self.args, self.kwargs)})"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Sleep(Request[None]):
    """Wait; ``microseconds`` from the moment of the yield."""

    microseconds: int

    def __repr__(self) -> str:
        return f"sleep({self.microseconds / 1_000_000:g})"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class SleepUntil(Request[None]):
    """Wait until a moment."""

    due_at: datetime

    def __repr__(self) -> str:
        return f"sleep_until({self.due_at.isoformat()})"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class WaitSignal(Request[T_co]):
    """Wait for the next signal of a name; gives its value."""

    name: str
    type: Any = field(default=Any, compare=False)

    def __repr__(self) -> str:
        return f"wait_signal({self.name!r})"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class SendSignal(Request[None]):
    """Send a signal to another instance."""

    instance_id: str
    name: str
    value: Any = None

    def __repr__(self) -> str:
        return f"send_signal({self.instance_id!r}, {self.name!r})"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class SideEffect(Request[T_co]):
    """Run a function once and record its value."""

    fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    type: Any = field(default=Any, compare=False)

    def __repr__(self) -> str:
        return f"side_effect({getattr(self.fn, '__qualname__', self.fn)})"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class ChildCall(Request[T_co]):
    """Run a workflow as a child; made by ``workflow.call(...)``. Gives its result.

    options: `durable.definitions.StartOptions`.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Any = None
    definition: Any = field(default=None, compare=False)

    def __repr__(self) -> str:
        return f"{self.name}.call({arguments_text(self.args, self.kwargs)})"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class ChannelSend(Request[None]):
    """Put a value into a channel."""

    channel: Any
    value: Any

    def __repr__(self) -> str:
        return f"{self.channel}.send({self.value!r})"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class ChannelReceive(Request[T_co]):
    """Take a value out of a channel; ``default`` is given when it is closed and empty."""

    channel: Any
    default: Any = MISSING

    def __repr__(self) -> str:
        return f"{self.channel}.receive()"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class WaitUntil(Request[None]):
    """Wait until a function of the workflow's own state gives something true."""

    predicate: Callable[[], Any]

    def __repr__(self) -> str:
        return f"wait_until({getattr(self.predicate, '__qualname__', self.predicate)})"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class WithTimeout(Request[T_co]):
    """A command that must end in time; gives its result, or raises `TimeoutExpired`."""

    command: Command[Any]
    microseconds: int

    def __repr__(self) -> str:
        return f"with_timeout({self.command!r}, {self.microseconds / 1_000_000:g})"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Gather(Request[T_co]):
    """Wait for all; gives a list of results, or a dict if ``names`` are given."""

    commands: tuple[Command[Any], ...]
    names: tuple[str, ...] | None = None
    return_exceptions: bool = False

    def __repr__(self) -> str:
        return f"gather({_few(self.commands, self.names)})"


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Race(Request[T_co]):
    """Wait for the first; gives a `Winner`. ``names`` has None for unnamed ones."""

    commands: tuple[Command[Any], ...]
    names: tuple[str | None, ...] = ()
    default: Any = MISSING
    return_exceptions: bool = False

    def __repr__(self) -> str:
        return f"race({_few(self.commands, self.names)})"


COMBINATORS = (Gather, Race, WithTimeout)
"""The commands that are made of others: those that have `members`."""


@dataclass(frozen=True, slots=True)
class Winner(Generic[T_co]):
    """Who finished first in a `race`: its place, its name (or None) and its value."""

    index: int
    name: str | None
    value: T_co


class Task(Command[T_co]):
    """A coroutine of this workflow, made by `spawn`. Yield it to wait for its result."""

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine

    @property
    def name(self) -> str:
        """The name given to `spawn`, or its number."""
        return str(self._coroutine.name)

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return bool(self._coroutine.ended)

    def result(self) -> T_co:
        """Its result; raises what it raised, or `UsageError` if it has not ended."""
        value: T_co = self._coroutine.result()
        return value

    def cancel(self) -> None:
        """Raise `Cancelled` at each of its yields from now on; nothing if it has ended."""
        self._coroutine.interpreter.cancel_task(self._coroutine)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Command):
            return self is other
        return super().__eq__(other)

    __hash__ = object.__hash__  # type: ignore[assignment]  # its base has none

    def __repr__(self) -> str:
        return f"<Task {self.name}>"


class Promise(Command[T_co]):
    """Something that is completed from outside, made by `external`. Yield it to wait; it may
    be yielded again, and given to `race` and `gather`, which never cancel it."""

    __slots__ = ("_state", "type")

    def __init__(self, state: Any, type: Any) -> None:
        self._state = state
        self.type = type

    @property
    def token(self) -> str:
        """For ``client.complete(token, value)`` and ``client.fail(token, error)``."""
        return str(self._state.token)

    @property
    def done(self) -> bool:
        """Whether it has been completed or failed."""
        return bool(self._state.done)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Command):
            return self is other
        return super().__eq__(other)

    __hash__ = object.__hash__  # type: ignore[assignment]  # its base has none

    def __repr__(self) -> str:
        return f"<Promise {self._state.name}>"


@dataclass(frozen=True, slots=True)
class ContinueAsNew:
    """What a workflow returns to go on as a new run; made by `continue_as_new`."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"continue_as_new({arguments_text(self.args, self.kwargs)})"


def mistake(value: object) -> str:
    """What the author probably meant by using this value as a command."""
    if value is None:
        return "a bare `yield` (None): yield a command, such as `yield sleep(1)`"
    if isinstance(value, (list, tuple)):
        return "a list of things: write `yield gather(*commands)`"
    if isinstance(value, dict):
        return "a dict: write `yield gather(**commands)`"
    if isinstance(value, CoroutineType):
        value.close()  # else Python warns, as well, that it was never awaited
        return "an asyncio coroutine: workflows are plain generators, without async and await"
    if isinstance(value, GeneratorType):
        name = value.__qualname__.rpartition("<locals>.")[2]
        return f"the generator {name}(…): write `yield from {name}(…)`, or `spawn({name}(…))`"
    name = getattr(value, "__name__", type(value).__name__)
    if isinstance(value, ContinueAsNew):
        return "continue_as_new(…): write `return continue_as_new(…)`"
    owner = getattr(value, "__self__", value)  # of a method
    definition = getattr(owner, "definition", owner)  # with options
    if hasattr(definition, "__durable_definition__"):
        name = getattr(definition, "__name__", name)
        if owner is not definition:
            return f"{name} with options: write `yield {name}.options(…).call(…)`"
        return f"the definition {name} itself: write `yield {name}.call(…)`"
    if callable(value) and not isclass(value):
        if str(getattr(value, "__module__", "")).startswith("durable."):
            call = f"{'' if owner is value else '….'}{name}(…)"
            return f"the function {name} itself: write `yield {call}`"
        return f"the function {name}: decorate it with @activity and write `yield {name}.call(…)`"
    return f"{value!r} ({type(value).__name__}), which is no command"


def _few(
    commands: Sequence[Command[Any]], names: Sequence[str | None] | None, limit: int = 4
) -> str:
    shown = [
        f"{name}={command!r}" if name else repr(command)
        for command, name in zip(commands[:limit], names or [None] * limit, strict=False)
    ]
    more = [f"… {len(commands) - limit} more"] if len(commands) > limit else []
    return ", ".join(shown + more)
