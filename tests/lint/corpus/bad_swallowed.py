from contextlib import suppress

from durable import Cancelled, Workflow, activity, sleep, workflow


@activity
def charge() -> None: ...


@workflow
def flow() -> Workflow[str]:
    try:
        yield charge.call()
    except:  # expect: DUR131 except: swallows Cancelled
        pass
    try:
        yield charge.call()
    except BaseException as error:  # expect: DUR131 name what you catch, or raise it again
        return str(error)
    try:
        yield charge.call()
    except (ValueError, BaseException):  # expect: DUR131 except BaseException swallows
        pass
    with suppress(Cancelled):  # expect: DUR131 suppress(Cancelled) swallows
        yield sleep(1)
    return "charged"
