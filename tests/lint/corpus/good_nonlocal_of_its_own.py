from durable import Workflow, on_signal, sleep, spawn, wait_until, workflow


@workflow
def flow() -> Workflow[int]:
    count = 0
    names: list[str] = []

    def add(value: int) -> None:
        nonlocal count
        count += value
        names.append(str(value))

    def beat() -> Workflow[None]:
        nonlocal count
        while True:
            yield sleep(60)
            count += 1

    on_signal("add", add)
    spawn(beat())
    yield wait_until(lambda: count > 3)
    return count
