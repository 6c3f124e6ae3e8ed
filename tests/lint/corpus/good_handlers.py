from contextlib import suppress

from durable import ActivityError, Cancelled, TaskCancelled, Workflow, activity, set_var, sleep, spawn
from durable import workflow


@activity
def charge() -> None: ...


@workflow
def flow(text: str) -> Workflow[str]:
    try:
        yield charge.call()
    except Exception as error:
        set_var("error", str(error))
    try:
        yield charge.call()
    except BaseException as error:
        set_var("error", str(error))
        raise
    try:
        yield charge.call()
    except (ActivityError, Cancelled) as error:
        if isinstance(error, Cancelled):
            raise
    try:
        number = int(text)
    except:
        number = 0
    task = spawn(sleep(number))
    task.cancel()
    with suppress(TaskCancelled):
        yield task
    try:
        yield sleep(1)
    except Cancelled:
        return "cancelled, and that is a result"
    return "charged"
