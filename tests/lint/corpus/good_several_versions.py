from durable import Workflow, activity, patched, workflow


@activity
def charge(cents: int) -> int:
    return cents


@workflow(name="order", version=1)
def order() -> Workflow[int]:
    return (yield from charge.call(1))


@workflow(name="order", version=2)
def order() -> Workflow[int]:  # noqa: F811 — the newer one
    cents = yield from charge.call(2)
    if patched("twice"):
        cents += yield from charge.call(2)
    return cents
