"""A family of workflows: children side by side, a grandchild, one that fails, one that is told.

    python examples/parent_child.py
    durable run examples/parent_child.py:trip '["Rome", "Atlantis"]' --id trip-1
    durable tree trip-1

    durable worker examples/parent_child.py          # and in a second terminal:
    durable start camp --id camp-1 --wait; durable tree camp-1

A child has its own history, may run on another worker, and is not lost when its parent's
worker is.  ``parent_close`` says what becomes of it if it is open when its parent ends.
"""

import sys
from typing import Any

from durable import (
    ChildWorkflowError,
    Failure,
    Handle,
    Orchestrator,
    PermanentError,
    Workflow,
    activity,
    gather,
    info,
    send_signal,
    sleep,
    spawn,
    wait_signal,
    workflow,
)
from durable.errors import WorkflowError


@activity
def reserve(town: str) -> str:
    if town == "Atlantis":
        raise PermanentError("no road leads there")
    return f"a room in {town}"


@workflow
def hotel(town: str) -> Workflow[str]:
    return (yield from reserve.call(town))


@workflow
def stay(town: str) -> Workflow[str]:
    room = yield from hotel.call(town)
    return f"{room}, and a guide"


@workflow
def insurance() -> Workflow[str]:
    """Waits to be told how many: by its parent, or whoever knows its id."""
    count = yield from wait_signal("count", int)
    return f"{count} insured"


@workflow
def trip(towns: list[str]) -> Workflow[list[str]]:
    insured_by = f"{info().instance_id}/insurance"
    insured = spawn(insurance.options(id=insured_by).call())
    lines, stays = [], [stay.call(town) for town in towns]
    for town, found in zip(towns, (yield gather(*stays, return_exceptions=True)), strict=True):
        if isinstance(found, ChildWorkflowError):
            found = f"{town}: {origin(found.error).message}"
        lines.append(found)
    yield send_signal(insured_by, "count", len(lines))
    return [*lines, (yield insured)]


def origin(failure: Failure) -> Failure:
    """A child fails because of its child, which fails because of an activity."""
    return failure if failure.cause is None else origin(failure.cause)


# -- parent_close ------------------------------------------------------------------------


@workflow
def forecast() -> Workflow[None]:
    yield wait_signal("never")


@workflow
def camp() -> Workflow[str]:
    for close in ("cancel", "terminate", "abandon"):
        spawn(forecast.options(id=f"{info().instance_id}/{close}", parent_close=close).call())
    yield sleep(0.05)
    return "we are home"


def show(handle: Handle[Any], depth: int = 0) -> None:
    print("  " * depth + f"{handle.id}: {handle.status()}")
    for child in handle.children():
        show(child, depth + 1)


def main() -> None:
    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        handle = here.client.start(trip.options(id="trip"), ["Rome", "Atlantis"])
        print(*handle.result(timeout=60), sep="\n")
        show(handle)

        parent = here.client.start(camp.options(id="camp"))
        print(parent.result(timeout=60))
        for child in parent.children()[:2]:  # the third one goes on
            try:
                child.result(timeout=60)
            except WorkflowError as error:
                print(error)
        show(parent)


if __name__ == "__main__":
    main()
