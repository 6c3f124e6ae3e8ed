"""What the types cannot say: correct programs that a checker refuses.

What can be written instead, where there is something, stands beside it.
"""

from __future__ import annotations

from durable import Workflow, activity, continue_as_new, sleep, workflow


class Codes:
    @activity
    @staticmethod
    def check(code: str) -> bool:
        return bool(code)


@activity
def check(code: str) -> bool:
    return bool(code)


@activity
def name(number: int) -> str:
    return str(number)


@workflow
def static_methods() -> Workflow[None]:
    """mypy takes the first argument of a static method for its object."""
    yield Codes.check.call("x")  # E: mypy[call-arg]
    yield check.call("x")


@workflow
def returns_what_was_yielded(number: int) -> Workflow[str]:
    """``yield`` gives Any; ``yield from`` knows the type."""
    if number:
        return (yield name.call(number))  # E: mypy[no-any-return]
    return (yield from name.call(number))


@workflow
def endless(cursor: int) -> Workflow[None]:
    """mypy has a rule of its own for functions that return None."""
    yield sleep(3600)
    return continue_as_new(cursor + 1)  # E: mypy[return-value]


@workflow
def chosen(number: int) -> Workflow[None]:
    """pyright does not know the result of either of two commands."""
    # E: pyright[reportUnknownVariableType]
    value = yield from name.call(number) if number else check.call("x")
    print(value)  # E: pyright[reportUnknownArgumentType]
    if number:
        value = yield from name.call(number)
    else:
        value = yield from check.call("x")
    print(value)
