"""What the campaigns share: worker processes, the ledger, and the checker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import campaign_flows

from durable import Client, Status
from durable.events import ActivityCompleted, Event

FLOWS = str(Path(campaign_flows.__file__))


def until(condition: Callable[[], object], timeout: float, what: str) -> None:
    """Wait for a condition; fails when the time is up."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"after {timeout:g} s: {what}"
        time.sleep(0.02)


class Processes:
    """Processes on one store file; used as a context manager that leaves none behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'campaign.db'}"
        self.ledger_file = folder / "ledger"
        self.gates = folder / "gates"
        self.gates.mkdir()
        self.log = (folder / "workers.log").open("ab")
        self.alive: list[subprocess.Popen[bytes]] = []
        self.kills = 0

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

    def worker(self, *, lease: float, slots: int) -> subprocess.Popen[bytes]:
        return self.command("worker", FLOWS, "--lease", f"{lease}s", "-t", str(slots))

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        self.kills += 1
        self.reap(process)

    def reap(self, process: subprocess.Popen[bytes]) -> int:
        code = process.wait(30)
        self.alive.remove(process)
        if process.stdout is not None:
            process.stdout.close()
        return code

    def ledger(self, suffix: str = "") -> list[tuple[str, int, int, int]]:
        """(instance, command, attempt, pid) of each execution that began."""
        try:
            lines = Path(f"{self.ledger_file}{suffix}").read_text().splitlines()
        except FileNotFoundError:
            return []
        rows = (line.split(" ") for line in lines)
        return [(id, int(command), int(attempt), int(pid)) for id, command, attempt, pid in rows]


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
    """The checker: nothing lost, nothing recorded twice, nothing stuck, results right.

    expected: result and commands by instance id. Gives (executions, executions again).
    """
    executed = Counter((id, command) for id, command, _, _ in processes.ledger())
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
