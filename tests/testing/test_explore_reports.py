"""What `explore` says of a workflow that breaks, and that it can be run again."""

from __future__ import annotations

import re
from typing import Any

import planted
import pytest
from planted import ACTIVITIES, PLANTED, WORLD, charge, charges_once, charges_twice

from durable import Workflow, sleep, wait_signal, workflow
from durable.errors import ExploreError, KitError, StuckError
from durable.testing import WorkflowEnv, crash_everywhere, explore


def begin(env: WorkflowEnv) -> None:
    PLANTED["a double charge"].begin(env)


def charged_at_most_once(env: WorkflowEnv) -> None:
    if WORLD["charged"] > 1:
        raise LookupError(f"charged {WORLD['charged']} times")


def broken(**options: Any) -> str:
    """What is said of a workflow that charges twice."""
    with pytest.raises(ExploreError) as caught:
        explore(
            charges_twice, activities=ACTIVITIES, setup=begin, invariants=[charged_at_most_once],
            **options,
        )  # fmt: skip
    assert isinstance(caught.value.__cause__, LookupError)
    return str(caught.value)


@workflow
def naps(order_id: str, seconds: int) -> Workflow[None]:
    yield sleep(seconds)


def never(env: WorkflowEnv) -> bool:
    return False


# -- in words ---------------------------------------------------------------------------


def test_the_report() -> None:
    assert re.fullmatch(
        r"charges_twice breaks, with seed \d+:\n"
        r"  1\. .+\n"
        r"  then LookupError: charged 2 times\n"
        r"again: explore\(charges_twice, setup=begin, invariants=\[charged_at_most_once\], "
        r"activities=\[charge, .*, note\], schedule='\d+=\d@[0-9a-f]{4}'\)",
        broken(),
    )


def test_what_comes_first_is_named() -> None:
    @workflow
    def flow() -> Workflow[str]:
        yield wait_signal("one")
        return "one"

    def setup(env: WorkflowEnv) -> None:
        def late() -> None:
            env.signal("one", 1)

        env.at(seconds=1, do=env.cancel)
        env.at(seconds=1, do=late)

    def is_cancelled(env: WorkflowEnv) -> None:
        assert env.status == "cancelled"

    with pytest.raises(ExploreError) as caught:
        explore(flow, setup=setup, invariants=[is_cancelled])
    assert "  1. a call of late comes first\n" in str(caught.value)


@pytest.mark.parametrize("seeds", [range(50), (seed for seed in range(50))])
def test_seeds_are_found_one_by_one(seeds: Any) -> None:
    text = broken(seeds=seeds)
    found = re.search(r"with seed (\d+)", text)
    assert found
    assert broken(seeds=[int(found[1])]) == text


# -- again ------------------------------------------------------------------------------


def again(text: str) -> str:
    found = re.search(r"^again: (explore\(.*\))$", text, re.MULTILINE)
    assert found
    return found[1]


def test_the_last_line_is_python() -> None:
    text = broken()
    with pytest.raises(ExploreError) as caught:
        eval(again(text), {**vars(planted), **globals()})
    assert str(caught.value).splitlines()[1:] == text.splitlines()[1:]


def test_all_that_was_given_is_in_it() -> None:
    with pytest.raises(ExploreError) as caught:
        explore(
            naps.options(id="n", tags=("a",)), "o-1", kwargs={"seconds": 5}, invariants=[never],
            modules=[planted], guards=False, max_turns=50, signals_twice=True, seeds=3, faults=2,
        )  # fmt: skip
    text = str(caught.value)
    assert text.startswith("naps breaks, with seed 0:\n  nothing unusual happens\n")
    assert "  then KitError: the invariant never is not kept\n" in text
    assert again(text) == (
        "explore(naps.options(id='n', tags=('a',)), 'o-1', kwargs={'seconds': 5}, "
        "invariants=[never], modules=[planted], guards=False, max_turns=50, signals_twice=True, "
        "schedule='')"
    )
    with pytest.raises(ExploreError, match="the invariant never is not kept"):
        eval(again(text))


def test_what_has_no_name_is_left_out() -> None:
    with pytest.raises(ExploreError) as caught:
        explore(naps, "o-1", 5, setup=object().__eq__, invariants=[lambda env: False])
    call = "explore(naps, 'o-1', 5, setup=….__eq__, invariants=[…], schedule='')"
    assert again(str(caught.value)) == call
    with pytest.raises(ExploreError) as caught:
        explore(naps, "o-1", 5, setup=PLANTED["a late child"].begin, invariants=[never])
    assert "setup=….begin, " in again(str(caught.value))


