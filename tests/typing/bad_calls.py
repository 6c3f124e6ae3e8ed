"""Wrong arguments, and results that are taken for something else."""

# ruff: noqa: F821  # an undefined name is one of the mistakes

from __future__ import annotations

from durable import Client, Handle, Workflow, activity, continue_as_new, sleep, workflow


@activity
def charge(order_id: str, cents: int, *, currency: str = "EUR") -> str:
    return f"receipt-{order_id}-{cents}-{currency}"


@activity
async def fetch(url: str) -> bytes:
    return url.encode()


class Payments:
    @activity
    def refund(self, order_id: str) -> int:
        return len(order_id)


@workflow
def child(order_id: str) -> Workflow[str]:
    return (yield from charge.call(order_id, 5))


@workflow
def arguments(order_id: str) -> Workflow[None]:
    yield charge.call()  # E: mypy[call-arg] pyright[reportCallIssue]
    yield charge.call(order_id)  # E: mypy[call-arg] pyright[reportCallIssue]
    yield charge.call(order_id, "5")  # E: mypy[arg-type] pyright[reportArgumentType]
    yield charge.call(order_id, 5, "USD")  # E: mypy[call-arg] pyright[reportCallIssue]
    yield charge.call(order_id, cent=5)  # E: mypy[call-arg] pyright[reportCallIssue]
    yield charge.options(timeout=5).call(order_id)  # E: mypy[call-arg] pyright[reportCallIssue]
    # E: mypy[arg-type] pyright[reportArgumentType]
    yield charge.options(timeout=5).call(order_id, cents="5")
    yield fetch.call(5)  # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    yield fetch.options(retry=None).call()  # E: mypy[call-arg] pyright[reportCallIssue]
    yield Payments.refund.call()  # E: mypy[call-arg] pyright[reportCallIssue]
    yield Payments.refund.call(5)  # E: mypy[arg-type] pyright[reportArgumentType]
    # E: mypy[arg-type, call-arg] pyright[reportCallIssue]
    yield Payments.refund.call(Payments(), order_id)
    yield child.call()  # E: mypy[call-arg] pyright[reportCallIssue]
    yield child.call(5)  # E: mypy[arg-type] pyright[reportArgumentType]
    yield child.options(id="x").call(5)  # E: mypy[arg-type] pyright[reportArgumentType]
    yield charge.cal(order_id, 5)  # E: mypy[attr-defined] pyright[reportAttributeAccessIssue]
    yield charge(order_id)  # E: mypy[call-arg, misc] pyright[reportCallIssue]
    yield charge.call  # E: mypy[misc] pyright[reportReturnType]
    yield chrage.call(order_id, 5)  # E: mypy[name-defined] pyright[reportUndefinedVariable]


@workflow
def results(order_id: str) -> Workflow[int]:
    # E: mypy[assignment] pyright[reportAssignmentType]
    _1: int = yield from charge.call(order_id, 5)
    _2: str = yield from fetch.call(order_id)  # E: mypy[assignment] pyright[reportAssignmentType]
    # E: mypy[assignment] pyright[reportAssignmentType]
    _3: str = yield from Payments.refund.call(order_id)
    _4: int = yield from child.call(order_id)  # E: mypy[assignment] pyright[reportAssignmentType]
    _5: str = charge.call(order_id, 5)  # E: mypy[assignment] pyright[reportAssignmentType]
    _6: bytes = fetch(order_id)  # E: mypy[assignment] pyright[reportAssignmentType]
    _7: bytes = child(order_id)  # E: mypy[assignment] pyright[reportAssignmentType]
    # E: mypy[attr-defined] pyright[reportAttributeAccessIssue]
    _ = charge.call(order_id, 5).upper()
    _ = charge.call(order_id, 5) + "!"  # E: mypy[operator] pyright[reportOperatorIssue]
    return (yield from charge.call(order_id, 5))  # E: mypy[return-value] pyright[reportReturnType]


@workflow
def returns_a_command(order_id: str) -> Workflow[str]:
    yield sleep(1)
    return charge.call(order_id, 5)  # E: mypy[return-value] pyright[reportReturnType]


@workflow
def returns_a_generator(order_id: str) -> Workflow[str]:
    yield sleep(1)
    return child(order_id)  # E: mypy[return-value] pyright[reportReturnType]


@workflow
def forgets_return(cursor: int) -> Workflow[int]:  # E: mypy[return] pyright[reportReturnType]
    yield sleep(1)
    continue_as_new(cursor + 1)


@workflow  # E: mypy[arg-type] pyright[reportArgumentType]
async def is_async(order_id: str) -> str:
    return order_id


@workflow  # E: mypy[arg-type] pyright[reportArgumentType]
def is_no_generator(order_id: str) -> str:
    return order_id


async def awaits(order_id: str) -> None:
    _1 = await charge.call(order_id, 5)  # E: mypy[misc] pyright[reportGeneralTypeIssues]
    _2 = await sleep(1)  # E: mypy[misc] pyright[reportGeneralTypeIssues]


def client(here: Client) -> None:
    here.start(child)  # E: mypy[call-overload] pyright[reportCallIssue]
    here.start(child, 5)  # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    here.start(child, order="o-1")  # E: mypy[call-overload] pyright[reportCallIssue]
    # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    here.start(child.options(id="c"), 5)
    # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    here.start(charge, "o-1", 5)
    here.start(child("o-1"))  # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    # E: mypy[call-overload] pyright[reportAssignmentType]
    _1: Handle[int] = here.start(child, "o-1")
    _2: int = here.start(child, "o-1").result()  # E: mypy[assignment] pyright[reportAssignmentType]
    _3: str = here.start(child, "o-1")  # E: mypy[assignment] pyright[reportAssignmentType]
