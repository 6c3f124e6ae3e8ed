"""A worker kills itself at each point of its protocol, on each store; another one goes on.

See `campaign_points` for what a point is.  Each has instances and a queue of its own, so that
several are tried side by side on one store.  A point that is not reached fails the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired

import pytest
from campaign_checker import check
from campaign_flows import journey, journey_found
from campaign_kit import CAMPAIGN_STORES, Processes, campaign, until
from campaign_log import Log, Outcome, Story
from campaign_points import PLACES, WORKER_VERBS, Fault, has_transactions
from campaign_worker import Forked
from store_table import EVERYTHING, fresh_url

from durable import Client
from durable.model import Status

SHORT, LONG = 0.6, 30.0
"""Leases: where heartbeats are waited for, and where none must be late."""
SLOTS = 4
LIVELY = 0.3
"""Seconds for which an activity sends heartbeats: those of its worker come meanwhile."""
AT_ONCE = 4
"""Points that are tried side by side."""
FURTHER = {"claim": 4, "commit": 8, "complete": 3} if EVERYTHING else {"commit": 3}
"""Verbs of which not only the first call is tried, and how many."""
READS = {"history", "owned", "workers"}
"""They have no transaction to be killed in, and no outcome that could be unknown."""
AT_START = {"register", "take_over", "unregister"}
"""A worker that cannot begin ends; and so does one that was told to stop."""
TRIES, SOON = 4, 15
"""How often a point is tried, and in how many seconds it should have been reached."""
PATIENCE = 60
"""Seconds until all must have ended, on a machine that has much else to do."""


@dataclass(frozen=True)
class Way:
    """How a worker is brought to call a verb. first: what the workers before it die of.
    along: what happens to itself before. count: of instances. lively: whether they take so
    long that the worker sends heartbeats. unknown: whether there is one that nobody knows."""

    first: tuple[Fault, ...] = ()
    along: tuple[Fault, ...] = ()
    count: int = 2
    lively: bool = False
    unknown: bool = False


WAYS = {
    "heartbeat": Way(lively=True),
    "beat": Way(lively=True),
    "owned": Way(lively=True),
    "take_over": Way(first=(Fault("commit", "before", 2),)),
    "history": Way(first=(Fault("complete", "before", 1),)),
    "adopt": Way(along=(Fault("commit", "fails", 1),)),
    # Each of three that have taken down two workers is stepped alone.
    "release": Way(first=(Fault("commit", "before", 1),) * 2, count=3),
    "block_unknown": Way(unknown=True),
}


def points(with_transactions: bool) -> Iterator[Fault]:
    """Every point of a worker's protocol."""
    for verb in WORKER_VERBS:
        for place in PLACES:
            if place == "within" and (verb in READS or not with_transactions):
                continue
            if place == "fails" and verb in READS:
                continue
            for nth in range(1, FURTHER.get(verb, 1) + 1):
                yield Fault(verb, place, nth)


@pytest.mark.parametrize("store", CAMPAIGN_STORES)
def test_every_point_can_be_the_last(store: str, tmp_path: Path) -> None:
    url = fresh_url(store, tmp_path)
    with campaign("crash-points", store) as run, Processes(tmp_path, url) as processes:
        trial = Trial(processes, Client(url), Log())
        tried = list(points(has_transactions(trial.client.store)))
        run.chance.shuffle(tried)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            reached = list(pool.map(trial.crash, tried))
        missed = [str(point) for point, found in zip(tried, reached, strict=True) if not found]
        run.figures["points"] = f"{len(tried) - len(missed)}/{len(tried)}"
        assert not missed, f"not reached: {missed}"
        found = check(trial.client, trial.log, processes.ledger())
        run.count(trial.log, found, processes.kills)
        trial.client.close()


@dataclass
class Trial:
    """One store, on which points are tried."""

    processes: Processes
    client: Client
    log: Log

    def crash(self, point: Fault) -> bool:
        """Bring a worker to a point, and let another one finish what it leaves; whether the
        point was reached. What a worker finds depends on who has just locked a row: so it is
        tried a few times."""
        return any(self._try(point, f"{point}-{turn}") for turn in range(TRIES))

    def _try(self, point: Fault, queue: str) -> bool:
        way = WAYS.get(point.verb, Way())
        ids = [f"{queue}-{number}" for number in range(way.count)]
        self._start(queue, ids, way)
        led = all(self._dies(self._worker(queue, way, fault)) for fault in way.first)
        victim = self._worker(queue, way, *way.along, point)
        if point.verb == "unregister":
            self._finished(queue, ids)
            victim.terminate()
        if point.place != "fails":
            reached = self._dies(victim)
        else:
            reached = self._reaches(victim, point)
            if point.verb not in AT_START:
                self._finished(queue, ids)  # by itself
        self._end(queue, ids, way, victim)
        return led and reached

    def _start(self, queue: str, ids: list[str], way: Way) -> None:
        for number, id in enumerate(ids):
            flow = journey.options(id=id, queue=queue)
            self.client.start(flow, number, LIVELY if way.lively else 0)
            self.log.add(Story(id, journey_found(number), [Outcome.ACKNOWLEDGED]))
        if way.unknown:
            self.client.start_named("nobody", id=f"{queue}-unknown", queue=queue)

    def _worker(self, queue: str, way: Way, *faults: Fault) -> Forked:
        lease = SHORT if way.lively else LONG
        return self.processes.worker(
            *faults, lease=lease, slots=SLOTS, queues=[queue], unknown_after=0.05
        )

    def _dies(self, worker: Forked) -> bool:
        """Wait for the end of a worker; whether it was killed by its fault."""
        with suppress(TimeoutExpired):
            worker.wait(SOON)
        died = str(worker.order.faults[-1]) in worker.reached and worker.wait(PATIENCE) == -9
        self.processes.kill(worker)
        return died

    def _reaches(self, worker: Forked, point: Fault) -> bool:
        """Wait until a worker has come to a point that it survives; whether it has."""
        with suppress(AssertionError):
            until(lambda: str(point) in worker.reached, SOON, f"{point} was not reached")
        return str(point) in worker.reached

    def _finished(self, queue: str, ids: list[str]) -> None:
        def statuses() -> list[Status]:
            rows = [self.client.store.instance(id) for id in ids]
            return [row.status for row in rows if row is not None]

        until(
            lambda: statuses() == [Status.COMPLETED] * len(ids),
            PATIENCE,
            f"{queue}: {statuses()}",
        )

    def _end(self, queue: str, ids: list[str], way: Way, victim: Forked) -> None:
        """Another worker finishes, and is told to stop."""
        other = self._worker(queue, way)
        self._finished(queue, ids)
        if way.unknown:
            self.client.terminate(f"{queue}-unknown")
            self.client.delete(f"{queue}-unknown")
        self.processes.stop(other)
        if victim in self.processes.alive:
            self.processes.kill(victim)
