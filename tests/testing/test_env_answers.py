"""`WorkflowEnv`: errors that are the test's own, what is stuck, what can be looked at, children."""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from typing import Any

import pytest
from kit_flows import charge, order, ship, waiting

from durable import (
    ActivityError,
    Handle,
    Workflow,
    activity,
    current_activity,
    gather,
    race,
    shield,
    side_effect,
    sleep,
    spawn,
    uuid4,
    wait_signal,
    wait_until,
    workflow,
)
from durable.errors import (
    KitError,
    MockError,
    StuckError,
)
from durable.testing import Call, WorkflowEnv

# -- what is the test's own ---------------------------------------------------------------


def test_assertions_of_workflows_surface() -> None:
    @workflow
    def wrong() -> Workflow[None]:
        yield sleep(1)
        raise AssertionError("of the workflow")

    with pytest.raises(AssertionError, match=r"^of the workflow$"):
        WorkflowEnv(wrong).run()


def test_assertions_of_activities_surface() -> None:
    @activity
    def plain() -> None:
        raise AssertionError("of the activity")

    @activity
    async def asynchronous() -> None:
        raise AssertionError("of the activity")

    @workflow
    def flow(which: str) -> Workflow[None]:
        try:
            yield (plain if which == "plain" else asynchronous).call()
        except ActivityError:
            return

    for which in ("plain", "asynchronous"):
        with pytest.raises(AssertionError, match=r"^of the activity$"):
            WorkflowEnv(flow, activities=[plain, asynchronous]).run(which)


def test_what_ends_a_test_is_not_swallowed() -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    def skipped(*args: object) -> None:
        pytest.skip("of the activity")

    for error, answer in ((KeyboardInterrupt, interrupted), (pytest.skip.Exception, skipped)):
        env = WorkflowEnv(order)
        env.mock(charge, side_effect=answer)
        with pytest.raises(error):
            env.run("o-1", 500)


def test_assertions_of_tasks_surface() -> None:
    """Though whoever joins them catches them, or nobody does."""

    def wrong() -> Workflow[None]:
        yield sleep(1)
        raise AssertionError("of the task")

    @workflow
    def joins() -> Workflow[str]:
        task = spawn(wrong())
        try:
            yield task
        except AssertionError:
            return "caught"
        return "nothing was raised"

    @workflow
    def forgets() -> Workflow[None]:
        spawn(wrong())
        yield sleep(60)

    @workflow
    def gathers() -> Workflow[Any]:
        task = spawn(wrong())
        return (yield gather(task, sleep(60), return_exceptions=True))

    for flow in (joins, forgets, gathers):
        with pytest.raises(AssertionError, match=r"^of the task$"):
            WorkflowEnv(flow).run()


def test_what_fails_the_test_in_a_task_surfaces() -> None:
    def wrong() -> Workflow[None]:
        yield sleep(1)
        pytest.fail("of the task")

    @workflow
    def joins() -> Workflow[str]:
        task = spawn(wrong())
        try:
            yield task
        except BaseException:
            return "caught"
        return "nothing was raised"

    with pytest.raises(pytest.fail.Exception, match=r"^of the task$"):
        WorkflowEnv(joins).run()


def test_assertions_of_side_effects_and_predicates_surface() -> None:
    def wrong() -> bool:
        raise AssertionError("of the function")

    def fails() -> bool:
        pytest.fail("of the function")

    @workflow
    def flow(which: str) -> Workflow[None]:
        function = wrong if which.startswith("asserts") else fails
        try:
            if which.endswith("aside"):
                yield side_effect(function)
            else:
                yield wait_until(function)
        except BaseException:
            return

    for which, error in (("asserts", AssertionError), ("fails", pytest.fail.Exception)):
        for where in ("aside", "in a predicate"):
            with pytest.raises(error, match=r"^of the function$"):
                WorkflowEnv(flow).run(f"{which} {where}")


# -- stuck ------------------------------------------------------------------------------


def test_a_stuck_workflow_says_what_it_awaits() -> None:
    env = WorkflowEnv(waiting)
    with pytest.raises(
        StuckError, match=r"(?s)root waits for signal go.*kit_flows\.py:\d+, in waiting"
    ):
        env.run()


def test_a_stuck_child_is_shown() -> None:
    @workflow
    def parent() -> Workflow[None]:
        yield waiting.call()

    with pytest.raises(StuckError, match=r"(?s)parent.*its child .*signal go"):
        WorkflowEnv(parent, workflows=[waiting]).run()


