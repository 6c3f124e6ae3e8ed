"""How scripts are called on a Redis Cluster: as `redis_link` does on one server.

Rules
-----
* All that goes to one node goes in one write, and all nodes work at the same time.
* What was not applied is repeated while the timeout lasts, as a failover takes seconds: when
  the node could not be reached, or the cluster is being changed (CLUSTERDOWN, TRYAGAIN), after
  it was asked anew who has what; and what only reads, whatever became of it.  A slot that has
  moved, or moves, says where to (MOVED, ASK).
* What a node may have done is never sent again: it is unknown, as on one server.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import (
    AskError,
    ConnectionError,
    MovedError,
    NoScriptError,
    ResponseError,
)

from durable.errors import DurableError
from durable.store import Unavailable
from durable.stores.redis_keys import Script
from durable.stores.redis_link import ERRORS, translated
from durable.stores.redis_nodes import Node, Nodes

__all__ = ["ClusterLink"]

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.2


@dataclass(slots=True)
class _Call:
    """A command for whoever has a key, or for one node, and what has become of it."""

    command: tuple[Any, ...]
    key: str = ""
    node: Node | None = None
    text: bytes = b""  # of the script, if the node does not know it
    reads: bool = False
    sent_on: Node | None = None  # by a node that has not got the key
    asking: bool = False
    answer: Any = None
    error: BaseException | None = None
    sent: bool = False

    def fail(self, error: BaseException, *, sent: bool) -> None:
        self.error, self.sent = error, sent

    def can_go_elsewhere(self) -> bool:
        """Whether it is to be repeated at once, as that node could not do it."""
        if isinstance(self.error, NoScriptError) and self.text:
            self.command = ("EVAL", self.text, *self.command[2:])
        elif isinstance(self.error, AskError):
            self.sent_on, self.asking = self.error.node_addr, type(self.error) is AskError
        else:
            return False
        return True

    def can_wait(self) -> bool:
        """Whether it is to be repeated later: it was not applied, or it only reads."""
        if self.error is None:
            return False
        self.sent_on, self.asking = None, False
        may_do = not self.sent or self.reads
        return ERRORS.action(self.error).redo or (may_do and _is_away(self.error))


def _is_away(error: BaseException) -> bool:
    return issubclass(ERRORS.action(error).raises, Unavailable)


class ClusterLink:
    """The way to a cluster, as `redis_link.Link` is that to one server.

    moved: called after somebody else has a part of the keys.
    """

    def __init__(self, address: str, url: str, timeout: float, moved: Callable[[], None]) -> None:
        self._url = url
        self._timeout = timeout
        self._nodes = Nodes(address, timeout, moved)

    def listener(self) -> Any:
        """A connection of one's own, not connected, whose reads have no timeout."""
        return self._nodes.listener()

    def close(self) -> None:
        """Close what nobody uses just now."""
        self._nodes.close()

    def forget(self) -> None:
        """In a forked child: begin anew."""
        self._nodes.forget()

    def call(self, script: Script, *args: Any) -> Any:
        """Run a script. args: how many keys, the keys, the request and the rest."""
        return _answer(self.calls(script, [args])[0])

    def calls(self, script: Script, requests: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run a script for each request: what it answers, or a `DurableError`."""
        return self._run(
            [
                _Call(("EVALSHA", script.sha, *args), args[1], None, script.text, script.reads)
                for args in requests
            ]
        )

    def command(self, *args: Any, key: str | None = None) -> Any:
        """Run a command that changes nothing. key: what it looks at, if anything."""
        return _answer(self._run([_Call(args, key or "", reads=True)])[0])

    def each(self, *args: Any) -> list[Any]:
        """Run a command that changes nothing on each master."""
        try:
            masters = self._nodes.masters()
        except ERRORS.caught as error:
            raise translated(error, False, self._url, self._timeout) from error
        calls = [_Call(args, node=node, reads=True) for node in masters]
        return [_answer(answer) for answer in self._run(calls)]

    # -- what is made of errors ---------------------------------------------------------

    def _run(self, calls: list[_Call]) -> list[Any]:
        give_up = time.monotonic() + self._timeout
        pause, pending = FIRST_PAUSE, calls
        while True:
            self._exchange(pending)
            failed = [call for call in pending if call.error is not None]
            for call in failed:
                self._learn(call.error)
            pending = [call for call in failed if call.can_go_elsewhere()]
            later = [call for call in failed if call not in pending and call.can_wait()]
            if not (pending or later) or time.monotonic() >= give_up or not self._nodes.is_known:
                return [self._outcome(call) for call in calls]
            if later:
                time.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(pause * 1.5, LONGEST_PAUSE)
            pending += later

    def _learn(self, error: BaseException | None) -> None:
        if error is not None and (isinstance(error, MovedError) or _is_away(error)):
            self._nodes.stale()

    def _outcome(self, call: _Call) -> Any:
        if call.error is None:
            return call.answer
        found = translated(call.error, call.sent and not call.reads, self._url, self._timeout)
        found.__cause__ = call.error
        return found

    # -- one attempt --------------------------------------------------------------------

    def _exchange(self, calls: Iterable[_Call]) -> None:
        """Send each to its node, and then read what they answer."""
        by_node: dict[Node, list[_Call]] = {}
        for call in calls:
            call.error = None
            try:
                node = call.sent_on or call.node or self._nodes.of(call.key)
            except ERRORS.caught as error:
                call.fail(error, sent=False)
            else:
                by_node.setdefault(node, []).append(call)
        reading: list[tuple[Node, Any, list[_Call]]] = []
        try:
            for node, some in by_node.items():
                connection = self._send(node, some)
                if connection is not None:
                    reading.append((node, connection, some))
            while reading:
                node, connection, some = reading[-1]
                _read(connection, some)
                reading.pop()
                self._nodes.pool(node).release(connection)
        finally:
            for node, connection, _ in reading:  # interrupted: what comes is not for the next
                connection.disconnect()
                self._nodes.pool(node).release(connection)

    def _send(self, node: Node, calls: Sequence[_Call]) -> Any:
        """The connection by which they were sent; None if that failed."""
        pool = self._nodes.pool(node)
        try:
            connection: Any = pool.get_connection()
        except ERRORS.caught as error:
            for call in calls:
                call.fail(error, sent=False)
            return None
        try:
            commands: list[tuple[Any, ...]] = []
            for call in calls:
                commands += [("ASKING",), call.command] if call.asking else [call.command]
            connection.send_packed_command(connection.pack_commands(commands))
        except BaseException as error:
            connection.disconnect()
            pool.release(connection)
            if not isinstance(error, ERRORS.caught):
                raise
            for call in calls:
                call.fail(error, sent=True)
            return None
        return connection


def _read(connection: Any, calls: Sequence[_Call]) -> None:
    """What a node answers to each. What it refuses leaves the connection as good as it was."""
    error: BaseException | None = None
    for call in calls:
        if error is not None:
            call.fail(ConnectionError(f"the connection was lost before: {error}"), sent=True)
            continue
        try:
            if call.asking:
                connection.read_response()
            call.answer = connection.read_response()
        except ResponseError as refused:
            call.fail(refused, sent=True)
        except ERRORS.caught as broken:
            connection.disconnect()
            call.fail(broken, sent=True)
            error = broken


def _answer(found: Any) -> Any:
    if isinstance(found, DurableError):
        raise found
    return found
