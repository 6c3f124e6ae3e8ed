from durable import Workflow, activity, workflow


@activity
def poll() -> int:
    return 1


@workflow
def flow() -> Workflow[int]:
    total = 0
    while (found := (yield poll.call())) > 0:
        total += found
    if (command := poll.call()) is not None:
        total += yield command
    return total
