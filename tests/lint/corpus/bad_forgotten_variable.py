from durable import Workflow, activity, sleep, workflow


@activity
def charge(cents: int) -> str:
    return ""


quick = charge.options(timeout=1)


@workflow
def flow() -> Workflow[str]:
    unused = charge.call(5)  # expect: DUR122 charge.call(…) is not yielded
    receipt = quick.call(6)  # expect: DUR122 quick.call(…) is no result yet
    yield sleep(1)
    if receipt == "":
        return "none"
    return f"receipt {receipt}"
