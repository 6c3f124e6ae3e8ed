"""How runs end: continue-as-new, the run's deadline, deadlocks, results and failures."""

from __future__ import annotations

from typing import Any

import pytest
from flows import charge, child, report, ship, wait_for
from stepper import Stepper

from durable import (
    Cancelled,
    CancelScope,
    Channel,
    SideEffectError,
    TimeoutExpired,
    Workflow,
    continue_as_new,
    external,
    gather,
    on_signal,
    race,
    shield,
    side_effect,
    sleep,
    spawn,
    timeout,
    wait_signal,
    wait_until,
    workflow,
)
from durable.errors import UsageError
from durable.events import (
    CancelRequested,
    ContinuedAsNew,
    SignalReceived,
    WorkflowTerminated,
    load,
)

# -- continue-as-new ----------------------------------------------------------------------


def carried(step: Stepper) -> list[Any]:
    ending = step.interpreter.ending
    assert ending is not None
    found: list[Any] = []
    for data in ending.carried:
        event = load(data, 0)
        if isinstance(event, SignalReceived):
            found.append((event.name, step.codec.decode(event.value), event.message_id))
        else:
            found.append(event)
    return found


@workflow
def rounds(number: int, *, last: bool = False) -> Workflow[Any]:
    yield wait_signal("go")
    return continue_as_new(number + 1, last=True)


def test_continue_as_new_ends_the_run_with_the_arguments_of_the_next() -> None:
    step = Stepper(rounds, 1)
    step.signal("go")
    event = step.events()[-1]
    assert isinstance(event, ContinuedAsNew)
    assert step.codec.decode(event.args) == [2]
    assert step.codec.decode(event.kwargs) == {"last": True}
    assert carried(step) == []


def test_unread_signals_go_to_the_next_run_in_order_with_those_put_back() -> None:
    @workflow
    def flow() -> Workflow[Any]:
        yield wait_signal("go")
        with pytest.raises(Exception, match="no"):
            yield gather(wait_signal("b"), wait_signal("a"), charge.call("x"))
        return continue_as_new()

    step = Stepper(flow)
    for name, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4), ("go", 0), ("b", 5)):
        step.signal(name, value)
    step.fail(0, ValueError("no"))
    assert carried(step) == [
        ("a", 1, "m1"), ("b", 2, "m2"), ("a", 3, "m3"), ("c", 4, "m4"), ("b", 5, "m7"),
    ]  # fmt: skip
    assert step.interpreter.ending is not None
    assert step.interpreter.ending.unread == ("a", "b", "a", "c", "b")


def test_a_pending_cancel_goes_to_the_next_run() -> None:
    @workflow
    def flow() -> Workflow[Any]:
        try:
            yield charge.call("a")
        except Cancelled:
            with shield():
                yield ship.call("undo")
        return continue_as_new()

    for delivered in (True, False):
        step = Stepper(flow)
        step.signal("left")
        step.cancel("stop it")
        if delivered:  # "wait": the result is delivered, and no yield has raised
            step.complete(0)
        else:
            step.stopped(0)
            step.complete(1)
        signal, cancel = carried(step)
        assert signal[0] == "left"
        assert isinstance(cancel, CancelRequested)
        assert cancel.reason == "stop it"


def test_a_cancel_before_the_first_step_raises_at_the_first_yield() -> None:
    """What is carried is applied before anything else of the run."""

    @workflow
    def flow() -> Workflow[str]:
        try:
            yield wait_signal("x")
        except Cancelled:
            return "cancelled"
        return "never"

    step = Stepper(flow)
    step.cancel()
    assert step.result() == "cancelled"


def test_continue_as_new_awaits_its_tasks() -> None:
    def task() -> Workflow[None]:
        try:
            yield wait_signal("never")
        finally:
            with shield():
                yield charge.call("clean-up")

    @workflow
    def flow() -> Workflow[Any]:
        _ = spawn(task())
        yield wait_signal("go")
        return continue_as_new()

    step = Stepper(flow)
    step.signal("go")
    assert not step.ended
    step.complete(0)
    assert step.kinds()[-1] == "ContinuedAsNew"


