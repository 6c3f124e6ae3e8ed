"""Workflows as people write them, tested as they would; and what they read when a test fails."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from durable import (
    Cancelled,
    Retry,
    Workflow,
    activity,
    gather,
    race,
    shield,
    sleep,
    wait_signal,
    workflow,
)
from durable.errors import MockError, StuckError, WorkflowCancelledError, WorkflowError
from durable.testing import Call, WorkflowEnv


@activity(retry=Retry(max_attempts=3, first_delay=10))
def charge(order: str, cents: int) -> str:
    raise ConnectionError("no network here")


@activity
def refund(receipt: str) -> None: ...


@activity
def notify(who: str, text: str) -> None: ...


@workflow
def purchase(order: str, cents: int) -> Workflow[str]:
    receipt = yield charge.call(order, cents)
    try:
        answer = yield race(
            approved=wait_signal("approve"),
            rejected=wait_signal("reject"),
            late=sleep(timedelta(hours=24)),
        )
    except Cancelled:
        with shield():
            yield refund.call(receipt)
        raise
    if answer.name == "approved":
        yield notify.call("buyer", text=f"approved by {answer.value}")
    else:
        yield refund.call(receipt)
    return str(answer.name)


@workflow
def cart(*orders: str) -> Workflow[list[str]]:
    return list((yield gather(*[purchase.call(order, 500) for order in orders])))


@pytest.fixture
def env() -> WorkflowEnv:
    env = WorkflowEnv(purchase, activities=[refund, notify])
    env.mock(charge, returns="r-1")
    return env


def test_a_day_without_an_answer(env: WorkflowEnv) -> None:
    began = env.now
    assert env.run("o-1", 500) == "late"
    assert env.now - began == timedelta(hours=24)
    env.assert_called(refund, "r-1")
    with pytest.raises(AssertionError) as caught:
        env.assert_called(refund, "r-2")
    assert str(caught.value) == "no call refund('r-2'); it was called:\n  refund('r-1')"


def test_an_approval(env: WorkflowEnv) -> None:
    env.at(hours=2, do=lambda: env.signal("approve", "ann"))
    assert env.run("o-1", 500) == "approved"
    env.assert_called(notify, "buyer", "approved by ann")
    assert repr(env.calls(notify)) == "[Call(('buyer',), {'text': 'approved by ann'})]"
    with pytest.raises(AssertionError) as caught:
        env.assert_events("WorkflowStarted", "ActivityScheduled", "WorkflowCompleted")
    assert str(caught.value).splitlines()[:4] == [
        "the history is another one (- expected, + found):",
        "  WorkflowStarted",
        "  ActivityScheduled",
        "+ ActivityCompleted",
    ]


def test_retries() -> None:
    """A mock under a wrong name leaves the real thing to be called: its failure says why."""
    env = WorkflowEnv(purchase, activities=[refund, notify, charge])
    env.mock("chargee", returns="r-1")
    with pytest.raises(
        WorkflowError, match="charge failed at attempt 3: ConnectionError"
    ) as caught:
        env.run("o-1", 500)
    assert caught.value.__notes__[-1] == (
        "the mock of chargee was never called: did you mean charge?"
    )
    env = WorkflowEnv(purchase, activities=[refund, notify])
    env.mock(charge, side_effect=[ConnectionError("no answer"), "r-1", "r-2"])
    with pytest.raises(MockError, match="the mock of charge was called 2 times, not 3 times"):
        env.run("o-1", 500)
    assert [call.attempt for call in env.calls(charge)] == [1, 2]


def test_a_cancel(env: WorkflowEnv) -> None:
    env.at(hours=2, do=lambda: env.cancel("sold out"))
    with pytest.raises(WorkflowCancelledError, match="'purchase-1' was cancelled: sold out"):
        env.run("o-1", 500)
    assert env.calls(refund) == [Call(("r-1",))]
    assert env.calls(notify) == []


def test_children() -> None:
    env = WorkflowEnv(cart, workflows=[purchase], activities=[notify])
    env.mock(charge, side_effect=lambda order, cents: f"r-{order}")
    env.on_child(purchase, lambda child: child.signal("approve", "ann"))
    assert env.run("o-1", "o-2") == ["approved", "approved"]
    assert [call.args for call in env.calls(charge)] == [("o-1", 500), ("o-2", 500)]


def test_a_function_that_cannot_answer() -> None:
    """That is no failure of the activity, which would be tried again."""

    def fake(order: str) -> str:
        return "r-1"

    env = WorkflowEnv(purchase)
    env.mock(charge, side_effect=fake)
    with pytest.raises(MockError) as caught:
        env.run("o-1", 500)
    assert (
        str(caught.value) == "fake cannot answer charge('o-1', 500): too many positional arguments"
    )


def test_children_that_are_stuck() -> None:
    @workflow
    def waits(number: int) -> Workflow[Any]:
        return (yield wait_signal("go"))

    @workflow
    def both() -> Workflow[Any]:
        return (yield gather(waits.call(1), waits.call(2)))

    with pytest.raises(StuckError) as caught:
        WorkflowEnv(both, workflows=[waits]).run()
    lines = str(caught.value).splitlines()
    assert lines[:2] == ["nothing will wake it:", "both-1: both version 1, run 1, running"]
    assert [line for line in lines if line.startswith("its child")] == [
        "its child both-1/1.1: waits version 1, run 1, running",
        "its child both-1/1.2: waits version 1, run 1, running",
    ]
    assert lines.count("root waits for signal go") == 2
