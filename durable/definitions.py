"""Definitions: ``@workflow`` and ``@activity``.

A decorator holds no global state: it wraps the function and remembers options.  A worker
finds definitions by scanning the modules that it is given (`durable.registry`).
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Coroutine, Generator, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cached_property
from types import MethodType
from typing import (
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from durable.commands import (
    MISSING,
    ON_CANCEL,
    ActivityCall,
    ActivityOptions,
    ActivityOverrides,
    ChildCall,
    Command,
    made,
)
from durable.current import running
from durable.decorated import POSITIONAL, Definition, check_names, default_name, positional
from durable.errors import UsageError
from durable.model import ParentClose, checked_id, checked_text
from durable.moments import checked_moment
from durable.retry import Duration, Retry, seconds

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
R = TypeVar("R", covariant=True)
T = TypeVar("T")

Workflow = Generator[Command[Any], Any, T]
"""What a workflow function returns: ``def order(...) -> Workflow[str]``."""

IF_EXISTS = ("raise", "use", "restart")


class ActivityDefinition(Definition[P, Any], Generic[P, R]):
    """An activity: made by ``@activity``.

    owner: the class whose method it is, or None. A method runs on the object that a worker
    is given; in a workflow ``Payments.charge.call("o-1")`` has no self.
    """

    kind = "activity"

    def __init__(
        self,
        fn: Callable[P, Any],
        name: str | None = None,
        options: ActivityOptions | None = None,
        *,
        transactional: bool = False,
    ) -> None:
        if isinstance(fn, classmethod):
            raise class_method_error(default_name(fn.__func__))
        self._static = isinstance(fn, staticmethod)
        super().__init__(fn.__func__ if isinstance(fn, staticmethod) else fn, name)
        if inspect.isgeneratorfunction(self.fn) or inspect.isasyncgenfunction(self.fn):
            raise TypeError(f"{self.name} has a `yield`: an activity is a plain function")
        self.defaults = options or ActivityOptions()
        self.transactional = transactional
        self.owner: type | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        """Called by Python for what stands in a class: a method of it, or only a reference."""
        own = getattr(self.fn, "__qualname__", "") == f"{owner.__qualname__}.{name}"
        if own and not self._static and self.owner is None:
            parameters = list(self.signature.parameters.values())
            if parameters and parameters[0].kind in POSITIONAL:
                del parameters[0]  # self is no argument of a call
            self.signature = self.signature.replace(parameters=parameters)
            self._least, self._most = positional(parameters)
            self.owner = owner

    @overload
    def __get__(
        self: ActivityDefinition[Concatenate[S, Q], R], obj: S | None, cls: type[S] | None = None
    ) -> ActivityDefinition[Q, R]: ...
    @overload  # a static method: its first argument is no object of the class
    def __get__(self, obj: object, cls: Any = None) -> ActivityDefinition[P, R]: ...
    def __get__(self, obj: Any, cls: Any = None) -> ActivityDefinition[Any, R]:
        """The activity of a class, or of one object: then it runs on that object."""
        if isinstance(obj, type):
            raise class_method_error(self.name)
        if obj is None or self.owner is None:
            return self
        method: Any = copy(self)
        method.fn = method.__wrapped__ = MethodType(self.fn, obj)
        bound: ActivityDefinition[Any, R] = method
        return bound

    @property
    def unbound(self) -> bool:
        """Whether it is a method and lacks the object to run on."""
        return self.owner is not None and not isinstance(self.fn, MethodType)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if running.get() is not None:
            raise UsageError(
                f"activity {self.name} was called inside a workflow, where it would run again "
                f"in every replay: write `yield {self.name}.call(…)`"
            )
        value: R = self.fn(*args, **kwargs)
        return value

    @overload  # an `async def`
    def call(
        self: ActivityDefinition[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> ActivityCall[T]: ...
    @overload
    def call(self, *args: P.args, **kwargs: P.kwargs) -> ActivityCall[R]: ...
    def call(self, *args: P.args, **kwargs: P.kwargs) -> ActivityCall[Any]:
        """A command that runs the activity; its result is what the function returns.

        Raises `TypeError` if the function cannot be called like this.
        """
        self.check_call(args, kwargs)
        return made(ActivityCall(self.name, args, kwargs, self.defaults, self))

    @cached_property
    def returns(self) -> Any:
        """The hint by which results are rebuilt."""
        return self.hints.get("return", Any)

    @overload
    def options(
        self: ActivityDefinition[P, Coroutine[Any, Any, T]], **overrides: Unpack[ActivityOverrides]
    ) -> ConfiguredActivity[P, T]: ...
    @overload
    def options(self, **overrides: Unpack[ActivityOverrides]) -> ConfiguredActivity[P, R]: ...
    def options(self, **overrides: Any) -> ConfiguredActivity[P, Any]:
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
        queue: str | None = None,
        timeout: Duration | None = None,
        retry: Retry | None = None,
    ) -> None:
        super().__init__(fn, name)
        if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
            raise TypeError(
                f"{self.name} is `async def`: a workflow is a plain generator function, "
                "written with `def` and `yield`"
            )
        if self.name == "<lambda>":
            raise TypeError("a lambda cannot be a workflow: it has no name; write a function")
        self.version = _checked_version(version, "@workflow(version=)")
        if queue is not None:
            checked_text(queue, "queue= takes a name")
        self.queue = queue
        self.timeout = None if timeout is None else limit(timeout, "timeout")
        if retry is not None and not isinstance(retry, Retry):
            raise TypeError(f"retry= takes a Retry or None, not {retry!r}")
        self.retry = retry

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Workflow[T]:
        generator: Workflow[T] = self.fn(*args, **kwargs)
        return generator

    def call(self, *args: P.args, **kwargs: P.kwargs) -> ChildCall[T]:
        """A command that runs the workflow as a child; its result is what it returns.

        Raises `TypeError` if it cannot be called like this; when yielded
        `ChildWorkflowError`, or `InstanceAlreadyExists` if its id is in use.
        """
        self.check_call(args, kwargs)
        return made(ChildCall(self.name, args, kwargs, _CHILD, self))

    @cached_property
    def returns(self) -> Any:
        """The hint by which results are rebuilt: T of ``Workflow[T]``."""
        hint = self.hints.get("return", Any)
        arguments = typing.get_args(hint)
        is_generator = typing.get_origin(hint) is not None and len(arguments) == 3
        return arguments[2] if is_generator else hint

    def options(self, **options: Unpack[StartOverrides]) -> ConfiguredWorkflow[P, T]:
        """The workflow with options: ``client.start(order.options(id="o-1"), …)`` by a client,
        ``yield order.options(parent_close="abandon").call(…)`` as a child.

        See `StartOptions` for what may be given.
        """
        return ConfiguredWorkflow(self, start_options(**options))


@dataclass(frozen=True)
class StartOptions:
    """How an instance is started, by a client or as a child.

    id: its id; None makes a random one, or for a child one that derives from its parent's.
    if_exists: what to do if the id exists: "raise", "use" (return the existing one) or
    "restart" (if it is finished); a child always raises.
    delay / start_at: do not begin before (seconds or timedelta / aware datetime).
    queue: which workers run it; None means the definition's. version: None lets the first
    worker choose the highest that it has. memo: any storable value, shown with it.
    tags: strings to find it by.
    retry: a `Retry` for the whole workflow, each attempt a new run; None means no retry; not
    given means the definition's. timeout: seconds (or a timedelta) that one run may take;
    None means the definition's.
    parent_close: what becomes of a child that is still open when its parent ends: "cancel"
    (asked to stop, not awaited), "terminate" or "abandon". Defaults to "cancel".
    """

    id: str | None = None
    if_exists: str = "raise"
    delay: float | None = None
    start_at: datetime | None = None
    queue: str | None = None
    version: int | None = None
    memo: Any = None
    tags: tuple[str, ...] = field(default=())
    retry: Any = MISSING
    timeout: float | None = None
    parent_close: ParentClose | None = None


class StartOverrides(TypedDict, total=False):
    """What ``workflow.options(...)`` takes, for type checkers; see `StartOptions`."""

    id: str | None
    if_exists: str
    delay: Duration | None
    start_at: datetime | None
    queue: str | None
    version: int | None
    memo: Any
    tags: Sequence[str]
    retry: Retry | None
    timeout: Duration | None
    parent_close: ParentClose | str | None


_CHILD = StartOptions()


@dataclass(frozen=True)
class ConfiguredWorkflow(Generic[P, T]):
    """A workflow with options for a start."""

    definition: WorkflowDefinition[P, T]
    settings: StartOptions

    def call(self, *args: P.args, **kwargs: P.kwargs) -> ChildCall[T]:
        """As `WorkflowDefinition.call`."""
        settings, definition = self.settings, self.definition
        if settings.if_exists != "raise":
            raise UsageError(
                f"if_exists={settings.if_exists!r} is for a client; a child whose id is in use "
                "raises InstanceAlreadyExists at its yield"
            )
        definition.check_call(args, kwargs)
        return made(ChildCall(definition.name, args, kwargs, settings, definition))


# -- the decorators ---------------------------------------------------------------------


@overload
def activity(fn: Callable[P, R], /) -> ActivityDefinition[P, R]: ...
@overload
def activity(
    *,
    name: str | None = None,
    retry: Retry | None = ...,
    timeout: Duration | None = None,
    schedule_timeout: Duration | None = None,
    heartbeat_timeout: Duration | None = None,
    queue: str | None = None,
    on_cancel: str = "wait",
    max_crashes: int = 5,
    transactional: bool = False,
) -> Callable[[Callable[P, R]], ActivityDefinition[P, R]]: ...
def activity(
    fn: Any = None,
    /,
    *,
    name: str | None = None,
    transactional: bool = False,
    **options: Any,
) -> Any:
    """Make a function an activity: what has effects, and may be tried again.

    Works on functions, on methods (a worker is given an object of the class) and on
    ``async def``, which is run to its end in the thread or process of the activity.

    name: under which it is stored. Defaults to the function's qualified name.
    retry: a `Retry`; None means one attempt. Defaults to ``Retry()``.
    timeout: seconds (or a timedelta) that one attempt may take; then it counts as failed and
        the next one may start. Defaults to None (no limit).
    schedule_timeout: seconds from the workflow's call to the final result, with all attempts,
        the delays between them and the waiting for a worker. Defaults to None (no limit).
    heartbeat_timeout: seconds that may pass between two heartbeats of an attempt
        (``current_activity().heartbeat()``), and before the first. Defaults to None.
    queue: which workers run it. Defaults to the instance's queue.
    on_cancel: what a cancel means while an attempt runs. "wait": its result is still
        delivered. "request": so it is, and the attempt is told, by ``.cancelled`` and by its
        heartbeat, which raises `Cancelled`. "abandon": nobody waits for it.
        Defaults to "wait".
    max_crashes: how often it may take its worker down before it fails. Defaults to 5.
    transactional: it writes to the database in which the store is, by
        ``current_activity().connection``, and its result is committed in the same transaction
        as what it has written: both once, or neither. What raises is rolled back. For workers
        with threads, on SQLite, PostgreSQL and MySQL. Defaults to False.

    >>> @activity(retry=Retry(max_attempts=5), timeout=30)
    ... def charge(order_id: str, cents: int) -> str:
    ...     return f"receipt-{order_id}"
    """
    settings = activity_options(ActivityOptions(), **options)

    if fn is not None:
        return ActivityDefinition(fn, name, settings, transactional=transactional)
    return lambda function: ActivityDefinition(
        function, name, settings, transactional=transactional
    )


@overload
def workflow(fn: Callable[P, Workflow[T]], /) -> WorkflowDefinition[P, T]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    version: int = 1,
    queue: str | None = None,
    timeout: Duration | None = None,
    retry: Retry | None = None,
) -> Callable[[Callable[P, Workflow[T]]], WorkflowDefinition[P, T]]: ...
def workflow(fn: Any = None, /, **options: Any) -> Any:
    """Make a generator function a workflow.

    name: under which it is stored; defaults to the function's qualified name.
    version: a new instance takes the highest, a running one keeps its own. Defaults to 1.
    queue: which workers run it. Defaults to the parent's queue for a child, else "default".
    timeout: seconds (or a `timedelta`) that one run may take; then everything in it is
        cancelled and it fails with `TimeoutExpired`. Defaults to None (no limit).
    retry: a `Retry` for the whole workflow: when it fails a new run begins, with the same
        arguments. Defaults to None (no retry).

    >>> @workflow
    ... def greet(name: str) -> Workflow[str]:
    ...     return (yield say.call(name))
    """
    check_names(options, ("name", "version", "queue", "timeout", "retry"), "@workflow")
    if fn is not None:
        return WorkflowDefinition(fn, **options)
    return lambda function: WorkflowDefinition(function, **options)


MAX_TAGS = 100

_LIMITS = ("timeout", "schedule_timeout", "heartbeat_timeout")
_ACTIVITY_OPTIONS = tuple(f.name for f in fields(ActivityOptions) if f.name != "origin")


def activity_options(base: ActivityOptions, **overrides: Any) -> ActivityOptions:
    """Options with some replaced, checked."""
    check_names(overrides, _ACTIVITY_OPTIONS, "activity options")
    retry = overrides.get("retry", base.retry)
    if retry is not None and not isinstance(retry, Retry):
        raise TypeError(f"retry= takes a Retry or None, not {retry!r}")
    for name in _LIMITS:
        if overrides.get(name) is not None:
            overrides[name] = seconds(overrides[name], f"{name}=")
            if overrides[name] == 0:
                raise ValueError(f"{name}= must be more than 0 seconds; None means no limit")
    on_cancel = overrides.get("on_cancel", base.on_cancel)
    if on_cancel not in ON_CANCEL:
        raise UsageError(f"on_cancel={on_cancel!r} is none of {', '.join(ON_CANCEL)}")
    crashes = overrides.get("max_crashes", base.max_crashes)
    if isinstance(crashes, bool) or not isinstance(crashes, int) or crashes < 1:
        raise UsageError(f"max_crashes={crashes!r} must be a whole number from 1")
    queue = overrides.get("queue", base.queue)
    if queue is not None:
        checked_text(queue, "queue= takes a name")
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
    if options.get("start_at") is not None:
        checked_moment(options["start_at"], "start_at=")
    if options.get("id") is not None:
        checked_id(options["id"])
    if options.get("queue") is not None:
        checked_text(options["queue"], "queue= takes a name")
    if options.get("version") is not None:
        _checked_version(options["version"], "version=")
    if isinstance(options.get("tags"), str):
        raise TypeError("tags= takes a list of strings")
    tags = options["tags"] = tuple(options.get("tags") or ())
    if len(tags) > MAX_TAGS:
        raise UsageError(f"tags= takes at most {MAX_TAGS} texts, not {len(tags):,}")
    for tag in tags:
        checked_text(tag, "tags= takes texts, each one")
    if not isinstance(options.get("retry", MISSING), (Retry, type(None), type(MISSING))):
        raise TypeError(f"retry= takes a Retry or None, not {options['retry']!r}")
    if options.get("timeout") is not None:
        options["timeout"] = limit(options["timeout"], "timeout")
    if options.get("parent_close") is not None:
        options["parent_close"] = _parent_close(options["parent_close"])
    return StartOptions(**options)


def limit(value: Duration, name: str) -> float:
    """A time limit in seconds; refuses what is no duration of more than 0 s."""
    found = seconds(value, f"{name}=")
    if found == 0:
        raise ValueError(f"{name}= must be more than 0 seconds")
    return found


LAST_VERSION = 2**53 - 1
"""Beyond it the numbers of Lua, by which Redis compares versions, are not exact."""


def _checked_version(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LAST_VERSION:
        raise UsageError(f"{what} takes a whole number from 1 to {LAST_VERSION}, not {value!r}")
    return value


def _parent_close(value: Any) -> ParentClose:
    try:
        return ParentClose(value)
    except ValueError:
        raise UsageError(f"parent_close={value!r} is none of {', '.join(ParentClose)}") from None


def class_method_error(name: str) -> TypeError:
    """What is raised for an activity that is a class method."""
    return TypeError(
        f"{name} is a class method, which cannot be an activity: make it a static method, or a "
        "method, and give the worker an object"
    )
