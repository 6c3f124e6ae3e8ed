"""What is measured of running workflows: sequential, fan-out, long, latency, idle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from durable.bench import workflows
from durable.bench.measuring import Clock, Row, against, lifetimes, percentiles, throughput
from durable.bench.places import Places
from durable.bench.recording import Call, Ceiling, RecordingStore, ceiling
from durable.client import Client
from durable.orchestrator import Orchestrator
from durable.worker import Worker

MODULES = [workflows]
START_AT_ONCE = 1000
CACHE = 10_000
WINDOW = 1000
"""Activities over which `long` compares the start with the end."""
IDLE_TIME = 5.0
RESULT_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the command line said; None leaves it to the scenario.

    instances, activities: how many, of what the scenario has. in_flight: instances held at
    once. threads: activities at once; None means as many as are in flight. payload: bytes
    that each activity takes and gives. idle: seconds of the idle scenario.
    """

    instances: int | None = None
    activities: int | None = None
    in_flight: int = 500
    threads: int | None = None
    payload: int = 0
    idle: float = IDLE_TIME

    @property
    def text(self) -> str:
        return "x" * self.payload

    def worker(self, in_flight: int) -> dict[str, Any]:
        """Options of the worker."""
        return {
            "activity_slots": self.threads or in_flight,
            "max_in_flight": in_flight,
            "instance_cache": CACHE,
        }


def sequential(places: Places, sizes: Sizes) -> Row:
    """Many instances, each with a few activities one after the other."""
    count, steps = sizes.instances or 5000, sizes.activities or 3
    starts = [(workflows.chain, steps, sizes.text)] * count
    return _run(places, starts, count * steps, sizes.worker(sizes.in_flight))[0]


def fan_out(places: Places, sizes: Sizes) -> Row:
    """One instance that gathers activities, and one that gathers ten times as many."""
    large = sizes.activities or 10_000
    small = max(1, large // 10)
    options = sizes.worker(sizes.in_flight)
    few, _ = _run(places, [(workflows.fan, small, sizes.text)], small, options)
    row, _ = _run(places, [(workflows.fan, large, sizes.text)], large, options)
    row["us_per_activity_small"] = round(few["seconds"] * 1e6 / small, 1)
    row["us_per_activity_large"] = round(row["seconds"] * 1e6 / large, 1)
    row["ratio"] = round(row["us_per_activity_large"] / row["us_per_activity_small"], 3)
    return row


def long(places: Places, sizes: Sizes) -> Row:
    """One instance with many activities one after the other: does a step's cost grow?"""
    steps = sizes.activities or 10_000
    window = min(WINDOW, max(1, steps // 4))
    starts = [(workflows.chain, steps, sizes.text)]
    row, commits = _run(places, starts, steps, sizes.worker(sizes.in_flight))
    moments = _moments(commits)
    if len(moments) > window:
        first = moments[window] - moments[0]
        last = moments[-1] - moments[-1 - window]
        row["us_per_activity_first"] = round(first * 1e6 / window, 1)
        row["us_per_activity_last"] = round(last * 1e6 / window, 1)
        row["ratio"] = round(last / first, 3)
    return row


def latency(places: Places, sizes: Sizes) -> Row:
    """One workflow at a time, worker idle: from start to result, in milliseconds."""
    count = sizes.instances or 200
    with places.fresh() as (store, _), Orchestrator(store, MODULES, **sizes.worker(16)) as here:
        row: Row = percentiles(_one_by_one(here.client, count, sizes.text), "same_process")
    if places.kind == "memory":
        return {"instances": count} | row
    with places.fresh() as (store, url):
        command = [sys.executable, "-m", "durable", "worker", workflows.__name__]
        # Not on the command line: everybody can read it there, and it may have a password.
        env = {**os.environ, "DURABLE_STORE": url}
        worker = subprocess.Popen([*command, "--log-level", "warning"], env=env)
        try:
            took = _one_by_one(Client(store), count, sizes.text)
        finally:
            worker.terminate()
            worker.wait()
    return {"instances": count} | row | percentiles(took, "other_process")


def idle(places: Places, sizes: Sizes) -> Row:
    """The CPU that a worker uses which has nothing to do."""
    with places.fresh() as (store, _), Orchestrator(store, MODULES, **sizes.worker(16)) as here:
        here.client.start(workflows.chain, 1, "").result(RESULT_TIMEOUT)
        clock = Clock()
        time.sleep(sizes.idle)
        clock.stop()
    return {
        "seconds": round(clock.wall, 2),
        "cpu_s": round(clock.cpu, 4),
        "cpu_percent_of_a_core": round(clock.cpu / clock.wall * 100, 2),
    }


# -- running ----------------------------------------------------------------------------


def _run(
    places: Places, starts: Sequence[tuple[Any, ...]], activities: int, options: dict[str, Any]
) -> tuple[Row, list[Call]]:
    """Run workflows to their end; the figures, and the commits that it took."""
    with places.fresh() as (inner, _):
        empty = inner.size()
        recorder = RecordingStore(inner)
        client = Client(recorder.store)
        worker = Worker(recorder.store, MODULES, **options)
        worker.start()
        try:
            clock = Clock()
            for place in range(0, len(starts), START_AT_ONCE):
                client.start_many(starts[place : place + START_AT_ONCE])
            recorder.wait_finished(len(starts))
            clock.stop()
        finally:
            worker.stop()
        row = throughput(recorder, clock, len(starts), activities) | lifetimes(inner)
        inner.close()
        row["bytes_per_activity"] = round((inner.size() - empty) / activities)
    return row | against(_ceiling(places, recorder.calls), clock, activities), recorder.commits()


def _ceiling(places: Places, calls: Sequence[Call]) -> Ceiling:
    with places.fresh() as (store, _):
        return ceiling(calls, store)


def _moments(commits: Sequence[Call]) -> list[float]:
    """When the result of each activity had been committed."""
    return [
        call.ended_at for call in commits for step in call.args[1] for _ in step.done
    ]  # fmt: skip


def _one_by_one(client: Client, count: int, payload: str) -> list[float]:
    """Seconds from start to result of each; the first ones only warm up."""
    took = []
    for number in range(count + 5):
        began = time.perf_counter()
        client.start(workflows.chain, 1, payload).result(RESULT_TIMEOUT)
        if number >= 5:
            took.append(time.perf_counter() - began)
    return took


Scenario = Callable[[Places, Sizes], Row]
