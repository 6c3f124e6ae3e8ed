from durable import Workflow, activity, shield, wait_signal, workflow


@activity
def unlock(name: str) -> None: ...


def half() -> Workflow[None]:
    with shield():
        yield unlock.call("door")
    yield unlock.call("gate")


@workflow
def flow() -> Workflow[None]:
    try:
        yield wait_signal("go")
    finally:
        yield from half()  # expect: DUR124 put it into `with shield():`
