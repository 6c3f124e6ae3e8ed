import time

from flows import activity, workflow


@workflow
def flow() -> float:
    time.sleep(1)
    return time.time()


@activity
def work() -> float:
    return time.time()
