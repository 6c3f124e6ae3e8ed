from durable import *


@activity
def charge() -> None: ...


@workflow
def flow() -> Workflow[None]:
    charge.call()  # expect: DUR122 charge.call(…)
    print("paid")  # expect: DUR105 print()
    yield sleep(1)
