"""The nodes of a Redis Cluster: which of them has what.

Rules
-----
* Who has a slot is asked of any node that answers, when a call finds that it has changed: a
  node sends elsewhere (MOVED), or is away.  Replicas are known, but only listened to.
* What a node announces as its address is used as it is; if it announces none, the address by
  which it was asked.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

from redis.connection import Connection, ConnectionPool, SSLConnection, parse_url
from redis.crc import key_slot
from redis.exceptions import ConnectionError, RedisError

from durable.stores.redis_link import options

__all__ = ["Node", "Nodes"]

Node = tuple[str, int]
"""Its host and its port."""

DEFAULT_PORT = 6379

ANSWER = 2.0
"""Seconds to wait for a node that is asked who has what: there are others."""


class Nodes:
    """The nodes, with the connections to each.

    address: ``redis://`` or ``rediss://`` with hosts, joined by commas. moved: called after
    somebody else has a slot.
    """

    def __init__(self, address: str, timeout: float, moved: Callable[[], None]) -> None:
        scheme, _, rest = address.partition("://")
        login, at, hosts = rest.rpartition("@")
        parse: Any = parse_url  # which has no types
        found = [parse(f"{scheme}://{login}{at}{host}") for host in hosts.split(",")]
        self._seeds = [(one["host"], one.get("port", DEFAULT_PORT)) for one in found]
        self._login = {key: found[0][key] for key in ("username", "password") if key in found[0]}
        self._kind = SSLConnection if scheme == "rediss" else Connection
        self._timeout = timeout
        self._moved = moved
        self._ranges: list[tuple[int, int, Node]] = []
        self._known: Sequence[Node] = self._seeds
        self._pools: dict[Node, ConnectionPool] = {}
        self._of: dict[str, Node] = {}
        self._stale = True
        self._asking = threading.Lock()

    # -- who has what -------------------------------------------------------------------

    def of(self, key: str) -> Node:
        """The master that has this key; any for none."""
        self._look()
        node = self._of.get(key)
        if node is None:
            slot = key_slot(key.encode())
            found = [one for first, last, one in self._ranges if first <= slot <= last or not key]
            if not found:
                self._stale = True
                raise ConnectionError(f"no node of the cluster has the slot {slot}")
            node = self._of[key] = found[0]
        return node

    def masters(self) -> list[Node]:
        """All that have slots."""
        self._look()
        return sorted({node for _, _, node in self._ranges})

    @property
    def is_known(self) -> bool:
        """Whether any node has ever answered."""
        return bool(self._ranges)

    def stale(self) -> None:
        """Somebody else may have a slot by now."""
        self._stale = True

    def _look(self) -> None:
        if self._stale:
            with self._asking:
                if self._stale:
                    self._ask()

    def _ask(self) -> None:
        error: Exception | None = None
        for node in _shuffled({*self._known, *self._seeds}):
            try:
                found = self._slots(node)
            except (RedisError, OSError) as raised:
                error = raised
                continue
            before, self._ranges = self._ranges, [(a, b, nodes[0]) for a, b, nodes in found]
            self._known = sorted({one for _, _, nodes in found for one in nodes})
            self._of, self._stale = {}, False
            if before and before != self._ranges:
                self._moved()
            return
        assert error is not None
        raise error

    def _slots(self, asked: Node) -> list[tuple[int, int, list[Node]]]:
        """From which slot to which is on which nodes, the master first."""
        connection = self._connection(asked, min(ANSWER, self._timeout))
        try:
            connection.connect()
            connection.send_command("CLUSTER", "SLOTS")
            return [
                (first, last, [((host or b"").decode() or asked[0], port) for host, port, *_ in of])
                for first, last, *of in connection.read_response()
            ]
        finally:
            connection.disconnect()

    # -- connections --------------------------------------------------------------------

    def pool(self, node: Node) -> ConnectionPool:
        """The connections to a node."""
        found = self._pools.get(node)
        if found is None:
            found = self._pools.setdefault(node, self._new_pool(node, self._timeout))
        return found

    def listener(self) -> Any:
        """A connection to any node, not connected, whose reads have no timeout."""
        return self._connection(random.choice(list(self._known)), None)

    def _connection(self, node: Node, answer: float | None) -> Any:
        return self._new_pool(node, answer).make_connection()

    def _new_pool(self, node: Node, answer: float | None) -> ConnectionPool:
        host, port = node
        wait = min(self._timeout, ANSWER)
        how = {**options(wait, answer), **self._login, "host": host, "port": port}
        return ConnectionPool(self._kind, **how)

    def close(self) -> None:
        """Close what nobody uses just now."""
        for pool in list(self._pools.values()):
            pool.disconnect(inuse_connections=False)

    def forget(self) -> None:
        """In a forked child: another thread may have held this."""
        self._asking = threading.Lock()


def _shuffled(nodes: set[Node]) -> list[Node]:
    return random.sample(sorted(nodes), len(nodes))
