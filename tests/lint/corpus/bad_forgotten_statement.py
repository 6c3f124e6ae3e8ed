from datetime import timedelta

from durable import Channel, Workflow, activity, gather, race, send_signal, sleep, wait_signal, workflow


@activity
def charge(cents: int) -> None: ...


@workflow
def child() -> Workflow[None]:
    yield sleep(1)


@workflow
def flow() -> Workflow[None]:
    jobs: Channel[int] = Channel()
    charge.call(5)  # expect: DUR122 charge.call(…) is not yielded
    charge.options(timeout=1).call(5)  # expect: DUR122 write `yield …`
    child.call()  # expect: DUR122 child.call(…)
    sleep(timedelta(hours=1))  # expect: DUR122 sleep(…)
    wait_signal("go")  # expect: DUR122 wait_signal(…)
    send_signal("o-1", "go")  # expect: DUR122 send_signal(…)
    gather(sleep(1), sleep(2))  # expect: DUR122 gather(…)
    race(sleep(1), sleep(2))  # expect: DUR122 race(…)
    jobs.send(5)  # expect: DUR122 jobs.send(…)
    yield sleep(1)
