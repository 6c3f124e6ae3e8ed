from durable import ActivityError, Cancelled, Workflow, activity, sleep, workflow
from durable.errors import Cancelled as Stopped


@activity
def charge() -> None: ...


@activity
def refund() -> None: ...


def undo() -> Workflow[None]:
    yield refund.call()


@workflow
def flow() -> Workflow[None]:
    try:
        yield charge.call()
        yield sleep(60)
    except (ActivityError, Cancelled):
        yield from undo()  # expect: DUR124 after a cancel this yield only raises
        raise
    try:
        yield sleep(60)
    except Stopped:
        for _ in range(2):
            yield refund.call()  # expect: DUR124 put it into
        raise
