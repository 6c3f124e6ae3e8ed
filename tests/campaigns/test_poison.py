"""A workflow that takes its worker down is blocked in the end; its neighbours are not."""

from __future__ import annotations

from pathlib import Path

from campaign_flows import deadly, innocent
from campaign_kit import Processes, until

from durable import Client, Status

NEIGHBOURS = 20


def test_neighbours_are_not_blamed(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        client = Client(processes.url)
        starts = [(innocent.options(id=f"before-{n}"),) for n in range(NEIGHBOURS)]
        starts.append((deadly.options(id="deadly"),))  # type: ignore[arg-type]
        starts += [(innocent.options(id=f"after-{n}"),) for n in range(NEIGHBOURS)]
        client.start_many(starts)
        deaths = 0
        culprit = client.get("deadly")
        worker = processes.worker(lease=5, slots=2)
        while True:
            until(
                lambda w=worker: w.poll() is not None or culprit.status() is Status.BLOCKED,  # type: ignore[misc]
                30,
                f"neither dead nor blocked: {culprit.describe()}",
            )
            if culprit.status() is Status.BLOCKED:
                break
            assert processes.reap(worker) == 9
            deaths += 1
            worker = processes.worker(lease=5, slots=2)
        assert deaths == 5
        assert "taken down its worker 5 times" in culprit.describe()["reason"]
        neighbours = [client.get(f"{side}-{n}") for side in ("before", "after") for n in range(20)]
        for handle in neighbours:
            handle.signal("go")
        assert {handle.result(timeout=30) for handle in neighbours} == {"unharmed"}
        client.close()
