"""Attempts in child processes, one child a slot: for activities that use the CPU, and for
those that must be killed when they take too long.

A child is started when its slot is first used, imports the definitions by their modules'
names, and then runs one attempt after the other.  What passes between is msgpack.  A child
that dies takes only its attempt with it, which counts as a crash of that task.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import SimpleQueue
from time import monotonic
from typing import Any

import msgpack

from durable.codec import Codec
from durable.definitions import ActivityDefinition
from durable.errors import UsageError
from durable.failure import Failure
from durable.registry import Registry
from durable.runner import Attempt, Outcome, run_attempt
from durable.runner.attempt import crash_failure, failed

STARTED = b"started"


class ProcessExecutor:
    """Runs attempts in at most ``slots`` child processes.

    Raises `UsageError` for an activity that a child could not import.
    """

    def __init__(
        self, slots: int, registry: Registry, codec: Codec, done: Callable[[Outcome], None]
    ) -> None:
        self.slots = slots
        self.occupied = 0
        self._codec = codec
        self._done = done
        self._places = {name: _place(d) for name, d in registry.activities.items()}
        self._queue: SimpleQueue[Attempt | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._children: dict[Attempt, Any] = {}
        self._spawn = multiprocessing.get_context("spawn")

    def submit(self, attempt: Attempt) -> None:
        self._queue.put(attempt)
        self.grow()

    def grow(self) -> bool:
        """Start a child if something waits for one."""
        if self._queue.qsize() > self._idle and len(self._threads) < self.slots:
            thread = threading.Thread(target=self._work, name="durable-child", daemon=True)
            self._threads.append(thread)
            thread.start()
        return False

    def overrun(self, attempt: Attempt) -> None:
        """Kill the child that runs it."""
        attempt.overdue = True
        child = self._children.get(attempt)
        if child is not None:
            child.kill()

    def stop(self) -> None:
        """End the children; one that runs an attempt is killed."""
        for _ in self._threads:
            self._queue.put(None)
        for child in list(self._children.values()):
            child.kill()

    def _work(self) -> None:
        """One slot: a thread that feeds one child at a time."""
        child: Any = None
        pipe: Connection | None = None
        while True:
            self._idle += 1
            attempt = self._queue.get()
            self._idle -= 1
            if attempt is None:
                break
            try:
                if pipe is None or not child.is_alive():
                    child, pipe = self._start()
            except (OSError, RuntimeError) as error:  # no memory, no process to be had, …
                pipe = None
                self._done(failed(attempt, error, self._codec))
                continue
            self._children[attempt] = child
            try:
                outcome = self._run(pipe, attempt)
            except (EOFError, OSError):
                child.join(5)
                pipe = None
                outcome = self._crashed(attempt, child.exitcode)
            del self._children[attempt]
            if not attempt.overdue:
                self._done(outcome)
        if pipe is not None:
            pipe.close()
            child.join(5)

    def _start(self) -> tuple[Any, Connection]:
        mine, its = self._spawn.Pipe()
        target = _child
        child = self._spawn.Process(
            target=target, args=(its, self._places, self._codec, sys.path), daemon=True
        )
        child.start()
        its.close()
        return child, mine

    def _run(self, pipe: Connection, attempt: Attempt) -> Outcome:
        uid, run, command = attempt.key
        pipe.send_bytes(
            msgpack.packb(
                [uid, run, command, attempt.epoch, attempt.instance_id, attempt.name,
                 attempt.args, attempt.kwargs, attempt.number, attempt.crashes]
            )
        )  # fmt: skip
        if pipe.recv_bytes() == STARTED and attempt.timeout is not None:
            attempt.expires_at = monotonic() + attempt.timeout
        value, failure, types, permanent = msgpack.unpackb(pipe.recv_bytes())
        return Outcome(attempt, value, failure, tuple(types), permanent)

    def _crashed(self, attempt: Attempt, code: int | None) -> Outcome:
        text = f"the process that ran {attempt.name} died (exit code {code})"
        data = crash_failure(text).to_data(self._codec.encode)
        return Outcome(attempt, None, data, crashed=True)


def _place(definition: ActivityDefinition[..., Any]) -> tuple[str, str]:
    """(module, attribute) under which a child finds the definition."""
    module, name = definition.fn.__module__, definition.fn.__qualname__
    if "<locals>" in name:
        raise UsageError(
            f"activity {definition.name} ({definition.where}) is inside a function, where a "
            'child process cannot find it: move it to a module, or use executor="thread"'
        )
    return module, name


def _child(pipe: Connection, places: dict[str, tuple[str, str]], codec: Codec, path: Any) -> None:
    """The child's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker to handle
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.path[:] = path
    found: dict[str, ActivityDefinition[..., Any]] = {}
    while True:
        try:
            data = pipe.recv_bytes()
        except (EOFError, OSError):  # the worker has gone
            os._exit(0)
        pipe.send_bytes(STARTED)
        uid, run, command, epoch, instance, name, args, kwargs, number, crashes = msgpack.unpackb(
            data
        )
        attempt = Attempt(
            (uid, run, command), epoch, instance, name, args, kwargs, b"", number, crashes, None
        )
        try:
            if name not in found:
                found[name] = _find(*places[name])
        except Exception as error:
            failure = Failure.of(error)
            outcome = Outcome(attempt, None, failure.to_data(codec.encode), failure.types)
        else:
            outcome = run_attempt(attempt, found[name], codec)
        reply = [outcome.value, outcome.failure, list(outcome.types), outcome.permanent]
        pipe.send_bytes(msgpack.packb(reply))


def _find(module: str, name: str) -> ActivityDefinition[..., Any]:
    """A definition of code that this worker was given (never of stored data)."""
    value: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    if not isinstance(value, ActivityDefinition):
        raise UsageError(f"{module}:{name} is no activity any more")
    return value
