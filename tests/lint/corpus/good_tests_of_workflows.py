from durable import Workflow, activity, sleep, workflow


@activity
def charge(cents: int) -> str:
    return str(cents)


@workflow
def flow() -> Workflow[str]:
    yield sleep(1)
    return (yield from charge.call(5))


def test_flow() -> None:
    assert charge(5) == "5"
    steps = flow()
    assert next(steps) == sleep(1)
    assert steps.send(None) == charge.call(5)
    sleep(1)
