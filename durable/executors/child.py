"""The child's side of `durable.executors.processes`, and what passes over the pipe.

All of it is msgpack.  The worker sends a `job`; the child answers with `STARTED`, then with any
number of questions, each of which is answered before it goes on, and in the end with `DONE`.
A question is a heartbeat, or asks whether to stop, or for the attempt's token: what changes
while an attempt runs, and the key of tokens, are known to the worker only.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import msgpack

from durable.codec import Codec
from durable.commands import ActivityOptions
from durable.definitions import ActivityDefinition
from durable.errors import StoreError, UsageError
from durable.propagation import Propagators
from durable.runner import Attempt, Outcome, run_attempt
from durable.runner.attempt import failed

Place = tuple[str, str]
"""(module, attribute) under which a child finds an object."""

STARTED, BEAT, SHOULD_STOP, TOKEN, DONE = range(5)


class RemoteAttempt(Attempt):
    """An attempt in a child: it asks the worker."""

    __slots__ = ("line",)

    line: Line

    @classmethod
    def of(cls, data: list[Any], line: Line) -> RemoteAttempt:
        key, epoch, instance_id, name, args, kwargs, origin, number, crashes, *carried = data
        options = ActivityOptions(origin=origin)  # the others are for the worker to heed
        attempt = cls(
            tuple(key), epoch, instance_id, name, args, kwargs, options, _no_secret, number, crashes
        )
        attempt.context, attempt.details = carried
        attempt.line = line
        return attempt

    @property
    def cancelled(self) -> bool:
        return bool(self.line.ask(self, SHOULD_STOP))

    def beat(self, details: bytes | None) -> bool:
        return bool(self.line.ask(self, BEAT, details))

    def token(self) -> str:
        text, error = self.line.ask(self, TOKEN)
        if error is not None:
            raise StoreError(error)
        return str(text)


def _no_secret() -> bytes:
    """The key of tokens never reaches a child: see `RemoteAttempt.token`."""
    raise UsageError("a child process does not have the key of tokens")


class Line:
    """The child's end of the pipe. Questions may come from any thread of an activity, and
    from one that is left over when its attempt has ended: that one gets no answer."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._speaker: Attempt | None = None

    def receive(self) -> Any:
        """The next job."""
        return msgpack.unpackb(self._heard())

    def begin(self, attempt: Attempt) -> None:
        """The attempt starts."""
        with self._lock:
            self._say([STARTED])
            self._speaker = attempt

    def ask(self, attempt: Attempt, *question: Any) -> Any:
        with self._lock:
            if self._speaker is not attempt:
                raise UsageError("this attempt of the activity has ended")
            self._say(question)
            return msgpack.unpackb(self._heard())

    def end(self, outcome: Outcome) -> None:
        """The attempt has ended."""
        self._speaker = None  # first: a thread that asks again and again would hold the lock
        with self._lock:
            self._say([DONE, *fields_of(outcome)])

    # When the worker has gone nobody waits for this process.

    def _say(self, message: Sequence[Any]) -> None:
        try:
            self._pipe.send_bytes(msgpack.packb(message))
        except OSError:
            os._exit(0)

    def _heard(self) -> bytes:
        try:
            return self._pipe.recv_bytes()
        except (EOFError, OSError):
            os._exit(0)


def job(attempt: Attempt) -> list[Any]:
    """What a child must know of an attempt, for `RemoteAttempt.of`."""
    return [
        attempt.key,
        attempt.epoch,
        attempt.instance_id,
        attempt.name,
        attempt.args,
        attempt.kwargs,
        attempt.options.origin,
        attempt.number,
        attempt.crashes,
        attempt.context,
        attempt.details,
    ]


def fields_of(outcome: Outcome) -> list[Any]:
    """An outcome as plain values, for `outcome_of`."""
    return [
        outcome.value,
        outcome.failure,
        list(outcome.types),
        outcome.permanent,
        outcome.cancelled,
        outcome.awaits,
        outcome.delay,
        outcome.at,
    ]


def outcome_of(attempt: Attempt, data: list[Any]) -> Outcome:
    value, failure, types, permanent, cancelled, awaits, delay, at = data
    return Outcome(
        attempt,
        value,
        failure,
        tuple(types),
        permanent,
        cancelled=cancelled,
        awaits=awaits,
        delay=delay,
        at=at,
    )


def child(
    pipe: Connection,
    places: dict[str, Place],
    codec: Codec,
    propagators: list[Place],
    path: list[str],
) -> None:
    """The child's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker to handle
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.path[:] = path
    line = Line(pipe)
    carried: Propagators | None = None
    found: dict[str, ActivityDefinition[..., Any]] = {}
    while True:
        attempt = RemoteAttempt.of(line.receive(), line)
        name = attempt.name
        try:
            if carried is None:
                carried = Propagators(find(place) for place in propagators)
            if name not in found:
                found[name] = _activity(places[name])
        except Exception as error:
            line.begin(attempt)
            line.end(failed(attempt, error, codec))
        else:
            line.begin(attempt)
            line.end(run_attempt(attempt, found[name], codec, carried))


def find(place: Place) -> Any:
    """An object of code that the worker was given (never of stored data)."""
    module, name = place
    value: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _activity(place: Place) -> ActivityDefinition[..., Any]:
    value = find(place)
    if not isinstance(value, ActivityDefinition):
        raise UsageError(f"{place[0]}:{place[1]} is no activity any more")
    return value
