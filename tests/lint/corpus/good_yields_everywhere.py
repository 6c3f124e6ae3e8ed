from durable import Workflow, activity, gather, race, sleep, wait_signal, with_timeout, workflow


@activity
def add(a: int, b: int) -> int:
    return a + b


@workflow
def flow() -> Workflow[int]:
    first = yield add.call(1, 2)
    total = (yield add.call(first, 1)) + (yield from add.call(2, 2))
    total += yield from add.call(1, 1)
    if (yield add.call(0, 0)):
        yield sleep(1)
    a, b = yield gather(add.call(1, 1), add.call(2, 2))
    winner = yield race(x=with_timeout(add.call(1, 1), 5), y=wait_signal("y"))
    while (yield add.call(0, 0)):
        total += 1
    return total + a + b + int(winner.value) + (yield add.call(3, (yield add.call(1, 1))))
