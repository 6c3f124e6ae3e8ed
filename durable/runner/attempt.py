"""One attempt of an activity: what is run, with what around it, and what came out.

Rules
-----
* A cancel reaches an attempt only if its activity has ``on_cancel="request"``.  Whatever that
  is, no other attempt follows one that a cancel has met (`Attempt.stopping`).
* A heartbeat is kept in memory, and sent to the store now and then (`durable.beats`).
* What raises `Cancelled` when it was asked to stop is cancelled; otherwise that is a failure
  like any other.
* An attempt whose token was asked for (`Attempt.exposed`) may be completed from outside
  while it runs: only the store knows whether its own outcome still counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from math import inf
from time import monotonic
from types import CoroutineType
from typing import Any

from durable.codec import Codec
from durable.commands import ActivityOptions
from durable.definitions import ActivityDefinition
from durable.errors import (
    ActivityCrashed,
    Cancelled,
    PayloadError,
    PermanentError,
    RetryLater,
    TimeoutExpired,
    UsageError,
)
from durable.failure import Failure
from durable.model import micros
from durable.propagation import Propagators
from durable.retry import MAX_SECONDS, microseconds, type_name
from durable.store import TaskKey
from durable.tokens import ATTEMPT, Token

logger = logging.getLogger("durable.activity")

_current: ContextVar[ActivityContext | None] = ContextVar("durable_activity", default=None)


@dataclass(slots=True, eq=False)
class Attempt:
    """A claimed task that is run here.

    epoch: the fence of this attempt. number: from 1; deferrals: how many before it asked for
    a later time. details: of the latest heartbeat, also of an earlier attempt (a payload).
    secret: gives the store's key of tokens. context: what is propagated (a payload).

    expires_at: by the monotonic clock, when its time may be up; None before it starts, and
    without limits. ends_at: the same, but for heartbeats. unsent: details that the store
    has not got yet. stopping: a cancel was requested. overdue: its time is up, and its
    outcome of no use. exposed: somebody may have its token. ended: nothing of it runs.
    connection: has the transaction of one that is transactional. clock: in seconds; a test sets
    its own.
    """

    key: TaskKey
    epoch: int
    instance_id: str
    name: str
    args: bytes
    kwargs: bytes | None
    options: ActivityOptions
    secret: Callable[[], bytes]
    number: int = 1
    crashes: int = 0
    deadline: int | None = None
    deferrals: int = 0
    context: bytes | None = None
    details: bytes | None = None
    expires_at: float | None = None
    ends_at: float = inf
    unsent: bool = False
    stopping: bool = False
    overdue: bool = False
    exposed: bool = False
    ended: bool = False
    connection: Any = None
    clock: Callable[[], float] = lambda: monotonic()  # looked up late, as tests replace it

    @property
    def limited(self) -> bool:
        """Whether its time can be up."""
        return self.options.timeout is not None or self.options.heartbeat_timeout is not None

    @property
    def cancelled(self) -> bool:
        """Whether it is asked to stop."""
        return self.overdue or (self.stopping and self.options.on_cancel == "request")

    def begin(self) -> None:
        """It starts now: its time counts from here."""
        now = self.clock()
        if self.options.timeout is not None:
            self.ends_at = now + self.options.timeout
        self._expect_beat(now)

    def beat(self, details: bytes | None) -> bool:
        """It is alive; gives `cancelled`. details: None leaves those of before."""
        if details is not None:
            self.details = details
            self.unsent = True
        if self.options.heartbeat_timeout is not None:
            self._expect_beat(self.clock())
        return self.cancelled

    def token(self) -> str:
        """By which somebody outside can complete it."""
        self.exposed = True
        return Token(ATTEMPT, *self.key, self.epoch).text(self.secret())

    def _expect_beat(self, now: float) -> None:
        silence = self.options.heartbeat_timeout
        self.expires_at = self.ends_at if silence is None else min(self.ends_at, now + silence)


@dataclass(slots=True)
class Outcome:
    """What an attempt came to: ``value`` (a payload), or ``failure`` (stored data).

    permanent: do not try again. crashed: the process that ran it died. cancelled: it
    stopped because it was asked to, or never began; ``failure`` is of the attempt before.
    awaits: the result will come from outside. delay / at: it asks for another attempt in so
    many microseconds / at this moment. recorded: the store has it already, or would not take
    it any more; unknown: or nobody knows.
    """

    attempt: Attempt
    value: bytes | None = None
    failure: list[Any] | None = None
    types: tuple[str, ...] = ()
    permanent: bool = False
    crashed: bool = False
    cancelled: bool = False
    awaits: bool = False
    delay: int | None = None
    at: int | None = None
    recorded: bool = False
    unknown: bool = False


class CompleteLater(BaseException):
    """Ends an attempt without a result. Not an `Exception`, so that nobody takes it for one."""


class ActivityContext:
    """What an activity may know of itself, and tell; by `current_activity`."""

    __slots__ = ("_attempt", "_codec", "_earlier", "later")

    def __init__(self, attempt: Attempt, codec: Codec) -> None:
        self._attempt = attempt
        self._codec = codec
        self._earlier = attempt.details
        self.later = False  # it has asked for what must be raised

    @property
    def instance_id(self) -> str:
        """The id of the workflow instance that called it."""
        return self._attempt.instance_id

    @property
    def activity(self) -> str:
        """Its name."""
        return self._attempt.name

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt.number

    @property
    def crashes(self) -> int:
        """How many workers have been lost while they ran it."""
        return self._attempt.crashes

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt, also when the workflow is retried, and for nothing else:
        give it to services that can tell by it that a request is repeated."""
        uid, run, command = self._attempt.key
        return f"{uid.hex()}:{self._attempt.options.origin or run}:{command}"

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A standard logger with instance, activity and attempt in its extra."""
        extra = {
            "instance": self.instance_id,
            "activity": self.activity,
            "attempt": self.attempt,
        }
        return logging.LoggerAdapter(logger, extra)

    @property
    def cancelled(self) -> bool:
        """Whether it should stop: a cancel was requested, and the activity has
        ``on_cancel="request"``; or its time is up, so that nobody waits for its result."""
        return self._attempt.cancelled

    def heartbeat(self, details: Any = None) -> None:
        """Tell that it is alive (see ``heartbeat_timeout``), and how far it has come.

        details: any storable value; the next attempt finds it in `last_heartbeat`. None
        leaves what was told before. They reach the store about once a second, and at a
        failure: a worker that is killed loses the last second.

        Raises `Cancelled` if it should stop (see `cancelled`), `PayloadError` for details
        that cannot be stored. Cheap: it may be called in a loop, and from any thread.

        >>> for number, row in enumerate(rows):
        ...     load(row)
        ...     current_activity().heartbeat(number)
        """
        attempt = self._attempt
        data = None
        if details is not None:
            data = self._codec.encode(details, f"heartbeat of {attempt.name}")
        if attempt.beat(data):
            raise Cancelled(f"{attempt.name} should stop")

    @property
    def connection(self) -> Any:
        """Of an activity that is ``transactional``: the connection in whose transaction its
        result is recorded, one of ``sqlite3``, PyMySQL or psycopg 3; or the Peewee ``Database``
        that the worker was given. The transaction is open, and is not yours to end.

        Raises `UsageError` in other activities.

        >>> current_activity().connection.execute("UPDATE accounts SET …")
        """
        if self._attempt.connection is None:
            raise UsageError(f"{self.activity} is not decorated with @activity(transactional=True)")
        return self._attempt.connection

    @property
    def last_heartbeat(self) -> Any:
        """The details of the last heartbeat of an earlier attempt; None if there is none."""
        return None if self._earlier is None else self._codec.decode(self._earlier)

    @property
    def token(self) -> str:
        """By which somebody outside completes this attempt: ``client.complete(token, value)``
        or ``client.fail(token, error)``. Another one for each attempt."""
        return self._attempt.token()

    def complete_later(self) -> BaseException:
        """What to raise when the result will come from outside, by `token`.

        The attempt ends and its slot is free. The activity's ``timeout`` goes on counting;
        when it is up the attempt has failed, and its token is of no use any more.

        >>> send_to_approver(current_activity().token)
        >>> raise current_activity().complete_later()
        """
        self.later = True
        return CompleteLater(f"the result of {self._attempt.name} comes later")


def current_activity() -> ActivityContext:
    """The activity that runs in this thread or coroutine; `UsageError` elsewhere."""
    context = _current.get()
    if context is None:
        raise UsageError("current_activity() works only inside a running activity")
    return context


def run_attempt(
    attempt: Attempt,
    definition: ActivityDefinition[..., Any],
    codec: Codec,
    propagators: Propagators | None = None,
) -> Outcome:
    """Run the activity here and now; never raises."""
    if attempt.stopping:  # before it began
        return Outcome(attempt, cancelled=True)
    try:
        return copy_context().run(_run, attempt, definition, codec, propagators)
    except BaseException as error:  # of an exception whose own attributes raise, and the like
        text = f"what {attempt.name} raised cannot be stored: {type(error).__name__}"
        failure = Failure(type_name(UsageError), text, (type_name(UsageError),))
        return Outcome(attempt, None, failure.to_data(codec.encode), failure.types, True)


def _run(
    attempt: Attempt,
    definition: ActivityDefinition[..., Any],
    codec: Codec,
    propagators: Propagators | None,
) -> Outcome:
    context = ActivityContext(attempt, codec)
    _current.set(context)
    try:
        args, kwargs = definition.unpack_call(codec, attempt.args, attempt.kwargs)
    except PayloadError as error:
        return failed(attempt, error, codec, permanent=True)
    try:
        if propagators:
            with propagators.restored(codec, attempt.context):
                value = _called(definition.fn, args, kwargs)
        else:
            value = _called(definition.fn, args, kwargs)
    except BaseException as error:  # SystemExit, too: an activity must not stop its worker
        return _raised(attempt, error, codec)
    if context.later:
        mistake = UsageError("write `raise current_activity().complete_later()`")
        return failed(attempt, mistake, codec, permanent=True)
    try:
        return Outcome(attempt, codec.encode(value, f"result of {attempt.name}"))
    except PayloadError as error:
        return failed(attempt, error, codec, permanent=True)


def _called(fn: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    value = fn(*args, **kwargs)
    return _awaited(value) if type(value) is CoroutineType else value


def _awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run the coroutine of an ``async def`` activity to its end, in a loop of its own."""
    import asyncio  # slow to import, and most workers never need it

    return asyncio.run(coroutine)


