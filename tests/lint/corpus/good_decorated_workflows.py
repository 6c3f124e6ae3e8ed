import functools
from collections.abc import Callable
from typing import Any

from durable import ActivityError, Workflow, activity, logger, set_var, sleep, span, workflow


def traced(function: Callable[..., Workflow[Any]]) -> Callable[..., Workflow[Any]]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Workflow[Any]:
        with span(function.__name__):
            try:
                return (yield from function(*args, **kwargs))
            except ActivityError:
                logger().exception("failed")
                raise

    return wrapper


def retried(times: int) -> Callable[..., Any]:
    def decorate(function: Callable[..., Workflow[Any]]) -> Callable[..., Workflow[Any]]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Workflow[Any]:
            for attempt in range(times):
                try:
                    return (yield from function(*args, **kwargs))
                except ActivityError as error:
                    set_var("attempt", f"{attempt}: {error}")
                    yield sleep(2**attempt)
            return (yield from function(*args, **kwargs))

        return wrapper

    return decorate


@activity
def charge(n: int) -> int: ...


@traced
def part(n: int) -> Workflow[int]:
    return (yield from charge.call(n))


@workflow
@retried(3)
@traced
def flow(n: int) -> Workflow[int]:
    first = yield from part(n)
    return first + (yield from part(n + 1))


@workflow(name="other")
@traced
def other() -> Workflow[str]:
    text = f"{(yield charge.call(1))} {(yield charge.call(2)):>5}"
    print_ = text.upper
    return print_()
