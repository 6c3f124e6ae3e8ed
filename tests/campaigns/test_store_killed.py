"""The server of a store is killed with SIGKILL and started again, at random, under load: what
it had acknowledged is there, and workers and clients go on by themselves.

SQLite has no server: there the processes that write are killed, in the middle of a
transaction.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from campaign_checker import Execution, check
from campaign_kit import (
    CAMPAIGN_STORES,
    Processes,
    campaign,
    finish,
    percentile,
    seconds_of,
    until,
)
from campaign_load import Load
from campaign_log import Log
from campaign_points import ANY, Fault
from store_table import SERVERS, fresh_url

from durable import Client

SECONDS = seconds_of(9, 600)
WORKERS = 3
SLOTS = 4
LEASE = 2.0
PAUSE = (0.5, 1.5)
"""Seconds between a start of the server and the next kill, at least and at most."""
LONGEST = 40
"""Transactions of a process that writes, at most, until it is killed in the next."""
RECONNECTED = 10.0
"""Seconds after which workers must be at work again, on a machine that has much else to do."""


@pytest.mark.parametrize("store", [name for name in CAMPAIGN_STORES if name in SERVERS])
def test_a_server_that_is_killed_loses_nothing(store: str, tmp_path: Path) -> None:
    url = fresh_url(store, tmp_path)
    server = SERVERS[store]()
    with campaign("store-killed", store) as run, Processes(tmp_path, url) as processes:
        client, log, chance = Client(url), Log(), run.chance
        load = Load(client.store, log, chance)
        workers = [processes.worker(lease=LEASE, slots=SLOTS) for _ in range(WORKERS)]
        up = []
        with load:
            until(processes.ledger, 20, "no worker has begun")
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                wait_some(chance)
                server.kill()
                server.start()
                up.append(time.time())
        load.finish()
        finish(client)
        assert [worker.poll() for worker in workers] == [None] * WORKERS
        for worker in workers:
            processes.stop(worker)
        found = check(client, log, processes.ledger())
        run.count(log, found, len(up))
        slowest = percentile(reconnections(up, processes.ledger()), 0.99)
        run.figures["reconnect_p99_ms"] = round(slowest * 1000)
        assert slowest <= RECONNECTED
        client.close()


def test_a_writer_that_is_killed_in_a_transaction_leaves_nothing_of_it(tmp_path: Path) -> None:
    url = fresh_url("sqlite", tmp_path)
    with campaign("store-killed", "sqlite") as run, Processes(tmp_path, url) as processes:
        client, log, chance = Client(url), Log(), run.chance
        load = Load(client.store, log, chance)

        def doomed() -> Fault:
            return Fault(ANY, "within", chance.randint(1, LONGEST))

        workers = [processes.worker(doomed(), lease=LEASE, slots=SLOTS) for _ in range(WORKERS)]
        with load:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                until(lambda: any(w.poll() is not None for w in workers), 30, "none has died")
                place = next(n for n, worker in enumerate(workers) if worker.poll() is not None)
                assert processes.reap(workers[place]) == -9
                processes.kills += 1
                workers[place] = processes.worker(doomed(), lease=LEASE, slots=SLOTS)
        load.finish()
        processes.worker(lease=LEASE, slots=SLOTS)
        run.figures["blamed"] = finish(client)
        found = check(client, log, processes.ledger())
        run.count(log, found, processes.kills)
        client.close()


def wait_some(chance: random.Random) -> None:
    moment = time.monotonic() + chance.uniform(*PAUSE)
    until(lambda: time.monotonic() >= moment, 10, "")


def reconnections(up: list[float], ran: list[Execution]) -> list[float]:
    """Seconds from each moment at which the server was up again until each worker has begun
    to execute something, if it has before the next one."""
    found = []
    for began, ended in zip(up, [*up[1:], float("inf")], strict=True):
        first: dict[int, float] = {}
        for one in ran:
            if began <= one.at < ended:
                first.setdefault(one.pid, one.at)
        found += [at - began for at in first.values()]
    return found
