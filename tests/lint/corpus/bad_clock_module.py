import time

from durable import Workflow, sleep, workflow


@workflow
def flow() -> Workflow[float]:
    began = time.time()  # expect: DUR101 time.time() gives another time
    yield sleep(1)
    return time.monotonic() - began  # expect: DUR101 time.monotonic()
