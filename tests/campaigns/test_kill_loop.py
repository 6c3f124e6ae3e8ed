"""Workers are killed with SIGKILL at random, while clients start, signal and cancel."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from campaign_checker import Ended, Execution, check, everything
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
from campaign_worker import Forked
from store_table import fresh_url

from durable import Client
from durable.events import ActivityScheduled
from durable.store import Store

SECONDS = seconds_of(9, 600)
WORKERS = 3
SLOTS = 4
LEASE = 1.5
PAUSE = (0.3, 0.9)
"""Seconds between two kills, at least and at most."""
SLACK = 1.0
"""Seconds by which a recovery may take longer than a lease, beside what all work waits."""


Held = tuple[bytes, int, int]
"""What a worker holds: a task, or (uid, 0, 0) for an instance."""


@dataclass
class Kill:
    """What a worker held when it was killed: its tasks, and the instances of which it held no
    task. at: in seconds since 1970."""

    at: float
    held: set[Held] = field(default_factory=set)


@pytest.mark.parametrize("store", CAMPAIGN_STORES)
def test_random_kills_lose_nothing(store: str, tmp_path: Path) -> None:
    url = fresh_url(store, tmp_path)
    with campaign("kill-loop", store) as run, Processes(tmp_path, url) as processes:
        client, log, chance = Client(url), Log(), run.chance
        load = Load(client.store, log, chance)
        with load:
            kills = kill_loop(processes, client.store, chance)
        load.finish()
        run.figures["blamed"] = finish(client)
        for process in list(processes.alive):
            processes.stop(process)
        ran = processes.ledger()
        found = check(client, log, ran)
        run.count(log, found, len(kills))
        assert found.again <= len(kills) * SLOTS, "recorded activities ran again"
        recovered, waited = recoveries(everything(client.store).values(), kills, ran)
        slowest, usual = percentile(recovered, 0.99), max(waited)
        run.figures |= {
            "held": len(recovered),
            "longest_wait_ms": round(usual * 1000),
            "recover_p99_ms": round(slowest * 1000),
        }
        assert slowest <= LEASE + SLACK + usual
        client.close()


def kill_loop(processes: Processes, store: Store, chance: random.Random) -> list[Kill]:
    """Kill a worker, and start another, until the time is up.

    Half of the workers are `apart`: that they are gone is only seen by their lease.
    """

    def another() -> Forked:
        return processes.worker(lease=LEASE, slots=SLOTS, apart=chance.random() < 0.5)

    workers = [another() for _ in range(WORKERS)]
    until(processes.ledger, 20, "no worker has begun")
    kills = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        next_kill = time.monotonic() + chance.uniform(*PAUSE)
        until(lambda at=next_kill: time.monotonic() >= at, 10, "")  # type: ignore[misc]
        place = chance.randrange(WORKERS)
        kills.append(kill(processes, store, workers[place]))
        workers[place] = another()
    return kills


def kill(processes: Processes, store: Store, worker: Forked) -> Kill:
    incarnations = [info.id for info in store.workers() if info.pid == worker.pid]
    processes.kill(worker)
    killed = Kill(time.time())
    for id in incarnations:
        owned = store.owned(id)
        busy = {uid for uid, _, _ in owned.tasks}
        killed.held |= owned.tasks.keys()
        killed.held |= {(uid, 0, 0) for uid in owned.instances if uid not in busy}
    return killed


def recoveries(
    there: Iterable[Ended], kills: list[Kill], ran: list[Execution]
) -> tuple[list[float], list[float]]:
    """For all that was held by a worker that was killed: seconds until it went on.  And those
    for which all other tasks have waited: so long it takes here when nobody is killed.

    A task goes on when it is executed; an instance, when it has another event; both, when
    they are in the hands of the next worker that is killed.
    """
    names = {ended.row.uid: ended.row.id for ended in there}
    begun: dict[tuple[str, int], list[float]] = {}
    for one in ran:
        begun.setdefault((one.id, one.command), []).append(one.at)
    signs: dict[Held, list[float]] = {}
    waited: dict[Held, float] = {}
    for ended in there:
        uid, run = ended.row.uid, ended.row.run
        signs[uid, 0, 0] = [event.at.timestamp() for event in ended.events]
        for event in ended.of(ActivityScheduled):
            moments = begun.get((names[uid], event.command), [])
            signs[uid, run, event.command] = list(moments)
            waited[uid, run, event.command] = min(moments) - event.at.timestamp()
    recovered = []
    for killed in reversed(kills):
        for key in killed.held:
            waited.pop(key, None)
            after = [at for at in signs[key] if at >= killed.at]
            if after:
                recovered.append(min(after) - killed.at)
            signs[key].append(killed.at)
    return recovered, list(waited.values())
