from durable import Workflow, activity, gather, set_var, sleep, wait_signal, workflow


@activity
def charge(cents: int) -> int:
    return cents


@workflow
def flow() -> Workflow[int]:
    total = 0
    total += charge.call(5)  # expect: DUR122 charge.call(…) is no result yet
    first, second = gather(charge.call(1), charge.call(2))  # expect: DUR122 gather(…) is no result
    if wait_signal("go"):  # expect: DUR122 write `(yield …)`
        yield sleep(1)
    for receipt in charge.call(7):  # expect: DUR122 charge.call(…)
        total += receipt
    set_var("answer", wait_signal("answer"))  # expect: DUR122 wait_signal(…)
    set_var("answer", value=wait_signal("answer"))  # expect: DUR122 wait_signal(…) is no result yet
    yield gather(*charge.call(3))  # expect: DUR122 charge.call(…) is no result yet
    if (answer := wait_signal("late")) and total:  # expect: DUR122 wait_signal(…) is no result yet
        total += answer
    yield charge.call(charge.call(9))  # expect: DUR122 charge.call(…)
    return int(charge.call(8)) + first + second  # expect: DUR122 charge.call(…)
