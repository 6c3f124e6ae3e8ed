"""A worker is stopped for longer than its lease, replaced, and then wakes up again."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from campaign_flows import held
from campaign_kit import Processes, recorded, until

from durable import Client
from durable.client.handle import Handle
from durable.model import WorkerInfo

ROUNDS = 10
HELD = 4
LEASE = 1.0


def test_a_zombie_writes_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    with Processes(tmp_path) as processes:
        client = Client(processes.url)

        def started_by(pid: int, ids: set[str]) -> bool:
            return {
                one.id for one in processes.ledger() if one.pid == pid and not one.command
            } >= ids

        def ended_by(pid: int, ids: set[str]) -> bool:
            return {one.id for one in processes.ledger(".ended") if one.pid == pid} >= ids

        def incarnations(pid: int) -> list[WorkerInfo]:
            return [worker for worker in client.workers() if worker.pid == pid]

        zombie = processes.worker(lease=LEASE, slots=16)
        stopped = late = 0
        for number in range(ROUNDS):
            gate = f"gate-{number}"
            ids = {f"z{number}-{n}" for n in range(HELD)}
            handles: list[Handle[list[int]]] = [
                client.start(held.options(id=id), gate) for id in sorted(ids)
            ]
            until(lambda: started_by(zombie.pid, ids), 20, "the worker has not begun")  # noqa: B023
            [before] = incarnations(zombie.pid)
            zombie.send_signal(signal.SIGSTOP)
            stopped += 1
            other = processes.worker(lease=LEASE, slots=16)
            until(lambda: started_by(other.pid, ids), 20, "nobody took over")  # noqa: B023
            (processes.gates / gate).touch()
            for handle in handles:
                assert handle.result(timeout=20) == [other.pid, 4]
            histories = [handle.history() for handle in handles]

            zombie.send_signal(signal.SIGCONT)
            until(lambda: ended_by(zombie.pid, ids), 20, "no late results")  # noqa: B023
            late += HELD
            until(
                lambda: [w.id for w in incarnations(zombie.pid)] not in ([], [before.id]),  # noqa: B023
                20,
                "the zombie has not registered anew",
            )
            for handle, history in zip(handles, histories, strict=True):
                assert handle.history() == history, "a write of the zombie was accepted"
                assert recorded(history) == [0, 1]
                assert handle.result(timeout=0) == [other.pid, 4]
            other.terminate()
            assert processes.reap(other) == 0
        assert stopped == ROUNDS
        zombie.terminate()
        assert processes.reap(zombie) == 0
        client.close()
    print(
        f"zombie sqlite stopped={stopped} late_results={late} accepted=0 "
        f"seconds={time.monotonic() - began:.1f}"
    )
