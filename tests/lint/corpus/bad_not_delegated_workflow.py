from durable import Workflow, sleep, spawn, workflow


@workflow
def child() -> Workflow[None]:
    yield sleep(1)


def steps(count: int):
    for n in range(count):
        yield sleep(n)


@workflow
def flow() -> Workflow[None]:
    child()  # expect: DUR126 child(…) does not run
    yield steps(3)  # expect: DUR126 write `yield from steps(…)`
    yield spawn(child())
