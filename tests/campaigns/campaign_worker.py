"""The worker process of the campaigns: a fork of one that has imported everything.

So a campaign can kill several a second: a start takes 20 ms and not half a second.  What runs
in it is what `durable worker` runs; beside it only the faults that it was given.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import campaign_flows
from campaign_points import Fault, Points
from store_table import STORES

import durable.worker
from durable.stores import open_store
from durable.worker import Worker

WARM = multiprocessing.get_context("forkserver")
# The program itself as well, or each fork would import it.
WARM.set_forkserver_preload(
    ["__main__", "campaign_worker", *(f"durable.stores.{name}" for name in STORES)]
)

_warming = threading.Lock()
_reaping = threading.Lock()
"""How a process ended can be read once; and each start of another one asks all of them."""


def warm() -> None:
    """Start the process that is forked, if it does not run; it finds modules where we do."""
    with _warming:  # several threads start workers, and there is one environment
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        try:
            forkserver.ensure_running()
        finally:
            del os.environ["PYTHONPATH"]
            if before is not None:
                os.environ["PYTHONPATH"] = before


@dataclass(frozen=True)
class Order:
    """What a worker is to do.

    apart: as if it were alone on its machine: no other can see that its process is gone.
    faults: what happens to it.
    """

    url: str
    folder: Path
    lease: float
    slots: int
    queues: tuple[str, ...] = ("default",)
    apart: bool = False
    faults: tuple[Fault, ...] = ()
    name: str = "worker"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> Path:
        """Where it says which of its faults were injected."""
        return self.folder / f"{self.name}.reached"


def prepare(folder: Path) -> None:
    """What every process of a campaign does first."""
    log = os.open(folder / "workers.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ[campaign_flows.LEDGER] = str(folder / "ledger")
    os.environ[campaign_flows.GATES] = str(folder / "gates")
    logging.basicConfig(
        level="INFO", format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    )
    threading.Thread(target=_end_with_campaign, daemon=True).start()


def _end_with_campaign() -> None:
    campaign = multiprocessing.parent_process()
    assert campaign is not None
    campaign.join()
    os._exit(1)


def work(order: Order) -> None:
    """Run a worker until it is told to stop, or killed."""
    prepare(order.folder)
    if order.apart:
        alone = f"machine of {os.getpid()}"
        durable.worker.machine = lambda: alone  # type: ignore[attr-defined]
    store = open_store(order.url)
    store.open()
    campaign_flows.halt = Points(store, order.faults, order.reached).halt
    worker = Worker(
        store,
        [campaign_flows],
        lease=order.lease,
        activity_slots=order.slots,
        queues=order.queues,
        grace=5,
        **order.options,
    )
    sys.exit(worker.run())


class Forked:
    """A worker process: what campaigns want of `subprocess.Popen`."""

    stdout = None

    def __init__(self, order: Order) -> None:
        self.order = order
        warm()
        self._process = WARM.Process(target=work, args=(order,), daemon=True)
        with _reaping:
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        with _reaping:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        wait_for([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            raise TimeoutExpired(str(self.order), timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    @property
    def reached(self) -> list[str]:
        """The faults that were injected into it so far, and what came of late calls."""
        try:
            return self.order.reached.read_text().splitlines()
        except FileNotFoundError:
            return []
