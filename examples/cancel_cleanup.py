"""A cancel: what happens to activities and children, and how to clean up behind it.

    python examples/cancel_cleanup.py
    durable run examples/cancel_cleanup.py:build '"request"' 3600 --id build-1
    durable cancel build-1                  # in a second terminal

`Cancelled` is raised where the workflow waits.  ``on_cancel`` says what becomes of an activity
that runs just then: "wait" for its result, "request" it to stop, or "abandon" it.  A child is
cancelled too, and awaited.
"""

import sys
import threading
import time

from durable import (
    Cancelled,
    Orchestrator,
    Workflow,
    activity,
    current_activity,
    set_var,
    shield,
    wait_signal,
    workflow,
)
from durable.errors import WorkflowCancelledError

BUSY: set[str] = set()
"""The instances whose compiler runs."""
ENOUGH = threading.Event()
"""Ends the compilers that would go on for hours."""


@activity
def compile_all(seconds: float) -> str:
    here = current_activity()
    BUSY.add(here.instance_id)
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not ENOUGH.wait(0.01):
            here.heartbeat()  # raises if it should stop
    finally:
        BUSY.discard(here.instance_id)
    return "compiled"


@activity
def remove_files() -> str:
    return "removed"


@workflow
def build(on_cancel: str, seconds: float) -> Workflow[str]:
    steps: list[str] = []
    try:
        steps.append((yield from compile_all.options(on_cancel=on_cancel).call(seconds)))
        yield wait_signal("publish")
        return "published"
    except Cancelled:
        steps.append("cancelled")
        raise
    finally:
        with shield():  # in here, a cancel is not felt
            steps.append((yield from remove_files.call()))
        set_var("steps", steps)


@workflow
def nightly() -> Workflow[str]:
    """Its cancel is its child's cancel; and it is not obliged to end cancelled."""
    try:
        yield build.options(id="nightly/build").call("request", 3600)
    except Cancelled:
        return "completed without a build"
    return "completed"


def main() -> None:
    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        handles = [
            here.client.start(build.options(id=on_cancel), on_cancel, 3600)
            for on_cancel in ("abandon", "request", "wait")
        ]
        parent = here.client.start(nightly.options(id="nightly"))
        while len(BUSY) < 4:
            time.sleep(0.01)
        for handle in (parent, *handles):
            handle.cancel("power cut")
        print(f"{parent.id} is {parent.result(timeout=60)}")
        handles[:0] = parent.children()
        for handle in handles:
            if handle.id == "wait":
                ENOUGH.set()  # its compiler would never know of the cancel
            try:
                handle.result(timeout=60)
            except WorkflowCancelledError as error:
                busy = ", still compiling" if handle.id in BUSY else ""
                print(f"{error}: {handle.vars()['steps']}{busy}")


if __name__ == "__main__":
    main()
