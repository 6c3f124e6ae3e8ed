"""Two ways to change a workflow while its instances run: old ones end on the old code.

    python examples/versioned.py
    durable worker examples/versioned.py    # and in a second terminal:
    durable start order --id order-1; durable signal order-1 go; durable result order-1 --wait

A new version beside the old one (``order``) is right for a change of the whole; ``patched``
(``parcel``) for a change at one place.  Yesterday's worker starts some instances and stops;
today's goes on with them, in the same store.  `durable list --workflow order` shows when none
of the old ones is left, and the old code can be deleted.
"""

import sys
from typing import Any

from durable import Client, Worker, Workflow, activity, patched, wait_signal, workflow


@activity
def done(text: str) -> str:
    return text


@workflow(name="order", version=1)
def order_1() -> Workflow[str]:
    """The code of yesterday, still there today."""
    yield wait_signal("go")
    return (yield from done.call("by the old rules"))


@workflow(name="order", version=2)
def order() -> Workflow[str]:
    rules = yield from done.call("by the new rules")
    yield wait_signal("go")
    return rules


@workflow
def parcel() -> Workflow[str]:
    steps = yield from done.call("weighed")
    if patched("scan"):  # true in a run that comes here for the first time now
        steps += " and " + (yield from done.call("scanned"))
    yield wait_signal("go")
    return steps


def yesterday() -> list[Any]:
    """What the worker of yesterday knew."""

    @workflow
    def parcel() -> Workflow[str]:
        steps = yield from done.call("weighed")
        yield wait_signal("go")
        return steps

    return [order_1, parcel]


def main() -> None:
    client = Client("memory://")
    handles = [
        client.start(order_1.options(id="order of yesterday")),
        client.start(parcel.options(id="parcel of yesterday")),
    ]
    Worker(client.store, workflows=yesterday(), activities=[done], burst=True).run()
    handles += [
        client.start(order.options(id="order of today")),
        client.start(parcel.options(id="parcel of today")),
    ]
    for handle in handles:
        handle.signal("go")
    Worker(client.store, [sys.modules[__name__]], burst=True).run()
    for handle in handles:
        print(f"{handle.id}: version {handle.describe()['version']}, {handle.result()}")


if __name__ == "__main__":
    main()