def _raised(attempt: Attempt, error: BaseException, codec: Codec) -> Outcome:
    """The outcome of an activity that raised."""
    if isinstance(error, CompleteLater):
        return Outcome(attempt, awaits=True)
    if isinstance(error, Cancelled) and attempt.cancelled:
        return Outcome(attempt, cancelled=True)
    outcome = failed(attempt, error, codec, permanent=isinstance(error, PermanentError))
    if isinstance(error, RetryLater):
        at, delay = getattr(error, "at", None), getattr(error, "delay", None)  # of a subclass
        if at is not None:
            outcome.at = micros(at)
        elif delay is not None:
            outcome.delay = microseconds(min(delay, MAX_SECONDS), "RetryLater(delay=)")
    return outcome


def failed(
    attempt: Attempt, error: BaseException, codec: Codec, permanent: bool = False
) -> Outcome:
    """The outcome that an exception is."""
    failure = Failure.of(error)
    try:
        data = failure.to_data(codec.encode)
    except PayloadError as wrong:
        data = Failure(failure.type, f"{failure.message} (details: {wrong})", failure.types,
                       failure.traceback).to_data(codec.encode)  # fmt: skip
    return Outcome(attempt, None, data, failure.types, permanent)


def timed_out(attempt: Attempt, kind: str, codec: Codec) -> Outcome:
    """The outcome of an attempt that took too long ("attempt"), or was silent ("heartbeat")."""
    options = attempt.options
    if kind == "heartbeat":
        text = f"{attempt.name} sent no heartbeat for {options.heartbeat_timeout:g} s"
    else:
        text = f"{attempt.name} took longer than {options.timeout or 0:g} s"
    return failed(attempt, TimeoutExpired(text, {"kind": kind}), codec)


def crashed_too_often(attempt: Attempt, codec: Codec) -> Outcome:
    """The outcome of a task that has taken down too many workers."""
    error = ActivityCrashed(f"{attempt.name} took its worker down {attempt.crashes} times")
    return failed(attempt, error, codec, permanent=True)


def crash_failure(text: str) -> Failure:
    """The failure of an attempt whose process died."""
    return Failure.of(ActivityCrashed(text))
