"""Workers are stopped for longer than their lease and replaced; then they wake up again, in
the middle of what they did, and none of what they write is accepted."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from campaign_checker import check, everything
from campaign_flows import journey, journey_found, stopped
from campaign_kit import CAMPAIGN_STORES, Processes, campaign, finished, quick_or_long, until
from campaign_log import Log, Outcome, Story
from campaign_points import LATE, STOPPED, Fault
from campaign_worker import Forked
from store_table import fresh_url

from durable import Client

ROUNDS = int(quick_or_long(1, 10))
SIMILAR = 2
"""Zombies of each kind in a round."""
LEASE = 1.0
SLOTS = 4
PATIENCE = 60

IN_ACTIVITY = None
"""It stops itself in an activity, not in a call of the store."""
KINDS = (
    IN_ACTIVITY,
    Fault("claim", "after", 1, signal.SIGSTOP),
    Fault("commit", "before", 2, signal.SIGSTOP),
    Fault("complete", "before", 1, signal.SIGSTOP),
    Fault("heartbeat", "before", 1, signal.SIGSTOP),
)
WITHIN = (
    Fault("commit", "within", 2, signal.SIGSTOP),
    Fault("heartbeat", "within", 1, signal.SIGSTOP),
)
"""It holds the locks of its transaction until the server ends its session.  (In SQLite, until
it goes on: one that is stopped there stops all others.)"""
IN_SERVERS = ("postgresql", "mysql")
"""The stores whose transactions have such a place."""


@dataclass
class Zombie:
    """One worker with a queue of its own. before: its incarnations when it was stopped."""

    kind: Fault | None
    queue: str
    worker: Forked
    before: set[str]

    @property
    def is_stopped(self) -> bool:
        code = self.worker.poll()
        assert code is None, f"{self} has ended with {code}"
        state = Path(f"/proc/{self.worker.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T"

    @property
    def late(self) -> list[str]:
        """What its writes gave after it woke up."""
        return [line for line in self.worker.reached if line.startswith(LATE)]


@pytest.mark.parametrize("store", CAMPAIGN_STORES)
def test_zombies_write_nothing(store: str, tmp_path: Path) -> None:
    url = fresh_url(store, tmp_path)
    with campaign("zombies", store) as run, Processes(tmp_path, url) as processes:
        client, log = Client(url), Log()
        zombies = []
        for number in range(ROUNDS):
            zombies += resurrect(processes, client, log, f"round-{number}", KINDS * SIMILAR)
        count_rejected(run.figures, zombies)
        found = check(client, log, processes.ledger())
        run.count(log, found, len(zombies))
        client.close()


@pytest.mark.parametrize("store", IN_SERVERS)
def test_who_stops_in_a_transaction_lets_go_in_time(store: str, tmp_path: Path) -> None:
    url = f"{fresh_url(store, tmp_path)}&timeout=1"
    with campaign("zombies-within", store) as run, Processes(tmp_path, url) as processes:
        client, log = Client(url), Log()
        zombies = resurrect(processes, client, log, "within", WITHIN * ROUNDS)
        count_rejected(run.figures, zombies)
        found = check(client, log, processes.ledger())
        run.count(log, found, len(zombies))
        client.close()


def resurrect(
    processes: Processes, client: Client, log: Log, name: str, kinds: tuple[Fault | None, ...]
) -> list[Zombie]:
    """Let workers stop, let another one finish their work, and wake them up."""
    zombies = [bury(processes, client, log, f"{name}-{n}", kind) for n, kind in enumerate(kinds)]
    for zombie in zombies:
        until(lambda z=zombie: z.is_stopped, PATIENCE, f"{zombie} has not stopped")  # type: ignore[misc]
        zombie.before = incarnations(client, zombie)
    queues = [zombie.queue for zombie in zombies]
    heir = processes.worker(lease=10, slots=SLOTS, queues=queues)
    until(lambda: finished(client), PATIENCE, f"nobody took over: {client.stats()}")
    processes.stop(heir)
    before = everything(client.store)

    for zombie in zombies:
        zombie.worker.send_signal(signal.SIGCONT)
    for zombie in zombies:
        until(
            lambda z=zombie: incarnations(client, z) - z.before,  # type: ignore[misc]
            PATIENCE,
            f"{zombie} has not registered anew",
        )
        processes.stop(zombie.worker)
    assert everything(client.store) == before, "a write of a zombie was accepted"
    return zombies


def bury(processes: Processes, client: Client, log: Log, queue: str, kind: Fault | None) -> Zombie:
    """Start a worker that will stop, and what it is to do."""
    if kind is IN_ACTIVITY:
        client.start(stopped.options(id=queue, queue=queue), queue)
        log.add(Story(queue, [1, 4], [Outcome.ACKNOWLEDGED], has_child=False))
        worker = processes.worker(lease=LEASE, slots=SLOTS, queues=[queue])
    else:
        client.start(journey.options(id=queue, queue=queue), 3, LEASE)
        log.add(Story(queue, journey_found(3), [Outcome.ACKNOWLEDGED]))
        worker = processes.worker(kind, lease=LEASE, slots=SLOTS, queues=[queue])
    return Zombie(kind, queue, worker, set())


def incarnations(client: Client, zombie: Zombie) -> set[str]:
    return {worker.id for worker in client.workers() if worker.pid == zombie.worker.pid}


def count_rejected(figures: dict[str, object], zombies: list[Zombie]) -> None:
    """Writes were tried, and refused.  That none was accepted is seen in the rows; here, that
    no commit says that it was.  (A result that the heir has given, too, is answered as it was
    to the heir; and what another thread had sent before it was stopped is no late write.)"""
    late = [line for zombie in zombies for line in zombie.late]
    figures |= {"zombies": len(zombies), "late_writes": len(late), "accepted": 0}
    assert late
    own = [line for line in late if line.startswith(f"{LATE} {STOPPED} commit")]
    assert not [line for line in own if "COMMITTED" in line]
