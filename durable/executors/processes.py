"""Attempts in child processes, one child a slot: for activities that use the CPU, and for
those that must be killed when they take too long.

A child is started when its slot is first used, imports the definitions by their modules'
names, and then runs one attempt after the other (`durable.executors.child`).  A child that
dies takes only its attempt with it, which counts as a crash of that task.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from time import monotonic
from types import MethodType
from typing import Any

import msgpack

from durable.codec import Codec
from durable.definitions import ActivityDefinition
from durable.errors import DurableError, UsageError
from durable.executors.child import (
    BEAT,
    DONE,
    SHOULD_STOP,
    STARTED,
    TOKEN,
    Place,
    child,
    find,
    job,
    outcome_of,
)
from durable.executors.threads import FAILED_INTERVAL
from durable.propagation import Propagators
from durable.registry import Registry
from durable.runner import Attempt, Outcome
from durable.runner.attempt import crash_failure, failed

logger = logging.getLogger("durable.worker")


class ProcessExecutor:
    """Runs attempts in at most ``slots`` child processes.

    Raises `UsageError` for an activity or a propagator that a child could not import, and for
    a codec that cannot be sent to a child.
    """

    def __init__(
        self,
        slots: int,
        registry: Registry,
        codec: Codec,
        done: Callable[[Outcome], None],
        propagators: Propagators | None = None,
    ) -> None:
        self.slots = slots
        self.occupied = 0
        self._codec = _sendable(codec)
        self._done = done
        self._places = {name: _place(d) for name, d in registry.activities.items()}
        self._propagators = [
            _module_level(item, f"the propagator {item!r}")
            for item in (propagators or Propagators()).items
        ]
        self._queue: SimpleQueue[Attempt | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._grow_at = 0.0
        self._children: dict[Attempt, Any] = {}
        self._lock = threading.Lock()  # so that only a child that runs its attempt is killed
        self._spawn = multiprocessing.get_context("spawn")

    def submit(self, attempt: Attempt) -> None:
        self._queue.put(attempt)
        self.grow()

    def grow(self) -> bool:
        """Start a child if something waits for one; True if there is nobody to do it, so that
        this should be called again soon."""
        wanted = self._queue.qsize() > self._idle and len(self._threads) < self.slots
        if wanted and monotonic() >= self._grow_at:
            thread = threading.Thread(target=self._work, name="durable-child", daemon=True)
            try:
                thread.start()
            except (RuntimeError, OSError) as error:
                logger.warning("no thread for an activity can be started: %s", error)
                self._grow_at = monotonic() + FAILED_INTERVAL
            else:
                self._threads.append(thread)
        return wanted and not self._threads

    def overrun(self, attempt: Attempt) -> None:
        """Kill the child that runs it."""
        with self._lock:
            attempt.overdue = True
            running = self._children.get(attempt)
            if running is not None:
                running.kill()

    def stop(self) -> None:
        """End the children; one that runs an attempt is killed."""
        for _ in self._threads:
            self._queue.put(None)
        for running in list(self._children.values()):
            running.kill()

    def _work(self) -> None:
        """One slot: a thread that feeds one child at a time."""
        process: Any = None
        pipe: Connection | None = None
        while True:
            self._idle += 1
            attempt = self._queue.get()
            self._idle -= 1
            if attempt is None:
                break
            if attempt.stopping:  # before it began
                self._done(Outcome(attempt, cancelled=True))
                continue
            try:
                if pipe is None or not process.is_alive():
                    process, pipe = self._start()
            except Exception as error:  # no memory, no process to be had, …
                pipe = None
                self._done(failed(attempt, error, self._codec))
                continue
            self._children[attempt] = process
            try:
                outcome = self._run(pipe, attempt)
            except (EOFError, OSError):
                process.join(5)
                pipe = None
                outcome = self._crashed(attempt, process.exitcode)
            with self._lock:
                del self._children[attempt]
            if not attempt.overdue:
                self._done(outcome)
            elif pipe is not None:  # it had just ended when its child was killed
                pipe.close()
                process.join(5)
                pipe = None
        if pipe is not None:
            pipe.close()
            process.join(5)

    def _start(self) -> tuple[Any, Connection]:
        mine, its = self._spawn.Pipe()
        args = (its, self._places, self._codec, self._propagators, sys.path)
        process = self._spawn.Process(target=child, args=args, daemon=True)
        process.start()
        its.close()
        return process, mine

    def _run(self, pipe: Connection, attempt: Attempt) -> Outcome:
        pipe.send_bytes(msgpack.packb(job(attempt)))
        while True:
            kind, *data = msgpack.unpackb(pipe.recv_bytes())
            if kind == DONE:
                return outcome_of(attempt, data)
            answer = _ANSWERS[kind](attempt, *data)
            if kind != STARTED:
                pipe.send_bytes(msgpack.packb(answer))

    def _crashed(self, attempt: Attempt, code: int | None) -> Outcome:
        text = f"the process that ran {attempt.name} died (exit code {code})"
        data = crash_failure(text).to_data(self._codec.encode)
        return Outcome(attempt, None, data, crashed=True)


def _token(attempt: Attempt) -> tuple[str | None, str | None]:
    """The token, or why the store does not give its key."""
    try:
        return attempt.token(), None
    except DurableError as error:
        return None, str(error)


_ANSWERS: dict[int, Callable[..., Any]] = {
    STARTED: Attempt.begin,
    BEAT: Attempt.beat,
    SHOULD_STOP: lambda attempt: attempt.cancelled,
    TOKEN: _token,
}


def _sendable(codec: Codec) -> Codec:
    """The codec, if it can be sent to a child process."""
    try:
        ForkingPickler.dumps(codec)
    except Exception as error:
        raise UsageError(
            f"the codec {codec!r} cannot be sent to child processes ({error}): give it to them "
            'without locks and connections, or use executor="thread"'
        ) from error
    return codec


def _place(definition: ActivityDefinition[..., Any]) -> Place:
    """Where a child finds the definition."""
    fn, what = definition.fn, f"activity {definition.name} ({definition.where})"
    if isinstance(fn, MethodType):
        raise UsageError(
            f"{what} runs on an object of this process, which a child process does not have: "
            'use executor="thread"'
        )
    place = (fn.__module__, getattr(fn, "__qualname__", ""))
    try:
        if find(place) is definition:
            return place
    except (AttributeError, ImportError):  # inside a function, or under another name
        pass
    return _module_level(definition, what)


def _module_level(value: Any, what: str) -> Place:
    """Where a child finds something that cannot be sent to it."""
    for module, loaded in list(sys.modules.items()):
        for name, other in list(getattr(loaded, "__dict__", {}).items()):
            if other is value:
                return module, name
    raise UsageError(
        f"{what} stands in no module, where a child process could find it: move it to the top "
        'of a module, or use executor="thread"'
    )
