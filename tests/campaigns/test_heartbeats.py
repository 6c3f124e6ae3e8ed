"""A worker is killed with SIGKILL: what its activity told by heartbeats is kept, but for the
last second or so."""

from __future__ import annotations

import time
from pathlib import Path

from campaign_flows import climbed
from campaign_kit import Processes, until

from durable import Client, Codec

TICK = 1.0
SLACK = 1.5
"""Seconds that a busy machine may add."""


def test_heartbeats_outlive_their_worker(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        client = Client(processes.url)
        handle = client.start(climbed)
        worker = processes.worker(lease=6 * TICK, slots=2)
        instance = client.store.instance(handle.id)
        assert instance is not None

        def told() -> float:
            """What the store knows."""
            details = [task.details for task in client.store.tasks(instance.uid)]
            return float(Codec().decode(details[0])) if details and details[0] else 0.0

        until(told, 20, "no heartbeat has reached the store")
        first = told()
        until(lambda: told() > first, 20, "no second heartbeat has reached the store")
        kept = told()
        until(lambda: time.time() > kept + TICK / 2, 20, "")
        killed_at = time.time()
        processes.kill(worker)
        processes.worker(lease=6 * TICK, slots=2)
        last, attempt, crashes = handle.result(timeout=30)
        assert kept <= last <= killed_at
        assert killed_at - last <= TICK + SLACK
        assert (attempt, crashes) == (1, 1)
        client.close()
    print(f"heartbeats sqlite kills=1 lost_seconds={killed_at - last:.2f}")
