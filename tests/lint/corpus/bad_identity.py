from durable import Workflow, sleep, workflow


@workflow
def flow(name: str) -> Workflow[int]:
    yield sleep(hash(name) % 10)  # expect: DUR111 hash() is another number
    return id(name)  # expect: DUR111 use a key of your own