def test_a_crash_is_run_again() -> None:
    with pytest.raises(ExploreError) as caught:
        crash_everywhere(
            charges_twice, activities=ACTIVITIES, setup=begin, invariants=[charged_at_most_once]
        )
    with pytest.raises(ExploreError, match="the worker dies before a commit"):
        eval(again(str(caught.value)), {**vars(planted), **globals()})


def test_what_does_not_break_again_is_told() -> None:
    runs: list[int] = []

    def third_time(env: WorkflowEnv) -> bool:
        runs.append(1)
        return len(runs) != 3

    with pytest.raises(ExploreError) as caught:
        explore(naps, "o-1", 5, invariants=[third_time], seeds=10)
    text = str(caught.value)
    assert text.startswith("naps breaks, with seed 2:\n")
    assert text.endswith(
        "but not each time: the same schedule does not break it again, so that something "
        "outlives a run, which setup= must bring back to its beginning"
    )


# -- schedules ----------------------------------------------------------------------------


BAD = ["x", "1", "1=x", "1=2=3", "-1=2", "1=-2", "1=0", "1 =2", "1=2,", "٣=1", "1=2@", "1=2@xyzw"]


@pytest.mark.parametrize("schedule", [*BAD, "9" * 5000 + "=1", 12, {1: 2}, b"1=2"])
def test_what_is_no_schedule(schedule: Any) -> None:
    with pytest.raises(KitError, match=f"{re.escape(repr(schedule))} is not a schedule"):
        explore(charges_once, activities=ACTIVITIES, schedule=schedule)


def test_a_question_that_is_decided_twice() -> None:
    with pytest.raises(KitError, match="'1=1,1=2' is not a schedule: it decides a question twice"):
        explore(charges_once, activities=ACTIVITIES, schedule="1=1,1=2")


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("99=1", "it decides question 99, and only 5 were asked"),
        ("0=9", r"question 0 \(whether the worker dies before a commit\) has no answer 9"),
        ("0=1@0000", "its questions were other ones; now they are about: whether the worker dies"),
    ],
)
def test_a_schedule_that_does_not_fit(schedule: str, why: str) -> None:
    with pytest.raises(KitError, match=f"schedule '{schedule}' does not fit: {why}") as caught:
        explore(charges_once, activities=ACTIVITIES, setup=begin, schedule=schedule)
    assert not isinstance(caught.value, ExploreError)


def test_a_schedule_of_the_workflow_as_it_was_before() -> None:
    """The question with this number is another one now."""
    found = re.search(r"schedule='(.*)'", broken())
    assert found

    @workflow
    def charges_later() -> Workflow[None]:
        yield sleep(1)
        yield sleep(1)
        yield sleep(1)
        yield charge.call()

    with pytest.raises(KitError, match="does not fit: its questions were other ones"):
        explore(charges_later, activities=ACTIVITIES, setup=begin, schedule=found[1])


def test_one_that_fits_and_holds() -> None:
    found = explore(charges_once, activities=ACTIVITIES, setup=begin, schedule="0=1")
    assert found.runs == 1
    assert found.faults == {"the worker dies before a commit": 1}


def test_one_that_breaks_although_it_does_not_fit() -> None:
    with pytest.raises(ExploreError, match="the invariant never is not kept"):
        explore(naps, "o-1", 5, invariants=[never], schedule="99=1")


# -- what never ends ----------------------------------------------------------------------


def test_what_goes_on_for_ever() -> None:
    @workflow
    def polls() -> Workflow[None]:
        try:
            yield charge.call()
        except Exception:
            while True:
                yield sleep(1)

    with pytest.raises(ExploreError) as caught:
        explore(polls, activities=ACTIVITIES, setup=begin, max_turns=50)
    assert isinstance(caught.value.__cause__, StuckError)
    text = r"fails for good\n  then StuckError: after 50 turns .* a step of polls-1 \(\d+ times"
    assert re.search(text, str(caught.value))


def test_a_failure_without_words_has_a_line() -> None:
    def charged_once(env: WorkflowEnv) -> None:
        if len(env.calls(charge)) >= 0:
            raise AssertionError

    with pytest.raises(
        ExploreError, match=r"then AssertionError at .*\.py:\d+, in charged_once: raise"
    ):
        explore(naps, "o-1", 1, invariants=[charged_once], seeds=1)


def test_a_single_invariant_is_no_list() -> None:
    with pytest.raises(TypeError, match="a list of functions"):
        explore(naps, "o-1", 1, invariants=never)  # type: ignore[arg-type]
