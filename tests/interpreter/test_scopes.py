"""Scopes: which block a cancel reaches, which one catches it, and time limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flows import cancel_on, charge, ship, wait_for
from stepper import Stepper

from durable import (
    Cancelled,
    CancelScope,
    TimeoutExpired,
    Workflow,
    shield,
    side_effect,
    sleep,
    spawn,
    timeout,
    wait_signal,
    workflow,
)
from durable.errors import UsageError


def test_a_scope_swallows_its_own_cancel_only() -> None:
    @workflow
    def flow(which: str) -> Workflow[list[str]]:
        seen = []
        with CancelScope() as outer:
            with CancelScope() as inner:
                _ = spawn(cancel_on("stop", outer if which == "outer" else inner))
                try:
                    yield sleep(60)
                finally:
                    seen.append("out of inner")
            seen.append("between")
            yield side_effect(int)
            seen.append("still in outer")
        return [*seen, f"{outer.cancelled} {inner.cancelled}"]

    for which, expected in {
        "inner": ["out of inner", "between", "still in outer", "False True"],
        "outer": ["out of inner", "True False"],
    }.items():
        step = Stepper(flow, which)
        step.signal("stop")
        assert step.result() == expected


def test_a_client_cancel_goes_through_every_block() -> None:
    @workflow
    def flow() -> Workflow[str]:
        with CancelScope() as scope:
            scope.cancel()
            yield sleep(1)
        with CancelScope(), CancelScope():
            yield sleep(1)
        return "never"

    step = Stepper(flow)
    step.cancel("stop it")
    assert step.events()[-1].reason == "stop it"
    assert step.kinds()[-1] == "WorkflowCancelled"


def test_every_yield_in_a_cancelled_scope_raises_even_of_what_is_ready() -> None:
    @workflow
    def flow() -> Workflow[Any]:
        task = spawn(wait_for("a"))
        yield task
        seen = []
        with CancelScope() as scope:
            scope.cancel()
            scope.cancel()  # a second time changes nothing
            for command in (task, wait_signal("a"), side_effect(int), sleep(0), charge.call("x")):
                try:
                    yield command
                except Cancelled:
                    seen.append(type(command).__name__)
            yield sleep(5)
        return seen

    step = Stepper(flow)
    step.signal("a")
    assert step.result() == ["Task", "WaitSignal", "SideEffect", "Sleep", "ActivityCall"]
    assert step.kinds() == ["WorkflowStarted", "SignalReceived", "WorkflowCompleted"]


def test_an_outer_cancel_during_the_clean_up_of_an_inner_block_goes_to_the_outer() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen = []
        with CancelScope() as outer:
            _ = spawn(cancel_on("outer", outer), "stopper")
            with CancelScope() as inner:
                inner.cancel()
                try:
                    yield sleep(1)
                finally:
                    with shield():
                        yield charge.call("clean-up")
                    seen.append("cleaned up")
            seen.append("never")
        seen.append("after outer")
        return seen

    step = Stepper(flow)
    step.signal("outer")
    assert step.decision_cancels == [], "the shield keeps it from the clean-up"
    step.complete(0)
    assert step.result() == ["cleaned up", "after outer"]


def test_clean_up_without_a_shield_raises_again() -> None:
    @workflow
    def flow() -> Workflow[None]:
        try:
            yield sleep(1)
        finally:
            yield charge.call("never")

    step = Stepper(flow)
    step.cancel()
    assert step.kinds()[-1] == "WorkflowCancelled"
    assert "ActivityScheduled" not in step.kinds()


def test_a_cancel_inside_clean_up_reaches_what_comes_after_it() -> None:
    @workflow
    def flow(fails: bool) -> Workflow[list[str]]:
        seen = []
        with CancelScope() as scope:
            try:
                yield sleep(1)
                if fails:
                    raise KeyError("replaced by the cancel of the clean-up")
            finally:
                scope.cancel()
                seen.append("cancelled")
                yield charge.call("never")
        seen.append("after the block")
        yield sleep(1)
        return seen

    for fails in (False, True):
        step = Stepper(flow, fails)
        step.fire(0)
        step.fire(1)
        assert step.result() == ["cancelled", "after the block"]


def test_a_cancelled_block_that_ends_without_a_yield_just_ends() -> None:
    @workflow
    def flow() -> Workflow[str]:
        with CancelScope() as scope:
            yield sleep(1)
            scope.cancel()
        yield sleep(1)
        return f"{scope.cancelled}"

    step = Stepper(flow)
    step.fire(0)
    step.fire(1)
    assert step.result() == "True"


def test_a_shield_works_after_a_normal_end_and_after_a_failure_too() -> None:
    @workflow
    def flow(fails: bool) -> Workflow[str]:
        try:
            if fails:
                raise ValueError("no")
            yield sleep(1)
        finally:
            with shield():
                yield charge.call("clean-up")
        return "done"

    step = Stepper(flow, False)
    step.fire(0)
    step.complete(1)
    assert step.result() == "done"
    step = Stepper(flow, True)
    step.complete(0)
    assert step.failure().message == "no"


def test_a_shield_can_be_cancelled_itself() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen = []
        with CancelScope() as outer:
            outer.cancel()
            with shield() as inner:
                _ = spawn(cancel_on("stop", inner))
                yield sleep(60)
            seen.append("the shield has caught it")
            yield sleep(60)
        return seen

    step = Stepper(flow)
    step.signal("stop")
    assert step.result() == ["the shield has caught it"]


def test_a_scope_is_cancelled_by_another_coroutine_long_after() -> None:
    def worker(scopes: list[CancelScope]) -> Workflow[str]:
        with CancelScope() as scope:
            scopes.append(scope)
            yield charge.call("a")
            yield ship.call("a")
        return f"cancelled {scope.cancelled}"

    @workflow
    def flow() -> Workflow[str]:
        scopes: list[CancelScope] = []
        task = spawn(worker(scopes))
        yield wait_signal("stop")
        scopes[0].cancel()
        result: str = yield task
        return result

    step = Stepper(flow)
    step.complete(0)
    step.signal("stop")
    assert step.decision_cancels == [1]
    step.stopped(1)
    assert step.result() == "cancelled True"


def test_tasks_are_cancelled_in_the_order_of_their_creation() -> None:
    def worker(name: str, seen: list[str]) -> Workflow[None]:
        try:
            yield wait_signal(name)
        except Cancelled:
            seen.append(name)
            raise

    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        with CancelScope() as scope:
            for name in "cab":
                _ = spawn(worker(name, seen))
            _ = spawn(cancel_on("stop", scope))
            yield wait_signal("never")
        yield sleep(0)
        return seen

    step = Stepper(flow)
    step.signal("stop")
    step.fire(0)
    assert step.result() == ["c", "a", "b"]


# -- time limits --------------------------------------------------------------------------


@workflow
def limited(swallow: bool) -> Workflow[list[str]]:
    """A block of 5 seconds, which may swallow its end."""
    seen = []
    try:
        with timeout(5) as scope:
            try:
                seen.append((yield charge.call("a")))
            except Cancelled:
                seen.append(f"cancelled {scope.cancelled}")
                if not swallow:
                    raise
    except TimeoutExpired as error:
        seen.append(f"expired: {error} {error.details}")
    yield wait_signal("go")
    return seen


def test_a_result_before_the_timer_is_no_timeout_and_cancels_the_timer() -> None:
    step = Stepper(limited, False)
    step.complete(1, "x")
    assert step.last() == ["ActivityCompleted", "TimerCancelled"]
    assert step.interpreter.next_due() is None
    step.signal("go")
    assert step.result() == ["x"]


EXPIRED = "expired: a block did not end within 5 s {'kind': 'scope'}"


def test_the_timer_before_the_result_is_a_timeout() -> None:
    step = Stepper(limited, False)
    step.fire(0)
    step.complete(1, "too late")
    step.signal("go")
    assert step.result() == ["cancelled True", EXPIRED]
    assert "TimerCancelled" not in step.kinds()


def test_a_timeout_raises_at_the_end_of_its_block_even_if_that_ended_normally() -> None:
    step = Stepper(limited, True)
    step.fire(0)
    step.signal("go")
    assert step.result() == ["cancelled True", EXPIRED]


def test_another_error_goes_before_the_timeout() -> None:
    @workflow
    def flow() -> Workflow[None]:
        with timeout(5):
            try:
                yield sleep(60)
            finally:
                raise KeyError("mine")

    step = Stepper(flow)
    step.fire(0)
    assert step.failure().is_a(KeyError)


def test_a_shield_inside_a_timeout_ends_first() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen = []
        try:
            with timeout(5):
                with shield():
                    seen.append((yield charge.call("a")))
                seen.append("the shield has ended")
                yield sleep(1)
                seen.append("never")
        except TimeoutExpired:
            seen.append("expired")
        return seen

    step = Stepper(flow)
    step.fire(0)
    assert step.decision_cancels == []
    step.complete(1, "x")
    assert step.result() == ["x", "the shield has ended", "expired"]


def test_a_timeout_in_a_cancelled_scope_is_cancelled_and_leaves_no_timer() -> None:
    @workflow
    def flow() -> Workflow[str]:
        with CancelScope() as scope:
            scope.cancel()
            with timeout(5):
                yield charge.call("a")
        return "done"

    step = Stepper(flow)
    assert step.kinds() == [
        "WorkflowStarted",
        "TimerStarted",
        "TimerCancelled",
        "WorkflowCompleted",
    ]


def test_a_timeout_that_was_cancelled_by_hand_does_not_expire() -> None:
    @workflow
    def flow() -> Workflow[str]:
        with timeout(5) as scope:
            scope.cancel()
            yield sleep(1)
        return f"cancelled {scope.cancelled}"

    assert Stepper(flow).result() == "cancelled True"


def test_an_outer_timeout_goes_through_an_inner_one() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen = []
        try:
            with timeout(5):
                try:
                    with timeout(9):
                        yield sleep(60)
                except TimeoutExpired:
                    seen.append("inner")
        except TimeoutExpired:
            seen.append("outer")
        return seen

    step = Stepper(flow)
    step.fire(0)
    assert step.result() == ["outer"]
    assert step.kinds().count("TimerCancelled") == 2
    step = Stepper(flow)
    step.fire(1)
    assert step.result() == ["inner"]


def test_both_time_limits_can_pass_while_the_block_cleans_up() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen = []
        try:
            with timeout(5):
                with timeout(9):
                    try:
                        yield sleep(60)
                    finally:
                        with shield():
                            yield charge.call("clean-up")
                seen.append("never")
        except TimeoutExpired as error:
            seen.append(str(error))
        return seen

    step = Stepper(flow)
    step.fire(1)
    step.fire(0)
    step.complete(3)
    # The inner block lets the outer's cancel through: its own end is not the reason.
    assert step.result() == ["a block did not end within 5 s"]


# -- misuse -------------------------------------------------------------------------------


def test_a_scope_that_is_held_open_by_a_generator_of_values_is_refused() -> None:
    def pages() -> Iterator[int]:
        with timeout(5), CancelScope():
            yield 1
            yield 2

    @workflow
    def flow() -> Workflow[str]:
        values = pages()
        next(values)
        with CancelScope() as scope:
            try:
                list(values)
            except UsageError as error:
                message = str(error)
        _ = spawn(cancel_on("stop", scope))
        yield wait_signal("go")  # in no block any more
        return message

    step = Stepper(flow)
    assert step.kinds()[:3] == ["WorkflowStarted", "TimerStarted", "TimerCancelled"]
    assert step.interpreter.root is not None
    assert step.interpreter.root.scope is step.interpreter.root.own
    step.signal("stop")
    step.signal("go")
    assert "do not hold one open across the `yield`" in step.result()


def test_a_half_used_helper_that_is_dropped_leaves_its_scope() -> None:
    def helper() -> Workflow[None]:
        with timeout(5):
            yield sleep(60)

    @workflow
    def flow() -> Workflow[str]:
        half = helper()
        command = next(half)
        del half
        yield command
        return "done"

    step = Stepper(flow)
    step.fire(0)  # a block that is not there any more
    assert step.interpreter.root is not None
    assert not step.interpreter.root.own.children
    step.fire(1)
    assert step.result() == "done"


def test_scopes_are_used_once_and_inside_a_workflow() -> None:
    @workflow
    def flow() -> Workflow[str]:
        scope = CancelScope()
        assert not scope.cancelled
        with pytest.raises(UsageError, match="was not entered"):
            scope.cancel()
        with scope:
            yield sleep(0)
        with pytest.raises(UsageError, match="entered once"), scope:
            pass
        scope.cancel()  # nothing is left in it
        with pytest.raises(ValueError, match="timeout cannot be"):
            timeout(-1)
        return "ok"

    step = Stepper(flow)
    step.fire(0)
    assert step.result() == "ok"
    for verb, make in {"CancelScope": CancelScope, "shield": shield}.items():
        with pytest.raises(UsageError, match=f"^{verb} works only inside"):
            make()
    with pytest.raises(UsageError, match=r"^timeout works only inside"):
        timeout(5)
