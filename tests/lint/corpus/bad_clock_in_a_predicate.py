import time

from durable import Workflow, wait_until, workflow


@workflow
def flow(due_at: float) -> Workflow[None]:
    yield wait_until(lambda: time.time() > due_at)  # expect: DUR101 time.time()
