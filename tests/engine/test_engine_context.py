"""Context propagation: from a client through workflows and children to activities."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from engine_kit import Engine

from durable import Client, Workflow, activity, gather, sleep, spawn, workflow
from durable.errors import PropagatorError, UsageError

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
baggage: ContextVar[dict[str, str]] = ContextVar("baggage")


class Trace:
    """An object that carries a dict."""

    def inject(self) -> dict[str, str]:
        return baggage.get({})

    @contextmanager
    def restore(self, carried: dict[str, str]) -> Iterator[None]:
        token = baggage.set(carried)
        try:
            yield
        finally:
            baggage.reset(token)


CARRIED = (tenant, Trace())


@activity
def who() -> list[Any]:
    return [tenant.get(), baggage.get({})]


@workflow
def child() -> Workflow[Any]:
    yield sleep(0)
    return [tenant.get(), (yield who.call())]


@workflow
def flow() -> Workflow[Any]:
    first = yield who.call()
    below = yield child.call()
    tenant.set("changed")
    yield sleep(0)
    later = yield gather(who.call(), child.call())
    task = spawn(inner())
    yield task
    return [first, below, later, tenant.get()]


def inner() -> Workflow[None]:
    tenant.set("of the task alone")
    yield sleep(0)


def test_context_goes_from_caller_to_activities(engine: Engine) -> None:
    client = Client(engine.store, propagators=CARRIED)
    engine.work([flow, child], [who], propagators=CARRIED)
    tenant.set("acme")
    baggage.set({"trace": "t-1"})
    handle = client.start(flow)
    tenant.set("another")
    both = ["acme", {"trace": "t-1"}]
    changed = ["changed", {"trace": "t-1"}]
    assert handle.result(timeout=20) == [
        both,
        ["acme", both],
        [changed, ["changed", changed]],
        "changed",
    ]


def test_nothing_is_carried_without_propagators(engine: Engine) -> None:
    engine.work([flow, child], [who])
    tenant.set("acme")
    first, *_ = engine.run(flow)
    assert first == ["nobody", {}]


def test_what_cannot_be_carried(engine: Engine) -> None:
    client = Client(engine.store, propagators=CARRIED)
    baggage.set({"bad": object()})  # type: ignore[dict-item]
    with pytest.raises(PropagatorError, match=r"context.*bad"):
        client.start(flow)
    with pytest.raises(TypeError, match="no propagator"):
        Client(engine.store, propagators=["tenant"])
    with pytest.raises(UsageError, match="two propagators"):
        Client(engine.store, propagators=[tenant, ContextVar("tenant")])
