"""``durable run`` is killed again and again, and given again with the same id."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from campaign_kit import FLOWS, Processes, check, until

from durable import Client

COUNT = 30
LEAST_KILLS = 3
MOST_STARTS = 60
PROGRESS = (0, 30)
"""Executions after which it is killed, at least and at most."""
SLOTS = 16


def test_a_main_job_goes_on_after_every_kill(tmp_path: Path) -> None:
    seed = int(os.environ.get("CAMPAIGN_SEED") or random.SystemRandom().getrandbits(32))
    chance = random.Random(seed)
    began = time.monotonic()
    result = sum(n * n + (n + 1) ** 2 + (n + 2) ** 2 for n in range(COUNT))
    with Processes(tmp_path) as processes:
        for _ in range(MOST_STARTS):
            job = processes.command(
                "run", f"{FLOWS}:main_job", str(COUNT), "--id", "job", "-q", output=True
            )
            enough = len(processes.ledger()) + chance.randint(*PROGRESS)
            until(
                lambda job=job, n=enough: job.poll() is not None or len(processes.ledger()) >= n,  # type: ignore[misc]
                60,
                f"seed {seed}: it does not get on",
            )
            if job.poll() is None:
                processes.kill(job)
                continue
            output, _ = job.communicate()
            assert processes.reap(job) == 0
            assert output.decode().strip() == str(result), f"seed {seed}"
            break
        else:
            raise AssertionError(f"seed {seed}: not done after {MOST_STARTS} starts")
        assert processes.kills >= LEAST_KILLS, f"seed {seed}: {processes.kills} kills only"
        client = Client(processes.url)
        expected: dict[str, tuple[object, list[int]]] = {"job": (result, list(range(COUNT * 3)))}
        executions, again = check(client, processes, expected, SLOTS)
        client.close()
    print(
        f"main-job sqlite seed={seed} kills={processes.kills} executions={executions} "
        f"again/kill={again / processes.kills:.2f} seconds={time.monotonic() - began:.1f}"
    )
