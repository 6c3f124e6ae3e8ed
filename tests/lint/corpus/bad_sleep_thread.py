import time
from time import sleep as pause

from durable import Workflow, sleep, workflow


@workflow
def flow() -> Workflow[None]:
    time.sleep(1)  # expect: DUR106 write `yield sleep(…)`
    pause(1)  # expect: DUR106 time.sleep() holds up the worker
    yield sleep(1)
