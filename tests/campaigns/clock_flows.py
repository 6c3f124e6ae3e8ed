"""Workflows that measure how long they have slept, by a clock that nobody moves."""

from __future__ import annotations

import os
import time

from durable import Workflow, activity, current_activity, sleep, workflow

LEDGER = "CAMPAIGN_LEDGER"
PAUSE = 0.5


def note() -> None:
    """A line for each execution, in one write."""
    me = current_activity()
    fd = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, f"{me.instance_id} {me.idempotency_key} {os.getpid()}\n".encode())
    finally:
        os.close(fd)


@activity(max_crashes=1000)
def stamp(seconds: float) -> float:
    """Busy for a while; when it was done."""
    note()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
    return time.monotonic()


@workflow
def timed(count: int, seconds: float) -> Workflow[float]:
    """The shortest of its pauses."""
    shortest = 1e9
    for _ in range(count):
        before: float = yield stamp.call(seconds)
        yield sleep(PAUSE)
        after: float = yield stamp.call(0.0)
        shortest = min(shortest, after - before)
    return shortest
