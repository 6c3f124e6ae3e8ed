"""A workflow that is always under way somewhere, and what its activities note."""

from __future__ import annotations

from fault_kit import Ledger

from durable import Workflow, activity, current_activity, sleep, workflow

ledger = Ledger()


@activity
def tick(number: int) -> int:
    me = current_activity()
    ledger.note(me.instance_id, f"{me.idempotency_key} {me.attempt}")
    return number


@workflow
def ticking(count: int) -> Workflow[int]:
    total = 0
    for number in range(count):
        total += yield tick.call(number)
        yield sleep(0.05)
    return total
