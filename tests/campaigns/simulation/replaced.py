"""What the product takes from the system, replaced while a simulation runs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import durable.beats
import durable.client.caller
import durable.client.handle
import durable.client.requests
import durable.client.rerun
import durable.lease
import durable.runner.attempt
import durable.runner.decide
import durable.runner.outbox
import durable.starting
import durable.stores.memory
import durable.watchdog
import durable.worker
from simulation.baton import SECOND, START, Baton, Crash, Thread, ticks

OS = (
    durable.client.requests, durable.client.rerun, durable.starting, durable.lease,
    durable.runner.decide, durable.stores.memory,
)  # fmt: skip
TIME = (
    durable.beats, durable.client.caller, durable.client.handle, durable.lease,
    durable.watchdog, durable.worker,
)  # fmt: skip
MONOTONIC = (durable.runner.attempt,)
RANDOM = (
    durable.client.caller, durable.runner.decide, durable.runner.outbox, durable.worker,
)  # fmt: skip
THREADING = (durable.lease, durable.worker)


class _Instead:
    """A module, of which some attributes are replaced."""

    def __init__(self, module: Any, **others: Any) -> None:
        self.__dict__.update(others)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class _Event:
    """As `threading.Event`, in virtual time."""

    def __init__(self, baton: Baton) -> None:
        self._baton = baton
        self._is_set = False
        self._waiting: list[Thread] = []

    def is_set(self) -> bool:
        return self._is_set

    def clear(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True
        for thread in self._waiting:
            self._baton.wake(thread)

    def wait(self, timeout: float | None = None) -> bool:
        me = self._baton.current
        assert me is not None
        if me.process.dead:
            raise Crash
        if not self._is_set:
            self._waiting.append(me)
            try:
                self._baton.pause(None if timeout is None else ticks(timeout))
            finally:
                self._waiting.remove(me)
        return self._is_set


class _Thread:
    """As `threading.Thread`: of the process that starts it."""

    def __init__(self, baton: Baton, target: Callable[[], None]) -> None:
        self._baton = baton
        self._thread = Thread(baton, baton.process, target)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        while not self._thread.ended:
            assert self._baton.current is not None
            self._thread.joiners.append(self._baton.current)
            self._baton.pause(None)


@contextmanager
def replaced(baton: Baton, seed: str) -> Iterator[None]:
    """Time, threads and entropy are those of the simulation."""
    entropy, chance = Random(f"{seed}:entropy"), Random(f"{seed}:chance")

    def monotonic() -> float:
        process = baton.process
        return (baton.now - START) / SECOND * process.rate + process.offset

    def sleep(seconds: float) -> None:
        baton.pause(ticks(seconds))

    instead = [
        (OS, "os", _Instead(os, urandom=entropy.randbytes)),
        (TIME, "time", _Instead(time, monotonic=monotonic, sleep=sleep)),
        (MONOTONIC, "monotonic", monotonic),
        (RANDOM, "random", chance),
        (THREADING, "threading", _Instead(
            threading,
            Event=lambda: _Event(baton),
            Thread=lambda target, name, daemon: _Thread(baton, target),
        )),
    ]  # fmt: skip
    before = [
        (module, name, vars(module)[name]) for modules, name, _ in instead for module in modules
    ]
    try:
        for modules, name, value in instead:
            for module in modules:
                setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
