"""Workers are killed with SIGKILL at random, while they work."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from campaign_flows import three
from campaign_kit import Processes, check, until

from durable import Client, Status

INSTANCES = 500
FIRST = 50
KILLS = 30
INTERVAL = 0.5
WORKERS = 3
SLOTS = 4
LEASE = 2.0


def test_random_kills_lose_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("CAMPAIGN_SEED") or random.SystemRandom().getrandbits(32))
    chance = random.Random(seed)
    began = time.monotonic()
    expected: dict[str, tuple[object, list[int]]] = {
        f"k{n}": (sum(m * m for m in (n, n + 1, n + 2)), [0, 1, 2]) for n in range(INSTANCES)
    }
    with Processes(tmp_path) as processes:
        client = Client(processes.url)
        numbers = iter(range(INSTANCES))

        def start(count: int) -> None:
            chosen = [n for _, n in zip(range(count), numbers, strict=False)]
            client.start_many([(three.options(id=f"k{n}"), n) for n in chosen])

        start(FIRST)
        workers = [processes.worker(lease=LEASE, slots=SLOTS) for _ in range(WORKERS)]
        until(processes.ledger, 20, "no worker has begun")
        next_kill = time.monotonic()
        for kill in range(KILLS):
            next_kill += INTERVAL
            until(lambda at=next_kill: time.monotonic() >= at, 10, "")  # type: ignore[misc]
            place = chance.randrange(WORKERS)
            processes.kill(workers[place])
            workers[place] = processes.worker(lease=LEASE, slots=SLOTS)
            start((INSTANCES - FIRST) * (kill + 1) // KILLS - (INSTANCES - FIRST) * kill // KILLS)
        until(
            lambda: client.stats()["instances"][Status.COMPLETED] == INSTANCES,
            60,
            f"seed {seed}: some are stuck: {client.stats()}",
        )
        assert processes.kills == KILLS
        executions, again = check(client, processes, expected, SLOTS)
        client.close()
    print(
        f"kill-loop sqlite seed={seed} kills={KILLS} instances={INSTANCES} "
        f"executions={executions} again/kill={again / KILLS:.2f} lost=0 twice=0 stuck=0 "
        f"seconds={time.monotonic() - began:.1f}"
    )
