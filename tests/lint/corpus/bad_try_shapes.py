from durable import ActivityError, Cancelled, Workflow, activity, logger, shield, sleep, workflow


@activity
def step(n: int) -> int: ...


class GaveUp(Exception): ...


def attempts(n: int) -> Workflow[int]:
    while True:  # expect: DUR143 this loop never ends, and its history grows
        try:
            yield step.call(n)
        except ActivityError:
            yield sleep(1)


@workflow
def one(n: int) -> Workflow[int]:
    try:
        n = yield step.call(n)
    except ActivityError:
        yield step.call(0)
    except BaseException as e:  # expect: DUR131 except BaseException swallows Cancelled
        logger().exception("failed: %s", e)
    try:
        yield from attempts(n)
    except (Cancelled, ActivityError) as e:  # expect: DUR131 except Cancelled makes a failure of a cancel
        raise GaveUp(str(e)) from e
    for i in range(n):
        try:
            yield step.call(i)
        except:  # expect: DUR131 except
            logger().error("step %d", i)
            continue
        finally:
            if i > 3:
                break  # expect: DUR131 break in finally swallows Cancelled
    try:
        yield step.call(1)
    except Cancelled:
        try:
            yield step.call(-1)  # expect: DUR124 after a cancel this yield only raises
        except ActivityError:
            pass
        raise
    try:
        with shield():
            yield step.call(2)
    except Cancelled:  # expect: DUR131 except Cancelled swallows it
        pass
    return n
