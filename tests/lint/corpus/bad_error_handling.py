import contextlib

from durable import ActivityError, Cancelled, Workflow, activity, logger, set_var, shield, sleep, workflow


class Declined(Exception): ...


@activity
def charge(cents: int) -> str: ...


@activity
def undo(receipt: str) -> None: ...


@contextlib.contextmanager
def noted(name: str):
    try:
        yield
    except BaseException as error:  # expect: DUR131 except BaseException swallows Cancelled
        set_var("failed", f"{name}: {error}")


def cleanup(receipt: str) -> Workflow[None]:
    yield undo.call(receipt)


def shielded(receipt: str) -> Workflow[None]:
    with shield():
        yield from cleanup(receipt)


@workflow
def flow(cents: int, strict: bool) -> Workflow[str]:
    receipt = ""
    with noted("charging"):
        receipt = yield charge.call(cents)
    try:
        yield charge.call(1)
    except Cancelled:
        yield from shielded(receipt)
        yield from cleanup(receipt)  # expect: DUR124 after a cancel this yield only raises
        raise
    try:
        yield charge.call(2)
    except BaseException as error:  # expect: DUR131 except BaseException swallows Cancelled
        if isinstance(error, ActivityError):
            raise Declined from error
        logger().warning("%s", error)
    for attempt in range(3):
        try:
            yield charge.call(3)
            break
        except BaseException as error:  # expect: DUR131 except BaseException does not always raise Cancelled again
            if attempt == 2:
                raise
            yield sleep(attempt)  # expect: DUR124 after a cancel this yield only raises
    with contextlib.suppress(Exception, BaseException):  # expect: DUR131 suppress(BaseException) swallows Cancelled
        yield charge.call(4)
    try:
        try:
            yield charge.call(5)
        finally:
            undo.call(receipt)  # expect: DUR122 undo.call(…) is not yielded, so nothing is done
            with shield():
                return receipt  # expect: DUR131 return in finally swallows Cancelled
    except BaseException as e:
        raise e
    try:
        with shield():
            pass
        yield charge.call(6)
    except BaseException as e:  # expect: DUR131 except BaseException makes a failure of a cancel
        failure = e
        raise Declined("no") from failure
    while True:
        try:
            return (yield charge.call(7))
        except Cancelled:  # expect: DUR131 except Cancelled swallows it
            continue
        finally:
            with contextlib.suppress(ActivityError):
                yield undo.call(receipt)  # expect: DUR124 after a cancel this yield only raises
