from durable import Cancelled, Workflow, activity, set_var, sleep, workflow


@activity
def poll() -> None: ...


@workflow
def flow() -> Workflow[None]:
    try:
        while True:  # expect: DUR143 this loop never ends
            yield poll.call()
            yield sleep(60)
    except Cancelled:
        set_var("stopped", True)
        raise
