"""Connections to a database server: one a thread, closed in time, never across a fork.

Rules
-----
* A connection belongs to the thread that opened it, and is closed when the thread ends.
* It belongs to the process, too: a forked child forgets what it inherited without closing
  it, for that would end the parent's session.
* One that cannot be trusted is dropped, and the next verb opens another.
* A server may end a session that rests: who has rested for long begins with a new one.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["ServerLink", "ServerLinks"]


class ServerLink:
    """A connection, which is closed with it. used: when, by the monotonic clock."""

    __slots__ = ("__weakref__", "_end", "connection", "used")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.used = time.monotonic()
        # Not __del__: of garbage in a cycle the connection might go first, with a warning.
        self._end = weakref.finalize(self, _close, connection, os.getpid())
        self._end.atexit = False

    def close(self) -> None:
        """Close the connection, unless it is the parent's."""
        self._end()


def _close(connection: Any, pid: int) -> None:
    if pid == os.getpid():
        with suppress(Exception):  # it is of no use any more
            connection.close()


class ServerLinks:
    """The connections of one store.

    connect: opens one. rest: seconds after which one that nobody used is not used any more.
    """

    def __init__(self, connect: Callable[[], Any], rest: float = math.inf) -> None:
        self._connect = connect
        self._rest = rest
        self._forget()
        _all.add(self)

    def _forget(self) -> None:
        self._mine = threading.local()
        self._open: weakref.WeakSet[ServerLink] = weakref.WeakSet()
        self._lock = threading.Lock()

    def mine(self) -> Any:
        """This thread's connection, which is opened if there is none."""
        link = getattr(self._mine, "link", None)
        now = time.monotonic()
        if link is not None and now - link.used > self._rest:
            self.drop_mine()
            link = None
        if link is None:
            link = self._mine.link = self.another()
        link.used = now
        return link.connection

    def another(self) -> ServerLink:
        """A connection for somebody who closes it himself, at the latest with the store."""
        link = ServerLink(self._connect())
        with self._lock:
            self._open.add(link)
        return link

    def drop_mine(self) -> None:
        """Close this thread's connection."""
        link, self._mine.link = getattr(self._mine, "link", None), None
        if link is not None:
            link.close()

    def close(self) -> None:
        """Close all of them; the next verb opens another."""
        with self._lock:
            found, self._open = list(self._open), weakref.WeakSet()
            self._mine = threading.local()
        for link in found:
            link.close()


_all: weakref.WeakSet[ServerLinks] = weakref.WeakSet()

_inherited: list[Any] = []
"""In a forked child: connections of the parent, which are never closed here."""


def _in_child() -> None:
    for links in list(_all):
        _inherited.extend(link.connection for link in links._open)
        links._forget()


os.register_at_fork(after_in_child=_in_child)
