"""What is yielded and is no command, and what is a command and not yielded."""

# ruff: noqa: B018  # a useless expression is one of the mistakes

from __future__ import annotations

from durable import Channel, Workflow, activity, external, gather, sleep, wait_signal, workflow


@activity
def charge(order_id: str) -> str:
    return order_id


@activity
async def fetch(url: str) -> bytes:
    return url.encode()


def helper(order_id: str) -> Workflow[str]:
    return (yield from charge.call(order_id))


@workflow
def child(order_id: str) -> Workflow[str]:
    return (yield from helper(order_id))


@workflow
def no_commands(order_id: str) -> Workflow[None]:
    yield  # E: mypy[misc] pyright[reportReturnType]
    yield 5  # E: mypy[misc] pyright[reportReturnType]
    yield None  # E: mypy[misc] pyright[reportReturnType]
    yield [charge.call(order_id)]  # E: mypy[misc] pyright[reportReturnType]
    yield {"a": charge.call(order_id)}  # E: mypy[misc] pyright[reportReturnType]
    yield charge.call(order_id), sleep(1)  # E: mypy[misc] pyright[reportReturnType]
    yield charge  # E: mypy[misc] pyright[reportReturnType]
    yield charge(order_id)  # E: mypy[misc] pyright[reportReturnType]
    yield fetch(order_id)  # E: mypy[misc] pyright[reportReturnType]
    yield helper  # E: mypy[misc] pyright[reportReturnType]
    yield helper(order_id)  # E: mypy[misc] pyright[reportReturnType]
    yield child(order_id)  # E: mypy[misc] pyright[reportReturnType]
    yield print  # E: mypy[misc] pyright[reportReturnType]
    yield from [1]  # E: mypy[misc] pyright[reportReturnType]
    yield from charge  # E: mypy[misc] pyright[reportGeneralTypeIssues]
    yield from helper  # E: mypy[misc] pyright[reportGeneralTypeIssues]
    yield from fetch(order_id)  # E: mypy[misc]


@workflow
def forgotten(order_id: str) -> Workflow[None]:
    jobs: Channel[str] = Channel()
    charge.call(order_id)  # E: mypy[unused-awaitable]
    charge.options(timeout=5).call(order_id)  # E: mypy[unused-awaitable]
    fetch.call(order_id)  # E: mypy[unused-awaitable]
    child.call(order_id)  # E: mypy[unused-awaitable]
    sleep(1)  # E: mypy[unused-awaitable]
    wait_signal("a", int)  # E: mypy[unused-awaitable]
    gather(sleep(1), sleep(2))  # E: mypy[unused-awaitable]
    jobs.send("one")  # E: mypy[unused-awaitable]
    command = charge.call(order_id)
    command  # E: mypy[unused-awaitable] pyright[reportUnusedExpression]
    yield command


@workflow
def tested(order_id: str) -> Workflow[str]:
    if charge.call(order_id):  # E: pyright[reportGeneralTypeIssues]
        yield sleep(1)
    while not sleep(1):  # E: pyright[reportGeneralTypeIssues]
        yield sleep(1)
    _1 = len(charge.call(order_id))  # E: mypy[arg-type] pyright[reportArgumentType]
    _2 = charge.call(order_id)["id"]  # E: mypy[index] pyright[reportIndexIssue]
    return ""


@workflow
def found_when_it_runs(order_id: str) -> Workflow[str]:
    """What no checker finds; Python, or the library, does when it runs."""
    charge.call
    external("approval")
    helper(order_id)
    child(order_id)
    _1 = charge.call(order_id)
    _2 = _1 or "none"
    _3: int = yield charge.call(order_id)
    if charge.call(order_id) == "paid":
        return "paid"
    yield wait_signal("a", 5)
    for _4 in sleep(1):
        return "waited"
    return ""
