from durable import (
    Cancelled, TaskCancelled, Workflow, activity, external, gather, patched, race, send_signal,
    shield, sleep, spawn, timeout, wait_signal, with_timeout, workflow,
)
from durable.errors import ActivityError, ChildWorkflowError, TimeoutExpired


@activity(retry=None)
def ask(token: str) -> None: ...


@activity
def notify(text: str) -> None: ...


@workflow
def child(n: int) -> Workflow[int]:
    yield sleep(n)
    return n


@workflow
def parent(count: int) -> Workflow[list[int]]:
    promise = external(timeout=3600)
    yield ask.call(promise.token)
    tasks = {n: spawn(child.options(id=f"c-{n}").call(n)) for n in range(count)}
    done = []
    while tasks:
        first = yield race(*tasks.values(), return_exceptions=True)
        key = list(tasks)[first.index]
        tasks.pop(key)
        done.append(key)
    ticker = spawn(sleep(60))
    answer = yield race(promise, ticker, stop=wait_signal("stop"))
    if not ticker.done:
        ticker.cancel()
        try:
            yield ticker
        except TaskCancelled:
            pass
    if patched("notify-parent"):
        yield send_signal("boss", "done", answer.value)
    try:
        limited = yield with_timeout(wait_signal("late"), 5)
    except TimeoutExpired:
        limited = None
    return done + [limited is None]


@workflow
def guarded() -> Workflow[str]:
    status = "new"
    try:
        with timeout(30):
            results = yield gather(*[child.call(n) for n in (1, 2)], return_exceptions=True)
        failed = [r for r in results if isinstance(r, ChildWorkflowError)]
        status = "failed" if failed else "ok"
    except TimeoutExpired as error:
        status = str(error)
    except ActivityError as error:
        raise RuntimeError("gave up") from error
    except Cancelled:
        status = "cancelled"
        with shield(), timeout(5):
            yield notify.call(status)
        raise
    else:
        yield notify.call(status)
    finally:
        with shield():
            yield notify.call("over")
    return status
