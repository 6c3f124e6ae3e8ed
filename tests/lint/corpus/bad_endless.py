from itertools import count

from durable import Cancelled, Workflow, activity, sleep, workflow


@activity
def poll() -> bool:
    return True


@workflow
def flow() -> Workflow[None]:
    while True:  # expect: DUR143 this loop never ends
        yield poll.call()
        for _ in range(3):
            if (yield poll.call()):
                break
        yield sleep(60)


@workflow
def other() -> Workflow[None]:
    for n in count():  # expect: DUR143 use continue_as_new
        yield sleep(n)


@workflow
def zeros() -> Workflow[None]:
    for _ in iter(int, 1):  # expect: DUR143 this loop never ends
        yield sleep(60)


def beat() -> Workflow[None]:
    while 1:  # expect: DUR143 this loop never ends
        yield sleep(60)


@workflow
def delegates() -> Workflow[None]:
    yield from beat()


def hold() -> Workflow[None]:
    try:
        yield sleep(60)
    except Cancelled:
        raise


@workflow
def raises_again() -> Workflow[None]:
    while True:  # expect: DUR143 this loop never ends
        yield from hold()
