from durable import Workflow, activity, continue_as_new, sleep, workflow


@activity
def ship(order: str) -> str:
    return order


def shipping(order: str):
    return ship.call(order)


@workflow
def flow(order: str, left: int = 3) -> Workflow[str]:
    receipt = yield shipping(order)
    if left:
        return continue_as_new(order, left - 1)
    if not receipt:
        return (yield ship.call(order))
    result = sleep(1)
    result = yield result
    if result:
        return result
    return (yield from ship.call(order))
