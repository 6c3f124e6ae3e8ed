from durable import Workflow, activity, gather, race, sleep, wait_signal, workflow


@activity
def step(n: int) -> int: ...


@activity
def load() -> list[int]: ...


@workflow
def flow(n: int) -> Workflow[object]:
    if step.call(n):  # expect: DUR122 step.call(…) is no result yet
        yield sleep(1)
    total = step.call(1) + 1  # expect: DUR122 step.call(…) is no result yet
    text = f"{step.call(2)}"  # expect: DUR122 step.call(…) is no result yet
    rows = load.call()  # expect: DUR122 load.call(…) is no result yet
    for row in rows:
        yield step.call(row)
    first = load.call()[0]  # expect: DUR122 load.call(…) is no result yet
    size = len(load.call())  # expect: DUR122 load.call(…) is no result yet
    numbers = [x + 1 for x in load.call()]  # expect: DUR122 load.call(…) is no result yet
    a, b = load.call()  # expect: DUR122 load.call(…) is no result yet
    c, *d = yield load.call()
    name = race(wait_signal("a"), sleep(1)).name  # expect: DUR122 race(…) is no result yet
    both = gather(step.call(1), step.call(2))  # expect: DUR122 gather(…) is no result yet
    third = both[0]
    table = {"a": step.call(1)}  # expect: DUR122 step.call(…) is not yielded, so nothing is done
    print_me = table
    flag = not wait_signal("x")  # expect: DUR122 wait_signal(…) is no result yet
    assert step.call(3), "no result"  # expect: DUR122 step.call(…) is no result yet
    while step.call(4) is None:  # expect: DUR122 step.call(…) is no result yet
        yield sleep(1)
    match wait_signal("kind"):  # expect: DUR122 wait_signal(…) is no result yet
        case "a":
            yield sleep(1)
    value = yield step.call(5) or step.call(6)
    other = (yield step.call(7)) if n else step.call(8)  # expect: DUR125 step.call(…) is returned, not its result
    last: int = step.call(9)  # expect: DUR125 step.call(…) is returned, not its result
    last += 1
    with step.call(10):  # expect: DUR122 step.call(…) is no result yet
        yield sleep(1)
    raise ValueError(step.call(11))
    return total, text, first, size, numbers, a, b, c, d, name, third, flag, value, other, last
