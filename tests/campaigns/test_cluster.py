"""A Redis Cluster is changed while workers run: a master dies, and partitions move.

The families are spread over the partitions: parents start children, and these signal their
parents, so that most of what happens goes from one partition to another.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import servers
from campaign_kit import until
from redis.crc import key_slot
from servers import RedisCluster, fresh_prefix
from servers.redis_servers import connect

from durable import (
    Client,
    Status,
    Worker,
    Workflow,
    activity,
    gather,
    send_signal,
    wait_signal,
    workflow,
)
from durable.stores.redis import RedisStore

MEMBERS = 3
FAMILIES = 40
LOSSES = 4
"""Families of which a failover may take something: its replicas are told after the client."""


@activity
def square(number: int) -> int:
    return number * number


@workflow
def member(name: str, number: int) -> Workflow[int]:
    """Tells the family its number twice: by a signal, and as its result."""
    mine = yield from square.call(number)
    yield send_signal(name, "number", mine)
    return mine


@workflow
def family(name: str) -> Workflow[int]:
    calls = [member.options(id=f"{name}/{n}").call(name, n) for n in range(MEMBERS)]
    total: int = sum((yield from gather(*calls)))
    for _ in range(MEMBERS):
        total += yield wait_signal("number")
    return total


RESULT = 2 * sum(n * n for n in range(MEMBERS))


class Load:
    """Two workers, and a client that starts families and knows which were acknowledged."""

    def __init__(self, url: str) -> None:
        self.client = Client(url)
        self.workers = [Worker(url, [sys.modules[__name__]], activity_slots=4) for _ in range(2)]
        self.started: list[str] = []
        for worker in self.workers:
            worker.start()

    def start(self, count: int) -> None:
        for _ in range(count):
            name = f"f{len(self.started)}"
            self.client.start(family.options(id=name), name)
            self.started.append(name)

    def statuses(self) -> Counter[Status | None]:
        rows = {row.id: row.status for row in self.client.list(workflow="family", limit=200).rows}
        return Counter(rows.get(name) for name in self.started)

    def finished(self) -> int:
        return self.statuses()[Status.COMPLETED]

    def settled(self, wanted: int) -> None:
        """Wait until so many families have ended, each with the right result."""
        until(lambda: self.finished() >= wanted, 40, "families are stuck")
        for name in self.started:
            handle = self.client.get(name)
            if self.client.list(search=name) and handle.status() is Status.COMPLETED:
                assert handle.result(timeout=0) == RESULT

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.client.close()


@pytest.fixture
def cluster() -> RedisCluster:
    return servers.redis_cluster(replicas=1)


@pytest.fixture
def load(cluster: RedisCluster) -> Iterator[Load]:
    load = Load(fresh_prefix(cluster))
    yield load
    load.stop()


def test_a_master_dies(cluster: RedisCluster, load: Load) -> None:
    if not cluster.is_ours:
        pytest.skip("this cluster is not ours")
    began = time.monotonic()
    load.start(FAMILIES)
    until(lambda: load.finished() > 2, 30, "nothing has ended")
    before = load.finished()
    cluster.processes[0].kill()
    load.start(FAMILIES // 2)  # as far as they go elsewhere at once, or wait for the replica
    failover = time.monotonic() - began
    load.settled(len(load.started) - LOSSES)
    found = load.statuses()
    lost = len(load.started) - found[Status.COMPLETED]
    assert lost <= LOSSES
    print(
        f"cluster kills=1 families={len(load.started)} ended-before={before}"
        f" started-again-after={failover:.1f} s not-ended={lost} statuses={dict(found)}"
        f" seconds={time.monotonic() - began:.1f}"
    )


def test_partitions_move(cluster: RedisCluster, load: Load) -> None:
    began, moved = time.monotonic(), 0
    store = load.client.store
    assert isinstance(store, RedisStore)
    for partition in range(4):
        load.start(FAMILIES // 4)
        moved += move(cluster, store._parts.keys[partition]["ids"])
    load.settled(len(load.started))
    assert moved > 0
    print(
        f"cluster moves=4 keys-moved={moved} families={len(load.started)} lost=0 stuck=0"
        f" seconds={time.monotonic() - began:.1f}"
    )


def move(cluster: RedisCluster, key: str) -> int:
    """Move the slot of a key to another master, as ``redis-cli --cluster reshard`` does; gives
    how many keys went."""
    slot, moved = key_slot(key.encode()), 0
    masters = {}
    for process in cluster.processes:
        client = connect(f"redis://127.0.0.1:{process.port}")
        if client.info("replication")["role"] == "master":
            masters[client.execute_command("CLUSTER MYID")] = (process.port, client)
    source = owner(next(iter(masters.values()))[1], slot)
    target = next(id for id in masters if id != source)
    (port, there), (_, here) = masters[target], masters[source]
    there.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source)
    here.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target)
    while keys := here.execute_command("CLUSTER GETKEYSINSLOT", slot, 5):
        here.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
        moved += len(keys)
    for id in (target, source, *(masters.keys() - {target, source})):
        masters[id][1].execute_command("CLUSTER SETSLOT", slot, "NODE", target)
    for _, client in masters.values():
        client.close()
    return moved


def owner(client: Any, slot: int) -> str:
    """The id of the master that has a slot."""
    ranges = client.execute_command("CLUSTER SLOTS")
    return next(str(master[2]) for first, last, master, *_ in ranges if first <= slot <= last)
