"""Scopes: what was assigned in a block, and what a checker knows after it."""

from __future__ import annotations

from typing import assert_type

from durable import (
    Cancelled,
    CancelScope,
    TimeoutExpired,
    Workflow,
    activity,
    shield,
    spawn,
    timeout,
    workflow,
)


@activity
def fetch(url: str) -> bytes:
    return url.encode()


@activity
def refund(order_id: str) -> str:
    return order_id


@workflow
def assigned(url: str) -> Workflow[bytes]:
    with timeout(30):
        page = yield from fetch.call(url)
    with shield():
        receipt = yield from refund.call(url)
    assert_type(page, bytes)
    assert_type(receipt, str)
    return page


@workflow
def returned(url: str) -> Workflow[bytes]:
    with timeout(30):
        return (yield from fetch.call(url))


@workflow
def expires(url: str) -> Workflow[str]:
    try:
        with timeout(30) as scope:
            yield fetch.call(url)
    except TimeoutExpired:
        return "too late"
    assert_type(scope.cancelled, bool)
    return "in time"


@workflow
def cleans_up(order_id: str) -> Workflow[str]:
    try:
        yield fetch.call(order_id)
    except Cancelled:
        with shield():
            yield from refund.call(order_id)
        raise
    return order_id


def stopper(scope: CancelScope) -> Workflow[None]:
    yield from fetch.call("stop")
    scope.cancel()


@workflow
def cancels(url: str) -> Workflow[bytes | None]:
    """A `CancelScope` swallows its own cancel: what is behind it may run without a page."""
    page: bytes | None = None
    with CancelScope() as scope:
        _ = spawn(stopper(scope))
        page = yield from fetch.call(url)
    assert_type(scope, CancelScope)
    assert_type(page, bytes | None)
    with timeout(5) as limit:
        _ = spawn(stopper(limit))
    return page
