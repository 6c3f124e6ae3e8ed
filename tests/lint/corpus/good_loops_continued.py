from itertools import count

from durable import Workflow, activity, continue_as_new, info, sleep, workflow


@activity
def poll(n: int) -> None: ...


@workflow
def flow(polled: int = 0) -> Workflow[None]:
    while True:
        yield poll.call(polled)
        yield sleep(60)
        polled += 1
        if info().history_length > 5000:
            return continue_as_new(polled)


@workflow
def counted() -> Workflow[None]:
    for n in count():
        if n > 500:
            return continue_as_new()
        yield poll.call(n)


@workflow
def tries() -> Workflow[int]:
    numbers = iter([3, 1, 2])
    while True:
        number = next(numbers)
        if number == 1:
            break
    yield sleep(number)
    return number
