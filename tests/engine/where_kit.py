"""What the tests of whereabouts share."""

from __future__ import annotations

from typing import Any

import where_flows as flows
from engine_kit import Engine, kinds, until

from durable import Handle
from durable.client import CoroutinePlace, Where


def begin(engine: Engine, flow: Any, *args: Any, id: str = "i") -> Handle[Any]:
    """Start it with a worker, and wait until it has begun."""
    if not engine.workers:
        engine.work(flows.FLOWS, flows.ACTIVITIES)
    handle = engine.start(flow.options(id=id), *args)
    until(lambda: handle.history() or handle.status().finished, f"{handle} has begun")
    return handle


def happens(handle: Handle[Any], kind: str, times: int = 1) -> None:
    until(lambda: kinds(handle).count(kind) >= times, f"{handle}: {kind}")


def root(where: Where) -> CoroutinePlace:
    assert where.coroutines[0].name == "root"
    return where.coroutines[0]
