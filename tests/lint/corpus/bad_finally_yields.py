from durable import Workflow, activity, wait_signal, workflow


@activity
def unlock(name: str) -> None: ...


@workflow
def flow() -> Workflow[None]:
    try:
        yield wait_signal("go")
    finally:
        yield unlock.call("door")  # expect: DUR124 put it into `with shield():`
