"""Activities, workflows and coroutines that the tests share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from durable import CancelScope, Workflow, activity, wait_signal, workflow


@dataclass
class Vote:
    name: str


@activity
def charge(order: str, cents: int = 0) -> str:
    return f"receipt-{order}"


@activity
def ship(order: str) -> str:
    return order


@activity(on_cancel="request")
def poll(order: str) -> str:
    return order


@activity(on_cancel="abandon")
def report(order: str) -> str:
    return order


@workflow
def child(name: str) -> Workflow[str]:
    yield wait_signal("go")
    return name


def cancel_on(signal: str, scope: CancelScope) -> Workflow[None]:
    """A task that cancels a scope when a signal comes."""
    yield wait_signal(signal)
    scope.cancel()


def wait_for(signal: str) -> Workflow[Any]:
    """A task that waits for a signal, and gives its value."""
    return (yield wait_signal(signal))


__all__ = ["Vote", "cancel_on", "charge", "child", "poll", "report", "ship", "wait_for"]
