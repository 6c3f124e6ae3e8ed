"""An order: charge, wait a moment, ship. `durable demo` runs it, and kills it half-way.

What happens to the outside world is one line each in the file effects.txt.
"""

from pathlib import Path

from durable import Workflow, activity, sleep, workflow

EFFECTS = Path("effects.txt")


def effect(text: str) -> None:
    with EFFECTS.open("a") as file:
        file.write(f"{text}\n")


@activity
def charge(order_id: str, cents: int) -> str:
    effect(f"charged {order_id} {cents}")
    return f"receipt-{order_id}"


@activity
def ship(order_id: str) -> str:
    effect(f"shipped {order_id}")
    return f"parcel-{order_id}"


@workflow
def process_order(order_id: str, cents: int) -> Workflow[str]:
    receipt = yield charge.call(order_id, cents)
    yield sleep(1.5)  # the packing
    parcel = yield ship.call(order_id)
    return f"{receipt} {parcel}"
