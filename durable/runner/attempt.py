"""One attempt of an activity: what is run, with what around it, and what came out."""

from __future__ import annotations

import logging
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any

from durable.codec import Codec
from durable.definitions import ActivityDefinition
from durable.errors import ActivityCrashed, PayloadError, PermanentError, TimeoutExpired, UsageError
from durable.failure import Failure
from durable.store import TaskKey

logger = logging.getLogger("durable.activity")

_current: ContextVar[ActivityContext | None] = ContextVar("durable_activity", default=None)


@dataclass(slots=True, eq=False)
class Attempt:
    """A claimed task that is run here.

    epoch: the fence of this attempt. timeout: seconds, or None. expires_at: by the
    monotonic clock, set when it starts; None if it has no timeout or has not started.
    """

    key: TaskKey
    epoch: int
    instance_id: str
    name: str
    args: bytes
    kwargs: bytes | None
    options: bytes
    number: int
    crashes: int
    deadline: int | None
    timeout: float | None = None
    expires_at: float | None = None
    cancelled: bool = False
    overdue: bool = False


@dataclass(slots=True)
class Outcome:
    """What an attempt came to: ``value`` (a payload), or ``failure`` (stored data), or
    neither if it was cancelled before it began.

    permanent: do not try again. crashed: the process that ran it died.
    """

    attempt: Attempt
    value: bytes | None = None
    failure: list[Any] | None = None
    types: tuple[str, ...] = ()
    permanent: bool = False
    crashed: bool = False


class ActivityContext:
    """What an activity may know of itself, by `current_activity`.

    instance_id, activity: of whom and what it is. attempt: from 1. crashes: workers lost
    in this attempt. idempotency_key: the same for every attempt, and for nothing else.
    logger: a standard logger with all of this in its extra.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.instance_id = attempt.instance_id
        self.activity = attempt.name
        self.attempt = attempt.number
        self.crashes = attempt.crashes
        uid, run, command = attempt.key
        self.idempotency_key = f"{uid.hex()}:{run}:{command}"

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._attempt.cancelled

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        extra = {
            "instance": self.instance_id,
            "activity": self.activity,
            "attempt": self.attempt,
        }
        return logging.LoggerAdapter(logger, extra)


def current_activity() -> ActivityContext:
    """The activity that runs in this thread; `UsageError` elsewhere."""
    context = _current.get()
    if context is None:
        raise UsageError("current_activity() works only inside a running activity")
    return context


def run_attempt(
    attempt: Attempt, definition: ActivityDefinition[..., Any], codec: Codec
) -> Outcome:
    """Run the activity here and now; never raises."""
    if attempt.cancelled:
        return Outcome(attempt)
    return copy_context().run(_run, attempt, definition, codec)


def _run(attempt: Attempt, definition: ActivityDefinition[..., Any], codec: Codec) -> Outcome:
    _current.set(ActivityContext(attempt))
    try:
        args, kwargs = definition.unpack_call(codec, attempt.args, attempt.kwargs)
    except PayloadError as error:
        return failed(attempt, error, codec, permanent=True)
    try:
        value = definition.fn(*args, **kwargs)
    except BaseException as error:  # SystemExit, too: an activity must not stop its worker
        return failed(attempt, error, codec, permanent=isinstance(error, PermanentError))
    try:
        return Outcome(attempt, codec.encode(value, f"result of {attempt.name}"))
    except PayloadError as error:
        return failed(attempt, error, codec, permanent=True)


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


def timed_out(attempt: Attempt, codec: Codec) -> Outcome:
    """The outcome of an attempt that took too long."""
    error = TimeoutExpired(f"{attempt.name} took longer than {attempt.timeout:g} s")
    error.details = {"kind": "attempt"}  # type: ignore[attr-defined]
    return failed(attempt, error, codec)


def crashed_too_often(attempt: Attempt, codec: Codec) -> Outcome:
    """The outcome of a task that has taken down too many workers."""
    error = ActivityCrashed(f"{attempt.name} took its worker down {attempt.crashes} times")
    return failed(attempt, error, codec, permanent=True)


def crash_failure(text: str) -> Failure:
    """The failure of an attempt whose process died."""
    return Failure.of(ActivityCrashed(text))
