"""The watchdog: a step of a workflow that does not end is shown, and then stopped.

It is asked at every tick of the lease's thread.  After `SHOW_AFTER` it logs the stack of
the loop; after ``step_timeout`` it raises `StepAborted` in the loop's thread, and the
instance is blocked.  Code that cannot even be interrupted (inside a C function) makes the
whole incarnation be given up.
"""

from __future__ import annotations

import ctypes
import logging
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from durable.interpreter import StepAborted

logger = logging.getLogger("durable.worker")

SHOW_AFTER = 2.0
GIVE_UP_AFTER = 10.0
"""Seconds after the first interruption."""


class Watchdog:
    """Watches the steps of one loop.

    current: gives what is stepped (or None) and the number of the step.
    """

    def __init__(
        self,
        current: Callable[[], tuple[Any, int]],
        step_timeout: float,
        give_up: Callable[[], None],
    ) -> None:
        self._current = current
        self._step_timeout = step_timeout
        self._give_up = give_up
        self._seen: tuple[Any, int] = (None, -1)
        self._since = 0.0
        self._shown = False
        self._fired_at = 0.0
        self.thread_id: int | None = None

    def look(self) -> None:
        """One look, from another thread than the loop's."""
        held, step = self._current()
        if held is None or (held, step) != self._seen:
            self._seen = (held, step)
            self._since = time.monotonic()
            self._shown = False
            self._fired_at = 0.0
            return
        now = time.monotonic()
        if not self._shown and now - self._since >= SHOW_AFTER:
            self._shown = True
            logger.warning("a step of %s does not end:\n%s", held.instance.id, self._stack())
        if now - self._since >= self._step_timeout:
            if self._fired_at and now - self._fired_at >= GIVE_UP_AFTER:
                logger.critical("%s cannot be interrupted: giving up", held.instance.id)
                self._give_up()
                return
            self._fired_at = self._fired_at or now
            self._interrupt(held, step)

    def _interrupt(self, held: Any, step: int) -> None:
        if self._current() != (held, step) or self.thread_id is None:
            return
        if held.interpreter is not None:  # for code that swallows what is raised in it
            held.interpreter.broken = StepAborted(
                f"a step took longer than {self._step_timeout:g} s and was stopped"
            )
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self.thread_id), ctypes.py_object(StepAborted)
        )

    def _stack(self) -> str:
        frame = sys._current_frames().get(self.thread_id or 0)
        return "".join(traceback.format_stack(frame, limit=None)) if frame else "(no stack)"
