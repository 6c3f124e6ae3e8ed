"""What is measured around a run: time, CPU, memory; and the machine it ran on."""

from __future__ import annotations

import gc
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from durable import __version__
from durable.bench.places import Places
from durable.bench.recording import Ceiling, RecordingStore
from durable.model import Instance
from durable.store import Filter, Store

Row = dict[str, Any]
"""What a scenario measured, by name; a unit stands at the end of the name."""


class Clock:
    """Wall and CPU time (of the whole process) from its making until `stop`, and how much of
    it the garbage collector took."""

    def __init__(self) -> None:
        self.collecting = 0.0
        self._collection_began = 0.0
        gc.callbacks.append(self._collection)
        self.began = time.perf_counter()
        self._cpu = time.process_time()
        self.wall = 0.0
        self.cpu = 0.0

    def stop(self) -> None:
        self.wall = time.perf_counter() - self.began
        self.cpu = time.process_time() - self._cpu
        gc.callbacks.remove(self._collection)

    def _collection(self, phase: str, info: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._collection_began = now
        elif self._collection_began:
            self.collecting += now - self._collection_began


def percentiles(values: Sequence[float], name: str) -> Row:
    """p50, p95 and p99 of a list of seconds, in milliseconds."""
    if not values:
        return {}
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        f"{name}_p{p}_ms": round(ordered[min(last, len(ordered) * p // 100)] * 1000, 2)
        for p in (50, 95, 99)
    }


def peak_rss_mb() -> float:
    """The most memory that this process ever had: also that of earlier scenarios."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def throughput(recorder: RecordingStore, clock: Clock, instances: int, activities: int) -> Row:
    """Rates and costs of a run."""
    commits = recorder.commits()
    steps = sum(len(call.args[1]) for call in commits)
    return {
        "instances": instances,
        "activities": activities,
        "seconds": round(clock.wall, 3),
        "workflows_per_s": round(instances / clock.wall, 1),
        "activities_per_s": round(activities / clock.wall),
        "commits": len(commits),
        "steps": steps,
        "steps_per_commit": round(steps / max(1, len(commits)), 1),
        "cpu_s": round(clock.cpu, 2),
        "cpu_ms_per_step": round(clock.cpu * 1000 / max(1, steps), 4),
        "gc_s": round(clock.collecting, 2),
        "peak_rss_mb": peak_rss_mb(),
    }


def against(limit: Ceiling, clock: Clock, activities: int) -> Row:
    """The ceiling, and how near this run came to it."""
    if limit.problem:
        return {"ceiling": f"invalid: {limit.problem}"}
    return {
        "ceiling_per_s": round(activities / limit.all_writes),
        "ceiling_ratio": round(limit.all_writes / clock.wall, 3),
        "ceiling_commits_only_per_s": round(activities / limit.commits),
    }


def rows(store: Store, limit: int = 1000) -> Iterator[Instance]:
    """Every instance of a store."""
    cursor: str | None = None
    while True:
        page = store.instances(Filter(limit=limit, cursor=cursor))
        yield from page.rows
        cursor = page.cursor
        if cursor is None:
            return


def lifetimes(store: Store) -> Row:
    """Percentiles of creation to end, and of the first step to the end."""
    whole, running = [], []
    for row in rows(store):
        if row.finished_at is not None:
            whole.append((row.finished_at - row.created_at) / 1e6)
            running.append((row.finished_at - (row.started_at or row.created_at)) / 1e6)
    return percentiles(whole, "start_to_finish") | percentiles(running, "running")


def machine(places: Places) -> Row:
    """What the figures depend on."""
    row = {
        "durable": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "store": places.kind,
    }  # fmt: skip
    with places.fresh() as (store, _):
        row["durability"] = store.durability()
        if server := store.server():
            row["server"] = server
    if places.directory:
        row["directory"] = places.directory
    return row
