"""How a Redis store notices that something has changed: its generation counter.

Changes by this process count directly.  Those by others are told by the script that made
them, on a channel to which one thread listens.

Rules
-----
* There is one channel for each partition; one connection, to any node of a cluster, hears all.
* Whenever the thread has (again) begun to listen that counts as a change.  So whoever took
  a mark before that misses nothing, and `mark` need not wait for the server.
* What this store told itself is not counted twice: a message names its sender.
* The thread starts with the first `mark` and ends at `close`.  Idle it asks six times a minute
  whether the server is there: a connection may be lost without a word.
* A forked child begins anew (`forget`): it has no such thread.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError

__all__ = ["Watch"]

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0

QUIET = 10.0
"""Seconds of silence after which the server is asked whether it is there, and after as many more
is not."""


class Watch:
    """The generation of one store: it changes whenever the store may have.

    connect: makes a connection of its own (of redis-py), whose reads have no timeout.
    channels: the channels, and the partition of each. heard: told which may have changed.
    hears: whether changes by others are heard just now.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        channels: Mapping[bytes, int],
        heard: Callable[[Iterable[int]], None],
    ) -> None:
        self._connect = connect
        self._channels = channels
        self._heard = heard
        self._start()

    def _start(self) -> None:
        self.sender = os.urandom(8)
        self._changed = threading.Condition()
        self._generation = 0
        self._thread: threading.Thread | None = None
        self._connection: Any = None
        self._ended = threading.Event()
        self.hears = False

    def mark(self) -> int:
        """The generation as of now."""
        with self._changed:
            self._listen()
            return self._generation

    def wait(self, mark: int, timeout: float | None) -> None:
        """Return when the generation is not the mark any more, or after the timeout."""
        with self._changed:
            self._listen()
            self._changed.wait_for(lambda: self._generation != mark, timeout)

    def change(self) -> None:
        """Something has changed here."""
        with self._changed:
            self._generation += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let the thread end, and whoever waits return."""
        with self._changed:
            thread, self._thread = self._thread, None
            ended, self._ended = self._ended, threading.Event()
            ended.set()
            if self._connection is not None:
                _hang_up(self._connection)
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self.change()

    def renew(self) -> None:
        """Listen by another connection: this one may be to a server that is cut off."""
        with self._changed:
            if self._connection is not None:
                _hang_up(self._connection)

    def forget(self) -> None:
        """In a forked child: begin anew."""
        self._start()

    def _listen(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=[self._ended], name="durable-redis-watch", daemon=True
            )
            self._thread.start()

    # -- the thread ---------------------------------------------------------------------

    def _run(self, ended: threading.Event) -> None:
        pause = FIRST_PAUSE
        while not ended.is_set():
            connection = self._connect()
            with suppress(RedisError, OSError):
                connection.connect()
                with self._changed:
                    self._connection = connection
                    if ended.is_set():
                        return
                connection.send_command("SUBSCRIBE", *self._channels)
                for _ in self._channels:
                    connection.read_response()
                pause = FIRST_PAUSE
                self.hears = True
                self._heard(self._channels.values())
                self.change()
                self._hear(connection)
            self.hears = False
            connection.disconnect()
            ended.wait(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, LONGEST_PAUSE)

    def _hear(self, connection: Any) -> None:
        """Wait for messages, until there is nobody any more at the other end."""
        asked = False
        while True:
            if connection.can_read(timeout=QUIET):
                kind, *said = connection.read_response()
                asked = False
                if kind == b"message" and said[1] != self.sender:
                    self._heard([self._channels[said[0]]])
                    self.change()
            elif asked:
                return
            else:
                connection.send_command("PING")
                asked = True


def _hang_up(connection: Any) -> None:
    """End the read that another thread is in. To disconnect is for that thread alone."""
    sock = connection._sock
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
