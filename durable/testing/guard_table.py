"""What workflow code must not call: by name, with what to use instead.

Rules
-----
* What is written in C is known by the function itself, or by the type of the object whose method it
  is; what is written in Python by its code.
* Names are those that users write, wherever the call ends up.
"""

from __future__ import annotations

import _socket
import _sqlite3
import _thread
import builtins
import multiprocessing.process
import os
import random
import secrets
import select
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from datetime import date, datetime
from types import CodeType, FrameType
from typing import Any

__all__ = ["Found", "found_builtin", "found_written"]

Found = tuple[str, str]
"""What is called, and what to use instead."""

CLOCK = "use `now()` of durable, which is the same in replay"
WAIT = "use `yield sleep(…)` of durable"
CHANCE = "use `random()` of durable, which is the same in replay"
UNIQUE = "use `uuid4()` of durable, which is the same in replay"
OUTSIDE = "do it in an activity, or in `yield side_effect(…)`"
THREADS = "use `spawn(…)` or `gather(…)` of durable"
ENVIRONMENT = "do it in an activity; a workflow may be replayed anywhere"


def _members(module: Any, names: str, instead: str) -> dict[Any, Found]:
    """Those that this platform has."""
    there = [name for name in names.split() if hasattr(module, name)]
    return {getattr(module, name): (f"{module.__name__}.{name}", instead) for name in there}


CLOCKS = """
    time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns
    thread_time thread_time_ns clock_gettime clock_gettime_ns
"""
FILES = """
    open listdir scandir stat lstat mkdir rmdir remove unlink rename replace link symlink chmod
    truncate utime system fork forkpty posix_spawn posix_spawnp execv execve kill
"""
NETWORK = "getaddrinfo gethostbyname gethostbyname_ex gethostbyaddr getnameinfo gethostname"

BUILTIN: dict[Any, Found] = {
    **_members(time, CLOCKS, CLOCK),
    **_members(os, FILES, OUTSIDE),
    **_members(os, "putenv unsetenv", ENVIRONMENT),
    **_members(os, "urandom getrandom", CHANCE),
    **{_function: (f"socket.{name.partition('.')[2]}", instead)
       for _function, (name, instead) in _members(_socket, NETWORK, OUTSIDE).items()},
    **dict.fromkeys(_members(_sqlite3, "connect", OUTSIDE), ("sqlite3.connect", OUTSIDE)),
    **_members(select, "select poll epoll kqueue", OUTSIDE),
    **_members(_thread, "start_new_thread", THREADS),
    time.sleep: ("time.sleep", WAIT),
    random.random: ("random.random", CHANCE),
    random.getrandbits: ("random.getrandbits", CHANCE),
    builtins.open: ("open", OUTSIDE),
    builtins.input: ("input", OUTSIDE),
}  # fmt: skip

METHODS = (
    (datetime, {"now", "utcnow", "today"}, "datetime", CLOCK),
    (date, {"today"}, "date", CLOCK),
)
"""Class methods: of subclasses as well."""

IO = {"send", "sendall", "sendto", "recv", "recv_into", "recvfrom", "connect", "accept", "bind"}

OF_RANDOM = """
    seed randint randrange choice choices sample shuffle uniform gauss normalvariate expovariate
    betavariate triangular gammavariate lognormvariate paretovariate vonmisesvariate
    weibullvariate randbytes binomialvariate
"""
SEEDED: dict[CodeType, Found] = {
    fn.__code__: (f"random.{name.rpartition('.')[2]}", CHANCE)
    for fn, (name, _) in _members(random.Random, OF_RANDOM, CHANCE).items()
}
"""Methods: of an object that the workflow has seeded itself they are as good as any other."""

WRITTEN: dict[CodeType, Found] = {
    **{
        fn.__code__: found
        for module, names, instead in (
            (uuid, "uuid1 uuid4 uuid6 uuid7 uuid8", UNIQUE),
            (secrets, "token_bytes token_hex token_urlsafe randbelow", CHANCE),
            (tempfile, "mkstemp mkdtemp mktemp TemporaryFile NamedTemporaryFile", OUTSIDE),
            (socket, "create_connection create_server socketpair getfqdn", OUTSIDE),
        )
        for fn, found in _members(module, names, instead).items()
        if hasattr(fn, "__code__")
    },
    tempfile.TemporaryDirectory.__init__.__code__: ("tempfile.TemporaryDirectory", OUTSIDE),
    random.SystemRandom.random.__code__: ("random.SystemRandom", CHANCE),
    random.SystemRandom.getrandbits.__code__: ("random.SystemRandom", CHANCE),
    socket.socket.__init__.__code__: ("socket.socket", OUTSIDE),
    socket.socket.accept.__code__: ("socket.accept", OUTSIDE),
    subprocess.Popen.__init__.__code__: ("subprocess.Popen", OUTSIDE),
    multiprocessing.process.BaseProcess.start.__code__: ("multiprocessing.Process", OUTSIDE),
    threading.Thread.start.__code__: ("threading.Thread.start", THREADS),
    type(os.environ).__setitem__.__code__: ("os.environ[…] = …", ENVIRONMENT),
    type(os.environ).__delitem__.__code__: ("del os.environ[…]", ENVIRONMENT),
}

_shared = random.random.__self__  # type: ignore[attr-defined]  # it is a bound method
_made: Callable[..., None] = random.Random.__init__
MAKES_RANDOM: CodeType = _made.__code__


def found_builtin(called: Any) -> Found | None:
    """What a function or method that is written in C is, if it is one of these."""
    try:
        if (found := BUILTIN.get(called)) is not None:
            return found
    except TypeError:  # a method of something that cannot be hashed
        return None
    owner = getattr(called, "__self__", None)
    if isinstance(owner, type):
        for cls, names, shown, instead in METHODS:
            if issubclass(owner, cls) and called.__name__ in names:
                return f"{shown}.{called.__name__}", instead
    elif isinstance(owner, _socket.socket) and called.__name__ in IO:
        return f"socket.{called.__name__}", OUTSIDE
    return None


def found_written(frame: FrameType) -> Found | None:
    """What the function whose frame has just begun is, if it is one of these."""
    code = frame.f_code
    if code in SEEDED:
        return SEEDED[code] if frame.f_locals.get("self") is _shared else None
    if code is MAKES_RANDOM:
        if frame.f_locals.get("x") is not None:
            return None
        system = isinstance(frame.f_locals.get("self"), random.SystemRandom)
        return "random.SystemRandom" if system else "random.Random", CHANCE
    return WRITTEN.get(code)
