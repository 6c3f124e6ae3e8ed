"""Connections to one SQLite file: one a thread, closed in time, never across a fork.

Rules
-----
* A connection is used under its link's lock.  `Links.close` takes the same locks, so it
  waits for the verbs under way and never closes a connection under somebody.
* A thread's connection is closed when the thread ends.
* A forked child neither uses nor closes what it inherited: SQLite's locks belong to the
  parent, and closing a connection may delete a log that somebody else still needs.  So
  inherited connections are never closed, not even by the end of the interpreter.
* While a process forks none of our threads is inside SQLite (`freeze`): the library has
  locks of its own, for its memory, that the child would find locked for ever.
* POSIX drops all locks of a process on a file when it closes *any* descriptor of it.  So
  nothing but SQLite opens an existing database, and a new file is made under `_making`.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable

from durable.errors import StoreError

__all__ = ["Link", "Links"]

FREEZING = 10.0
"""Seconds that a fork waits for a verb; more than one takes, short of a disk that hangs."""

_making = threading.Lock()


class Link:
    """A connection, its one cursor, and what is set on it.

    full: whether it syncs the log at each commit now (``PRAGMA synchronous``).
    """

    __slots__ = ("connection", "cursor", "full", "lock", "pid")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection: sqlite3.Connection | None = connection
        self.cursor = connection.cursor()
        self.full = True
        self.lock = threading.Lock()
        self.pid = os.getpid()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; its lock is held, or nobody else can have the link."""
        connection, self.connection = self.connection, None
        if connection is not None and self.pid == os.getpid():
            connection.close()


class _Held:
    """What a thread holds: it goes when the thread ends, and the link with it."""

    __slots__ = ("__weakref__", "link")

    def __init__(self, link: Link) -> None:
        self.link = link


class Links:
    """All connections of one store to one file."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], path: str) -> None:
        self._connect = connect
        self._path = path
        self._start()

    def _start(self) -> None:
        self._local = threading.local()
        self._all: set[Link] = set()
        self._lock = threading.Lock()
        self._connecting = threading.Lock()

    def mine(self) -> Link:
        """The link of this thread; made if there is none."""
        held: _Held | None = getattr(self._local, "held", None)
        if held is not None and held.link.connection is not None:
            return held.link
        held = _Held(self.another())
        weakref.finalize(held, _let_go, held.link, self._all)
        self._local.held = held
        return held.link

    def another(self) -> Link:
        """A link that is no thread's."""
        with self._connecting:
            self._make_file()
            link = Link(self._connect())
            with self._lock:
                self._all.add(link)
        return link

    def drop_mine(self) -> None:
        """Close the link of this thread, if it has one."""
        held: _Held | None = getattr(self._local, "held", None)
        if held is not None:
            with held.link.lock:
                self.drop(held.link)

    def close(self) -> None:
        """Close them all, when the verbs under way have ended."""
        with self._lock:
            links = list(self._all)
        for link in links:
            with link.lock:
                self.drop(link)

    def freeze(self) -> list[threading.Lock]:
        """Wait until none of our threads is inside SQLite, and keep them out: the locks."""
        frozen = [self._connecting] if self._connecting.acquire(timeout=FREEZING) else []
        with self._lock:
            links = list(self._all)
        return frozen + [link.lock for link in links if link.lock.acquire(timeout=FREEZING)]

    def forget(self) -> None:
        """In a forked child: begin anew, and leave alone what is the parent's."""
        for link in self._all:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(link))  # for ever: see the rules
        self._start()

    def drop(self, link: Link) -> None:
        """Close a link; its lock is held, or nobody else has it."""
        with self._lock:
            self._all.discard(link)
        link.close()

    def _make_file(self) -> None:
        """A new file belongs to its user alone."""
        if os.path.exists(self._path):
            return
        folder = os.path.dirname(self._path)
        if not os.path.isdir(folder):
            raise StoreError(f"the directory {folder} of the database does not exist")
        with _making:
            try:
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            except FileExistsError:
                pass  # another process, or thread, was faster
            except OSError as error:
                raise StoreError(f"cannot make the file {self._path}: {error.strerror}") from error


def _let_go(link: Link, links: set[Link]) -> None:
    """The thread has ended. In a forked child it ended at the fork: then nothing is done."""
    if link.pid == os.getpid() and link.lock.acquire(timeout=1):
        links.discard(link)
        link.close()
        link.lock.release()
