from durable import Workflow, activity, shield, wait_signal, workflow


@activity
def unlock(name: str) -> None: ...


@workflow
def flow() -> Workflow[None]:
    try:
        yield wait_signal("go")
    finally:
        with shield():
            yield unlock.call("door")
        yield unlock.call("gate")  # expect: DUR124 shield
