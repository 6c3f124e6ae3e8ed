"""`explore` finds planted bugs, and nothing in workflows that are sound."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from planted import ACTIVITIES, PLANTED, WORLD, Planted, charge, charges_once, charges_twice

from durable import Workflow, sleep, wait_signal, workflow
from durable.errors import ExploreError, KitError
from durable.testing import Explored, WorkflowEnv, crash_everywhere, explore

EACH = pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)


def run(planted: Planted, flow: Any, **options: Any) -> Explored:
    return explore(
        flow, activities=ACTIVITIES, setup=planted.begin, invariants=[planted.kept],
        **planted.options, **options,
    )  # fmt: skip


def schedule_of(error: ExploreError) -> str:
    found = re.search(r"schedule='([^']*)'", str(error))
    assert found
    return found[1]


@EACH
def test_the_bug_is_found(planted: Planted) -> None:
    with pytest.raises(ExploreError) as caught:
        run(planted, planted.wrong)
    assert planted.says in str(caught.value)
    schedule = schedule_of(caught.value)
    assert len(schedule.split(",")) <= 3  # the smallest: of up to dozens
    with pytest.raises(ExploreError) as again:
        run(planted, planted.wrong, schedule=schedule)
    assert str(again.value).splitlines()[1:] == str(caught.value).splitlines()[1:]


@EACH
def test_nothing_is_found_in_the_sound_version(planted: Planted) -> None:
    found = run(planted, planted.right)
    assert found.runs == 200
    assert found.statuses.total() == 200
    assert found.faults


# -- what it says -----------------------------------------------------------------------


def begin(env: WorkflowEnv) -> None:
    PLANTED["a double charge"].begin(env)


def charged_at_most_once(env: WorkflowEnv) -> None:
    if WORLD["charged"] > 1:
        raise LookupError(f"charged {WORLD['charged']} times")


def test_the_report() -> None:
    with pytest.raises(ExploreError) as caught:
        explore(
            charges_twice, activities=ACTIVITIES, setup=begin, invariants=[charged_at_most_once],
        )  # fmt: skip
    assert re.fullmatch(
        r"charges_twice breaks, with seed \d+:\n"
        r"  1\. .+\n"
        r"  then LookupError: charged 2 times\n"
        r"again: explore\(charges_twice, …, schedule='\d+=\d'\)",
        str(caught.value),
    )
    assert isinstance(caught.value.__cause__, LookupError)


def test_arguments_are_in_the_report() -> None:
    @workflow
    def flow(order_id: str, cents: int) -> Workflow[None]:
        yield sleep(cents)

    with pytest.raises(ExploreError) as caught:
        explore(flow.options(id="f"), "o-1", kwargs={"cents": 5}, invariants=[lambda env: False])
    text = str(caught.value)
    assert text.startswith("flow breaks, with seed 0:\n  nothing unusual happens\n")
    assert "the invariant <lambda> is not kept" in text
    assert "explore(flow, 'o-1', kwargs={'cents': 5}, …, schedule='')" in text


def test_the_same_seeds_give_the_same_runs() -> None:
    first, second = (
        explore(charges_once, activities=ACTIVITIES, setup=begin, seeds=range(50)) for _ in range(2)
    )
    assert first == second
    assert first.runs == 50


def test_seeds_are_found_one_by_one() -> None:
    with pytest.raises(ExploreError) as caught:
        explore(
            charges_twice, activities=ACTIVITIES, setup=begin, invariants=[charged_at_most_once]
        )
    found = re.search(r"with seed (\d+)", str(caught.value))
    assert found
    with pytest.raises(ExploreError) as again:
        explore(
            charges_twice, activities=ACTIVITIES, setup=begin, seeds=[int(found[1])],
            invariants=[charged_at_most_once],
        )  # fmt: skip
    assert str(again.value) == str(caught.value)


def test_without_faults_nothing_goes_wrong() -> None:
    found = explore(charges_twice, activities=ACTIVITIES, setup=begin, faults=0,
                    invariants=[charged_at_most_once])  # fmt: skip
    assert found.statuses == {"completed": 200}
    assert not found.faults


def test_mocks_are_part_of_the_setup() -> None:
    def mocked(env: WorkflowEnv) -> None:
        env.mock(charge, returns="r-1", takes=5)

    assert explore(charges_once, setup=mocked, seeds=50).runs == 50


def test_the_chance_of_the_test_is_left_alone() -> None:
    random.seed(1)
    expected = random.random()
    random.seed(1)
    explore(charges_once, activities=ACTIVITIES, setup=begin, seeds=5)
    assert random.random() == expected


def test_a_failed_assertion_of_the_workflow_breaks_it() -> None:
    @workflow
    def flow() -> Workflow[None]:
        receipt = yield charge.call()
        raise AssertionError(receipt)

    with pytest.raises(ExploreError, match="then AssertionError: receipt"):
        explore(flow, activities=ACTIVITIES, setup=begin)


@pytest.mark.parametrize("schedule", ["x", "1", "1=x", "1=2=3"])
def test_what_is_no_schedule(schedule: str) -> None:
    with pytest.raises(KitError, match=f"'{schedule}' is not a schedule"):
        explore(charges_once, activities=ACTIVITIES, schedule=schedule)


def test_a_mistake_of_the_setup_is_the_test_s_own() -> None:
    def wrong(env: WorkflowEnv) -> None:
        raise LookupError("of the test")

    with pytest.raises(LookupError, match="of the test"):
        explore(charges_once, activities=ACTIVITIES, setup=wrong)


# -- one crash at a time ----------------------------------------------------------------


def test_crash_everywhere() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield charge.call()
        yield sleep(1)

    found = crash_everywhere(flow, activities=ACTIVITIES, setup=begin)
    assert found.runs == 7  # as it is, and before and after each of three commits
    assert found.statuses == {"completed": 7}
    assert found.faults == {
        "the worker dies before a commit": 3,
        "the worker dies after a commit": 3,
    }


def test_crash_everywhere_finds_what_is_done_twice() -> None:
    with pytest.raises(ExploreError) as caught:
        crash_everywhere(
            charges_twice, activities=ACTIVITIES, setup=begin, invariants=[charged_at_most_once]
        )
    assert "charges_twice breaks, with one crash:\n  1. the worker dies before a commit" in str(
        caught.value
    )


# -- a worker that dies after a commit ----------------------------------------------------


@workflow
def listens() -> Workflow[Any]:
    return (yield wait_signal("go"))


@workflow
def starts_one() -> Workflow[Any]:
    return (yield listens.call())


def test_children_are_heard_of_though_the_worker_dies_at_once() -> None:
    def tell(env: WorkflowEnv) -> None:
        env.on_child(listens, lambda child: child.signal("go"))

    found = crash_everywhere(starts_one, workflows=[listens], setup=tell)
    assert found.statuses == {"completed": found.runs}


def test_an_assertion_fails_though_the_worker_dies_at_once() -> None:
    @workflow
    def wrong() -> Workflow[None]:
        yield sleep(1)
        raise AssertionError("never so")

    for schedule in ("", "1=2"):
        with pytest.raises(ExploreError, match="never so"):
            explore(wrong, schedule=schedule)
