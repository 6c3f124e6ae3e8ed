from durable import Workflow, activity, sleep, workflow


@activity
def ship(order: str) -> str:
    return order


def later(order: str) -> Workflow[str]:
    yield sleep(1)
    return ship.call(order) if order else None  # expect: DUR125 ship.call(…) is returned


@workflow
def flow(order: str) -> Workflow[str]:
    return (yield from later(order))
