from durable import Workflow, activity, sleep, workflow


@activity
def ship(order: str) -> str:
    return order


@workflow
def at_once(order: str):
    return ship.call(order)  # expect: DUR125 write `return (yield …)`


@workflow
def flow(order: str) -> Workflow[str]:
    yield sleep(1)
    if order:
        return ship.call(order)  # expect: DUR125 ship.call(…) is returned, not its result
    last = sleep(5)  # expect: DUR125 sleep(…) is returned
    return last
