"""Workflows that several tests of the kit run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from durable import Workflow, activity, race, sleep, wait_signal, workflow


@activity
def charge(order_id: str, cents: int) -> str:
    return f"r-{order_id}"


@activity
def ship(order_id: str) -> str:
    return f"shipped {order_id}"


@workflow
def order(order_id: str, cents: int) -> Workflow[str]:
    yield charge.call(order_id, cents)
    answer = yield race(refund=wait_signal("refund"), kept=sleep(timedelta(hours=24)))
    if answer.name == "refund":
        return "refunded"
    return (yield from ship.call(order_id))


@workflow
def waiting() -> Workflow[Any]:
    return (yield wait_signal("go"))
