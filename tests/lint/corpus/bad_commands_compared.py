from durable import Workflow, activity, sleep, wait_signal, workflow


@activity
def charge(cents: int) -> int: ...


@workflow
def flow(limits: dict[str, int]) -> Workflow[str]:
    if charge.call(1) == 5:  # expect: DUR122 charge.call(…) is no result yet: write `(yield …)`
        yield sleep(1)
    if charge.call(2) > limits:  # expect: DUR122 charge.call(…) is no result yet
        yield sleep(1)
    if wait_signal("go") in ("yes", "no"):  # expect: DUR122 wait_signal(…)
        yield sleep(1)
    answer = wait_signal("answer")  # expect: DUR122 wait_signal(…) is no result yet
    if answer == "yes" or answer == limits["no"]:
        return "yes"
    return "no"
