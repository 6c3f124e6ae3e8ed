"""How much one run may ask for at once: refused where it is asked for, and it can go on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flows import charge, poll
from stepper import Stepper

from durable import (
    Cancelled,
    CancelScope,
    Command,
    Workflow,
    external,
    gather,
    race,
    side_effect,
    sleep,
    spawn,
    timeout,
    wait_signal,
    with_timeout,
    workflow,
)
from durable.errors import UsageError
from durable.interpreter import Limits, StepAborted, limits

Wrap = Callable[[Command[Any], int], Command[Any]]

WRAPS: dict[str, Wrap] = {
    "gather": lambda command, level: gather(command),
    "named": lambda command, level: gather(inner=command),
    "race": lambda command, level: race(inner=command),
    "with_timeout": lambda command, level: with_timeout(command, 100 + level),
    "all": lambda command, level: (gather, race)[level % 2](with_timeout(command, 50)),
}


def nested(wrap: Wrap, command: Command[Any], depth: int) -> Command[Any]:
    for level in range(depth):
        command = wrap(command, level)
    return command


def test_too_many_pending_commands_are_refused_before_any_is_issued() -> None:
    @workflow
    def flow() -> Workflow[str]:
        for many in (gather(*(sleep(n) for n in range(4))), race(gather(*[sleep(1)] * 4))):
            with pytest.raises(UsageError, match="wait for some of them"):
                yield many
        _ = spawn(gather(sleep(1), sleep(2), sleep(3)))
        yield side_effect(int)
        with pytest.raises(UsageError, match="wait for some of them"):
            yield charge.call("a")
        return "ok"

    step = Stepper(flow, limits=Limits(max_pending=3))
    assert step.kinds().count("TimerStarted") == 3
    assert step.result() == "ok"


def test_what_is_inside_a_time_limit_counts_and_so_does_its_timer() -> None:
    @workflow
    def flow() -> Workflow[str]:
        many: Command[Any]
        for many in (
            with_timeout(gather(sleep(1), sleep(2), sleep(3)), 9),
            gather(with_timeout(sleep(1), 9), with_timeout(sleep(1), 9)),
            gather(*[gather()] * 4),
        ):
            with pytest.raises(UsageError, match="more than 3 commands"):
                yield many
        yield with_timeout(gather(wait_signal("a"), sleep(1)), 9)
        return "ok"

    step = Stepper(flow, limits=Limits(max_pending=3))
    assert step.kinds() == ["WorkflowStarted", "TimerStarted", "TimerStarted"]
    step.signal("a")
    step.fire(0)
    assert step.result() == "ok"


def test_too_many_sleeps_inside_a_time_limit_are_refused_at_the_yield() -> None:
    @workflow
    def flow() -> Workflow[str]:
        many = gather(*[sleep(1)] * 150_000)
        with pytest.raises(UsageError, match="more than 100,000 commands"):
            yield with_timeout(many, 9)
        twice: Command[Any] = gather(wait_signal("a"))
        for _ in range(60):
            twice = gather(twice, twice)  # 2 ** 60 of them
        with pytest.raises(UsageError, match="more than 100,000 commands"):
            yield twice
        return "ok"

    assert Stepper(flow).result() == "ok"


def test_promises_and_time_limits_are_refused_at_their_line() -> None:
    @workflow
    def flow() -> Workflow[str]:
        first = external("first")
        with timeout(50):
            with pytest.raises(UsageError, match="more than 2 commands"):
                external("second")
            scope = timeout(60)
            for _ in range(2):
                with pytest.raises(UsageError, match="more than 2 commands"), scope:
                    raise AssertionError("the block begins")
        with scope, CancelScope() as inner:  # there is room again
            inner.cancel()
            yield first
        return str((yield first))

    step = Stepper(flow, limits=Limits(max_pending=2))
    assert step.interpreter.root is not None
    assert not step.interpreter.root.own.children
    step.keep(0, "kept")
    assert step.result() == "kept"


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("depth", [limits.MAX_DEPTH, limits.MAX_DEPTH // 2])
@pytest.mark.parametrize("way", ["signal", "ready", "activity", "failure", "cancel"])
def test_combinators_may_be_nested_up_to_the_limit(wrap: Wrap, depth: int, way: str) -> None:
    inner = wait_signal("go") if way in ("signal", "ready") else poll.call("x")
    levels = depth // 2 if wrap is WRAPS["all"] else depth

    @workflow
    def flow() -> Workflow[str]:
        if way == "ready":
            yield sleep(0)
        try:
            yield nested(wrap, inner, levels)
        except (Exception, Cancelled) as error:
            return type(error).__name__
        return "ok"

    step = Stepper(flow)
    outcome = "ok"
    if way in ("signal", "ready"):
        step.signal("go", 1)
        if way == "ready":
            step.fire(0)
    elif way == "activity":
        step.complete(0, 1)
    elif way == "failure":
        step.fail(0, ValueError("x"))
        outcome = "ActivityError"
    else:
        step.cancel()
        step.stopped(0)
        outcome = "Cancelled"
    assert step.result() == outcome


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("depth", [limits.MAX_DEPTH + 1, 1000])
def test_combinators_nested_too_deep_are_refused_at_the_yield(wrap: Wrap, depth: int) -> None:
    @workflow
    def flow() -> Workflow[str]:
        with pytest.raises(UsageError, match="nested more than 100 deep: write one gather"):
            yield nested(wrap, wait_signal("go"), depth)
        with CancelScope() as scope:
            scope.cancel()
            yield nested(wrap, wait_signal("go"), depth)
        with pytest.raises(UsageError, match="could never be ready"):
            _ = race(nested(wrap, sleep(1), depth), default=1)
        return "ok"

    step = Stepper(flow)
    assert step.result() == "ok"
    assert step.kinds() == ["WorkflowStarted", "WorkflowCompleted"]


def test_a_forgotten_command_that_is_nested_too_deep_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @workflow
    def flow() -> Workflow[str]:
        _ = nested(WRAPS["gather"], sleep(1), 1000)
        yield side_effect(int)
        return "ok"

    with caplog.at_level(logging.WARNING):
        assert Stepper(flow).result() == "ok"
    assert "Gather(…) was created and never yielded" in caplog.text


def test_too_many_tasks_in_one_step_are_worded_for_what_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "STEP_BUDGET", 10)

    def flow_of(count: int) -> Any:
        @workflow
        def flow() -> Workflow[int]:
            tasks = [spawn(wait_signal("go")) for _ in range(count)]
            yield gather(*tasks)
            return count

        return flow

    assert not Stepper(flow_of(9)).ended  # with the workflow itself there are ten
    with pytest.raises(StepAborted, match="more than 10 resumptions in one step, at "):
        Stepper(flow_of(10))
