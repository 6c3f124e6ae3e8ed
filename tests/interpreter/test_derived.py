"""Values that a workflow derives: the same in each replay, and apart in each task."""

from __future__ import annotations

from stepper import Stepper

from durable import (
    Workflow,
    gather,
    side_effect,
    spawn,
    uuid4,
    workflow,
)
from durable import random as derived_random


def test_tasks_of_one_name_derive_different_values() -> None:
    def task() -> Workflow[str]:
        yield side_effect(int)
        return f"{uuid4()} {derived_random().random()}"

    @workflow
    def flow() -> Workflow[list[str]]:
        names = ["w", "w", "w", None, "3", "0", "w"]
        return (yield from gather(*(spawn(task(), name) for name in names)))

    results = Stepper(flow).result()
    assert len(set(results)) == len(results)


def test_values_of_a_named_task_stay_when_other_tasks_are_added() -> None:
    def task() -> Workflow[str]:
        yield side_effect(int)
        return str(uuid4())

    @workflow
    def flow(more: int) -> Workflow[str]:
        for _ in range(more):
            _ = spawn(task())
        return (yield from spawn(task(), "mine"))

    assert Stepper(flow, 0).result() == Stepper(flow, 3).result()


def test_values_after_the_next_yield_do_not_shift_when_a_call_is_added() -> None:
    @workflow
    def flow(calls: int) -> Workflow[list[str]]:
        first = [str(uuid4()) for _ in range(calls)]
        yield side_effect(int)
        return [*first[:1], str(uuid4())]

    one, three = Stepper(flow, 1).result(), Stepper(flow, 3).result()
    assert one == three
    assert one[0] != one[1]
