from durable import Workflow, activity, shield, wait_signal, workflow


@activity
def unlock(name: str) -> None: ...


def release() -> Workflow[None]:
    with shield():
        yield unlock.call("door")


@workflow
def flow() -> Workflow[None]:
    try:
        yield wait_signal("go")
    finally:
        yield from release()
