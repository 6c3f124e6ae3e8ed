"""patched(): which runs take the new code of a change."""

from __future__ import annotations

from typing import Any

import pytest
from flows import charge, ship
from stepper import Stepper

from durable import Workflow, info, patched, race, sleep, spawn, wait_signal, workflow
from durable.errors import NonDeterminismError


@workflow(name="order")
def before() -> Workflow[list[Any]]:
    first = yield charge.call("a")
    second = yield charge.call("b")
    return [first, second]


@workflow(name="order")
def after() -> Workflow[list[Any]]:
    new = []
    if patched("check"):
        new.append((yield ship.call("check")))
    first = yield charge.call("a")
    if patched("check"):
        new.append((yield ship.call("check again")))
    second = yield charge.call("b")
    return [*new, first, second]


@workflow(name="order")
def without() -> Workflow[list[Any]]:
    """The call has been deleted, and the new code stays."""
    checked = yield ship.call("check")
    first = yield charge.call("a")
    again = yield ship.call("check again")
    second = yield charge.call("b")
    return [checked, again, first, second]


def finished_by(step: Stepper, flow: Any) -> Any:
    """Go on with other code, to the end."""
    step.interpreter = step.replay(flow)
    step.flow = flow
    while not step.ended:
        step.complete(max(step.interpreter.pending), f"r{step.interpreter.numbers - 1}")
    return step.result()


def test_a_new_run_takes_the_new_code_and_marks_it_once() -> None:
    step = Stepper(after)
    assert finished_by(step, after) == ["r0", "r2", "r1", "r3"]
    assert step.kinds()[1:3] == ["PatchMarked", "ActivityScheduled"]
    assert step.kinds().count("PatchMarked") == 1


def test_a_run_that_had_passed_the_place_keeps_the_old_code_everywhere() -> None:
    step = Stepper(before)
    step.complete(0, "x")
    assert finished_by(step, after) == ["x", "r1"]
    assert "PatchMarked" not in step.kinds()
    step = Stepper(before)  # the first call decides: the second is not asked any more
    assert finished_by(step, after) == ["r0", "r1"]


def test_the_call_can_be_deleted_when_no_old_run_is_left() -> None:
    step = Stepper(after)
    step.complete(0, "x")
    assert finished_by(step, without) == ["x", "r2", "r1", "r3"]
    # A run that had not taken the new code is found out.
    step = Stepper(before)
    with pytest.raises(NonDeterminismError):
        step.replay(without)


def test_a_marker_of_a_later_step_does_not_change_what_came_before() -> None:
    @workflow(name="loop")
    def old() -> Workflow[None]:
        for _ in range(3):
            yield sleep(1)

    @workflow(name="loop")
    def new() -> Workflow[list[bool]]:
        seen = []
        for turn in range(3):
            yield sleep(1)
            seen.append(patched(f"turn {turn}"))
        return seen

    step = Stepper(old)
    step.fire(0)
    step.interpreter = step.replay(new)
    step.flow = new
    step.fire(1)
    step.fire(2)
    # The first turn was over; what is asked now for the first time is new.
    assert step.result() == [False, True, True]
    assert step.replay(new).patches == {"turn 0": False, "turn 1": True, "turn 2": True}


def test_a_call_that_is_added_earlier_does_not_find_the_marker_of_a_later_step() -> None:
    @workflow(name="places")
    def one_place() -> Workflow[bool]:
        yield sleep(1)
        return patched("x")

    @workflow(name="places")
    def two_places() -> Workflow[bool]:
        if patched("x"):
            yield charge.call("new")
        yield sleep(1)
        return patched("x")

    step = Stepper(one_place)
    step.fire(0)
    assert step.result() is True
    assert step.replay(two_places).patches == {"x": False}


def test_the_first_call_decides_for_the_whole_loop() -> None:
    @workflow(name="loop")
    def old() -> Workflow[None]:
        for _ in range(3):
            yield sleep(1)

    @workflow(name="loop")
    def new() -> Workflow[list[bool]]:
        seen = []
        for _ in range(3):
            yield sleep(1)
            seen.append(patched("loop"))
        return seen

    step = Stepper(old)
    step.fire(0)
    step.interpreter, step.flow = step.replay(new), new
    step.fire(1)
    step.fire(2)
    assert step.result() == [False, False, False]
    step = Stepper(old)
    step.interpreter, step.flow = step.replay(new), new
    for timer in range(3):
        step.fire(timer)
    assert step.result() == [True, True, True]


def test_several_markers_in_one_step_are_found_in_any_order_and_passed_over() -> None:
    @workflow(name="many")
    def recorded() -> Workflow[list[Any]]:
        seen: list[Any] = [patched("a"), patched("b"), info().history_length]
        yield sleep(1)
        seen += [patched("c"), info().history_length]
        yield sleep(1)
        return seen

    @workflow(name="many")
    def other_order() -> Workflow[list[Any]]:
        seen = [patched("b"), patched("a")]
        yield sleep(1)
        yield sleep(1)
        _ = patched("not there")
        return seen

    step = Stepper(recorded)
    step.fire(0)
    step.fire(1)
    assert step.result() == [True, True, 3, True, 6]
    replayed = step.replay(other_order)
    assert replayed.patches == {"b": True, "a": True, "not there": False}


def test_history_length_counts_the_marker_in_the_replay_too() -> None:
    @workflow
    def flow() -> Workflow[str]:
        yield sleep(1)
        _ = patched("x")
        if info().history_length > 3:
            yield charge.call("the marker counts")
        else:
            yield ship.call("never")
        return "done"

    step = Stepper(flow)  # it replays after each event
    step.fire(0)
    step.complete(1)
    assert step.result() == "done"


def test_a_deleted_call_does_not_change_who_wins_a_race() -> None:
    """The marker lies between the ends of two tasks; it is no event that makes one earlier."""

    def task(after: Any, mark: bool) -> Workflow[None]:
        yield after
        if mark:
            _ = patched("x")

    def made(mark: bool) -> Any:
        @workflow(name="flow")
        def flow() -> Workflow[None]:
            go = spawn(wait_signal("go"))
            tasks = [spawn(task(go, False)), spawn(task(go, mark))]
            yield sleep(1)
            winner = yield race(tasks[1], tasks[0])
            yield charge.call(f"{winner.index}")

        return flow

    step = Stepper(made(True))
    step.signal("go")
    step.fire(0)
    step.replay(made(False)).close()


def test_patched_takes_a_name() -> None:
    @workflow
    def flow() -> Workflow[str]:
        with pytest.raises(TypeError, match="patched takes a name"):
            patched(5)  # type: ignore[arg-type]
        yield sleep(0)
        return "ok"

    step = Stepper(flow)
    step.fire(0)
    assert step.result() == "ok"
