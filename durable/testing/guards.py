"""What workflow code must not call, as long as it runs under the kit.

A call is seen by the profiler hook of Python, by what is called: so it does not matter under
which name it was imported.  Activities and side effects may call what they like.

Rules
-----
* Only calls while a workflow runs are looked at, and only in the thread of the test.
* What the standard library does for logging, warnings, imports and tracebacks is no business
  of the workflow, nor is what durable does itself, nor what the garbage collector runs when it
  happens to be its turn: finalizers of others, and callbacks (Hypothesis times collections).
* A call fails the test, even if the workflow catches the error.
"""

from __future__ import annotations

import builtins
import gc
import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from types import CodeType, FrameType
from typing import Any

from durable.current import running
from durable.errors import GuardError

__all__ = ["guarded"]

CLOCK = "use `now()` of durable, which is the same in replay"
WAIT = "use `yield sleep(…)` of durable"
CHANCE = "use `random()` of durable, which is the same in replay"
UNIQUE = "use `uuid4()` of durable, which is the same in replay"
OUTSIDE = "do it in an activity, or in `yield side_effect(…)`"
THREADS = "use `spawn(…)` or `gather(…)` of durable"
ENVIRONMENT = "do it in an activity; a workflow may be replayed anywhere"

BUILTIN: dict[Any, tuple[str, str]] = {
    **{
        getattr(time, name): (f"time.{name}", CLOCK)
        for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter")
    },
    time.sleep: ("time.sleep", WAIT),
    datetime.now: ("datetime.now", CLOCK),
    datetime.utcnow: ("datetime.utcnow", CLOCK),
    datetime.today: ("datetime.today", CLOCK),
    date.today: ("date.today", CLOCK),
    random.random: ("random.random", CHANCE),
    random.getrandbits: ("random.getrandbits", CHANCE),
    os.urandom: ("os.urandom", CHANCE),
    builtins.open: ("open", OUTSIDE),
    builtins.input: ("input", OUTSIDE),
    os.system: ("os.system", OUTSIDE),
    os.putenv: ("os.putenv", ENVIRONMENT),
}

_random = random.Random
WRITTEN: dict[CodeType, tuple[str, str]] = {
    **{
        getattr(_random, name).__code__: (f"random.{name}", CHANCE)
        for name in (
            *("randint", "randrange", "choice", "choices", "sample", "shuffle", "uniform"),
            *("gauss", "normalvariate", "expovariate", "betavariate", "triangular"),
        )
    },
    uuid.uuid1.__code__: ("uuid.uuid1", UNIQUE),
    uuid.uuid4.__code__: ("uuid.uuid4", UNIQUE),
    secrets.token_bytes.__code__: ("secrets.token_bytes", CHANCE),
    secrets.token_hex.__code__: ("secrets.token_hex", CHANCE),
    secrets.token_urlsafe.__code__: ("secrets.token_urlsafe", CHANCE),
    socket.socket.__init__.__code__: ("socket.socket", OUTSIDE),
    socket.create_connection.__code__: ("socket.create_connection", OUTSIDE),
    subprocess.Popen.__init__.__code__: ("subprocess.Popen", OUTSIDE),
    threading.Thread.start.__code__: ("threading.Thread.start", THREADS),
    type(os.environ).__setitem__.__code__: ("os.environ[…] = …", ENVIRONMENT),
    type(os.environ).__delitem__.__code__: ("del os.environ[…]", ENVIRONMENT),
}

SEEDED = {code for code, (name, _) in WRITTEN.items() if name.startswith("random.")}
"""Methods: of an object that the workflow has seeded itself they are as good as any other."""

_shared = random.random.__self__  # type: ignore[attr-defined]  # it is a bound method

MACHINERY = frozenset(
    {"logging", "warnings", "traceback", "linecache", "tokenize", "importlib", "zoneinfo"}
    | {"inspect", "threading", "durable", "_pytest", "pluggy", "coverage"}
)
"""Top-level modules that do what is asked here for themselves."""


@contextmanager
def guarded(tell: Callable[[GuardError], None]) -> Iterator[None]:
    """Watch what workflows call in this block. tell: is told of what they must not call."""
    collecting = False

    def begins(phase: str, info: dict[str, int]) -> None:
        nonlocal collecting
        collecting = True

    def ends(phase: str, info: dict[str, int]) -> None:
        nonlocal collecting
        collecting = phase == "start"

    def watch(frame: FrameType, event: str, called: Any) -> None:
        caller: FrameType | None = frame
        if event == "c_call":
            found = _builtin(called)
        elif event == "call":
            found, caller = WRITTEN.get(frame.f_code), frame.f_back
        else:
            return
        if found is None or collecting or running.get() is None:
            return
        seeded = event == "call" and frame.f_code in SEEDED
        if seeded and frame.f_locals.get("self") is not _shared:
            return
        if place := _place(caller):
            error = GuardError(f"{place}: workflow code calls {found[0]}: {found[1]}")
            tell(error)
            raise error

    before = sys.getprofile()
    if before is not None and not callable(before):  # cProfile before 3.12: it cannot be put back
        yield
        return
    gc.callbacks.insert(0, begins)  # around those of others: they are called in their order
    gc.callbacks.append(ends)
    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(before)
        gc.callbacks.remove(begins)
        gc.callbacks.remove(ends)


def _builtin(called: Any) -> tuple[str, str] | None:
    try:
        return BUILTIN.get(called)
    except TypeError:  # a method of something that cannot be hashed
        return None


def _place(frame: FrameType | None) -> str:
    """file:line of the user's code that led to a call; empty if it is not his doing."""
    user = ""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("durable.interpreter"):
            return user
        top = module.partition(".")[0]
        if user and top == "durable":  # it calls back: of on_signal, wait_until
            frame = frame.f_back
            continue
        if top in MACHINERY or module.startswith("importlib"):
            return ""
        if not user and top not in sys.stdlib_module_names:
            user = f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
        frame = frame.f_back
    return user
