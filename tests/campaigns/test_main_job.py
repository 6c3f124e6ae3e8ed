"""``durable run`` is killed again and again, and given again with the same id."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

from campaign_kit import FLOWS, Processes, check

from durable import Client

COUNT = 60
LEAST_KILLS = 5
MOST_STARTS = 60
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
            try:
                output, _ = job.communicate(timeout=chance.uniform(0.05, 1.2))
            except subprocess.TimeoutExpired:
                processes.kill(job)
                continue
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
