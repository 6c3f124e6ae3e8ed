"""What the campaigns share: stores, processes, the ledger, and the line that is reported.

A campaign runs on every store of `store_table` that outlives a process.  It is seeded: by
``CAMPAIGN_SEED``, or at random, and then says how to run it again.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import campaign_flows
from campaign_checker import Execution, Findings
from campaign_log import Log, Outcome
from campaign_points import Fault
from campaign_worker import Forked, Order
from store_table import EVERYTHING, STORES

from durable import Client, Status
from durable.errors import InstanceFinished, WrongStatus
from durable.events import ActivityCompleted, Event

FLOWS = str(Path(campaign_flows.__file__))

CAMPAIGN_STORES = [name for name in STORES if name != "memory"]

SEED = "CAMPAIGN_SEED"
SECONDS = "CAMPAIGN_SECONDS"
REPORT = "DURABLE_CAMPAIGN_REPORT"
"""The environment variable that may name a file, to which reports are appended."""

AnyProcess = subprocess.Popen[bytes] | Forked


def until(condition: Callable[[], object], timeout: float, what: str) -> None:
    """Wait for a condition; fails when the time is up."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"after {timeout:g} s: {what}"
        time.sleep(0.02)


def finished(client: Client) -> bool:
    """Whether every instance has ended."""
    counts = client.stats()["instances"]
    return not any(count for status, count in counts.items() if not Status(status).finished)


def finish(client: Client, seconds: float = 60) -> int:
    """Wait until every instance has ended; gives how many had to be unblocked for that.

    One whose worker is killed five times in a row is blocked, as it may be its own fault.
    """
    blamed = 0

    def done() -> bool:
        nonlocal blamed
        for row in client.list(status=Status.BLOCKED).rows:
            if "taken down its worker" in row.reason:
                with suppress(WrongStatus, InstanceFinished):  # it was faster
                    client.retry(row.id)
                    blamed += 1
        return finished(client)

    until(done, seconds, f"some are stuck: {client.stats()}")
    return blamed


def quick_or_long(quick: float, long: float) -> float:
    """The budget of a campaign: in every run of the tests, or in the nightly one."""
    return long if EVERYTHING else quick


def seconds_of(quick: float, long: float) -> float:
    """The same in seconds, unless the environment says for how long."""
    return float(os.environ.get(SECONDS) or quick_or_long(quick, long))


class Processes:
    """Processes on one store; used as a context manager that leaves none behind.

    url: of the store; a file in the folder by default.
    """

    def __init__(self, folder: Path, url: str = "") -> None:
        self.folder = folder
        self.url = url or f"sqlite:///{folder / 'campaign.db'}"
        self.ledger_file = folder / "ledger"
        self.gates = folder / "gates"
        self.gates.mkdir()
        self.log = (folder / "workers.log").open("ab")
        self.alive: list[AnyProcess] = []
        self.kills = 0
        self._count = 0

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *failure: object) -> None:
        for process in list(self.alive):
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self.log.close()

    def command(self, *arguments: str, output: bool = False) -> subprocess.Popen[bytes]:
        """Start ``python -m durable`` with these arguments."""
        top = str(Path(__file__).parents[2])
        process = subprocess.Popen(
            [sys.executable, "-m", "durable", *arguments, "--store", self.url],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([top, os.environ.get("PYTHONPATH", "")]),
                campaign_flows.LEDGER: str(self.ledger_file),
                campaign_flows.GATES: str(self.gates),
            },
            stdout=subprocess.PIPE if output else self.log,
            stderr=self.log,
        )
        self.alive.append(process)
        return process

    def worker(
        self,
        *faults: Fault,
        lease: float,
        slots: int,
        queues: Sequence[str] = ("default",),
        apart: bool = False,
        **options: Any,
    ) -> Forked:
        """Start a worker; see `campaign_worker.Order`. options: of `durable.Worker`."""
        self._count += 1
        name = f"worker-{self._count}"
        process = Forked(
            Order(self.url, self.folder, lease, slots, tuple(queues), apart, faults, name, options)
        )
        self.alive.append(process)
        return process

    def kill(self, process: AnyProcess) -> None:
        process.kill()
        self.kills += 1
        self.reap(process)

    def reap(self, process: AnyProcess) -> int:
        code = process.wait(30)
        self.alive.remove(process)
        if process.stdout is not None:
            process.stdout.close()
        return code

    def stop(self, process: AnyProcess) -> None:
        """End it in good order; or before it has begun."""
        process.terminate()
        code = self.reap(process)
        assert code in (0, -signal.SIGTERM), (
            f"a worker ended with {code}: see {self.folder / 'workers.log'}"
        )

    def ledger(self, suffix: str = "") -> list[Execution]:
        """Each execution that began."""
        try:
            lines = Path(f"{self.ledger_file}{suffix}").read_text().splitlines()
        except FileNotFoundError:
            return []
        rows = (line.split(" ") for line in lines)
        return [
            Execution(id, int(command), int(attempt), int(pid), float(at))
            for id, command, attempt, pid, at in rows
        ]

    def wait_for_more(self, count: int) -> None:
        """Wait for so many further executions."""
        before = len(self.ledger())
        until(lambda: len(self.ledger()) >= before + count, 60, "nobody works")


