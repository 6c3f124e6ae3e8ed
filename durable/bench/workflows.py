"""The workflows that are measured; also the module that a worker in another process runs."""

from __future__ import annotations

from typing import Any

from durable.definitions import Workflow, activity, workflow
from durable.verbs import gather


@activity(name="durable.bench.noop")
def noop(value: str) -> str:
    """Nothing but a payload in and out."""
    return value


@workflow(name="durable.bench.chain")
def chain(steps: int, payload: str) -> Workflow[int]:
    """Activities one after the other."""
    for _ in range(steps):
        yield noop.call(payload)
    return steps


@workflow(name="durable.bench.fan")
def fan(width: int, payload: str) -> Workflow[int]:
    """Activities all at once."""
    results: list[Any] = yield gather(*[noop.call(payload) for _ in range(width)])
    return len(results)
