import time

from durable import Workflow, race, sleep, workflow


@workflow
def flow() -> Workflow[None]:
    yield race(
        soon=sleep(1),
        late=sleep(
            time.time(),  # expect: DUR101 time.time()
        ),
    )
    "ünïcode"; time.sleep(1)  # expect: DUR106 time.sleep()