def test_a_stuck_workflow_says_which_commands_it_has_not_yielded() -> None:
    @workflow
    def forgetful() -> Workflow[Any]:
        ship.call("o-1")  # type: ignore[unused-awaitable]
        return (yield wait_signal("shipped"))

    line = forgetful.fn.__code__.co_firstlineno + 2
    with pytest.raises(StuckError) as caught:
        WorkflowEnv(forgetful, activities=[ship]).run()
    assert str(caught.value).endswith(
        f"\n\nnever yielded so far:\n  ship.call('o-1'), created at {__file__}:{line}"
    )


def test_an_activity_without_code_is_named() -> None:
    with pytest.raises(
        MockError, match="charge, which order-1 calls, has no code here, and no mock"
    ):
        WorkflowEnv(order).run("o-1", 500)


def test_what_has_no_code_is_not_merely_late() -> None:
    @workflow
    def racing() -> Workflow[str]:
        winner = yield race(done=ship.call("o-1"), late=sleep(60))
        return str(winner.name)

    with pytest.raises(MockError, match="ship, which racing-1 calls, has no code here"):
        WorkflowEnv(racing).run()


def test_a_mock_outlives_a_start_of_its_workflow() -> None:
    env = WorkflowEnv(order)
    env.mock(waiting, returns=7)
    handle = env.client.start(waiting)
    assert env.result(handle) == 7


def test_a_child_without_code_is_named() -> None:
    @workflow
    def parent() -> Workflow[None]:
        yield waiting.call()

    with pytest.raises(MockError, match="waiting, which parent-1 calls, has no code here"):
        WorkflowEnv(parent).run()


def test_a_deadlock() -> None:
    @workflow
    def dead() -> Workflow[None]:
        yield wait_until(lambda: False)

    text = r"dead-1 is blocked: deadlock: every coroutine waits .*test_env_answers\.py:\d+, in dead"
    with pytest.raises(KitError, match=text):
        WorkflowEnv(dead).run()


def test_a_workflow_that_never_ends() -> None:
    @workflow
    def endless() -> Workflow[None]:
        while True:
            yield ship.call("o-1")

    with pytest.raises(StuckError) as caught:
        WorkflowEnv(endless, activities=[ship], max_turns=100).run()
    first, *rest = str(caught.value).splitlines()
    assert first == (
        "after 100 turns (max_turns=) it still goes on: "
        "a step of endless-1 (51 times), the end of ship of endless-1 (50 times)"
    )
    assert any(line.startswith("  > ") and "yield ship.call" in line for line in rest)


def test_a_poll_that_never_ends_through_time() -> None:
    @workflow
    def polling() -> Workflow[None]:
        while True:
            yield sleep(60)

    with pytest.raises(StuckError, match=r"after 100 turns .* a step of polling-1 \(101 times"):
        WorkflowEnv(polling, max_turns=100).run()


def test_turns_are_of_one_call() -> None:
    @workflow
    def polling() -> Workflow[None]:
        while True:
            yield sleep(60)

    env = WorkflowEnv(polling, max_turns=100)
    env.start()
    for _ in range(3):
        env.advance(minutes=90)
    with pytest.raises(StuckError, match="after 100 turns"):
        env.advance(minutes=110)


@pytest.mark.parametrize("given", [0, -1, 1.5, True, None])
def test_what_is_no_number_of_turns(given: Any) -> None:
    with pytest.raises(KitError, match=f"max_turns={given!r} is no whole number"):
        WorkflowEnv(max_turns=given)


# -- looking ----------------------------------------------------------------------------


def test_calls() -> None:
    env = WorkflowEnv(order, activities=[charge, ship])
    assert env.calls(charge) == []
    env.run("o-1", 500)
    [call] = env.calls("charge")
    assert call == Call(("o-1", 500))
    assert (call.attempt, call.at, call.instance) == (
        1, datetime(2025, 1, 1, tzinfo=UTC), "order-1",
    )  # fmt: skip


