"""Clocks that are wrong, of workers and of servers, and that are set while work is done."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import clock_flows
import pytest
from clock_flows import PAUSE, timed
from fault_kit import PATIENCE, Campaign, campaign, rounds, until
from servers import MariaDB, Postgres, Server
from servers.clocks import Clock
from store_table import SERVERS, fresh_url

from durable import Client, Handle, Worker
from durable.model import Status

HOUR = 3600.0
LEASE = 1.5

# Not Redis: its allocator asks for the time before `faketime` can tell it.
KINDS: Mapping[str, type[Server]] = {"postgresql": Postgres, "mysql": MariaDB}


@contextmanager
def process(url: str, folder: Path, seconds: float) -> Iterator[int]:
    """A worker of its own, whose clock is so much ahead; gives its pid."""
    script = str(Path(__file__).with_name("skewed_worker.py"))
    command = ["worker", clock_flows.__file__, "--lease", f"{LEASE}s", "-t", "8", "--store", url]
    top = str(Path(__file__).parents[2])
    with (folder / "workers.log").open("ab") as log:
        popen = subprocess.Popen(
            [sys.executable, script, str(seconds), *command],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([top, os.environ.get("PYTHONPATH", "")]),
                clock_flows.LEDGER: str(folder / "ledger"),
            },
            stdout=log,
            stderr=log,
        )
    try:
        yield popen.pid
    finally:
        popen.kill()
        popen.wait()


def executions(folder: Path) -> list[tuple[str, int]]:
    """(activity, pid) of each."""
    ledger = folder / "ledger"
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return [(line.split(" ")[1], int(line.split(" ")[2])) for line in lines]


@pytest.mark.parametrize("store", SERVERS)
def test_workers_with_wrong_clocks_agree(store: str, tmp_path: Path) -> None:
    """Timers and leases are the server's: none is early, and nobody is robbed."""
    url = fresh_url(store, tmp_path)
    with campaign("worker-clocks", store) as report, ExitStack() as stack:
        client = Client(url)
        skews = (HOUR, -HOUR, 10.0, -10.0)
        chosen = skews[: rounds(2, 4)]
        pids = {stack.enter_context(process(url, tmp_path, skew)): skew for skew in chosen}
        until(lambda: len(client.workers()) == len(pids), "they have registered")
        before = {worker.id for worker in client.workers()}
        handles: list[Handle[float]] = []
        while not set(pids) <= {pid for _, pid in executions(tmp_path)} or len(handles) < 20:
            # Each first activity is longer than a lease.
            handles += [client.start(timed, 2, LEASE * 1.5) for _ in range(10)]
            assert handles[-10].result(timeout=PATIENCE)
        found = [handle.result(timeout=PATIENCE) for handle in handles]
        times = Counter(activity for activity, _ in executions(tmp_path))
        report.figures["ops"] = report.figures["acked"] = len(handles)
        report.notes["early"] = sum(pause < PAUSE for pause in found)
        assert min(found) >= PAUSE, "a timer was early"
        report.figures["twice"] = times.total() - len(times)
        assert {worker.id for worker in client.workers()} == before, "a lease was lost"
        report.faults["skewed"] = len(pids)
        client.close()


@pytest.fixture
def clocked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Clock, str]]:
    """(store, clock, address) of a server whose clock can be set."""
    kind = KINDS[request.param]
    if missing := kind.missing():
        pytest.skip(f"MISSING {missing}")
    server = kind()
    clock = Clock(server.folder)
    for one in server.processes:
        one.environment.update(clock.environment)
    try:
        server.start()
        yield request.param, clock, server.fresh()
    finally:
        server.close()


@pytest.mark.parametrize("clocked", KINDS, indirect=True)
def test_a_server_whose_clock_is_set(
    clocked: tuple[str, Clock, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is done twice, and nothing waits for longer than the clock was set back."""
    store, clock, url = clocked
    monkeypatch.setenv(clock_flows.LEDGER, str(tmp_path / "ledger"))
    with campaign("server-clock", store) as report:
        client = Client(url)
        worker = Worker(url, workflows=[timed], activities=[clock_flows.stamp], lease=LEASE)
        worker.start()
        try:
            jump_about(client, clock, report)
        finally:
            worker.stop(0)
            client.close()


def jump_about(client: Client, clock: Clock, report: Campaign) -> None:
    def some() -> list[Handle[float]]:
        handles = [client.start(timed, 3, 0.0) for _ in range(5)]
        until(lambda: all(len(handle.history()) > 4 for handle in handles), "they sleep")
        return handles

    def move(seconds: float) -> None:
        before = client.store.now()
        clock.move(seconds)
        report.faults["jumps"] += 1
        until(lambda: abs(client.store.now() - before) > HOUR * 1e6 / 2, "the clock is set")

    def end(handles: list[Handle[float]]) -> None:
        for handle in handles:
            handle.result(timeout=PATIENCE)
            kinds = Counter(type(event).__name__ for event in handle.history())
            assert (kinds["TimerFired"], kinds["ActivityCompleted"]) == (3, 6)
        report.figures["ops"] += len(handles)
        report.figures["acked"] += len(handles)

    first = some()
    move(HOUR)
    end(first)
    second = some()
    move(0.0)
    third = some()  # begun now, it waits for nothing
    end(third)
    assert {handle.status() for handle in second} <= {Status.RUNNING, Status.COMPLETED}
    move(HOUR)
    end(second)
