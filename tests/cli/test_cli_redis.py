"""The address is all that the command line needs to know of a Redis server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cli_kit import Cli, follow
from servers import drop, fresh, redis


@pytest.fixture
def url() -> Iterator[str]:
    server = redis()
    url = fresh(server)
    yield url
    drop(server, url)


def test_a_worker_and_its_clients_share_a_server(cli: Cli, url: str) -> None:
    env = {"DURABLE_STORE": url}
    worker = cli.spawn("worker", "orders", "-q", "default", "-q", "parcels", **env)
    try:
        follow(worker, "queues default, parcels")
        cli.ok("start", "order", '"o-1"', "--id", "done", **env)
        assert cli.json("result", "done", "--timeout", "30", **env) == {
            "receipt": "receipt-o-1",
            "parcel": "parcel-o-1",
        }
        cli.ok("start", "approval", "--id", "asked", **env)
        cli.ok("signal", "asked", "approve", '"bob"', **env)
        assert cli.json("result", "asked", "--timeout", "30", **env) == "bob"
        cli.ok("start", "approval", "--id", "stopped", **env)
        cli.ok("cancel", "stopped", **env)
        cli.fails(1, "result", "stopped", "--timeout", "30", **env)
        shown = {one["id"]: one["status"] for one in cli.json("list", **env)}
        assert shown == {"done": "completed", "asked": "completed", "stopped": "cancelled"}
        assert len(cli.json("workers", **env)) == 1
    finally:
        worker.terminate()
        worker.communicate()
    cli.ok("delete", "done", "-y", **env)
    assert {one["id"] for one in cli.json("list", **env)} == {"asked", "stopped"}
    assert "up to date" in cli.ok("store", "status", **env)
