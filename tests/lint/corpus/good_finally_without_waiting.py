from durable import Workflow, activity, set_var, sleep, workflow


@activity
def note(text: str) -> None: ...


@workflow
def flow(text: str) -> Workflow[None]:
    try:
        number = int(text)
    except ValueError:
        number = 0
    finally:
        yield note.call(text)
    try:
        yield sleep(number)
    finally:
        set_var("slept", number)
