"""A replay can be stopped: by Ctrl-C, or because a step of the workflow does not end.

Rules
-----
* What is raised in the step is a `StepAborted`: a `KeyboardInterrupt` would be taken for the
  workflow's own, and be held against it.
* Ctrl-C ends the command, and leaves no verdict, whatever the workflow made of it.
* A step may take as long as a worker lets it take.  The clock runs only while a coroutine does,
  and begins again with each event.
* Signals reach the main thread only; handlers and the timer are put back as they were.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from durable.current import running
from durable.interpreter import StepAborted, StepInterrupted

STEP_TIMEOUT = 10.0
"""Seconds, as the default of a worker is."""

LOOKS = 10
"""How often a step is looked at until its time is up."""

Handler = Callable[[int, FrameType | None], None]


class Stopper:
    """Raises in the step that runs. step_timeout: seconds that it may take."""

    def __init__(self, step_timeout: float) -> None:
        self._step_timeout = step_timeout
        self._seen: tuple[Any, int] = (None, -1)
        self._since = 0.0
        self.interrupted = False

    def interrupt(self, signum: int, frame: FrameType | None) -> None:
        """Ctrl-C was pressed."""
        self.interrupted = True
        _stop(running.get(), StepInterrupted("interrupted"))

    def look(self, signum: int, frame: FrameType | None) -> None:
        """Some time has passed."""
        coroutine = running.get()
        if coroutine is None:
            self._seen = (None, -1)
            return
        seen, now = (coroutine.interpreter, coroutine.interpreter.event_seq), time.monotonic()
        if seen != self._seen:
            self._seen, self._since = seen, now
        elif now - self._since >= self._step_timeout:
            why = f"a step took longer than {self._step_timeout:g} s"
            _stop(coroutine, StepAborted(why, coroutine.line(), coroutine.interpreter.seq))


def _stop(coroutine: Any, error: StepAborted) -> None:
    if coroutine is not None:
        coroutine.interpreter.broken = error  # for code that swallows what is raised in it
    raise error


@contextmanager
def stoppable() -> Iterator[None]:
    """Around a replay. Raises `KeyboardInterrupt` if Ctrl-C was pressed meanwhile."""
    stopper = Stopper(STEP_TIMEOUT)
    try:
        with _handling(stopper):
            yield
    except BaseException:
        if not stopper.interrupted:
            raise
    if stopper.interrupted:
        raise KeyboardInterrupt


@contextmanager
def _handling(stopper: Stopper) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Handler] = {}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, say
        handlers[signal.SIGINT] = stopper.interrupt
    clock = hasattr(signal, "setitimer")  # not on Windows
    if clock:
        handlers[signal.SIGALRM] = stopper.look
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    every = STEP_TIMEOUT / LOOKS
    timer = signal.setitimer(signal.ITIMER_REAL, every, every) if clock else (0.0, 0.0)
    try:
        yield
    finally:
        if clock:
            signal.setitimer(signal.ITIMER_REAL, *timer)
        for number, earlier in before.items():
            signal.signal(number, earlier)
