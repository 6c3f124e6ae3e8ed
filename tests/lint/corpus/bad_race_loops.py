from contextlib import suppress

from durable import (
    Cancelled, CancelScope, Workflow, activity, external, gather, race, shield, sleep, spawn,
    timeout, wait_signal, with_timeout, workflow,
)


@activity
def notify(text: str) -> None: ...


@workflow
def child(n: int) -> Workflow[int]:
    yield sleep(n)
    return n


@workflow
def parent(count: int) -> Workflow[object]:
    winner = race(wait_signal("go"), sleep(5))  # expect: DUR122 race(…) is no result yet
    if winner.index == 0:
        yield notify.call("go")
    tasks = [child.call(n) for n in range(count)]
    results = yield gather(tasks)  # expect: DUR122 gather(…) takes commands, not a list
    children = [child(n) for n in range(count)]  # expect: DUR126 child(…) is a generator, no command
    yield gather(*children)
    yield child(1)  # expect: DUR126 child(…) does not run
    answer = yield with_timeout(wait_signal, 5)  # expect: DUR121 wait_signal is no command
    with timeout(5):
        notify.call("in time")  # expect: DUR122 notify.call(…) is not yielded, so nothing is done
    while not wait_signal("stop"):  # expect: DUR122 wait_signal(…) is no result yet
        yield sleep(1)
    return results, answer


@workflow
def cleanup() -> Workflow[None]:
    try:
        yield sleep(1)
    except Cancelled:
        with shield():
            notify.call("cancelled")  # expect: DUR122 notify.call(…) is not yielded, so nothing is done
        raise
    finally:
        with suppress(Exception):
            yield notify.call("over")  # expect: DUR124 after a cancel this yield only raises
        return  # expect: DUR131 return in finally swallows Cancelled


@workflow
def waits_for_ever() -> Workflow[None]:
    with suppress(BaseException):  # expect: DUR131 suppress(BaseException) swallows Cancelled
        yield sleep(1)
    with CancelScope() as scope:
        spawn(sleep(5))
    while True:  # expect: DUR143 this loop never ends, and its history grows
        try:
            yield notify.call("again")
        except Exception:
            continue
        yield sleep(60)
    yield scope
