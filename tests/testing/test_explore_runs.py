"""What happens in the runs of `explore`, and what breaks one."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit_flows import waiting
from planted import ACTIVITIES, KEYS, STATE, WORLD, charge, charges_once, charges_twice

from durable import (
    ActivityError,
    Retry,
    Workflow,
    activity,
    gather,
    on_signal,
    sleep,
    wait_signal,
    workflow,
)
from durable.errors import ExploreError, InstanceFinished, KitError
from durable.events import ActivityFailed
from durable.testing import Explored, WorkflowEnv, crash_everywhere, explore


def begin(env: WorkflowEnv) -> None:
    WORLD.clear()
    KEYS.clear()
    STATE.clear()


# -- what depends on the seed, and what does not ------------------------------------------


def found() -> Explored:
    return explore(charges_once, activities=ACTIVITIES, setup=begin, seeds=range(50))


def test_the_same_seeds_give_the_same_runs() -> None:
    first = found()
    assert found() == first
    assert first.runs == 50


def test_the_garbage_collector_has_no_say() -> None:
    def timed(phase: str, info: dict[str, int]) -> None:
        time.perf_counter()

    first, often = found(), gc.get_threshold()
    gc.callbacks.insert(0, timed)
    gc.set_threshold(1)
    try:
        assert found() == first
    finally:
        gc.set_threshold(*often)
        gc.callbacks.remove(timed)


def test_the_order_of_sets_has_no_say() -> None:
    """In processes in which it is another one."""
    program = "from test_explore_runs import found; print(sorted(found().faults.items()))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parent,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert texts == {f"{sorted(found().faults.items())}\n"}


def test_the_chance_of_the_test_is_left_alone() -> None:
    random.seed(1)
    expected = random.random()
    random.seed(1)
    explore(charges_once, activities=ACTIVITIES, setup=begin, seeds=5)
    assert random.random() == expected


@pytest.mark.parametrize("seeds", [0, -1, True, [-1], ["1"], [None], [1.5], [True]])
def test_what_are_no_seeds(seeds: Any) -> None:
    with pytest.raises(KitError, match=r"seeds=.*: how many, at least 1, or which|is no seed"):
        explore(charges_once, activities=ACTIVITIES, seeds=seeds)


@pytest.mark.parametrize("seeds", [[], range(0), iter(())])
def test_no_seeds_at_all(seeds: Any) -> None:
    with pytest.raises(KitError, match="seeds= is empty: nothing was run"):
        explore(charges_once, activities=ACTIVITIES, seeds=seeds)


@pytest.mark.parametrize("faults", [-1, True, 1.5, None])
def test_what_is_no_number_of_faults(faults: Any) -> None:
    with pytest.raises(KitError, match=r"faults=.* is no whole number of at least 0"):
        explore(charges_once, activities=ACTIVITIES, faults=faults)


def test_generators_are_read_once() -> None:
    seen: list[int] = []
    found = explore(
        charges_once, activities=(one for one in ACTIVITIES), setup=begin, seeds=5,
        workflows=iter([waiting]), invariants=(look for look in [lambda env: seen.append(1)]),
    )  # fmt: skip
    assert found.statuses == {"completed": 5}
    assert len(seen) == 5


# -- what happens -------------------------------------------------------------------------


@activity(timeout=30)
def book(what: str) -> str:
    WORLD[f"booked {what}"] += 1
    return what


@activity(retry=Retry(max_attempts=None, first_delay=1))
def unbook(what: str) -> None:
    WORLD[f"unbooked {what}"] += 1


@workflow
def trip() -> Workflow[str]:
    """As sagas are: each step has its compensation."""
    done: list[str] = []
    try:
        yield book.call("flight")
        done.append("flight")
        yield gather(book.call("hotel"), book.options(retry=None).call("car"))
        yield wait_signal("confirm")
    except ActivityError:
        for what in reversed(done):
            yield unbook.call(what)
        return "given up"
    return "booked"


def confirmed(env: WorkflowEnv) -> None:
    begin(env)
    env.at(hours=1, do=lambda: env.signal("confirm"))


def test_each_kind_of_fault_occurs() -> None:
    found = explore(trip, activities=[book, unbook], setup=confirmed)
    assert found.statuses == {"completed": 200}
    assert {what.replace("unbook", "book") for what in found.faults} == {
        "the worker dies before a commit",
        "the worker dies after a commit",
        "book of trip-1 takes a second",
        "book of trip-1 takes a minute",
        "book of trip-1 takes an hour",
        "book of trip-1 takes a day",
        "book of trip-1 fails",
        "book of trip-1 fails for good",
        "book of trip-1 is done, and its answer is lost",
        "book of trip-1 is done, and its answer is lost for good",
        "book of trip-1 is done, and the worker dies",
        "book of trip-1 is done by the worker that has died",
    }


def test_activities_are_executed_twice_and_time_out() -> None:
    seen: set[str] = set()

    def look(env: WorkflowEnv) -> None:
        seen.update(f"{what} {times} times" for what, times in WORLD.items() if times > 1)
        events = (event for event in env.history if isinstance(event, ActivityFailed))
        seen.update(event.error.message for event in events)

    explore(trip, activities=[book, unbook], setup=confirmed, invariants=[look])
    assert {"booked flight 2 times", "booked hotel 2 times", "booked car 2 times"} <= seen
    assert {"not done", "the answer is lost", "book took longer than 30 s"} <= seen


def test_what_is_tried_for_ever_does_not_fail_for_good() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield unbook.call("car")

    found = explore(flow, activities=[unbook], setup=begin)
    assert found.statuses == {"completed": 200}
    assert found.faults["unbook of flow-1 fails"]
    assert not any("for good" in what for what in found.faults)


@pytest.mark.parametrize("limit", [{"retry": Retry(max_attempts=None, total_timeout=60)}, {}])
def test_what_is_tried_for_some_time_does(limit: dict[str, Any]) -> None:
    @activity(**limit)
    def act() -> None: ...

    @workflow
    def flow() -> Workflow[None]:
        yield act.call()

    found = explore(flow, activities=[act])
    assert found.faults["act of flow-1 fails for good"]
    assert found.faults["act of flow-1 is done, and its answer is lost for good"]
    assert found.statuses["failed"]


def test_faults_are_what_went_wrong() -> None:
    """And not which came first of what happened at the same moment."""

    def twice(env: WorkflowEnv) -> None:
        env.at(seconds=1, do=lambda: env.signal("go"))
        env.at(seconds=1, do=lambda: None)

    found = explore(waiting, setup=twice, faults=0)
    assert found.statuses == {"completed": 200}
    assert not found.faults


def test_without_faults_nothing_goes_wrong() -> None:
    found = explore(charges_twice, activities=ACTIVITIES, setup=begin, faults=0)
    assert found.statuses == {"completed": 200}
    assert not found.faults


def test_the_worker_goes_on_between_calls_from_outside() -> None:
    """Of one moment: what they bring may come in one step, or in several."""
    seen: set[tuple[int, ...]] = set()

    @workflow
    def counts() -> Workflow[list[int]]:
        news: list[Any] = []
        steps: list[int] = []

        def more(value: Any) -> None:
            news.append(value)
            steps.append(len(news))

        on_signal("more", more)
        yield charge.call()
        steps.append(10 + len(news))
        yield sleep(1)
        return steps

    def two(env: WorkflowEnv) -> None:
        begin(env)
        env.at(do=lambda: env.signal("more"))
        env.at(do=lambda: env.signal("more"))

    explore(counts, activities=[charge], setup=two, faults=0,
            invariants=[lambda env: seen.add(tuple(env.result()))])  # fmt: skip
    assert seen == {(10, 1, 2), (1, 11, 2), (1, 2, 12)}


def test_signals_are_sent_again_if_senders_do() -> None:
    @workflow
    def counts() -> Workflow[int]:
        news: list[Any] = []
        on_signal("more", news.append)
        yield sleep(3600)
        return len(news)

    def one(env: WorkflowEnv) -> None:
        env.at(minutes=1, do=lambda: env.signal("more", "tea"))

    def counted(env: WorkflowEnv) -> None:
        assert env.result() == 1, env.result()

    assert explore(counts, setup=one, invariants=[counted]).runs == 200
    with pytest.raises(ExploreError) as caught:
        explore(counts, setup=one, invariants=[counted], signals_twice=True)
    assert "  1. signal more to counts-1 is sent twice\n  then AssertionError: 2" in str(
        caught.value
    )
    found = explore(counts, setup=one, signals_twice=True)
    assert found.faults["signal more to counts-1 is sent twice"]
    assert found.faults["signal more to counts-1 is sent again a minute later"]


def test_mocks_are_part_of_the_setup() -> None:
    def mocked(env: WorkflowEnv) -> None:
        env.mock(charge, returns="r-1", takes=5)

    assert explore(charges_once, setup=mocked, seeds=50).runs == 50


# -- what breaks a run ------------------------------------------------------------------


def test_a_failed_assertion_of_the_workflow_breaks_it() -> None:
    @workflow
    def flow() -> Workflow[None]:
        receipt = yield charge.call()
        raise AssertionError(receipt)

    with pytest.raises(ExploreError, match="then AssertionError: receipt"):
        explore(flow, activities=ACTIVITIES, setup=begin)


def test_an_error_of_a_call_from_outside_breaks_it() -> None:
    def setup(env: WorkflowEnv) -> None:
        begin(env)

        def refunds() -> None:
            if WORLD["charged"] > 1:
                raise LookupError("charged twice")

        env.at(hours=1, do=refunds)
        env.at(hours=2, do=lambda: env.signal("go"))

    @workflow
    def flow() -> Workflow[None]:
        yield from charges_twice.fn()
        yield wait_signal("go")

    with pytest.raises(ExploreError) as caught:
        explore(flow, activities=ACTIVITIES, setup=setup)
    assert "\n  then LookupError: charged twice\nagain: " in str(caught.value)
    assert "\n  2. " not in str(caught.value)


def test_a_failure_of_pytest_breaks_it() -> None:
    def setup(env: WorkflowEnv) -> None:
        env.at(seconds=1, do=lambda: pytest.fail("never so"))

    def kept(env: WorkflowEnv) -> None:
        pytest.fail("nor so")

    with pytest.raises(ExploreError, match="  then Failed: never so"):
        explore(waiting, setup=setup)
    with pytest.raises(ExploreError, match="  then Failed: nor so"):
        explore(charges_once, activities=ACTIVITIES, invariants=[kept])


def test_a_mistake_in_the_arguments_is_told() -> None:
    @workflow
    def naps(seconds: int) -> Workflow[None]:
        yield sleep(seconds)

    with pytest.raises(ExploreError, match=r"then TypeError: .*missing a required argument"):
        explore(naps)


def skips(env: WorkflowEnv) -> None:
    pytest.skip("not here")


def expects_it(env: WorkflowEnv) -> None:
    pytest.xfail("not yet")


def leaves(env: WorkflowEnv) -> None:
    pytest.exit("enough")


def skips_as_unittest(env: WorkflowEnv) -> None:
    raise unittest.SkipTest("not here")


def interrupts(env: WorkflowEnv) -> None:
    raise KeyboardInterrupt


def ends(env: WorkflowEnv) -> None:
    sys.exit(3)


@pytest.mark.parametrize(
    ("do", "kind"),
    [
        (skips, pytest.skip.Exception),
        (expects_it, pytest.xfail.Exception),
        (leaves, pytest.exit.Exception),
        (skips_as_unittest, unittest.SkipTest),
        (interrupts, KeyboardInterrupt),
        (ends, SystemExit),
    ],
)
def test_what_ends_the_test_does(
    do: Callable[[WorkflowEnv], None], kind: type[BaseException]
) -> None:
    def setup(env: WorkflowEnv) -> None:
        env.at(seconds=1, do=lambda: do(env))

    with pytest.raises(kind):
        explore(charges_once, activities=ACTIVITIES, invariants=[do])
    with pytest.raises(kind):
        explore(waiting, setup=setup)


@pytest.mark.parametrize("error", [LookupError("of the test"), AssertionError("of the test")])
def test_a_mistake_of_the_setup_is_the_test_s_own(error: Exception) -> None:
    def wrong(env: WorkflowEnv) -> None:
        raise error

    with pytest.raises(type(error), match="of the test") as caught:
        explore(charges_once, activities=ACTIVITIES, setup=wrong)
    assert caught.value is error


# -- calls from outside that come too late ------------------------------------------------


def both_end_it(env: WorkflowEnv) -> None:
    env.at(seconds=10, do=lambda: env.signal("go"))
    env.at(seconds=10, do=lambda: env.cancel())


def test_a_call_that_comes_too_late_breaks_nothing() -> None:
    found = explore(waiting, setup=both_end_it)
    assert found.statuses.keys() == {"completed", "cancelled"}
    assert found.statuses.total() == 200
    assert 0 < found.late < 200


def test_outside_of_explore_it_is_an_error() -> None:
    env = WorkflowEnv(waiting)
    env.at(seconds=10, do=env.terminate)
    env.at(seconds=10, do=lambda: env.signal("go"))
    env.start()
    with pytest.raises(InstanceFinished):
        env.advance(seconds=10)


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
    def charged_at_most_once(env: WorkflowEnv) -> bool:
        return WORLD["charged"] <= 1

    with pytest.raises(ExploreError) as caught:
        crash_everywhere(
            charges_twice, activities=ACTIVITIES, setup=begin, invariants=[charged_at_most_once]
        )
    assert "charges_twice breaks, with one crash:\n  1. the worker dies before a commit" in str(
        caught.value
    )
