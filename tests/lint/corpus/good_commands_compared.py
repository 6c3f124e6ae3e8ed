from durable import Command, Workflow, activity, sleep, workflow


@activity
def charge(cents: int) -> str:
    return str(cents)


@workflow
def flow(cents: int, given: Command[str]) -> Workflow[str]:
    same = charge.call(cents) == charge.call(cents)
    command = charge.call(cents)
    if given == charge.call(0) or command != given:
        yield sleep(1)
    if charge.call(1) in [command, given]:
        yield sleep(2)
    seen = {command: 1, given: 2}
    if seen[charge.call(cents)] == 1 and (later := sleep(3)):
        yield later
    check(cents)
    return (yield command) if same else (yield given)


def check(cents: int) -> None:
    steps = flow(cents, sleep(1))
    assert next(steps) == charge.call(cents)
    assert steps.send("receipt") == sleep(2)
    assert list(steps) == [charge.call(1), sleep(2)]
