from durable import ActivityError, CancelScope, Cancelled, Workflow, activity, set_var, shield, workflow


@activity
def charge() -> str: ...


@activity
def refund() -> None: ...


class OrderFailed(Exception): ...


STOPPED = (Cancelled, GeneratorExit)


@workflow
def on_all_paths(strict: bool) -> Workflow[str]:
    try:
        return (yield from charge.call())
    except BaseException as error:
        if strict:
            raise error
        set_var("error", str(error))
        raise error.with_traceback(None) from None


@workflow
def by_kind() -> Workflow[str]:
    try:
        yield charge.call()
    except BaseException as error:
        if isinstance(error, Cancelled | GeneratorExit):
            raise
        set_var("error", str(error))
    try:
        yield charge.call()
    except BaseException as error:
        if isinstance(error, OrderFailed):
            return "failed"
        if isinstance(error, STOPPED):
            raise
        set_var("error", str(error))
    try:
        yield charge.call()
    except BaseException as error:
        if not isinstance(error, (ActivityError, ValueError)):
            raise
        raise OrderFailed from error
    try:
        yield charge.call()
    except BaseException as error:
        match error:
            case ActivityError():
                return "failed"
            case _:
                raise
    try:
        yield charge.call()
    except BaseException as error:
        match error:
            case Cancelled():
                raise
        return "failed"
    return "charged"


@workflow
def after_a_cleanup(names: list[str]) -> Workflow[str]:
    try:
        return (yield from charge.call())
    except BaseException:
        for name in names:
            if not name:
                continue
            try:
                with shield():
                    yield refund.call()
            except ActivityError as error:
                set_var(name, str(error))
                break
        try:
            set_var("names", names)
        finally:
            raise


@workflow
def in_a_shield() -> Workflow[str]:
    try:
        return (yield from charge.call())
    except BaseException:
        with shield():
            yield refund.call()
            raise


@workflow
def failing_cleanup() -> Workflow[str]:
    try:
        return (yield from charge.call())
    except Cancelled:
        try:
            with shield():
                yield refund.call()
        except ActivityError as error:
            raise OrderFailed("the refund failed") from error
        raise


@workflow
def of_its_own() -> Workflow[str]:
    with CancelScope():
        try:
            return (yield from charge.call())
        except Cancelled as error:
            raise OrderFailed("stopped") from error
