"""What workflow code must not call, as long as it runs under the kit.

A call is seen by the profiler hook of Python, by what is called: so it does not matter under
which name it was imported.  Activities and side effects may call what they like.

Rules
-----
* Only calls while a workflow runs are looked at, and only in the thread of the test.
* A call is the workflow's doing if one of its frames has led to it: what durable does by itself,
  and what Python does of its own accord (imports, the collector of garbage), is not.
* What loggers, debuggers, tracebacks and the like call for themselves is no business of the
  workflow.
* A call fails the test, even if the workflow catches the error.
* Calls that C code makes are not seen (``partial(time.time)()``): if they matter, a replay differs.
"""

from __future__ import annotations

import gc
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from durable.current import running
from durable.errors import GuardError
from durable.testing.guard_table import Found, found_builtin, found_written

__all__ = ["guarded", "unguarded"]

MACHINERY = frozenset(
    {"logging", "warnings", "traceback", "linecache", "tokenize", "importlib", "zoneinfo"}
    | {"inspect", "threading", "doctest", "faulthandler"}
    | {"pdb", "bdb", "cmd", "code", "IPython", "ipdb", "pudb", "debugpy", "pydevd"}
    | {"_pydevd_bundle", "_pydev_bundle", "_pytest", "pluggy", "pytest_timeout", "coverage"}
    | {"hypothesis", "structlog", "loguru", "opentelemetry", "sentry_sdk", "pytz"}
)
"""Top-level modules that do what is asked here for themselves."""

LIBRARIES = (
    *(sysconfig.get_path("purelib"), sysconfig.get_path("platlib")),
    *(*site.getsitepackages(), site.getusersitepackages()),
)
"""Where code is installed."""


@contextmanager
def guarded(tell: Callable[[GuardError], None], allow: frozenset[str]) -> Iterator[None]:
    """Watch what workflows call in this block. tell: is told of what they must not call. allow:
    names of calls, as errors show them, and of modules that may call anything."""
    before = sys.getprofile()
    if before is not None and not callable(before):  # cProfile before 3.12: it cannot be put back
        yield
        return
    sys.setprofile(_Watch(tell, allow))
    try:
        yield
    finally:
        sys.setprofile(before)


@contextmanager
def unguarded() -> Iterator[None]:
    """Nothing is watched in this block, though it may stand in a guarded one."""
    before = sys.getprofile()
    if not isinstance(before, _Watch):
        yield
        return
    sys.setprofile(None)
    try:
        yield
    finally:
        sys.setprofile(before)


class _Watch:
    """A profiler."""

    def __init__(self, tell: Callable[[GuardError], None], allow: frozenset[str]) -> None:
        self._tell = tell
        self._allow = allow

    def __call__(self, frame: FrameType, event: str, called: Any) -> None:
        __tracebackhide__ = True
        coroutine = running.get()
        if coroutine is None:
            return
        caller: FrameType | None = frame
        if event == "c_call":
            found = found_builtin(called)
        elif event == "call":
            found, caller = found_written(frame), frame.f_back
        else:
            return
        if found is not None:
            self._judge(found, caller, _top(coroutine.interpreter.definition.fn.__module__))

    def _judge(self, found: Found, caller: FrameType | None, own: str) -> None:
        """Raise `GuardError` if it is the workflow's doing. own: its top-level module."""
        __tracebackhide__ = True
        what, instead = found
        if what not in self._allow and (place := self._place(caller, own)):
            error = GuardError(f"{place}: workflow code calls {what}: {instead}")
            self._tell(error)
            raise error

    def _place(self, frame: FrameType | None, own: str) -> str:
        """file:line of the user's code that led to a call; empty if it is not his doing."""
        user = ""
        while frame is not None:
            module = frame.f_globals.get("__name__") or ""
            top = _top(module)
            if module.startswith("durable.interpreter") or (top == "durable" and not user):
                return user
            if self._is_innocent(frame, module, top):
                return ""
            if not user and _is_users(frame, top, own):
                user = f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
            frame = frame.f_back
        return user

    def _is_innocent(self, frame: FrameType, module: str, top: str) -> bool:
        """Whether what is called from there is nobody's business."""
        if top in MACHINERY or frame.f_code.co_name == "__del__":
            return True
        if any(module == one or module.startswith(f"{one}.") for one in self._allow):
            return True
        return any(frame.f_code is getattr(one, "__code__", None) for one in gc.callbacks)


def _top(module: str) -> str:
    return module.partition(".")[0]


def _is_users(frame: FrameType, top: str, own: str) -> bool:
    """Whether it is code of whoever wrote the workflow, though he may have installed it."""
    file = frame.f_code.co_filename
    if top == "durable" or top in sys.stdlib_module_names or file.startswith("<"):
        return False  # the last: what dataclasses and the like have written
    return top == own or not file.startswith(LIBRARIES)
