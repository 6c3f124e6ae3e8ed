"""How a SQLite store notices that something has changed: its generation counter.

Changes by this process count directly.  Those by others show in ``PRAGMA data_version``,
which costs microseconds and says whether any other connection has committed.

Rules
-----
* `mark` looks at the file itself.  So a change after it is noticed by the `wait` that
  follows, whether or not anybody was watching in between.
* While somebody waits one thread looks at the file: every 2 ms at first, then less often,
  down to every 20 ms: what costs is not the look but waking up (0.1 ms), and an idle
  process shall take less than half a percent of a core.  The thread ends when nobody has
  waited for a second, or at `close`.
* A look that fails counts as a change: who waits goes on, and meets the error himself.
* A forked child begins anew (`forget`): it has no such thread, and must not look through
  the parent's connection.
"""

from __future__ import annotations

import sqlite3
import threading
import time

from durable.errors import StoreError
from durable.stores.sqlite_link import Link, Links

__all__ = ["Watch"]

SOON = 0.002
LATE = 0.020
SLOWING = 1.1
IDLE = 1.0


class Watch:
    """The generation of one store: it changes whenever the file may have."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._wanted = threading.Condition(self._lock)
        self._generation = 0
        self._waiting = 0
        self._pause = SOON
        self._link: Link | None = None
        self._seen: int | None = None
        self._thread: threading.Thread | None = None

    def mark(self) -> int:
        """The generation as of now."""
        with self._lock:
            self._look()
            return self._generation

    def wait(self, mark: int, timeout: float | None) -> None:
        """Return when the generation is not the mark any more, or after the timeout."""
        with self._lock:
            if self._generation != mark:
                return
            self._look()
            self._waiting += 1
            self._pause = SOON
            self._watch()
            try:
                self._changed.wait_for(lambda: self._generation != mark, timeout)
            finally:
                self._waiting -= 1

    def change(self) -> None:
        """Something has changed here."""
        with self._lock:
            self._announce()

    def close(self) -> None:
        """Let the thread end, and whoever waits return."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._link = self._seen = None
            self._announce()
            self._wanted.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def forget(self) -> None:
        """In a forked child: begin anew."""
        self._start()

    # -- under the lock -----------------------------------------------------------------

    def _announce(self) -> None:
        self._generation += 1
        self._changed.notify_all()

    def _look(self) -> None:
        try:
            version = self._version()
        except (sqlite3.Error, StoreError):
            version = None
            self._link = None
        if version is None or version != self._seen:
            self._seen = version
            self._announce()

    def _version(self) -> int:
        link = self._link
        if link is None or link.connection is None:
            link = self._link = self._links.another()
        with link.lock:
            [version] = link.cursor.execute("PRAGMA data_version").fetchone()
            return int(version)

    def _watch(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="durable-sqlite-watch", daemon=True
            )
            self._thread.start()
        else:
            self._wanted.notify()

    # -- the thread ---------------------------------------------------------------------

    def _run(self) -> None:
        while self._wake_up():
            while True:
                time.sleep(self._pause)
                if not self._waiting or not self._same():
                    break
                self._pause = min(self._pause * SLOWING, LATE)

    def _wake_up(self) -> bool:
        """Look properly; False if the thread is to end."""
        with self._lock:
            me = threading.current_thread()
            if not self._waiting and self._thread is me:
                self._wanted.wait(IDLE)
            if self._thread is not me:
                return False
            if not self._waiting:
                self._thread = None
                return False
            self._look()
            return True

    def _same(self) -> bool:
        """A look without the lock, as cheap as can be: most looks see nothing."""
        link = self._link
        if link is None:
            return False
        try:
            with link.lock:
                [version] = link.cursor.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return False
        return bool(version == self._seen)
