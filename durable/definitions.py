"""Definitions: ``@workflow`` and ``@activity``.

A decorator holds no global state: it wraps the function and remembers options.  A worker
finds definitions by scanning the modules that it is given (`durable.registry`).
"""

from __future__ import annotations

import difflib
import inspect
import sys
import typing
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cached_property, update_wrapper
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, overload

from durable.codec import Codec
from durable.commands import ActivityCall, ActivityOptions, Command, made
from durable.current import running
from durable.errors import PayloadError, UsageError
from durable.hints import rebuild
from durable.model import DEFAULT_QUEUE
from durable.retry import Duration, Retry, seconds

P = ParamSpec("P")
T = TypeVar("T")

Workflow = Generator[Command[Any], Any, T]
"""What a workflow function returns: ``def order(...) -> Workflow[str]``."""

IF_EXISTS = ("raise", "use", "restart")


class Definition(Generic[P, T]):
    """What a decorated function becomes. Calling it calls the plain function."""

    __durable_definition__: ClassVar[bool] = True
    kind: ClassVar[str]

    def __init__(self, fn: Callable[P, Any], name: str | None) -> None:
        if not callable(fn):
            raise TypeError(f"@{self.kind} decorates a function, not {fn!r}")
        self.fn = fn
        self.name = name or default_name(fn)
        update_wrapper(self, fn)  # type: ignore[arg-type]  # its __call__ is the subclass's
        try:
            self.signature = inspect.signature(fn)
        except (TypeError, ValueError) as error:
            raise TypeError(f"@{self.kind} cannot read the signature of {fn!r}") from error
        parameters = self.signature.parameters.values()
        self._least, self._most = _positional(parameters)

    def check_call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """Raise `TypeError` unless the function can be called like this."""
        if not kwargs and self._least <= len(args) <= self._most:
            return  # the common case, without the cost of binding
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            takes = self.signature.replace(return_annotation=inspect.Signature.empty)
            raise TypeError(f"{self.name}{takes}: {error}") from None

    @cached_property
    def hints(self) -> dict[str, Any]:
        """The type hints of the function; those that cannot be resolved are left out."""
        try:
            return typing.get_type_hints(self.fn, include_extras=True)
        except Exception:
            return {}

    def unpack_call(
        self, codec: Codec, args: bytes, kwargs: bytes | None
    ) -> tuple[list[Any], dict[str, Any]]:
        """The arguments from their payloads, rebuilt by the type hints of the function."""
        values: list[Any] = codec.decode(args)
        named: dict[str, Any] = {} if kwargs is None else codec.decode(kwargs)
        hints = self.hints
        if hints:
            names, rest, keywords = self._places
            for index, value in enumerate(values):
                name = names[index] if index < len(names) else rest
                if name in hints:
                    values[index] = _rebuilt(value, hints[name], f"args[{index}]")
            for name, value in named.items():
                hint = hints.get(name, hints.get(keywords))
                if hint is not None:
                    named[name] = _rebuilt(value, hint, name)
        return values, named

    @cached_property
    def _places(self) -> tuple[list[str], str, str]:
        """Names of the positional parameters, of ``*args`` and of ``**kwargs``."""
        parameters = self.signature.parameters.values()
        names = [p.name for p in parameters if p.kind in _POSITIONAL]
        rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "")
        keywords = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), "")
        return names, rest, keywords

    @property
    def where(self) -> str:
        """file:line of the function."""
        code = getattr(inspect.unwrap(self.fn), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(self.fn)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"


class ActivityDefinition(Definition[P, T]):
    """An activity: made by ``@activity``."""

    kind = "activity"

    def __init__(
        self, fn: Callable[P, T], name: str | None = None, options: ActivityOptions | None = None
    ) -> None:
        super().__init__(fn, name)
        if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
            raise TypeError(f"{self.name} is `async def`: an activity is a plain function")
        if inspect.isgeneratorfunction(fn):
            raise TypeError(f"{self.name} has a `yield`: an activity is a plain function")
        self.defaults = options or ActivityOptions()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        if running.get() is not None:
            raise UsageError(
                f"activity {self.name} was called inside a workflow, where it would run again "
                f"in every replay: write `yield {self.name}.call(…)`"
            )
        return self.fn(*args, **kwargs)  # type: ignore[no-any-return]

    def call(self, *args: P.args, **kwargs: P.kwargs) -> ActivityCall[T]:
        """A command that runs the activity; its result is what the function returns.

        Raises `TypeError` if the function cannot be called like this.
        """
        self.check_call(args, kwargs)
        return made(ActivityCall(self.name, args, kwargs, self.defaults, self))

    @cached_property
    def returns(self) -> Any:
        """The hint by which results are rebuilt."""
        return self.hints.get("return", Any)

    def options(self, **overrides: Any) -> ConfiguredActivity[P, T]:
        """The activity with other options: ``charge.options(timeout=5).call(...)``.

        Takes what ``@activity`` takes, but for the name.
        """
        return ConfiguredActivity(self, activity_options(self.defaults, **overrides))


@dataclass(frozen=True)
class ConfiguredActivity(Generic[P, T]):
    """An activity with options for one call."""

    definition: ActivityDefinition[P, T]
    settings: ActivityOptions

    def call(self, *args: P.args, **kwargs: P.kwargs) -> ActivityCall[T]:
        """As `ActivityDefinition.call`."""
        self.definition.check_call(args, kwargs)
        name = self.definition.name
        return made(ActivityCall(name, args, kwargs, self.settings, self.definition))


class WorkflowDefinition(Definition[P, T]):
    """A workflow: made by ``@workflow``. Calling it gives the generator."""

    kind = "workflow"

    def __init__(
        self,
        fn: Callable[P, Workflow[T]],
        name: str | None = None,
        version: int = 1,
        queue: str = DEFAULT_QUEUE,
    ) -> None:
        super().__init__(fn, name)
        if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
            raise TypeError(
                f"{self.name} is `async def`: a workflow is a plain generator function, "
                "written with `def` and `yield`"
            )
        if self.name == "<lambda>":
            raise TypeError("a lambda cannot be a workflow: it has no name; write a function")
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise UsageError(f"@workflow(version={version!r}) takes a whole number from 1")
        self.version = version
        self.queue = queue

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Workflow[T]:
        return self.fn(*args, **kwargs)  # type: ignore[no-any-return]

    @cached_property
    def returns(self) -> Any:
        """The hint by which results are rebuilt: T of ``Workflow[T]``."""
        hint = self.hints.get("return", Any)
        arguments = typing.get_args(hint)
        is_generator = typing.get_origin(hint) is not None and len(arguments) == 3
        return arguments[2] if is_generator else hint

    def options(self, **options: Any) -> ConfiguredWorkflow[P, T]:
        """The workflow with options for a start: ``client.start(order.options(id="o-1"), …)``.

        See `StartOptions` for what may be given.
        """
        return ConfiguredWorkflow(self, start_options(**options))


@dataclass(frozen=True)
class StartOptions:
    """How an instance is started by a client.

    id: its id; None makes a random one. if_exists: what to do if the id exists: "raise",
    "use" (return the existing one) or "restart" (if it is finished).
    delay / start_at: do not begin before (seconds or timedelta / aware datetime).
    queue: which workers run it; None means the definition's. version: None lets the first
    worker choose the highest that it has. memo: any storable value, shown with it.
    tags: strings to find it by.
    """

    id: str | None = None
    if_exists: str = "raise"
    delay: float | None = None
    start_at: datetime | None = None
    queue: str | None = None
    version: int | None = None
    memo: Any = None
    tags: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class ConfiguredWorkflow(Generic[P, T]):
    """A workflow with options for a start."""

    definition: WorkflowDefinition[P, T]
    settings: StartOptions


# -- the decorators ---------------------------------------------------------------------


@overload
def activity(fn: Callable[P, T], /) -> ActivityDefinition[P, T]: ...
@overload
def activity(
    *,
    name: str | None = None,
    retry: Retry | None = ...,
    timeout: Duration | None = None,
    queue: str | None = None,
    max_crashes: int = 5,
) -> Callable[[Callable[P, T]], ActivityDefinition[P, T]]: ...
def activity(fn: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Make a function an activity: what has effects, and may be tried again.

    name: under which it is stored; defaults to the function's qualified name.
    retry: a `Retry`; None means one attempt. Defaults to ``Retry()``.
    timeout: seconds that one attempt may take. Defaults to None (no limit).
    queue: which workers run it. Defaults to the instance's queue.
    max_crashes: how often it may take its worker down before it fails. Defaults to 5.

    >>> @activity(retry=Retry(max_attempts=5), timeout=30)
    ... def charge(order_id: str, cents: int) -> str:
    ...     return f"receipt-{order_id}"
    """
    settings = activity_options(ActivityOptions(), **options)
    if fn is not None:
        return ActivityDefinition(fn, name, settings)
    return lambda function: ActivityDefinition(function, name, settings)


@overload
def workflow(fn: Callable[P, Workflow[T]], /) -> WorkflowDefinition[P, T]: ...
@overload
def workflow(
    *, name: str | None = None, version: int = 1, queue: str = DEFAULT_QUEUE
) -> Callable[[Callable[P, Workflow[T]]], WorkflowDefinition[P, T]]: ...
def workflow(fn: Any = None, /, **options: Any) -> Any:
    """Make a generator function a workflow.

    name: under which it is stored; defaults to the function's qualified name.
    version: a new instance takes the highest, a running one keeps its own. Defaults to 1.
    queue: which workers run it. Defaults to "default".

    >>> @workflow
    ... def greet(name: str) -> Workflow[str]:
    ...     return (yield say.call(name))
    """
    check_names(options, ("name", "version", "queue"), "@workflow")
    if fn is not None:
        return WorkflowDefinition(fn, **options)
    return lambda function: WorkflowDefinition(function, **options)


def activity_options(base: ActivityOptions, **overrides: Any) -> ActivityOptions:
    """Options with some replaced, checked."""
    check_names(overrides, tuple(f.name for f in fields(ActivityOptions)), "activity options")
    retry = overrides.get("retry", base.retry)
    if retry is not None and not isinstance(retry, Retry):
        raise TypeError(f"retry= takes a Retry or None, not {retry!r}")
    if overrides.get("timeout") is not None:
        overrides["timeout"] = seconds(overrides["timeout"], "timeout=")
        if overrides["timeout"] == 0:
            raise ValueError("timeout= must be more than 0 seconds")
    return replace(base, **overrides)


def start_options(**options: Any) -> StartOptions:
    """Start options, checked."""
    check_names(options, tuple(f.name for f in fields(StartOptions)), "start options")
    if options.get("if_exists", "raise") not in IF_EXISTS:
        raise UsageError(f"if_exists={options['if_exists']!r} is none of {', '.join(IF_EXISTS)}")
    if options.get("delay") is not None:
        options["delay"] = seconds(options["delay"], "delay=")
        if options.get("start_at") is not None:
            raise UsageError("give delay= or start_at=, not both")
    start_at = options.get("start_at")
    if start_at is not None and (not isinstance(start_at, datetime) or start_at.tzinfo is None):
        raise ValueError(f"start_at={start_at!r} must be an aware datetime")
    if isinstance(options.get("tags"), str):
        raise TypeError("tags= takes a list of strings")
    options["tags"] = tuple(options.get("tags") or ())
    return StartOptions(**options)


def _rebuilt(value: Any, hint: Any, place: str) -> Any:
    try:
        return rebuild(value, hint)
    except PayloadError as error:
        raise PayloadError(f"{place}: {error}") from error


def check_names(given: Iterable[str], known: Sequence[str], what: str) -> None:
    """Raise `TypeError` with a suggestion for a name that is not known."""
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
            raise TypeError(f"{what}: there is no {name!r}; {hint}")


def default_name(fn: Callable[..., Any]) -> str:
    """The qualified name, without what encloses a local function."""
    name = getattr(fn, "__qualname__", type(fn).__name__)
    return sys.intern(name.rsplit("<locals>.", 1)[-1])


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_REST = inspect.Parameter.VAR_POSITIONAL


def _positional(parameters: Iterable[inspect.Parameter]) -> tuple[int, int]:
    """The least and the most positional arguments of a call without keywords."""
    least = most = 0
    for p in parameters:
        if p.kind in _POSITIONAL:
            most += 1
            least += p.default is p.empty
        elif p.kind is _REST:
            most = sys.maxsize
        elif p.kind is p.KEYWORD_ONLY and p.default is p.empty:
            least = sys.maxsize
    return least, most
