"""A proxy before a server, that breaks connections at a chosen moment.

    proxy = FaultProxy(port, COMMIT["mysql"])
    store = open_store(proxy.url(url))
    proxy.cut("after")  # the next COMMIT is done, and its answer lost

Rules
-----
* ``before``: what was to be done never reaches the server.  ``after``: the server has answered,
  so it is done, and the client hears nothing of it.  Both end with a reset, as from a router
  that has forgotten the connection; the server's side is closed in good order.
* ``blackhole``: connections stay, and what is sent goes nowhere, both ways.  A server that is
  frozen is not that: its kernel takes what is sent, and hands it over later.
* Every fault is counted: a test of faults that did not happen is none.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress

__all__ = ["FaultProxy", "Trigger", "commit_of_mysql", "commit_of_postgresql", "scripts"]

Trigger = Callable[[], Callable[[bytes], bool]]
"""Makes, for one connection, what tells whether the bytes that a client sends are the moment."""

RESET = struct.pack("ii", 1, 0)
CHUNK = 1 << 16


class FaultProxy:
    """Listens on a port of its own, in the place of a server on ``server_port``.

    latency: seconds that each way takes, may be changed at any time. hits: how often each fault
    happened.
    """

    def __init__(self, server_port: int, trigger: Trigger = lambda: lambda data: False) -> None:
        self.server_port = server_port
        self.trigger = trigger
        self.latency: Callable[[], float] = float
        self.hits: Counter[str] = Counter()
        self._next = ""
        self._lock = threading.Lock()
        self._healed = threading.Event()
        self._healed.set()
        self._closed = threading.Event()
        self._pipes: list[_Pipe] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="fault-proxy", daemon=True).start()

    def url(self, url: str) -> str:
        """The address of the same place, by way of the proxy."""
        return url.replace(f":{self.server_port}/", f":{self.port}/")

    def cut(self, when: str) -> None:
        """Cut at the next trigger: ``"before"`` or ``"after"``; or ``"strand"`` the connection
        there, so that the server waits for the rest."""
        with self._lock:
            self._next = when

    def spare(self) -> None:
        """Cut no more."""
        self.cut("")

    def blackhole(self) -> None:
        """Let everything vanish, on all connections, until `heal`."""
        self._healed.clear()

    def strand(self) -> None:
        """Let everything vanish on the connections that there are, for ever: new ones work."""
        with self._lock:
            for pipe in self._pipes:
                pipe.stranded = True

    def heal(self) -> None:
        """End a black hole: connections that were in it are reset, new ones work."""
        self._healed.set()
        with self._lock:
            pipes = list(self._pipes)
        for pipe in pipes:
            if pipe.swallowed:
                pipe.reset()

    def close(self) -> None:
        """Reset all connections, and take no more."""
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            pipes = list(self._pipes)
        for pipe in pipes:
            pipe.reset()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            pipe = _Pipe(self, client)
            with self._lock:
                self._pipes.append(pipe)
            threading.Thread(target=pipe.run, name="fault-pipe", daemon=True).start()

    def fault(self) -> str:
        """What is to be done at a trigger, once."""
        with self._lock:
            found, self._next = self._next, ""
            return found

    def count(self, fault: str) -> None:
        with self._lock:
            self.hits[fault] += 1

    def forget(self, pipe: _Pipe) -> None:
        with self._lock:
            self._pipes.remove(pipe)

    def passes(self, pipe: _Pipe) -> bool:
        """Whether a chunk goes on, after the time that its way takes."""
        if seconds := self.latency():
            self.count("delay")
            self._closed.wait(seconds)
        if self._healed.is_set() and not pipe.stranded:
            return True
        if not pipe.swallowed:
            pipe.swallowed = True
            self.count("blackhole")
        return False


class _Pipe:
    """One connection. swallowed: whether something of it has vanished in a black hole.
    stranded: whether everything does."""

    def __init__(self, proxy: FaultProxy, client: socket.socket) -> None:
        self.proxy = proxy
        self.client = client
        self.server: socket.socket | None = None
        self.swallowed = self.stranded = False
        self._triggered = proxy.trigger()
        self._cutting = False

    def run(self) -> None:
        """Both ways, until one of them ends."""
        try:
            self.server = socket.create_connection(("127.0.0.1", self.proxy.server_port))
        except OSError:
            self.reset()
        else:
            for one in (self.client, self.server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._way, args=[self._down], daemon=True)
            back.start()
            self._way(self._up)
            back.join()
            self.server.close()
        self.client.close()
        self.proxy.forget(self)

    def reset(self) -> None:
        """End it: the client's side as if nobody knew it any more."""
        with suppress(OSError):
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        for one in (self.client, self.server):
            if one is not None:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RD if one is self.client else socket.SHUT_RDWR)

    def _way(self, way: Callable[[], None]) -> None:
        try:
            way()
        except OSError:
            pass
        finally:
            self.reset()

    def _up(self) -> None:
        assert self.server is not None
        while data := self.client.recv(CHUNK):
            fault = self.proxy.fault() if self._triggered(data) else ""
            if fault == "before":
                self.proxy.count("before")
                return
            if fault == "strand":
                self.stranded = True
            self._cutting = self._cutting or fault == "after"
            if self.proxy.passes(self):
                self.server.sendall(data)

    def _down(self) -> None:
        assert self.server is not None
        while data := self.server.recv(CHUNK):
            if self._cutting:
                self.proxy.count("after")
                return
            if self.proxy.passes(self):
                self.client.sendall(data)


# -- triggers ---------------------------------------------------------------------------


def commit_of_mysql() -> Callable[[bytes], bool]:
    """The command COMMIT. Without the byte before it it would be found in SET AUTOCOMMIT."""
    return lambda data: b"\x03COMMIT" in data


class _Messages:
    """Reads what a client of PostgreSQL sends, to find COMMIT: as a query of its own; or as a
    statement that was prepared, which psycopg makes of what it has sent five times."""

    def __init__(self) -> None:
        self._buffer = b""
        self._is_new = True
        self._commits: set[bytes] = set()

    def __call__(self, data: bytes) -> bool:
        self._buffer += data
        found = False
        while (message := self._message()) is not None:
            kind, body = message[:1], message[5:]
            if kind == b"Q":
                found |= body == b"COMMIT\0"
            elif kind == b"P":
                name, query, _ = body.split(b"\0", 2)
                self._commits.discard(name)
                if query == b"COMMIT":
                    self._commits.add(name)
            elif kind == b"B":
                found |= body.split(b"\0", 2)[1] in self._commits
        return found

    def _message(self) -> bytes | None:
        """The next that is there as a whole; the very first has no kind."""
        start = 0 if self._is_new else 1
        if len(self._buffer) < start + 4:
            return None
        size = start + int.from_bytes(self._buffer[start : start + 4], "big")
        if len(self._buffer) < size:
            return None
        message, self._buffer = self._buffer[:size], self._buffer[size:]
        # A client that would like to encrypt asks for that first, in eight bytes.
        self._is_new = self._is_new and size == 8
        return message if start else b"-" + message


def commit_of_postgresql() -> Callable[[bytes], bool]:
    """COMMIT, in each way in which psycopg sends it."""
    return _Messages()


def scripts(digests: Iterable[str]) -> Trigger:
    """The call of one of these scripts of Redis."""
    text = b"|".join(digest.encode() for digest in digests)
    pattern = re.compile(rb"EVALSHA\r\n\$40\r\n(" + text + rb")")
    return lambda: lambda data: pattern.search(data) is not None