def test_assert_called() -> None:
    env = WorkflowEnv(order, activities=[charge, ship])
    env.run("o-1", 500)
    env.assert_called(charge, "o-1", 500)
    env.assert_called("charge", "o-1", cents=500)
    with pytest.raises(AssertionError) as caught:
        env.assert_called(charge, "o-1", cents=501)
    assert str(caught.value) == (
        "no call charge('o-1', cents=501); it was called:\n  charge('o-1', 500)"
    )
    with pytest.raises(AssertionError, match=r"no call charge\('o-1'\)"):
        env.assert_called(charge, "o-1")
    with pytest.raises(AssertionError, match="not at all"):
        env.assert_called("nobody")


def test_assert_events() -> None:
    env = WorkflowEnv(waiting)
    env.start()
    env.signal("go")
    env.assert_events("WorkflowStarted", "SignalReceived", "WorkflowCompleted")
    with pytest.raises(
        AssertionError,
        match=r"(?s)another one \(- expected, \+ found\).*- TimerFired.*\+ SignalReceived",
    ):
        env.assert_events("WorkflowStarted", "TimerFired", "WorkflowCompleted")


def test_nothing_was_started() -> None:
    env = WorkflowEnv(waiting)
    with pytest.raises(KitError, match="nothing was started"):
        _ = env.history
    with pytest.raises(KitError, match="which workflow"):
        WorkflowEnv().run()


def test_wrong_arguments_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="cents"):
        WorkflowEnv(order, activities=[charge]).run("o-1")


# -- the same each time -----------------------------------------------------------------


def test_the_same_test_gives_the_same_run() -> None:
    @workflow
    def chance() -> Workflow[list[str]]:
        first = str(uuid4())
        yield sleep(1)
        return [first, str(uuid4())]

    first, second = (WorkflowEnv(chance).run() for _ in range(2))
    assert first == second
    env = WorkflowEnv(chance)
    assert env.run() != env.run()  # but not of the same env


def test_envs_do_not_see_each_other() -> None:
    one, other = WorkflowEnv(waiting), WorkflowEnv(waiting)
    one.start()
    other.start()
    one.signal("go", 1)
    assert one.result() == 1
    assert not other.status.finished
    other.signal("go", 2)
    assert other.result() == 2


def test_several_instances_in_one_env() -> None:
    env = WorkflowEnv(order, activities=[charge, ship])
    handles = [env.start(f"o-{number}", 500) for number in range(3)]
    assert [env.result(handle) for handle in handles] == [f"shipped o-{n}" for n in range(3)]


def test_a_mistake_in_one_run_is_not_told_in_the_next() -> None:
    env = WorkflowEnv(order, activities=[charge], strict=True)
    with pytest.raises(MockError):
        env.run("o-1", 500)
    env.mock(charge, returns="r")
    env.mock(ship, returns="s")
    assert env.run("o-2", 500) == "s"


def test_as_a_context_manager() -> None:
    with WorkflowEnv(waiting) as env:
        env.start()
    env = WorkflowEnv(waiting)
    env.mock(charge, returns="r")
    with pytest.raises(MockError, match="never called"), env:
        env.start()
    with pytest.raises(LookupError, match="of the test"), env:  # which is said rather
        raise LookupError("of the test")


def test_an_env_that_nobody_closes_runs_no_cleanup() -> None:
    @workflow
    def careful() -> Workflow[None]:
        try:
            yield sleep(3600)
        finally:
            with shield():
                yield ship.call("back")

    env = WorkflowEnv(careful, activities=[ship])
    env.start()
    del env
    gc.collect()  # what a generator raises here would be a warning, and so an error


# -- children ---------------------------------------------------------------------------


def test_children_are_listened_to_and_signalled() -> None:
    @workflow
    def parent() -> Workflow[list[Any]]:
        return list((yield gather(waiting.call(), waiting.call())))

    heard: list[str] = []

    def answer(child: Handle[Any]) -> None:
        heard.append(child.id)
        child.signal("go", len(heard))

    env = WorkflowEnv(parent.options(id="p"), workflows=[waiting])
    env.on_child(waiting, answer)
    assert env.run() == [1, 2]
    assert heard == ["p/1.1", "p/1.2"]
    assert [call.instance for call in env.calls(waiting)] == heard


def test_tokens_are_the_same_in_each_run() -> None:
    @activity
    def ask() -> str:
        return current_activity().token

    @workflow
    def flow() -> Workflow[str]:
        return (yield from ask.call())

    assert WorkflowEnv(flow, activities=[ask]).run() == WorkflowEnv(flow, activities=[ask]).run()
