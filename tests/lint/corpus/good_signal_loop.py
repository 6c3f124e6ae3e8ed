from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime as dt
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import durable as d
from durable import continue_as_new, now, race, set_var, sleep_until, wait_signal, workflow

if TYPE_CHECKING:
    from durable import Workflow

LIMIT = 200


@dataclass(frozen=True)
class Subscription:
    user: str
    plan: Literal["free", "paid"] = "free"
    renews_at: dt | None = None


@dataclass(frozen=True)
class Change:
    kind: str
    plan: str = ""


@d.activity
def bill(user: str, plan: str) -> str:
    return f"{user}-{plan}-{dt.now().isoformat()}"


def apply(subscription: Subscription, change: Change) -> Subscription | None:
    match change:
        case Change(kind="upgrade" | "downgrade", plan=plan) if plan:
            return replace(subscription, plan=plan)
        case Change(kind="cancel"):
            return None
        case _:
            return subscription


@workflow
def subscribed(subscription: Subscription) -> Workflow[str]:
    due: dt = subscription.renews_at or now() + timedelta(days=30)
    for _ in range(LIMIT):
        first = yield race(change=wait_signal("change", Change), due=sleep_until(due))
        if first.name == "due":
            yield bill.call(subscription.user, subscription.plan)
            due += timedelta(days=30)
            continue
        if (changed := apply(subscription, first.value)) is None:
            return "cancelled"
        subscription = changed
        set_var("plan", subscription.plan)
    return continue_as_new(replace(subscription, renews_at=due))


@workflow
def counting(total: int = 0) -> Workflow[int]:
    seen = 0
    while True:
        amount = yield from wait_signal("add", int)
        total += amount
        seen += 1
        if seen >= LIMIT:
            return continue_as_new(total)
