from durable import Command, Workflow, activity, gather, race, sleep, spawn, wait_signal, workflow
from durable.commands import ActivityCall


@activity
def add(a: int, b: int) -> int:
    return a + b


def adding(n: int) -> ActivityCall[int]:
    return add.call(n, n)


@workflow
def flow(quick: bool, limit: float | None) -> Workflow[list[int]]:
    command = add.call(1, 2) if quick else add.call(2, 3)
    result = yield command
    commands = [add.call(n, n) for n in range(3)]
    commands.append(add.call(7, 7))
    results = yield gather(*commands)
    named = {"a": add.call(1, 1), "b": wait_signal("b")}
    first = yield race(**named)
    waiting = wait_signal("go")
    timer = sleep(limit) if limit is not None else None
    if timer is not None:
        yield race(waiting, timer)
    task = spawn(add.call(5, 5))
    again = sleep(1)
    yield again
    yield again
    for each in commands:
        result += yield each
    return [result, *results, first.value, (yield task), (yield adding(3))]