def test_continue_as_new_checks_its_arguments_and_must_be_returned() -> None:
    @workflow
    def flow(number: int = 0) -> Workflow[Any]:
        for args, kwargs in (((1, 2), {}), ((), {"wrong": 1})):
            with pytest.raises(TypeError, match=r"flow\(number: 'int' = 0\)"):
                continue_as_new(*args, **kwargs)
        with pytest.raises(TypeError, match=r"write `return continue_as_new\(…\)`"):
            yield continue_as_new(1)
        with pytest.raises(TypeError, match=r"write `return continue_as_new"):
            _ = gather(continue_as_new(1))
        yield sleep(0)
        return continue_as_new(object())

    step = Stepper(flow)
    step.fire(0)
    assert "args[0]" in step.failure().message


# -- the deadline of a run ----------------------------------------------------------------


@workflow
def long() -> Workflow[list[str]]:
    seen = []
    try:
        yield charge.call("a")
    except Cancelled:
        seen.append("cancelled")
        with shield():
            seen.append((yield ship.call("undo")))
        if seen[-1] != "return":
            raise
    return seen


def test_a_run_fails_when_its_time_is_up() -> None:
    step = Stepper(long, deadline=5)
    assert step.interpreter.next_due() == step.clock + 5_000_000
    step.fire(-1)
    assert step.decision_cancels == [0], "asked, and not awaited"
    assert not step.ended, "the clean-up is"
    step.complete(1, "x")
    failure = step.failure()
    assert failure.is_a(TimeoutExpired)
    assert (failure.message, failure.details) == (
        "long did not end within 5 s",
        {"kind": "workflow"},
    )
    assert step.interpreter.ending is not None
    assert "durable.errors.TimeoutExpired" in step.interpreter.ending.types
    assert step.events()[-1].error[0] == step.interpreter.ending.types[0]


def test_a_run_that_catches_its_deadline_and_returns_has_completed() -> None:
    step = Stepper(long, deadline=5)
    step.fire(-1)
    step.complete(1, "return")
    assert step.result() == ["cancelled", "return"]


def test_a_run_in_time_does_not_see_its_deadline() -> None:
    step = Stepper(long, deadline=5)
    step.complete(0)
    assert step.result() == []


def test_a_client_cancel_before_the_deadline_names_the_end_and_the_deadline_still_hurries() -> None:
    step = Stepper(long, deadline=5)
    step.cancel("by the client")
    assert not step.ended
    step.fire(-1)
    assert step.last() == ["TimerFired", "ActivityScheduled"], "it waits for the activity no more"
    step.complete(1, "x")
    assert step.events()[-1].reason == "by the client"


def test_a_client_cancel_after_the_deadline_changes_nothing() -> None:
    step = Stepper(long, deadline=5)
    step.fire(-1)
    step.cancel("too late")
    step.complete(1, "x")
    assert step.failure().is_a(TimeoutExpired)


def test_a_deadline_after_the_root_has_returned_hurries_its_tasks() -> None:
    @workflow
    def flow() -> Workflow[str]:
        _ = spawn(charge.call("a"))
        yield wait_signal("go")
        return "done"

    step = Stepper(flow, deadline=5)
    step.signal("go")
    assert not step.ended
    step.fire(-1)
    assert step.result() == "done"


def test_a_run_with_a_deadline_is_never_stuck() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield wait_until(lambda: False)

    assert Stepper(flow).interpreter.is_stuck()
    assert not Stepper(flow, deadline=5).interpreter.is_stuck()


# -- deadlocks ----------------------------------------------------------------------------


def forever(kind: str) -> Any:
    channel: Channel[int] = Channel()
    kinds: dict[str, Any] = {
        "send": lambda: channel.send(1),
        "receive": lambda: channel.receive(),
        "predicate": lambda: wait_until(lambda: False),
        "join": lambda: spawn(wait_until(lambda: False), "joined"),
        "nested": lambda: gather(race(channel.receive(), wait_until(lambda: False))),
    }
    return kinds[kind]()


@pytest.mark.parametrize("kind", ["send", "receive", "predicate", "join", "nested"])
def test_what_no_event_can_change_is_a_deadlock_with_each_line(kind: str) -> None:
    def waits_here() -> Workflow[None]:
        yield forever(kind)

    @workflow
    def flow() -> Workflow[None]:
        _ = spawn(waits_here(), "helper")
        yield from waits_here()

    step = Stepper(flow)
    assert step.interpreter.is_stuck()
    text = step.interpreter.deadlock()
    assert text.startswith("deadlock: every coroutine waits for what no event can change: root at")
    assert text.count("in waits_here") == 2
    assert "helper at " in text
    assert __file__ in text
    step.cancel()  # it still reaches it
    assert step.ended
    assert not step.interpreter.is_stuck()


