"""The options of a worker: what they are if nobody says, and what they may be."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

from durable.errors import UsageError
from durable.executors import ProcessExecutor, ThreadExecutor
from durable.model import checked_text
from durable.store import Store

DEFAULT_SLOTS = 16
DEFAULT_CACHE = 10_000
DEFAULT_IN_FLIGHT = 1_000
DEFAULT_LEASE = 30.0
DEFAULT_GRACE = 30.0
DEFAULT_STEP_TIMEOUT = 10.0
DEFAULT_UNKNOWN_AFTER = 5.0

EXECUTORS: dict[str, Callable[..., Any]] = {"thread": ThreadExecutor, "process": ProcessExecutor}


def slots_of(given: int | None, executor: str) -> int:
    """Activities at one time."""
    if executor not in EXECUTORS:
        raise UsageError(f"executor={executor!r} is none of {', '.join(EXECUTORS)}")
    if given is not None:
        return given
    return (os.cpu_count() or 1) if executor == "process" else DEFAULT_SLOTS


def modules_of(given: Iterable[Any]) -> list[ModuleType]:
    """The modules in which these definitions, or the classes of these objects, stand."""
    names = {getattr(item, "fn", type(item)).__module__ for item in given}
    return [sys.modules[name] for name in sorted(names) if name in sys.modules]


def check_options(
    queues: Sequence[str], build: str | None, slots: int, max_in_flight: int, lease: float,
    step_timeout: float,
) -> None:  # fmt: skip
    """Raise `UsageError` for what makes no sense."""
    if isinstance(queues, str):
        raise TypeError("queues= takes a list of names")
    if not queues or not all(isinstance(name, str) and name for name in queues):
        raise UsageError(f"queues={list(queues)!r} must be names that are not empty")
    for name in queues:
        checked_text(name, "queues= takes names, each one")
    if build:
        checked_text(build, "build= takes a name")
    for option, value in (("activity_slots", slots), ("max_in_flight", max_in_flight)):
        if value < 1:
            raise UsageError(f"{option}={value} must be at least 1")
    for option, seconds in (("lease", lease), ("step_timeout", step_timeout)):
        if seconds <= 0:
            raise UsageError(f"{option}={seconds} must be more than 0 seconds")


def opened(store: Store | str) -> Store:
    """The store, ready to use."""
    if not isinstance(store, str):
        return store
    from durable.stores import open_store

    made = open_store(store)
    made.open()
    return made
