"""Waiting in a test: handles let virtual time pass, and what never comes is an error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest import SkipTest

import pytest
from kit_flows import charge, order, waiting

from durable import Channel, Workflow, activity, current_activity, race, sleep, workflow
from durable.errors import KitError, MockError, ResultTimeout, StuckError, UsageError, WorkflowError
from durable.testing import StoreContract, WorkflowEnv
from durable.testing.mocks import Call

START = datetime(2025, 1, 1, tzinfo=UTC)


@workflow
def naps(hours: int) -> Workflow[str]:
    yield sleep(timedelta(hours=hours))
    return "rested"


@workflow
def parent() -> Workflow[str]:
    return (yield from naps.options(id="child").call(2))


@workflow
def charges() -> Workflow[str]:
    return (yield from charge.call("o-1", 500))


# -- handles ----------------------------------------------------------------------------


def test_a_handle_waits_by_letting_time_pass() -> None:
    env = WorkflowEnv(naps)
    assert env.start(24).result() == "rested"
    assert env.now == START + timedelta(hours=24)


def test_so_do_the_handles_of_its_children() -> None:
    env = WorkflowEnv(parent, workflows=[naps])
    env.start()
    [child] = env.handle.children()
    assert child.result() == "rested"
    assert env.client.get("child").result() == "rested"


def test_a_handle_waits_no_longer_than_it_says() -> None:
    env = WorkflowEnv(naps)
    handle = env.start(24)
    with pytest.raises(ResultTimeout, match="has not ended"):
        handle.result(timeout=3600)
    assert env.now == START + timedelta(hours=1)


def test_a_handle_of_what_is_stuck_says_so() -> None:
    with pytest.raises(StuckError, match="signal go"):
        WorkflowEnv(waiting).start().result()


def test_a_callback_looks_and_does_not_wait() -> None:
    env, seen = WorkflowEnv(naps), list[str]()

    def look() -> None:
        with pytest.raises(ResultTimeout):
            env.handle.result(timeout=0)
        with pytest.raises(KitError, match="to wait for a result in a callback"):
            env.handle.result()
        seen.append("looked")

    env.at(hours=1, do=look)
    assert env.run(2) == "rested"
    assert seen == ["looked"]


def test_a_failure_shows_the_test_and_not_the_client() -> None:
    @activity
    def broken() -> None:
        raise LookupError("no card")

    @workflow
    def flow() -> Workflow[None]:
        yield broken.options(retry=None).call()

    with pytest.raises(WorkflowError, match="no card") as caught:
        WorkflowEnv(flow, activities=[broken]).run()
    assert "handle.py" not in str(caught.getrepr())


# -- what never comes -------------------------------------------------------------------


def test_a_result_from_outside_that_never_comes() -> None:
    @activity
    def later() -> str:
        raise current_activity().complete_later()

    @workflow
    def flow() -> Workflow[str]:
        return (yield from later.call())

    env = WorkflowEnv(flow, activities=[later])
    with pytest.raises(StuckError, match=r"activity later\(\)"):
        env.run()
    assert env.now == START


def test_a_deadlock_is_shown_with_its_line() -> None:
    @workflow
    def flow() -> Workflow[int]:
        nobody = Channel[int]()
        return (yield from nobody.receive())

    with pytest.raises(StuckError, match=r"is blocked: deadlock(.|\n)*> .*nobody\.receive"):
        WorkflowEnv(flow).run()


# -- calls ------------------------------------------------------------------------------


def test_a_call_under_way_is_a_call() -> None:
    @workflow
    def flow() -> Workflow[str]:
        first = yield from race(charged=charge.call("o-1", 500), late=sleep(5))
        return str(first.name)

    env = WorkflowEnv(flow)
    env.mock(charge, returns="r-1", takes=60)
    assert env.run() == "late"
    [call] = env.calls(charge)
    assert (call, call.at) == (Call(("o-1", 500)), START)
    env.assert_called(charge, "o-1", cents=500)


def test_a_call_is_of_the_moment_at_which_it_began() -> None:
    env = WorkflowEnv(charges)
    env.mock(charge, returns="r-1", takes=60)
    env.start()
    [before] = env.calls(charge)
    env.result()
    [after] = env.calls(charge)
    assert (before.at, after.at, env.now) == (START, START, START + timedelta(minutes=1))


# -- mistakes ---------------------------------------------------------------------------


def test_mocks_that_have_no_answer_left() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield charge.call("o-1", 1)
        yield charge.call("o-2", 2)
        yield charge.call("o-3", 3)

    env = WorkflowEnv(flow)
    env.mock(charge, side_effect=["r-1", "r-2"])
    with pytest.raises(MockError, match="its mocks have answered 2 times before"):
        env.run()


def test_a_call_of_a_workflow_is_no_workflow() -> None:
    with pytest.raises(TypeError, match=r"takes the workflow order itself: WorkflowEnv\(order\)"):
        WorkflowEnv(order("o-1", 500))


def test_a_version_that_would_not_be_run_is_refused() -> None:
    @workflow(name="versioned")
    def old() -> Workflow[str]:
        yield sleep(1)
        return "old"

    @workflow(name="versioned", version=2)
    def new() -> Workflow[str]:
        yield sleep(1)
        return "new"

    assert WorkflowEnv(new, workflows=[old]).run() == "new"
    assert WorkflowEnv(old).run() == "old"
    with pytest.raises(KitError, match="begins with the newest version that is known here, 2"):
        WorkflowEnv(old, workflows=[new]).run()


def test_a_suite_that_lacks_a_hook_is_refused() -> None:
    with pytest.raises(TypeError, match="TestMine lacks make_store, another, make_small_store"):
        type("TestMine", (StoreContract,), {})
    type("Mine", (StoreContract,), {})  # to be finished by a subclass


def test_a_mocked_child_that_gives_what_cannot_be_stored() -> None:
    env = WorkflowEnv(parent)
    env.mock(naps, returns=object())
    with pytest.raises(MockError, match="what the mock of naps gives"):
        env.run()


def test_a_command_for_later_is_a_function() -> None:
    @workflow
    def flow() -> Workflow[None]:
        undo = [charge.call("o-1", 500)]
        yield sleep(1)
        undo.clear()

    with pytest.raises(KitError, match=r"kept as a function: `undo\.append\(lambda: "):
        WorkflowEnv(flow, activities=[charge]).run()


def test_the_workflow_of_the_test_is_no_child() -> None:
    @workflow(name="tree")
    def tree(depth: int) -> Workflow[list[object]]:
        return [depth, (yield from tree.call(depth - 1))]

    env = WorkflowEnv(tree)
    env.mock(tree, returns="child")
    assert env.run(3) == [3, "child"]
    assert env.calls(tree) == [Call((2,))]


def test_replays_can_be_left_out() -> None:
    ran = list[int]()

    @workflow
    def flow() -> Workflow[None]:
        for step in range(3):
            ran.append(step)
            yield sleep(1)

    WorkflowEnv(flow, replays=False).run()
    assert ran == [0, 1, 2]


def test_workflow_code_has_no_client() -> None:
    env = WorkflowEnv(naps)

    @workflow
    def flow() -> Workflow[None]:
        yield sleep(1)
        env.client.start(naps, 1)

    with pytest.raises(WorkflowError, match="workflow code must not use a client"):
        WorkflowEnv(flow).run()
    assert env.client.count() == 0


def test_a_skip_is_the_tests_own() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield sleep(1)
        raise SkipTest("not today")

    with pytest.raises(SkipTest, match="not today"):
        WorkflowEnv(flow).run()


def test_what_is_no_list_is_named() -> None:
    with pytest.raises(UsageError, match="activities= takes a list"):
        WorkflowEnv(charges, activities=charge)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="modules= takes modules, and 'orders' is none"):
        WorkflowEnv(charges, modules=["orders"])  # type: ignore[list-item]
