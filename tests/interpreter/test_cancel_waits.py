"""A cancel before, during and after each kind of wait, and what becomes of the wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flows import cancel_on, charge, child, poll, report, wait_for
from stepper import Stepper

from durable import (
    Cancelled,
    CancelScope,
    Channel,
    Workflow,
    external,
    gather,
    race,
    send_signal,
    side_effect,
    sleep,
    spawn,
    timeout,
    wait_signal,
    wait_until,
    with_timeout,
    workflow,
)
from durable.errors import WorkflowCancelledError

Make = Callable[[], Any]


def full() -> Any:
    channel: Channel[int] = Channel()
    return channel.send(1)


def empty() -> Any:
    return Channel(1).receive()


def endless() -> Any:
    return spawn(wait_signal("never"), "endless")


LOCAL: dict[str, tuple[Make, list[str]]] = {
    "timer": (lambda: sleep(60), ["TimerCancelled"]),
    "signal": (lambda: wait_signal("a"), []),
    "send_signal": (lambda: send_signal("other", "a"), []),
    "channel send": (full, []),
    "channel receive": (empty, []),
    "join": (endless, []),
    "promise": (external, []),
    "wait_until": (lambda: wait_until(lambda: False), []),
    "abandoned activity": (lambda: report.call("a"), []),
    "race": (lambda: race(wait_signal("a"), sleep(9)), ["TimerCancelled"]),
    "gather": (lambda: gather(sleep(1), sleep(2)), ["TimerCancelled", "TimerCancelled"]),
    "with_timeout": (lambda: with_timeout(wait_signal("a"), 9), ["TimerCancelled"]),
    "nested": (
        lambda: gather(race(wait_signal("a"), with_timeout(empty(), 9)), report.call("a")),
        ["TimerCancelled"],
    ),
}
CHILD = "ChildCancelRequested"
ACTIVITY = "ActivityCancelRequested"
REMOTE: dict[str, tuple[Make, list[str]]] = {
    "activity": (lambda: charge.call("a"), [ACTIVITY]),
    "activity by request": (lambda: poll.call("a"), [ACTIVITY]),
    "child": (lambda: child.call("a"), [CHILD]),
    "race of an activity": (lambda: race(charge.call("a"), sleep(9)), [ACTIVITY, "TimerCancelled"]),
    "gather of an activity": (lambda: gather(charge.call("a")), [ACTIVITY]),
    "with_timeout of an activity": (lambda: with_timeout(charge.call("a"), 9), [ACTIVITY]),
    "nested of an activity": (lambda: race(gather(race(charge.call("a")))), [ACTIVITY]),
}
EVERY = {**LOCAL, **REMOTE}


@workflow
def one_wait(kind: str, before: bool, hurry: bool) -> Workflow[list[str]]:
    """Waits for one command in a scope that the signal "stop" cancels; then once more."""
    seen: list[str] = []
    with CancelScope() as scope:
        _ = spawn(cancel_on("stop", scope), "stopper")
        if before:
            scope.cancel()
        command = EVERY[kind][0]()
        try:
            yield command
            seen.append("result")
        except Cancelled:
            seen.append("cancelled")
            raise
        if hurry:
            yield wait_signal("next")
    seen.append("left")
    yield sleep(0)
    return seen


@pytest.mark.parametrize("kind", EVERY)
def test_a_cancel_before_the_yield_raises_and_schedules_nothing(kind: str) -> None:
    step = Stepper(one_wait, kind, True, True)
    step.fire(step.interpreter.numbers - 1)
    assert step.result() == ["cancelled", "left"]
    kinds = step.kinds()
    assert not {"ActivityScheduled", "ChildStarted", "SignalSent"} & set(kinds)
    assert kinds.count("TimerStarted") == 1  # the one after the block
    assert step.interpreter.pending.keys() <= {0}  # a promise exists already


@pytest.mark.parametrize("kind", LOCAL)
def test_a_cancel_during_the_wait_raises_at_once(kind: str) -> None:
    step = Stepper(one_wait, kind, False, True)
    step.signal("stop")
    expected = LOCAL[kind][1]
    assert step.last() == ["SignalReceived", *expected, "TimerStarted"]
    step.fire(max(step.interpreter.timers))
    assert step.result() == ["cancelled", "left"]
    assert not step.decision.cancels


@pytest.mark.parametrize("kind", REMOTE)
def test_a_cancel_during_the_wait_asks_what_runs_elsewhere_and_waits(kind: str) -> None:
    def until_stopped() -> Stepper:
        step = Stepper(one_wait, kind, False, True)
        step.signal("stop")
        assert step.last() == ["SignalReceived", *REMOTE[kind][1]]
        assert [*step.decision.cancels, *step.child_cancels] == [0]
        return step

    step = until_stopped()
    if kind == "child":
        step.child_completes(0, "x")
    else:
        step.complete(0, "x")
    step.fire(max(step.interpreter.timers))
    assert step.result() == ["result", "left"]  # and the yield after it raised

    step = until_stopped()
    if kind == "child":
        step.child_fails(0, WorkflowCancelledError("stopped"))
    else:
        step.stopped(0)
    step.fire(max(step.interpreter.timers))
    assert step.result() == ["cancelled", "left"]


ANSWERS: dict[str, Callable[[Stepper], Any]] = {
    "timer": lambda step: step.fire(0),
    "signal": lambda step: step.signal("a"),
    "send_signal": lambda step: step.deliver(0),
    "promise": lambda step: step.keep(0),
    "abandoned activity": lambda step: step.complete(0),
    "race of an activity": lambda step: step.complete(0),
    "activity": lambda step: step.complete(0),
    "activity by request": lambda step: step.complete(0),
    "child": lambda step: step.child_completes(0),
    "gather of an activity": lambda step: step.complete(0),
    "with_timeout of an activity": lambda step: step.complete(0),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_cancel_after_the_answer_meets_the_next_yield(kind: str) -> None:
    step = Stepper(one_wait, kind, False, True)
    ANSWERS[kind](step)
    step.signal("stop")
    step.fire(max(step.interpreter.timers))
    assert step.result() == ["result", "left"]
    assert not step.decision_cancels
    assert not step.child_cancels


def test_a_block_that_has_ended_normally_is_not_cancelled() -> None:
    step = Stepper(one_wait, "activity", False, False)
    step.complete(0)
    step.signal("stop")
    step.fire(1)
    assert step.result() == ["result", "left"]


def test_what_completed_in_the_step_of_the_cancel_is_delivered() -> None:
    """Who is in the ready queue with a value gets it; the next yield raises."""

    def second(first: Any, scope: CancelScope, seen: list[Any]) -> Workflow[None]:
        with scope:
            seen.append((yield first))
            yield sleep(1)
        seen.append("left")

    @workflow
    def flow() -> Workflow[list[Any]]:
        seen: list[Any] = []
        scope = CancelScope()
        first = spawn(wait_for("go"))
        task = spawn(second(first, scope, seen))
        yield first  # it joins before the other task does, and so runs before it
        scope.cancel()
        yield task
        return seen

    step = Stepper(flow)
    step.signal("go", 7)
    assert step.result() == [7, "left"]
    assert "TimerStarted" not in step.kinds()


@pytest.mark.parametrize("kind", ["activity", "child"])
def test_a_deadline_stops_waiting_at_once(kind: str) -> None:
    @workflow
    def flow() -> Workflow[str]:
        try:
            with timeout(5):
                yield EVERY[kind][0]()
        except Exception as error:
            return f"{type(error).__name__} {getattr(error, 'details', None)}"
        return "never"

    step = Stepper(flow)
    step.fire(0)
    assert step.result() == "TimeoutExpired {'kind': 'scope'}"
    assert step.last() == ["TimerFired", EVERY[kind][1][0], "WorkflowCompleted"]
    assert [*step.decision_cancels, *step.child_cancels] == [1]


@pytest.mark.parametrize("kind", REMOTE)
def test_a_deadline_does_not_wait_for_what_a_cancel_waits_for(kind: str) -> None:
    @workflow
    def flow() -> Workflow[str]:
        try:
            with timeout(5):
                yield EVERY[kind][0]()
        except Exception as error:
            yield wait_signal("go")
            return type(error).__name__
        return "never"

    step = Stepper(flow)
    step.cancel()
    assert [*step.decision_cancels, *step.child_cancels] == [1]
    step.fire(0)
    assert [*step.decision_cancels, *step.child_cancels] == [1], "asked once"
    # The outer cancel is what goes on: the block does not turn it into a TimeoutExpired.
    assert step.kinds()[-1] == "WorkflowCancelled"


def test_an_activity_that_had_failed_before_is_the_cause_of_the_cancelled() -> None:
    @workflow
    def flow() -> Workflow[Any]:
        with CancelScope() as scope:
            _ = spawn(cancel_on("stop", scope))
            try:
                yield charge.call("a")
            except Cancelled as error:
                return str(error.__cause__)
        return None

    step = Stepper(flow)
    step.signal("stop")
    step.stopped(0, ValueError("no luck"))
    assert "ValueError: no luck" in step.result()


def test_a_cancelled_activity_may_fail_after_all() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen = []
        with CancelScope() as scope:
            _ = spawn(cancel_on("stop", scope))
            try:
                yield charge.call("a")
            except Exception as error:
                seen.append(type(error).__name__)
            seen.append("goes on")
            yield side_effect(int)
            seen.append("never")
        return seen

    step = Stepper(flow)
    step.signal("stop")
    step.fail(0, ValueError("no"))
    assert step.result() == ["ActivityError", "goes on"]


def test_a_late_result_of_what_was_given_up_is_recorded_and_dropped() -> None:
    @workflow
    def flow() -> Workflow[str]:
        with CancelScope() as scope:
            _ = spawn(cancel_on("stop", scope))
            yield gather(report.call("a"), send_signal("other", "x"))
        yield wait_signal("go")
        return "done"

    step = Stepper(flow)
    step.signal("stop")
    assert set(step.interpreter.pending) == {0, 1}
    step.complete(0, "late")
    step.deliver(1)
    assert step.last() == ["SignalDelivered"]
    assert step.interpreter.pending == {}
    step.signal("go")
    assert step.result() == "done"
