"""Options that are misspelt, or have a wrong type."""

from __future__ import annotations

from durable import Client, Orchestrator, Retry, Worker, Workflow, activity, sleep, workflow


@activity(timeot=5)  # E: mypy[call-overload] pyright[reportCallIssue]
def misspelt(order_id: str) -> str:
    return order_id


@activity(retry=5)  # E: mypy[call-overload] pyright[reportArgumentType]
def wrong_type(order_id: str) -> str:
    return order_id


@activity("charge")  # E: mypy[call-overload] pyright[reportArgumentType]
def positional(order_id: str) -> str:
    return order_id


@workflow(versoin=2)  # E: mypy[call-overload] pyright[reportCallIssue]
def misspelt_flow() -> Workflow[None]:
    yield sleep(1)


@workflow(version="2")  # E: mypy[call-overload] pyright[reportArgumentType]
def wrong_type_flow() -> Workflow[None]:
    yield sleep(1)


@activity
def charge(order_id: str) -> str:
    return order_id


@workflow
def order(order_id: str) -> Workflow[None]:
    yield charge.options(timeot=5).call(order_id)  # E: mypy[call-arg] pyright[reportCallIssue]
    yield charge.options(queue=5).call(order_id)  # E: mypy[arg-type] pyright[reportArgumentType]
    yield order.options(idd="o-2").call(order_id)  # E: mypy[call-arg] pyright[reportCallIssue]
    yield order.options(id=5).call(order_id)  # E: mypy[arg-type] pyright[reportArgumentType]
    yield order.options(retry=5).call(order_id)  # E: mypy[arg-type] pyright[reportArgumentType]


def runs(here: Client) -> None:
    # E: mypy[call-arg, call-overload] pyright[reportCallIssue]
    here.start(order.options(idd="o-1"), "o-1")
    # E: mypy[arg-type, call-overload] pyright[reportArgumentType]
    here.start(order.options(delay="5"), "o-1")
    # E: mypy[arg-type, call-overload] pyright[reportArgumentType]
    here.start(order.options(tags=5), "o-1")
    Retry(attempts=5)  # E: mypy[call-arg] pyright[reportCallIssue]
    Retry(max_attempts="5")  # E: mypy[arg-type] pyright[reportArgumentType]
    Client(5)  # E: mypy[arg-type] pyright[reportArgumentType]
    Client(deadlin=5)  # E: mypy[call-arg] pyright[reportCallIssue]
    Worker()  # E: mypy[call-arg] pyright[reportCallIssue]
    Worker("memory://", [order])  # E: mypy[list-item] pyright[reportArgumentType]
    Worker("memory://", slots=5)  # E: mypy[call-arg] pyright[reportCallIssue]
    Orchestrator(5)  # E: mypy[arg-type] pyright[reportArgumentType]