WAKES: dict[str, Any] = {
    "activity": lambda: charge.call("a"),
    "timer": lambda: sleep(1),
    "signal": lambda: wait_signal("a"),
    "child": lambda: child.call("a"),
    "promise": external,
    "race": lambda: race(wait_until(lambda: False), sleep(1)),
}


@pytest.mark.parametrize("kind", WAKES)
def test_what_an_event_can_change_is_no_deadlock(kind: str) -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield WAKES[kind]()

    assert not Stepper(flow).interpreter.is_stuck()


def test_results_that_nobody_waits_for_do_not_hide_a_deadlock() -> None:
    @workflow
    def flow() -> Workflow[None]:
        channel: Channel[int] = Channel()
        promise = external()
        yield race(report.call("a"), charge.call("b"), wait_signal("go"))
        _ = promise
        yield channel.receive()

    step = Stepper(flow)
    step.signal("go")
    assert set(step.interpreter.pending) == {0, 1, 2}
    assert step.interpreter.is_stuck()
    step.complete(1)
    assert step.interpreter.is_stuck()


def test_a_predicate_over_a_promise_is_no_deadlock() -> None:
    @workflow
    def flow() -> Workflow[str]:
        promise = external()
        yield wait_until(lambda: promise.done)
        return "done"

    step = Stepper(flow)
    assert not step.interpreter.is_stuck()
    step.keep(0)
    assert step.result() == "done"


def test_the_timer_of_a_block_and_a_handler_of_signals_are_no_deadlock() -> None:
    @workflow
    def limited() -> Workflow[None]:
        with timeout(5):
            yield wait_until(lambda: False)

    @workflow
    def handling() -> Workflow[None]:
        on_signal("x", print)
        yield wait_until(lambda: False)

    assert not Stepper(limited).interpreter.is_stuck()
    assert not Stepper(handling).interpreter.is_stuck()


# -- results and failures -----------------------------------------------------------------


def test_details_that_cannot_be_stored_do_not_hide_the_failure() -> None:
    class Odd(Exception):
        details = object()

    @workflow
    def flow() -> Workflow[str]:
        with pytest.raises(SideEffectError, match="odd"):
            yield side_effect(fail)
        raise Odd("odd")

    def fail() -> int:
        raise Odd("odd")

    step = Stepper(flow)
    assert step.failure().message == "odd"
    assert "object object" in step.failure().details


def test_a_result_that_cannot_be_stored_fails_the_workflow() -> None:
    @workflow
    def flow() -> Workflow[Any]:
        yield sleep(0)
        return {"a": object()}

    step = Stepper(flow)
    step.fire(0)
    assert step.failure().type == "durable.errors.PayloadError"
    assert "result.a: " in step.failure().message


def test_the_first_failed_task_is_the_failure_and_a_failed_root_goes_first() -> None:
    def broken(name: str) -> Workflow[None]:
        yield wait_signal(name)
        raise ValueError(name)

    @workflow
    def flow(fails: bool) -> Workflow[str]:
        _ = [spawn(broken(name)) for name in "abc"]
        yield wait_signal("go")
        if fails:
            raise KeyError("root")
        return "done"

    for fails, expected in ((False, "b"), (True, "'root'")):
        step = Stepper(flow, fails)
        for name in ("b", "a", "go"):
            step.signal(name)
        assert step.failure().message == expected


def test_a_workflow_without_a_yield_completes_at_once_with_its_tasks() -> None:
    @workflow
    def flow() -> Any:
        _ = spawn(wait_for("never"), "task")
        return "done"

    step = Stepper(flow)
    assert step.result() == "done"


def test_a_history_that_was_terminated_can_be_replayed() -> None:
    step = Stepper(long)
    step.apply(WorkflowTerminated(step.interpreter.seq, step.interpreter.at, "enough"))
    assert not step.ended
    assert step.lines() == ["root: long"]


def test_nothing_goes_on_after_the_end() -> None:
    step = Stepper(rounds, 1)
    step.signal("go")
    with pytest.raises(Exception, match="goes on after its end"):
        step.signal("go")


def test_continue_as_new_outside_says_where_it_works() -> None:
    with pytest.raises(UsageError, match="only inside a running workflow"):
        continue_as_new()
    with pytest.raises(UsageError, match="CancelScope works only inside"):
        CancelScope()
