"""How the store of a database server notices changes: a generation counter, and hints.

Changes by this process count directly.  Those by others come as hints, which one thread
waits for while somebody in this process waits.

Rules
-----
* A hint may be lost (a connection that broke): so a wait also ends after `LONGEST` seconds,
  and whoever waits looks for himself.
* `mark` is taken before the store is looked at; the thread listens before it first lets
  anybody wait.  So a change after the mark ends the wait that follows.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from abc import ABC, abstractmethod

__all__ = ["ServerWatch"]

LONGEST = 5.0
IDLE = 10.0
AGAIN = 0.5


class ServerWatch(ABC):
    """The generation of one store."""

    def __init__(self) -> None:
        self.forget()
        _all.add(self)

    def forget(self) -> None:
        """In a forked child: begin anew."""
        self._changed = threading.Condition()
        self._generation = 0
        self._waiting = 0
        self._listening = False
        self._last_wait = 0.0
        self._thread: threading.Thread | None = None

    @abstractmethod
    def listen(self) -> None:
        """Begin to listen; raises if that is not possible."""

    @abstractmethod
    def heard(self, timeout: float) -> bool:
        """Wait for hints; raises if the connection is lost."""

    @abstractmethod
    def deafen(self) -> None:
        """Close what listens."""

    def mark(self) -> int:
        """The generation as of now."""
        with self._changed:
            self._last_wait = time.monotonic()
            self._watch()
            return self._generation

    def wait(self, mark: int, timeout: float | None) -> None:
        """Return when the generation is not the mark any more, or after the timeout."""
        limit = LONGEST if timeout is None else min(timeout, LONGEST)
        with self._changed:
            self._last_wait = time.monotonic()
            self._watch()
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: self._generation != mark, limit)
            finally:
                self._waiting -= 1

    def change(self) -> None:
        """This process has changed something."""
        self._told()

    def _told(self) -> None:
        """Something has changed."""
        with self._changed:
            self._generation += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let the thread end, and whoever waits return."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._generation += 1
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    # -- the thread ---------------------------------------------------------------------

    def _watch(self) -> None:
        """Under the lock: have a thread that listens."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="durable-watch", daemon=True)
            self._thread.start()
        self._changed.wait_for(lambda: self._listening, AGAIN)

    def _run(self) -> None:
        me = threading.current_thread()
        try:
            while self._wanted(me):
                self._turn()
        finally:
            self._listening = False
            self.deafen()

    def _turn(self) -> None:
        try:
            if not self._listening:
                self.listen()
                with self._changed:
                    self._listening = True
                self._told()  # what was missed meanwhile
            if self.heard(0.5):
                self._told()
        except Exception:  # of the connection; who waits meets the error himself
            self._listening = False
            self.deafen()
            self._told()
            time.sleep(AGAIN)

    def _wanted(self, me: threading.Thread) -> bool:
        with self._changed:
            idle = not self._waiting and time.monotonic() - self._last_wait > IDLE
            if self._thread is me and idle:
                self._thread = None
            return self._thread is me


_all: weakref.WeakSet[ServerWatch] = weakref.WeakSet()


def _in_child() -> None:
    for watch in list(_all):
        watch.forget()


os.register_at_fork(after_in_child=_in_child)
