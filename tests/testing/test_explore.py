"""`explore` finds planted bugs, and nothing in workflows that are sound."""

from __future__ import annotations

import re
from typing import Any

import pytest
from planted import ACTIVITIES, PLANTED, Planted

from durable import Workflow, sleep, wait_signal, workflow
from durable.errors import ExploreError
from durable.testing import Explored, WorkflowEnv, crash_everywhere, explore

EACH = pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)


def run(planted: Planted, flow: Any, **options: Any) -> Explored:
    return explore(
        flow, activities=ACTIVITIES, setup=planted.begin, invariants=[planted.kept],
        **planted.options, **options,
    )  # fmt: skip


def schedule_of(error: ExploreError) -> str:
    found = re.search(r"^again: .*schedule='([^']*)'\)$", str(error), re.MULTILINE)
    assert found
    return found[1]


@EACH
def test_the_bug_is_found(planted: Planted) -> None:
    with pytest.raises(ExploreError) as caught:
        run(planted, planted.wrong)
    assert planted.says in str(caught.value)
    schedule = schedule_of(caught.value)
    assert len(schedule.split(",")) <= 3, caught.value  # the smallest: of up to dozens
    with pytest.raises(ExploreError) as again:
        run(planted, planted.wrong, schedule=schedule)
    assert str(again.value).splitlines()[1:] == str(caught.value).splitlines()[1:]


@EACH
@pytest.mark.parametrize("first", [1000, 50_000, 1_000_000, 123_456_789])
def test_the_bug_is_found_by_other_seeds(planted: Planted, first: int) -> None:
    with pytest.raises(ExploreError):
        run(planted, planted.wrong, seeds=range(first, first + 200))


@EACH
def test_nothing_is_found_in_the_sound_version(planted: Planted) -> None:
    found = run(planted, planted.right)
    assert found.runs == 200
    assert found.statuses.total() == 200
    assert found.faults


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
