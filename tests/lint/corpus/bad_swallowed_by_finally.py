from durable import Workflow, activity, workflow


@activity
def charge() -> str:
    return ""


@workflow
def flow() -> Workflow[str]:
    receipt = "none"
    try:
        receipt = yield charge.call()
    finally:
        return receipt  # expect: DUR131 return in finally swallows Cancelled


@workflow
def loop() -> Workflow[None]:
    for _ in range(3):
        try:
            yield charge.call()
        finally:
            continue  # expect: DUR131 continue in finally
