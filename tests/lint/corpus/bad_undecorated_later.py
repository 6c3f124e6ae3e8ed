import time

from durable import Workflow, sleep, workflow


def process(order: str) -> Workflow[None]:
    yield sleep(time.time())  # expect: DUR101 time.time()


order = workflow(process)


def ship(parcel: str) -> Workflow[None]:
    yield sleep(time.time())  # expect: DUR101 time.time()


shipping = workflow(name="ship", version=2)(ship)
