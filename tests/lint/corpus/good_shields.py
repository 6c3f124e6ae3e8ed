from durable import (
    ActivityError,
    Cancelled,
    TimeoutExpired,
    Workflow,
    activity,
    scopes,
    shield,
    sleep,
    timeout,
    workflow,
)


@activity
def charge() -> None: ...


@activity
def refund() -> None: ...


@workflow
def flow() -> Workflow[str]:
    try:
        yield charge.call()
        yield sleep(60)
    except ActivityError:
        yield refund.call()
    except Cancelled:
        with shield(), timeout(5):
            yield refund.call()
        raise
    except TimeoutExpired:
        yield refund.call()
        return "late"
    finally:
        with scopes.shield():
            for _ in range(2):
                yield refund.call()
    with shield():
        try:
            yield charge.call()
        finally:
            yield refund.call()
    return "charged"
