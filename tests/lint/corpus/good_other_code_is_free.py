import time
from itertools import count

from durable import Client, Workflow, sleep, workflow


@workflow
def flow() -> Workflow[None]:
    yield sleep(1)


def numbers():
    while True:
        yield time.time()


def main() -> None:
    handle = Client("memory://").start(flow)
    for n in count():
        time.sleep(0.1)
        print(n, handle.status(), time.time())
        sleep(3)
        flow()
    except_all()


def except_all() -> None:
    try:
        yield numbers()
    except BaseException:
        pass
