from durable import Workflow, activity, gather, race, sleep, spawn, wait_signal, workflow


@activity
def charge(cents: int) -> str: ...


@workflow
def child() -> Workflow[None]:
    yield sleep(1)


quick = charge.options(timeout=1)


@workflow
def flow() -> Workflow[None]:
    yield charge.call  # expect: DUR121 charge.call is no command: write `yield charge.call(…)`
    yield from charge.call  # expect: DUR121 charge.call is no command
    yield child  # expect: DUR121 child is no command: write `yield child.call(…)`
    yield quick  # expect: DUR121 write `yield quick.call(…)`
    yield quick.call  # expect: DUR121 write `yield quick.call(…)`
    yield charge.options(timeout=5)  # expect: DUR121 write `yield charge.options(…).call(…)`
    yield wait_signal  # expect: DUR121 wait_signal is no command: write `yield wait_signal(…)`
    yield gather(charge.call, sleep(1))  # expect: DUR121 charge.call is no command: write `charge.call(…)`
    yield race(sleep(1), charge)  # expect: DUR121 charge is no command: write `charge.call(…)`
    yield race(a=charge, b=sleep(1))  # expect: DUR121 charge is no command: write `charge.call(…)`
    yield gather(a=charge.call)  # expect: DUR121 charge.call is no command
    spawn(charge)  # expect: DUR121 write `charge.call(…)`
