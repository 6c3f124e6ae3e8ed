"""A long-running loop: an amount is paid in cycles, and what fails becomes overdue.

    durable run examples/subscription.py:subscription '"card-1"' 1000 7 2 --id sub-1
    durable vars sub-1                                     # in a second terminal
    python examples/subscription.py

Cycle i is due at start + (i + 1) · duration, whatever the payments before it took.
"""

import sys
from datetime import timedelta

from durable import (
    ActivityError,
    Orchestrator,
    PermanentError,
    Workflow,
    activity,
    now,
    set_var,
    sleep_until,
    workflow,
)

DECLINED = {("card-2", 1), ("card-2", 4)}
"""The payments that the bank of this example declines: (card, cycle)."""


@activity
def pay(card: str, cycle: int, cents: int) -> None:
    if (card, cycle) in DECLINED:
        raise PermanentError("declined")


def parts(total: int, cycles: int) -> list[int]:
    """The total in nearly equal parts: the first ``total % cycles`` have one more."""
    return [total // cycles + (i < total % cycles) for i in range(cycles)]


@workflow
def subscription(card: str, total: int, cycles: int, seconds: float) -> Workflow[dict[str, int]]:
    start, duration = now(), timedelta(seconds=seconds)
    paid = overdue = 0
    for cycle, cents in enumerate(parts(total, cycles)):
        set_var("cycle", cycle)
        yield sleep_until(start + (cycle + 1) * duration)
        try:
            yield pay.call(card, cycle, cents)
            paid += cents
        except ActivityError:
            overdue += cents
        set_var("paid", paid)
        set_var("overdue", overdue)
    assert paid + overdue == total
    return {"paid": paid, "overdue": overdue}


def main() -> None:
    with Orchestrator("memory://", [sys.modules[__name__]]) as here:
        for card in ("card-1", "card-2"):
            handle = here.client.start(subscription, card, 1000, 7, 0.05)
            print(card, handle.result(timeout=60), handle.vars())


if __name__ == "__main__":
    main()
