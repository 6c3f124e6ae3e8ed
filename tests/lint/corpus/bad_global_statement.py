from durable import Workflow, sleep, workflow

COUNT = 0


@workflow
def flow() -> Workflow[int]:
    global COUNT
    COUNT += 1  # expect: DUR109 COUNT lives outside of the workflow
    yield sleep(1)
    COUNT = 0  # expect: DUR109 use local variables
    return COUNT
