"""Every kind of time limit, and what each of them raises.

python examples/timeouts.py
durable run examples/timeouts.py:limits
durable run examples/timeouts.py:endless         # fails by its own limit
"""

import sys
import time
from collections.abc import Generator
from typing import Any

from durable import (
    ActivityError,
    ChildWorkflowError,
    Command,
    Orchestrator,
    PromiseError,
    Retry,
    TimeoutExpired,
    Workflow,
    activity,
    current_activity,
    external,
    sleep,
    timeout,
    wait_signal,
    with_timeout,
    workflow,
)
from durable.errors import ResultTimeout, WorkflowError


@activity(retry=None)
def hang() -> None:
    """A thread cannot be killed: this one looks whether anybody still waits for it."""
    while not current_activity().cancelled:
        time.sleep(0.01)


@activity(retry=Retry(max_attempts=None, first_delay=60, total_timeout=30))
def unlucky() -> None:
    raise ConnectionError("no answer")


@workflow(timeout=0.05)
def endless() -> Workflow[None]:
    yield wait_signal("never")


def block() -> Workflow[None]:
    with timeout(0.05):
        yield sleep(0.01)
        yield wait_signal("never")


@workflow
def limits() -> Workflow[list[str]]:
    limited: dict[str, Generator[Command[Any], Any, None]] = {
        "an attempt": hang.options(timeout=0.05).call(),
        "heartbeats": hang.options(heartbeat_timeout=0.05).call(),
        "all of it": hang.options(schedule_timeout=0.05, queue="of nobody").call(),
        "retries": unlucky.call(),  # the next one would be too late
        "a command": with_timeout(wait_signal("never"), 0.05),
        "a block": block(),
        "a promise": external("answer", timeout=0.05),
        "a child": endless.call(),
    }
    lines = []
    for what, part in limited.items():
        try:
            yield from part
        except TimeoutExpired as error:
            lines.append(f"{what}: {error}")
        except (ActivityError, ChildWorkflowError, PromiseError) as error:
            lines.append(f"{what}: {type(error).__name__}: {error}")
    return lines


def main() -> None:
    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        print(*here.client.start(limits.options(id="limits")).result(timeout=60), sep="\n")
        try:
            here.client.start(endless.options(id="short")).result(timeout=60)
        except WorkflowError as error:
            print(f"a workflow: WorkflowError: {error}")
        try:
            here.client.start(endless.options(id="long", timeout=3600)).result(timeout=0.05)
        except ResultTimeout as error:
            print(f"a caller: ResultTimeout: {error}")


if __name__ == "__main__":
    main()