# -- what is reported ---------------------------------------------------------------------


def percentile(values: Sequence[float], part: float) -> float:
    """Of values: the least that is not exceeded by this part of them."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * part))]


@dataclass
class Campaign:
    """One run of a campaign: its chance, and the figures of its line."""

    name: str
    store: str
    seed: int
    began: float = field(default_factory=time.monotonic)
    figures: dict[str, object] = field(default_factory=dict)

    @property
    def chance(self) -> random.Random:
        return random.Random(self.seed)

    def count(self, log: Log, found: Findings, kills: int) -> None:
        """The figures that all campaigns have; fails if something was found."""
        assert kills, "no fault was injected"
        self.figures |= {
            "ops": log.count(),
            "acked": log.count(Outcome.ACKNOWLEDGED),
            "lost": len(found.lost),
            "twice": len(found.twice),
            "stuck": len(found.stuck),
            "wrong": len(found.wrong),
            "again_per_kill": f"{found.again / kills:.2f}",
            "kills": kills,
            "unknown": log.count(Outcome.UNKNOWN),
        }
        assert not found.all, "\n".join(found.all)

    def line(self) -> str:
        seconds = time.monotonic() - self.began
        words = {"campaign": self.name, "store": self.store, "seed": self.seed, **self.figures}
        return " ".join(f"{name}={value}" for name, value in words.items()) + (
            f" seconds={seconds:.1f}"
        )


@contextmanager
def campaign(name: str, store: str) -> Iterator[Campaign]:
    """A campaign; at its end its line is printed, and kept if `REPORT` says where.  What it
    raises says how it is run again."""
    given = os.environ.get(SEED)
    seed = int(given) if given else random.SystemRandom().getrandbits(32)
    run = Campaign(name, store, seed)
    try:
        yield run
    except BaseException as error:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
        error.add_note(f"again: {SEED}={seed} tests/run '{test}'")
        raise
    print(run.line())
    if file := os.environ.get(REPORT):
        with Path(file).open("a") as report:
            report.write(f"{time.strftime('%Y-%m-%d')} {run.line()}\n")


# -- what the campaigns of single promises look at -----------------------------------------


def recorded(history: list[Event]) -> list[int]:
    """The commands whose results a history has; it must be whole."""
    assert [event.seq for event in history] == list(range(len(history)))
    return [event.command for event in history if isinstance(event, ActivityCompleted)]


def check(
    client: Client,
    processes: Processes,
    expected: dict[str, tuple[object, list[int]]],
    slots: int,
) -> tuple[int, int]:
    """Nothing lost, nothing recorded twice, nothing stuck, results right.

    expected: result and commands by instance id. Gives (executions, executions again).
    """
    executed = Counter((one.id, one.command) for one in processes.ledger())
    assert client.count() == len(expected), "instances lost"
    results = 0
    for id, (result, commands) in expected.items():
        handle = client.get(id)
        assert handle.status() is Status.COMPLETED, f"stuck: {handle.describe()}"
        assert handle.result(timeout=0) == result
        done = recorded(handle.history())
        assert sorted(done) == commands, f"{id} recorded {done}"
        results += len(done)
        for command in commands:
            assert executed[id, command] >= 1, f"{id} has a result of what never ran: {command}"
    total = executed.total()
    assert total <= results + processes.kills * slots, "recorded activities ran again"
    stats = client.stats()
    assert (stats["tasks_waiting"], stats["tasks_running"], stats["messages"]) == (0, 0, 0)
    return total, total - results
