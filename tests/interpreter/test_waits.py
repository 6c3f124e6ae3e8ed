"""wait_until, on_signal, send_signal, and the time that an activity may take."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flows import Vote, charge, wait_for
from stepper import Stepper

from durable import (
    ActivityError,
    Cancelled,
    CancelScope,
    Channel,
    Workflow,
    continue_as_new,
    external,
    gather,
    now,
    on_signal,
    patched,
    race,
    send_signal,
    set_var,
    set_vars,
    shield,
    side_effect,
    sleep,
    spawn,
    timeout,
    wait_signal,
    wait_until,
    workflow,
)
from durable.errors import InstanceFinished, InstanceNotFound, UsageError

# -- wait_until ---------------------------------------------------------------------------


def test_a_predicate_is_looked_at_when_it_is_yielded_and_after_each_event() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        votes: list[Any] = []
        yield wait_until(lambda: True)
        on_signal("vote", votes.append)
        yield wait_until(lambda: len(votes) >= 2)
        return votes

    step = Stepper(flow)
    step.signal("vote", "a")
    assert len(step.interpreter.predicates) == 1
    step.signal("vote", "b")
    assert step.result() == ["a", "b"]


def test_a_predicate_used_as_a_lock_wakes_one_waiter_at_a_time() -> None:
    def worker(name: str, lock: list[str], seen: list[str]) -> Workflow[None]:
        yield wait_until(lambda: not lock)
        lock.append(name)
        seen.append(f"{name} of {len(lock)}")
        yield sleep(1)
        lock.remove(name)

    @workflow
    def flow() -> Workflow[list[str]]:
        lock = ["root"]
        seen: list[str] = []
        tasks = [spawn(worker(name, lock, seen)) for name in "abc"]
        yield wait_signal("go")
        lock.clear()
        yield gather(*tasks)
        return seen

    step = Stepper(flow)
    step.signal("go")
    for timer in range(3):
        assert list(step.interpreter.timers) == [timer]
        step.fire(timer)
    assert step.result() == ["a of 1", "b of 1", "c of 1"]


def test_what_one_predicate_lets_run_is_seen_by_the_one_before_it() -> None:
    """The first that is true runs until all wait; then it starts again from the first."""

    def worker(name: str, state: list[str], wanted: int) -> Workflow[None]:
        yield wait_until(lambda: len(state) >= wanted)
        state.append(name)

    @workflow
    def flow() -> Workflow[list[str]]:
        state: list[str] = []
        tasks = [spawn(worker(name, state, n)) for name, n in (("c", 3), ("b", 2), ("a", 1))]
        yield wait_signal("go")
        state.append("go")
        yield gather(*tasks)
        return state

    step = Stepper(flow)
    step.signal("go")
    assert step.result() == ["go", "a", "b", "c"]


def test_an_error_in_a_predicate_is_raised_at_its_yield() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        state: dict[str, int] = {"x": 0}
        seen = []
        waiting = spawn(wait_until(lambda: state["x"]))
        for command in (wait_until(lambda: 1 // 0 == 1), gather(wait_until(lambda: state["y"]))):
            try:
                yield command
            except Exception as error:
                seen.append(type(error).__name__)
        del state["x"]
        try:
            yield waiting
        except KeyError:
            seen.append("later")
        return seen

    assert Stepper(flow).result() == ["ZeroDivisionError", "KeyError", "later"]


def test_a_lost_or_cancelled_predicate_is_looked_at_no_more() -> None:
    @workflow
    def flow() -> Workflow[str]:
        looks: list[int] = []
        with CancelScope() as scope:
            _ = spawn(wait_until(lambda: looks.append(1)))
            yield race(wait_until(lambda: looks.append(1)), wait_signal("a"))
        scope.cancel()
        yield side_effect(int)
        before = len(looks)
        yield wait_signal("b")
        return f"{len(looks) - before}"

    step = Stepper(flow)
    step.signal("a")
    assert not step.interpreter.predicates
    step.signal("b")
    assert step.result() == "0"


def test_a_predicate_knows_the_moment_and_must_not_change_anything() -> None:
    verbs: list[Any] = [
        lambda: spawn(wait_for("x")),
        lambda: set_var("a", 1),
        lambda: set_vars(a=1),
        lambda: patched("x"),
        lambda: external(),
        lambda: on_signal("x", print),
        lambda: continue_as_new(),
        lambda: Channel(),
        lambda: CancelScope(),
        lambda: shield(),
        lambda: timeout(1),
    ]

    @workflow
    def flow() -> Workflow[list[str]]:
        moment = now()
        task = spawn(wait_for("x"))
        yield wait_until(lambda: now() > moment)
        seen = []
        for verb in [*verbs, lambda: task.cancel()]:
            try:
                yield wait_until(verb)
            except UsageError as error:
                seen.append(str(error).partition(" changes the workflow: the predicate")[0])
        return seen

    step = Stepper(flow)
    step.signal("y")
    assert step.result() == [
        "spawn", "set_var", "set_vars", "patched", "external", "on_signal", "continue_as_new",
        "Channel", "CancelScope", "shield", "timeout", "Task.cancel",
    ]  # fmt: skip
    assert step.kinds() == ["WorkflowStarted", "SignalReceived", "WorkflowCompleted"]


def test_wait_until_takes_a_function() -> None:
    for wrong in (5, sleep(1)):
        with pytest.raises(TypeError, match="a function without arguments"):
            _ = wait_until(wrong)  # type: ignore[arg-type]


# -- on_signal ----------------------------------------------------------------------------


def test_on_signal_calls_its_function_for_each_early_ones_first() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        seen: list[Any] = []
        yield wait_signal("begin")
        on_signal("x", seen.append, type=int)
        seen.append("registered")
        yield wait_signal("end")
        return seen

    step = Stepper(flow)
    step.signal("x", 1)
    step.signal("x", 2)
    step.signal("begin")
    step.signal("x", 3)
    step.signal("end")
    assert step.result() == ["registered", 1, 2, 3]


def test_a_generator_function_is_spawned_for_each_signal() -> None:
    def handle(seen: list[str], value: str) -> Workflow[None]:
        yield sleep(1)
        seen.append(value)

    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        on_signal("x", lambda value: handle(seen, value))
        yield wait_until(lambda: len(seen) == 2)
        return seen

    step = Stepper(flow)
    step.signal("x", "a")
    step.signal("x", "b")
    step.fire(1)
    step.fire(0)
    assert step.result() == ["b", "a"]


@pytest.mark.parametrize("spawned", [False, True])
def test_a_failing_callback_fails_the_workflow_at_once(
    spawned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def later() -> Workflow[None]:
        yield side_effect(int)
        raise ValueError("bad callback")

    def callback(value: Any) -> Any:
        if spawned:
            return later()
        raise ValueError("bad callback")

    def task() -> Workflow[None]:
        try:
            yield wait_signal("never")
        finally:
            with shield():
                yield charge.call("clean-up")

    @workflow
    def flow() -> Workflow[str]:
        on_signal("x", callback)
        _ = spawn(task(), "task")
        try:
            yield wait_signal("go")
        except Cancelled:
            return "the root's end does not matter any more"
        return "never"

    step = Stepper(flow)
    step.signal("x")
    assert not step.ended, "the clean-up is awaited"
    step.complete(step.interpreter.numbers - 1)
    assert step.failure().message == "bad callback"
    assert step.failure().is_a(ValueError)


def test_a_callback_that_fails_when_the_root_has_returned_fails_the_workflow_too() -> None:
    def later() -> Workflow[None]:
        try:
            yield wait_signal("never")
        finally:
            raise ValueError("bad clean-up")

    @workflow
    def flow() -> Workflow[str]:
        on_signal("x", lambda value: later())
        yield wait_signal("go")
        return "done"

    step = Stepper(flow)
    step.signal("x")
    step.signal("go")
    assert step.failure().message == "bad clean-up"


def test_handlers_end_with_the_root_and_are_not_named(caplog: pytest.LogCaptureFixture) -> None:
    @workflow
    def flow() -> Workflow[str]:
        on_signal("x", print)
        yield wait_signal("go")
        return "done"

    step = Stepper(flow)
    with caplog.at_level(logging.INFO, "durable.workflow"):
        step.signal("go")
    assert step.result() == "done"
    assert not caplog.text


def test_on_signal_and_wait_signal_of_one_name_exclude_each_other() -> None:
    def late() -> Workflow[str]:
        try:
            yield wait_signal("x")
        except UsageError as error:
            return str(error)
        return "never"

    @workflow
    def flow() -> Workflow[list[str]]:
        task = spawn(late())
        on_signal("x", print)
        seen = [(yield task)]
        for command in (wait_signal("x"), race(sleep(1), gather(wait_signal("x")))):
            try:
                yield command
            except UsageError as error:
                seen.append(str(error))
        for again in ("x", "y"):
            if again == "y":
                _ = spawn(wait_for("y"))
                yield side_effect(int)
            try:
                on_signal(again, print)
            except UsageError as error:
                seen.append(str(error))
        with pytest.raises(TypeError, match="a name and a function"):
            on_signal("z", None)  # type: ignore[arg-type]
        return seen

    seen = Stepper(flow).result()
    assert seen[:3] == ["on_signal('x', …) reads the signals of this name: none is left for "
                        "wait_signal('x')"] * 3  # fmt: skip
    assert seen[3:] == [
        "on_signal('x', …) was called before",
        "wait_signal('y') waits already: on_signal must come first",
    ]


def test_a_signal_that_cannot_be_rebuilt_fails_the_workflow_of_its_handler() -> None:
    @workflow
    def flow() -> Workflow[None]:
        on_signal("x", print, type=Vote)
        yield wait_signal("go")

    step = Stepper(flow)
    step.signal("x", "no vote")
    assert step.failure().type == "durable.errors.PayloadError"


# -- send_signal --------------------------------------------------------------------------


def test_send_signal_is_delivered_or_says_why_not() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        yield send_signal("other", "x", 5)
        seen = []
        for _ in range(3):
            try:
                yield send_signal("other", "x")
            except Exception as error:
                seen.append(f"{type(error).__name__}: {error}")
        return seen

    step = Stepper(flow)
    [sent] = step.decision.sends
    assert (sent.command, sent.instance_id, sent.name) == (0, "other", "x")
    assert step.codec.decode(sent.value) == 5
    step.deliver(0)
    step.refuse(1, InstanceNotFound("none"))
    step.refuse(2, InstanceFinished("over"))
    step.refuse(3, UsageError("full"))
    assert step.result() == ["InstanceNotFound: none", "InstanceFinished: over", "UsageError: full"]


# -- schedule_timeout ---------------------------------------------------------------------


def test_an_activity_fails_when_its_schedule_timeout_is_up_and_its_task_is_cancelled() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        try:
            yield charge.options(schedule_timeout=5).call("a")
        except ActivityError as error:
            return [error.attempt, error.error.message, error.error.details]
        return []

    step = Stepper(flow)
    assert step.interpreter.next_due() == step.clock + 5_000_000
    assert step.interpreter.due(step.clock) == []
    assert step.interpreter.due(step.clock + 5_000_000) == [(step.clock + 5_000_000, 0)]
    step.fire(0)
    assert step.decision_cancels == [0]
    assert step.result() == [
        0,
        "charge had no result 5 s after it was scheduled",
        {"kind": "schedule"},
    ]
    assert "TimerFired" not in step.kinds()


def test_a_result_or_the_loss_of_the_activity_ends_its_schedule_timeout() -> None:
    @workflow
    def flow() -> Workflow[str]:
        limited = charge.options(schedule_timeout=5)
        yield limited.call("a")
        yield race(limited.call("b"), wait_signal("go"))
        with CancelScope() as scope:
            _ = spawn(limited.call("c"))
            yield side_effect(int)
            scope.cancel()
        yield wait_signal("end")
        return "done"

    step = Stepper(flow)
    step.complete(0)
    assert len(step.interpreter.timers) == 1
    step.signal("go")
    assert step.interpreter.next_due() is None
    assert 2 not in step.interpreter.pending, "it never started"
    step.signal("end")
    assert step.result() == "done"


def test_a_cancelled_activity_still_has_its_schedule_timeout() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield charge.options(schedule_timeout=5).call("a")

    step = Stepper(flow)
    step.cancel()
    step.fire(0)
    assert step.failure().is_a(ActivityError)


def test_a_schedule_timeout_is_rounded_up() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield charge.options(schedule_timeout=1e-7).call("a")

    step = Stepper(flow)
    assert step.interpreter.next_due() == step.clock + 1
