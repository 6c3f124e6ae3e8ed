"""The interpreter, event by event: commands, mistakes, non-determinism, eviction."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stepper import Stepper

from durable import (
    ActivityError,
    Cancelled,
    ForgottenYield,
    Retry,
    Workflow,
    activity,
    commands,
    gather,
    info,
    now,
    race,
    random,
    set_var,
    shield,
    side_effect,
    sleep,
    sleep_until,
    spawn,
    uuid4,
    wait_signal,
    workflow,
)
from durable.errors import NonDeterminismError, UsageError
from durable.interpreter import WAITS, StepAborted


@activity
def charge(order: str, cents: int = 0) -> str:
    return f"receipt-{order}"


@activity
def ship(order: str) -> str:
    return order


def subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    sub: type[Any]
    for sub in cls.__subclasses__():
        yield sub
        yield from subclasses(sub)


def test_the_table_has_every_command() -> None:
    known = {cls.__name__ for cls in subclasses(commands.Command)}
    assert {cls.__name__ for cls in WAITS} == known


def test_commands_compare_by_value() -> None:
    assert charge.call("o-1", 500) == charge.call("o-1", 500)
    assert charge.call("o-1", 500) != charge.call("o-1", 501)
    assert charge.options(queue="slow").call("o-1") != charge.call("o-1")
    assert sleep(60) == sleep(timedelta(minutes=1)) != sleep(61)
    assert race(charge.call("a"), sleep(1)) == race(charge.call("a"), sleep(1))
    assert (sleep(1) == 1) is False


def test_a_workflow_can_be_driven_by_hand() -> None:
    @workflow
    def flow(order: str) -> Workflow[str]:
        receipt = yield charge.call(order)
        yield from sleep(5)
        return f"{receipt}!"

    gen = flow("o-1")
    assert next(gen) == charge.call("o-1")
    assert gen.send("r") == sleep(5)
    with pytest.raises(StopIteration) as end:
        _ = next(gen)
    assert end.value.value == "r!"


def test_both_ways_to_yield_give_the_same() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        first = yield charge.call("a")
        second = yield from charge.call("b")
        return [first, second]

    step = Stepper(flow)
    step.complete(0, "x")
    step.complete(1, None)
    assert step.result() == ["x", None]


MISTAKES: list[tuple[Any, str]] = [
    (None, "a bare `yield`"),
    ([1], r"write `yield gather\(\*commands\)`"),
    ({"a": 1}, r"write `yield gather\(\*\*commands\)`"),
    (5, "which is no command"),
    (charge, r"write `yield charge\.call\(…\)`"),
    ((i for i in "ab"), "write `yield from"),
    (charge.call, r"the definition charge itself: write `yield charge\.call\(…\)`"),
    (charge.options(queue="q"), r"write `yield charge\.options\(…\)\.call\(…\)`"),
    (charge.options(queue="q").call, r"write `yield charge\.options\(…\)\.call\(…\)`"),
    (len, r"decorate it with @activity"),
    (sleep, r"the function sleep itself: write `yield sleep\(…\)`"),
]


@pytest.mark.parametrize(("value", "message"), MISTAKES)
def test_yielding_anything_else_says_what_was_meant(value: Any, message: str) -> None:
    @workflow
    def flow() -> Workflow[str]:
        with pytest.raises(TypeError, match=message):
            yield value
        yield sleep(1)
        with pytest.raises(TypeError, match=message):
            yield value
        return "ok"

    step = Stepper(flow)
    step.fire(0)
    assert step.result() == "ok"


def test_a_coroutine_is_not_asyncio() -> None:
    async def fetch() -> None: ...

    @workflow
    def flow() -> Workflow[str]:
        with pytest.raises(TypeError, match="asyncio"):
            yield fetch()  # type: ignore[misc]
        return "ok"

    assert Stepper(flow).result() == "ok"


def test_other_uses_of_a_command_say_what_was_forgotten() -> None:
    @workflow
    def flow() -> Workflow[str]:
        cmd = charge.call("a")
        with pytest.raises(TypeError, match="was not yielded"):
            bool(cmd)
        with pytest.raises(TypeError, match="cannot be iterated"):
            list(cmd)
        with pytest.raises(TypeError, match="was not yielded"):
            cmd == 3  # noqa: B015 — the comparison itself must raise
        with pytest.raises(Exception, match=r"args\[0\].*not yielded"):
            yield charge.call(cmd)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=r"write `yield charge.call\(…\)`"):
            charge("a")
        yield cmd
        return "ok"

    step = Stepper(flow)
    step.complete(0, "x")
    assert step.result() == "ok"


def test_a_returned_command_fails_the_workflow() -> None:
    @workflow
    def flow() -> Workflow[Any]:
        yield sleep(0)
        return charge.call("a")

    step = Stepper(flow)
    step.fire(0)
    assert "write `return (yield …)`" in step.failure().message


def test_a_forgotten_yield_is_reported_with_its_line() -> None:
    @workflow
    def flow() -> Workflow[str]:
        _ = charge.call("a")
        yield sleep(0)
        return "done"

    step = Stepper(flow)
    with pytest.warns(ForgottenYield, match=r"charge.call\('a'\) was created") as caught:
        step.fire(0)
    assert caught[0].filename == __file__
    assert step.result() == "done"


def test_wrong_arguments_raise_at_the_call() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'order'"):
        _ = charge.call()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="did you mean 'timeout'"):
        charge.options(timeot=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="gather takes commands, not a list"):
        gather([sleep(1)])  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="race"):
        _ = race()
    with pytest.raises(UsageError, match="could never be ready"):
        _ = race(sleep(1), default=None)
    for wrong in (-1, float("nan"), timedelta(days=-1)):
        with pytest.raises(ValueError, match="sleep cannot be"):
            _ = sleep(wrong)
    with pytest.raises(ValueError, match="aware"):
        _ = sleep_until(datetime(2030, 1, 1))
    for verb in (now, uuid4, random, info):
        with pytest.raises(UsageError, match="only inside a running workflow"):
            verb()


def test_definitions_refuse_what_cannot_work() -> None:
    async def later() -> None: ...

    with pytest.raises(TypeError, match="async def"):
        workflow(later)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="lambda"):
        workflow(lambda: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(UsageError, match="max_attempts"):
        Retry(max_attempts=0)


# -- non-determinism --------------------------------------------------------------------


def replay_as(recorded: Any, changed: Any) -> str:
    """Record one workflow, replay another; gives the message."""
    step = Stepper(recorded)
    if 0 in step.interpreter.pending and 0 not in step.interpreter.timers:
        step.complete(0, "x")
    elif 0 in step.interpreter.timers:
        step.fire(0)
    with pytest.raises(NonDeterminismError) as error:
        step.replay(changed)
    return str(error.value)


@workflow
def original() -> Workflow[str]:
    yield charge.call("a", 1)
    yield ship.call("a")
    return "done"


def test_replay_finds_other_code() -> None:
    @workflow(name="original")
    def other_arguments() -> Workflow[str]:
        yield charge.call("a", 2)
        return "done"

    @workflow(name="original")
    def other_name() -> Workflow[str]:
        yield ship.call("a")
        return "done"

    @workflow(name="original")
    def other_kind() -> Workflow[str]:
        yield sleep(1)
        return "done"

    @workflow(name="original")
    def early_return() -> Workflow[str]:
        yield charge.call("a", 1)
        return "done"

    @workflow(name="original")
    def waits_for_a_signal() -> Workflow[str]:
        yield wait_signal("go")
        return "done"

    message = replay_as(original, other_arguments)
    assert "ActivityScheduled(command=0, name='charge', args=('a', 1)" in message
    assert "issued charge.call('a', 2)" in message
    assert f"{__file__}:" in message
    assert "in other_arguments" in message
    assert "name='charge'" in replay_as(original, other_name)
    assert "issued sleep(1)" in replay_as(original, other_kind)
    assert "the code returned 'done', at" in replay_as(original, early_return)
    assert "issued nothing more and waits" in replay_as(original, waits_for_a_signal)


def test_replay_finds_an_extra_command() -> None:
    @workflow(name="original")
    def short() -> Workflow[str]:
        yield charge.call("a", 1)
        return "done"

    @workflow(name="original")
    def longer() -> Workflow[str]:
        yield charge.call("a", 1)
        yield ship.call("a")
        return "done"

    assert "issued ship.call('a')" in replay_as(short, longer)


def test_durations_are_not_compared() -> None:
    @workflow(name="flow")
    def one() -> Workflow[None]:
        yield sleep(1)
        yield sleep(1)

    @workflow(name="flow")
    def two() -> Workflow[None]:
        yield sleep(1)
        yield sleep(500)

    step = Stepper(one)
    step.fire(0)
    assert step.replay(two).next_due() == step.interpreter.next_due()


def test_a_loop_without_waiting_is_stopped() -> None:
    @workflow
    def flow() -> Workflow[None]:
        while True:
            yield side_effect(int)

    with pytest.raises(StepAborted, match=r"100,000 resumptions in one step.*in flow"):
        Stepper(flow)


# -- derived values, cancel, tasks ------------------------------------------------------


def test_derived_values_are_the_same_in_replay() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        values = [uuid4(), uuid4(), random().random(), now()]
        yield sleep(1)
        values += [uuid4(), random().random(), now(), info().history_length]
        set_var("values", values)
        yield wait_signal("never")
        return values

    step = Stepper(flow)
    step.fire(0)
    assert step.replay(flow).variables == step.interpreter.variables
    first = step.codec.decode(step.interpreter.variables["values"])
    assert len({str(v) for v in first}) == len(first)
    assert first[3].tzinfo is UTC


def test_cancel_raises_at_each_yield_but_in_a_shield() -> None:
    @workflow
    def flow() -> Workflow[str]:
        try:
            yield charge.call("a")
        except Cancelled:
            with pytest.raises(Cancelled):
                yield ship.call("forgotten shield")
            with shield():
                yield ship.call("undo")
            raise
        return "never"

    step = Stepper(flow)
    step.cancel("enough")
    step.cancel("again")
    step.stopped(0)
    assert [event.args for event in step.events() if hasattr(event, "args")][2:] == [
        step.codec.encode(["undo"])
    ]
    step.complete(1, "undone")
    assert step.kinds()[-1] == "WorkflowCancelled"
    assert step.events()[-1].reason == "enough"
    assert step.kinds().count("ActivityCancelRequested") == 1


def test_a_failed_task_that_nobody_joined_fails_the_workflow() -> None:
    def broken() -> Workflow[None]:
        yield sleep(0)
        raise ValueError("broken")

    @workflow
    def flow() -> Workflow[str]:
        _ = spawn(broken())
        yield wait_signal("go")
        return "done"

    step = Stepper(flow)
    step.fire(0)
    step.signal("go")
    assert step.failure().is_a(ValueError)


def test_a_root_that_returns_cancels_its_tasks(caplog: pytest.LogCaptureFixture) -> None:
    def patient() -> Workflow[None]:
        yield wait_signal("never")

    @workflow
    def flow() -> Workflow[str]:
        _ = spawn(patient(), name="patient")
        yield sleep(0)
        return "done"

    step = Stepper(flow)
    with caplog.at_level(logging.INFO, "durable.workflow"):
        step.fire(0)
    assert step.result() == "done"
    assert "patient" in caplog.text


def test_an_activity_lost_in_the_step_that_issued_it_is_never_scheduled() -> None:
    @workflow
    def flow() -> Workflow[Any]:
        task = spawn(charge.call("a"))
        yield side_effect(int)
        task.cancel()
        yield wait_signal("go")

    step = Stepper(flow)
    assert step.decision.tasks == {}
    assert step.kinds().count("ActivityScheduled") == 1


def test_gather_waits_for_what_it_started_before_it_fails() -> None:
    @workflow
    def flow() -> Workflow[str]:
        try:
            yield gather(charge.call("a"), charge.call("b"), wait_signal("x"))
        except ActivityError as error:
            return f"{error.error.message} at {now().timestamp():g}"
        return "never"

    step = Stepper(flow)
    step.fail(0, ValueError("no"))
    assert not step.ended
    assert step.decision_cancels == [1]
    step.complete(1, "late")
    assert step.result().startswith("no at")


def test_dropping_a_generator_has_no_effect() -> None:
    effects: list[str] = []

    @workflow
    def flow() -> Workflow[None]:
        try:
            yield wait_signal("never")
        finally:
            _ = sleep(1)
            effects.append("reached")

    step = Stepper(flow)
    step.interpreter.close()
    assert effects == []
    assert step.interpreter.take().events == []
