from durable import ActivityError, Cancelled, Workflow, activity, set_var, shield, sleep, workflow


@activity
def charge() -> str: ...


@activity
def refund() -> None: ...


class OrderFailed(Exception): ...


ALL = (BaseException, ExceptionGroup)


@workflow
def conditional(strict: bool) -> Workflow[str]:
    try:
        yield charge.call()
    except BaseException:  # expect: DUR131 except BaseException does not always raise Cancelled again
        if strict:
            raise
    try:
        yield charge.call()
    except BaseException as error:  # expect: DUR131 does not always raise Cancelled again
        if not isinstance(error, ActivityError):
            set_var("error", str(error))
            if strict:
                return "cancelled"
        raise
    try:
        yield charge.call()
    except:  # expect: DUR131 except: does not always raise Cancelled again
        for attempt in range(3):
            if attempt == 2:
                raise
            with shield():
                yield refund.call()
    try:
        yield charge.call()
    except BaseException as error:  # expect: DUR131 does not always raise Cancelled again
        match strict:
            case True:
                raise
            case False:
                set_var("error", str(error))
    return "charged"


@workflow
def by_kind(kinds: tuple[type[Exception], ...]) -> Workflow[str]:
    try:
        yield charge.call()
    except BaseException as error:  # expect: DUR131 does not always raise Cancelled again
        if isinstance(error, kinds):
            return "failed"
        raise
    try:
        yield charge.call()
    except ALL:  # expect: DUR131 except BaseException swallows Cancelled
        return "failed"
    return "charged"


@workflow
def replacing() -> Workflow[str]:
    try:
        yield charge.call()
    except BaseException as error:  # expect: DUR131 except BaseException makes a failure of a cancel
        raise OrderFailed("no charge") from error
    try:
        yield charge.call()
    except:  # expect: DUR131 except: makes a failure of a cancel: raise Cancelled again
        with shield():
            yield refund.call()
        raise OrderFailed("no charge")
    try:
        yield charge.call()
    except Cancelled as error:  # expect: DUR131 except Cancelled makes a failure of a cancel
        raise OrderFailed("cancelled") from error
    try:
        yield charge.call()
    except BaseException as error:  # expect: DUR131 swallows Cancelled
        try:
            set_var("error", str(error))
        except ValueError:
            raise
    for attempt in range(3):
        try:
            yield sleep(1)
        except BaseException:  # expect: DUR131 swallows Cancelled
            break
        try:
            yield sleep(1)
        except BaseException:  # expect: DUR131 does not always raise Cancelled again
            if attempt < 2:
                continue
            raise
    return "charged"
