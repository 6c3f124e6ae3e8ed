"""What is measured of looking: the cost of a claim beside a backlog, and of a replay."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from durable.bench import workflows
from durable.bench.measuring import Clock, Row
from durable.bench.places import Places
from durable.bench.scenarios import CACHE, MODULES, Sizes
from durable.codec import Codec
from durable.model import Status, WorkerInfo
from durable.orchestrator import Orchestrator
from durable.runner.held import revive
from durable.store import ClaimedInstance, ClaimRequest, End, NewInstance, Step, Store

DAY = 86_400_000_000
LEASE = 3_600_000_000
PORTION = 2000
"""Instances in one transaction, while a backlog is made."""
BATCH = 50
"""Instances of one measured claim."""
CLAIMS = 5
REPLAY_TIME = 2.0


def replay(places: Places, sizes: Sizes) -> Row:
    """Histories are read, decoded and replayed with all checks: events a second."""
    count, steps = sizes.instances or 20, sizes.activities or 300
    with places.fresh() as (store, _):
        with Orchestrator(store, MODULES, instance_cache=CACHE) as here:
            handles = here.client.start_many([(workflows.chain, steps, sizes.text)] * count)
            for handle in handles:
                handle.result(600)
        store.open()
        found = [store.instance(handle.id) for handle in handles]
        instances = [instance for instance in found if instance is not None]
        keys = [(instance.uid, instance.run) for instance in instances]
        flow: Any = workflows.chain
        codec, events, reading = Codec(), 0, 0.0
        clock = Clock()
        while time.perf_counter() - clock.began < REPLAY_TIME:
            began = time.perf_counter()
            histories = store.history(keys)
            reading += time.perf_counter() - began
            for instance, history in zip(instances, histories, strict=True):
                revive(instance, len(history), flow, history, codec, store.secret).close()
                events += len(history)
        clock.stop()
    return {
        "histories": count,
        "events_per_history": len(histories[0]),
        "events_per_s": round(events / clock.wall),
        "events_per_s_without_reading": round(events / (clock.wall - reading)),
        "cpu_s": round(clock.cpu, 2),
    }


def backlog(places: Places, sizes: Sizes) -> Row:
    """A claim beside few instances that wait, and beside very many, waiting and finished."""
    large = sizes.instances or 200_000
    small = min(1000, large)
    few = _claims(places, small, 0)
    many = _claims(places, large, large)
    return {
        "waiting_small": small,
        "waiting_large": large,
        "finished_large": large,
        "claim_batch": BATCH,
        "claim_ms_small": round(few * 1000, 3),
        "claim_ms_large": round(many * 1000, 3),
        "ratio": round(many / few, 3),
    }


def _claims(places: Places, waiting: int, finished: int) -> float:
    """Median seconds of a claim, where a third of what waits is due now."""
    with places.fresh() as (store, _):
        worker = _registered(store)
        _fill(store, worker, finished, Status.COMPLETED)
        _fill(store, worker, waiting // 3, None)
        _create(store, waiting // 3, DAY)
        _create(store, waiting - waiting // 3 * 2, 0)
        took = []
        for _ in range(CLAIMS + 1):
            began = time.perf_counter()
            store.claim(_request(worker, BATCH))
            took.append(time.perf_counter() - began)
        return statistics.median(took[1:])


def _registered(store: Store) -> WorkerInfo:
    now, name = store.now(), workflows.chain.name
    worker = WorkerInfo(
        "bench", "bench", "bench", os.getpid(), "bench", ("default",), 16,
        (name, f"{name}@1"), (workflows.noop.name,), now, now + LEASE,
    )  # fmt: skip
    store.register(worker)
    return worker


def _request(worker: WorkerInfo, instances: int) -> ClaimRequest:
    return ClaimRequest(
        worker.id, worker.queues, worker.workflows, worker.activities, instances, 16
    )


def _create(store: Store, count: int, delay: int) -> None:
    args = Codec().encode([1, ""], "args")
    while count > 0:
        now, rows = store.now(), []
        for _ in range(min(PORTION, count)):
            uid = os.urandom(16)
            rows.append(
                NewInstance(
                    uid, uid.hex(), os.urandom(16), workflows.chain.name, None, "default",
                    args, None, now + delay,
                )
            )  # fmt: skip
        store.create(rows, "raise")
        count -= len(rows)


def _fill(store: Store, worker: WorkerInfo, count: int, status: Status | None) -> None:
    """Instances that have ended, or (status None) that wait for a signal."""
    with click.progressbar(length=count, label="making a backlog", file=sys.stderr) as bar:
        while count > 0:
            portion = min(PORTION, count)
            _create(store, portion, 0)
            claimed = store.claim(_request(worker, portion)).instances
            store.commit(worker.id, _parked(claimed, status))
            count -= portion
            bar.update(portion)


def _parked(claimed: Sequence[ClaimedInstance], status: Status | None) -> list[Step]:
    end = None if status is None else End(status, result=b"\xc0")
    return [
        Step(
            item.instance.uid, item.instance.run, item.instance.epoch, 0, [b"\xc0"],
            release=True, version=1, end=end,
        )
        for item in claimed
    ]  # fmt: skip
