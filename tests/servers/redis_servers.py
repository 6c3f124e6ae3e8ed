"""Redis and a Redis Cluster: every write is on disk before it is acknowledged."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servers.base import Server, with_prefix
from servers.processes import Process, free_port, make_folder

# Seconds for an answer of a server that is frozen.
ANSWER = 2

SLOTS = 16_384
MASTERS = 3
# Milliseconds until the others take a silent node for gone.
NODE_TIMEOUT = 3000


def node(folder: Path, *options: str) -> Process:
    """A Redis server on a folder of its own."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    # A replica is given its data at once, not after five seconds in case others want it too.
    command += ["--maxmemory-policy", "noeviction", "--repl-diskless-sync-delay", "0", *options]
    return Process(command, folder, port)


def connect(url: str) -> Any:
    """A client of one node, that asks once: by itself redis-py tries ten times."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    retry = Retry(NoBackoff(), 0)
    address = url.replace("redis+cluster://", "redis://")
    return redis.Redis.from_url(address, retry=retry, socket_timeout=ANSWER, decode_responses=True)


def remove_keys(client: Any, part: str) -> None:
    """Remove each key whose name has this part, one by one as they may be on several nodes."""
    for key in client.scan_iter(match=f"*{part}*", count=1000):
        client.unlink(key)


class Redis(Server):
    title = "Redis"
    variable = "DURABLE_TEST_REDIS"
    programs = ("redis-server",)
    package = "redis-server"
    driver = "redis"
    driver_package = "redis"

    def make(self) -> str:
        password = secrets.token_hex(8)
        self.processes = [node(self.folder, "--requirepass", password)]
        return f"redis://default:{password}@127.0.0.1:{self.processes[0].port}/0"

    def ping(self) -> None:
        with connect(self.url) as client:
            client.ping()

    def create(self, name: str) -> str:
        return with_prefix(self.url, name)

    def drop(self, name: str) -> None:
        with connect(self.url) as client:
            remove_keys(client, name)


class RedisCluster(Server):
    """Three masters, and `replicas` of each; `processes` are its nodes, the masters first."""

    title = "Redis Cluster"
    variable = "DURABLE_TEST_REDIS_CLUSTER"
    programs = ("redis-server",)
    package = "redis-server"
    driver = "redis"
    driver_package = "redis"

    def __init__(self, url: str = "", *, replicas: int = 0) -> None:
        self.replicas = replicas
        # The nodes keep in their folders whom they know, so they are joined once.
        self._joined = False
        super().__init__(url)

    def make(self) -> str:
        options = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]
        options += ["--cluster-node-timeout", str(NODE_TIMEOUT)]
        options += ["--cluster-announce-ip", "127.0.0.1"]
        for number in range(MASTERS * (1 + self.replicas)):
            folder = make_folder(f"node-{number}", self.folder)
            self.processes.append(node(folder, *options))
        return f"redis+cluster://127.0.0.1:{self.processes[0].port}"

    def start(self) -> None:
        if not self._joined and self.is_ours:
            for process in self.processes:
                process.start()
            self.await_ready(self._answer)
            self._share_out()
            self._meet()
            self.await_ready(self._know_each_other)
            self._replicate()
            self._joined = True
        super().start()

    def ping(self) -> None:
        """Every node finds the cluster whole, and every replica has its master."""
        for client in self._clients():
            state = client.execute_command("CLUSTER INFO")["cluster_state"]
            link = client.info("replication").get("master_link_status", "up")
            if (state, link) != ("ok", "up"):
                raise ConnectionError(f"the state of the cluster is {state}, a replica is {link}")

    def create(self, name: str) -> str:
        return with_prefix(self.url, name)

    def drop(self, name: str) -> None:
        if not self.is_ours:
            from redis.cluster import RedisCluster as Client

            with Client.from_url(self.url.replace("redis+cluster://", "redis://")) as client:
                remove_keys(client, name)
        # Each node by itself: a client of the cluster takes 0.2 s to be made.
        for client in self._clients() if self.is_ours else ():
            if client.info("replication")["role"] == "master":
                remove_keys(client, name)

    # -- its making ---------------------------------------------------------------------

    def _clients(self) -> Iterator[Any]:
        """A client of each node; of an outside cluster only of the one that is named."""
        ours = [f"redis://127.0.0.1:{process.port}" for process in self.processes]
        for url in ours or [self.url]:
            with connect(url) as client:
                yield client

    def _answer(self) -> None:
        for client in self._clients():
            client.ping()

    def _share_out(self) -> None:
        """Before they meet: what a node has to say it says at once when it meets another."""
        for number, client in enumerate(self._clients()):
            # Different from the start, or they would have to agree about it first.
            _done(client, "already non-zero", "CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number < MASTERS:
                slots = range(number * SLOTS // MASTERS, (number + 1) * SLOTS // MASTERS)
                _done(client, "already busy", "CLUSTER ADDSLOTS", *slots)

    def _meet(self) -> None:
        ports = [process.port for process in self.processes]
        for number, client in enumerate(self._clients()):
            for port in ports[:number]:
                client.execute_command("CLUSTER MEET", "127.0.0.1", port)

    def _know_each_other(self) -> None:
        for client in self._clients():
            nodes = client.execute_command("CLUSTER NODES").values()
            known = [node for node in nodes if "handshake" not in node["flags"]]
            if len(known) != len(self.processes):
                raise ConnectionError(f"a node knows {len(known)} of {len(self.processes)}")

    def _replicate(self) -> None:
        ids = [client.execute_command("CLUSTER MYID") for client in self._clients()]
        for number, client in enumerate(self._clients()):
            if number >= MASTERS:
                client.execute_command("CLUSTER REPLICATE", ids[number % MASTERS])


def _done(client: Any, already: str, *command: object) -> None:
    """Run a command that a start before may have done. already: what the server says then."""
    from redis import ResponseError

    try:
        client.execute_command(*command)
    except ResponseError as error:
        if already not in str(error):
            raise
