"""Tasks: which scope they belong to, how they end, and what becomes of their failures."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flows import charge, ship, wait_for
from stepper import Stepper

from durable import (
    Cancelled,
    CancelScope,
    TaskCancelled,
    TimeoutExpired,
    Workflow,
    gather,
    race,
    shield,
    side_effect,
    sleep,
    spawn,
    timeout,
    wait_signal,
    workflow,
)
from durable.errors import UsageError


def noted(name: str, seen: list[str]) -> Workflow[str]:
    """Waits for the signal of its name, and notes how it ended."""
    try:
        yield wait_signal(name)
    except Cancelled:
        seen.append(f"{name} cancelled")
        raise
    seen.append(f"{name} done")
    return name


def test_a_task_starts_at_the_next_yield_in_order_of_spawning() -> None:
    def task(name: str, seen: list[str]) -> Workflow[None]:
        seen.append(name)
        yield sleep(0)

    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        _ = spawn(task("a", seen)), spawn(task("b", seen))
        seen.append("root goes on")
        yield side_effect(int)
        return seen

    step = Stepper(flow)
    assert step.result() == ["root goes on", "a", "b"]


def test_a_block_does_not_wait_for_its_tasks_and_can_still_cancel_them() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        with CancelScope() as scope:
            _ = spawn(noted("a", seen))
        seen.append("after the block")
        yield wait_signal("stop")
        scope.cancel()
        yield sleep(0)
        return seen

    step = Stepper(flow)
    step.signal("stop")
    step.fire(0)
    assert step.result() == ["after the block", "a cancelled"]
    assert step.interpreter.root is not None
    assert not step.interpreter.root.own.children


def test_a_shield_around_spawn_detaches_the_task() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        with CancelScope() as scope:
            with shield():
                task = spawn(noted("a", seen))
            _ = spawn(noted("b", seen))
            scope.cancel()
        yield task
        return seen

    step = Stepper(flow)
    step.signal("a")
    assert step.result() == ["b cancelled", "a done"]


def test_a_task_spawned_in_a_cancelled_scope_runs_to_its_first_yield() -> None:
    def task(seen: list[str]) -> Workflow[None]:
        seen.append("began")
        yield charge.call("never")
        seen.append("never")

    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        with CancelScope() as scope:
            scope.cancel()
            _ = spawn(task(seen))
        yield sleep(0)
        return seen

    step = Stepper(flow)
    step.fire(0)
    assert step.result() == ["began"]
    assert "ActivityScheduled" not in step.kinds()


def test_tasks_in_a_timeout_end_with_it_or_outlive_it() -> None:
    @workflow
    def flow(wait: bool) -> Workflow[list[str]]:
        seen: list[str] = []
        try:
            with timeout(5):
                task = spawn(noted("a", seen))
                if wait:
                    yield wait_signal("never")
        except TimeoutExpired:
            seen.append("expired")
            return seen
        yield task
        return seen

    step = Stepper(flow, True)
    step.fire(0)
    assert step.result() == ["expired", "a cancelled"]
    step = Stepper(flow, False)
    step.signal("a")
    assert step.result() == ["a done"]


def test_a_cancelled_task_raises_task_cancelled_where_it_is_joined() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        task = spawn(wait_for("a"), "waiter")
        yield side_effect(int)
        task.cancel()
        task.cancel()
        try:
            yield task
        except TaskCancelled as error:
            seen.append(str(error))
        with pytest.raises(TaskCancelled):
            task.result()
        results = yield gather(task, side_effect(int), return_exceptions=True)
        seen.append(type(results[0]).__name__)
        task.cancel()  # it has ended: nothing happens
        return [*seen, f"done {task.done}"]

    assert Stepper(flow).result() == ["task waiter was cancelled", "TaskCancelled", "done True"]


def test_joining_a_task_in_a_cancelled_scope_raises_at_once() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        with shield():
            task = spawn(noted("a", seen))
        with CancelScope() as scope:
            scope.cancel()
            yield task
        seen.append("left")
        yield task
        return seen

    step = Stepper(flow)
    step.signal("a")
    assert step.result() == ["left", "a done"]


def test_a_task_that_cancels_itself_ends_at_its_next_yield() -> None:
    def suicide(holder: list[Any]) -> Workflow[None]:
        yield sleep(0)
        holder[0].cancel()
        yield sleep(0)

    @workflow
    def flow() -> Workflow[str]:
        holder: list[Any] = []
        holder.append(spawn(suicide(holder)))
        try:
            yield holder[0]
        except TaskCancelled:
            return "cancelled"
        return "never"

    step = Stepper(flow)
    step.fire(0)
    assert step.result() == "cancelled"


def test_a_failed_task_can_be_joined_later_and_raises_a_copy_each_time() -> None:
    def broken() -> Workflow[None]:
        yield sleep(0)
        raise ValueError("broken")

    @workflow
    def flow() -> Workflow[list[Any]]:
        task = spawn(broken())
        yield wait_signal("go")
        errors: list[Any] = []
        for _ in range(3):
            try:
                yield task
            except ValueError as error:
                errors.append(error)
        frames = []
        for raised in errors:
            count, tb = 0, raised.__traceback__
            while tb is not None:
                count, tb = count + 1, tb.tb_next
            frames.append(count)
        return [str(errors[0]), len({id(e) for e in errors}), len(set(frames))]

    step = Stepper(flow)
    step.fire(0)
    step.signal("go")
    assert step.result() == ["broken", 3, 1]


def test_a_failure_that_somebody_waits_for_is_no_failure_of_the_workflow(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> Workflow[None]:
        yield wait_signal("go")
        raise ValueError("broken")

    @workflow
    def flow() -> Workflow[str]:
        try:
            yield spawn(broken())
        except ValueError:
            yield sleep(0)
        return "handled"

    step = Stepper(flow)
    step.signal("go")
    step.fire(0)
    assert step.result() == "handled"
    assert "failed" not in caplog.text


def test_a_failure_of_clean_up_after_the_root_has_returned_fails_the_workflow() -> None:
    def task() -> Workflow[None]:
        try:
            yield wait_signal("never")
        finally:
            with shield():
                yield charge.call("clean-up")
            raise ValueError("clean-up failed")

    @workflow
    def flow() -> Workflow[str]:
        _ = spawn(task())
        yield wait_signal("go")
        return "done"

    step = Stepper(flow)
    step.signal("go")
    assert not step.ended
    step.complete(0)
    assert step.failure().message == "clean-up failed"


def test_a_root_that_returns_waits_for_the_clean_up_of_its_tasks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def task(name: str) -> Workflow[None]:
        try:
            yield wait_signal("never")
        finally:
            with shield():
                yield charge.call(name)

    @workflow
    def flow(fails: bool) -> Workflow[str]:
        with shield():
            _ = spawn(task("one"), "first"), spawn(ship.call("x"), "second")
        yield wait_signal("go")
        if fails:
            raise ValueError("no")
        return "done"

    for fails in (False, True):
        caplog.clear()
        step = Stepper(flow, fails)
        with caplog.at_level(logging.INFO, "durable.workflow"):
            step.signal("go")
        assert "tasks that still run are cancelled: first, second" in caplog.text
        assert caplog.text.count("cancelled") == 1, "silent in replay"
        assert step.decision_cancels == [0]
        step.complete(0)  # a cancelled activity is awaited, here too
        assert not step.ended
        step.complete(1)
        assert step.ended
        assert (step.failure().message == "no") if fails else (step.result() == "done")


def test_a_cancelled_root_takes_its_tasks_along() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        task = spawn(noted("a", seen))
        try:
            yield task
        except Cancelled:
            seen.append("root cancelled")
        return seen

    step = Stepper(flow)
    step.cancel()
    # The root first, as it is the oldest; who catches `Cancelled` and returns has completed.
    assert step.result() == ["root cancelled", "a cancelled"]


def test_a_task_given_to_a_race_or_gather_is_never_cancelled_by_it() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        tasks = [spawn(wait_for(name)) for name in "abc"]
        order = []
        while tasks:
            winner = yield race(*tasks)
            order.append(winner.value)
            del tasks[winner.index]
        return order

    step = Stepper(flow)
    for name in "cab":
        step.signal(name, name)
    assert step.result() == ["c", "a", "b"]


def test_a_task_twice_in_a_race_settles_once() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        task = spawn(wait_for("a"))
        winner = yield race(task, task)
        both = yield gather(task, task)
        return [winner.index, winner.value, both]

    step = Stepper(flow)
    step.signal("a", 1)
    assert step.result() == [0, 1, [1, 1]]


def test_a_scope_that_another_coroutine_leaves_is_refused() -> None:
    def helper() -> Workflow[None]:
        with CancelScope():
            yield sleep(1)

    def rest(half: Workflow[None]) -> Workflow[None]:
        yield from half

    @workflow
    def flow() -> Workflow[list[str]]:
        half = helper()
        command = next(half)
        task = spawn(rest(half))
        yield command
        try:
            yield task
        except UsageError as error:
            return [str(error)[:44]]
        return []

    step = Stepper(flow)
    step.fire(0)
    assert step.result() == ["a scope must be left where it was entered, b"]
    assert step.interpreter.root is not None
    assert not step.interpreter.root.own.children


def test_spawn_says_what_it_takes() -> None:
    @workflow
    def flow() -> Workflow[str]:
        task = spawn(wait_for("a"))
        wrongs: list[tuple[Any, str]] = [
            (task, "runs already"),
            (wait_for, "a generator or a command, not the function wait_for"),
            ([], "not a list"),
        ]
        for wrong, message in wrongs:
            with pytest.raises(TypeError, match=message):
                spawn(wrong)
        with pytest.raises(TypeError, match="spawn takes a name"):
            spawn(wait_for("a"), 5)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="`yield` it to wait"):
            task.result()
        with pytest.raises(TypeError, match="was not yielded"):
            _ = task == 3
        yield side_effect(int)
        return f"{task == task} {task.name}"

    assert Stepper(flow).result() == "True 0"


def test_a_task_or_scope_of_another_instance_is_refused() -> None:
    kept: list[Any] = []

    @workflow
    def keeper() -> Workflow[None]:
        with CancelScope() as scope:
            kept.extend([spawn(wait_for("a")), scope])
            yield wait_signal("never")

    @workflow
    def flow() -> Workflow[str]:
        with pytest.raises(UsageError, match="belongs to another instance"):
            yield kept[0]
        with pytest.raises(UsageError, match="belongs to another instance"):
            kept[0].cancel()
        with pytest.raises(UsageError, match="belongs to another instance"):
            kept[1].cancel()
        yield side_effect(int)
        return "ok"

    other = Stepper(keeper, replays=False)
    assert Stepper(flow).result() == "ok"
    with pytest.raises(UsageError, match=r"Task.cancel works only inside"):
        kept[0].cancel()
    assert other.interpreter.take().events == []


def test_the_inner_commands_of_a_spawned_gather_are_not_forgotten(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @workflow
    def flow() -> Workflow[str]:
        yield side_effect(int)
        _ = spawn(gather(charge.call("a"), ship.call("b")))
        return "done"

    assert Stepper(flow).result() == "done"
    assert "never yielded" not in caplog.text  # where a warning goes that is an error


def test_a_failure_that_was_handled_stays_handled() -> None:
    def fails() -> Workflow[None]:
        yield side_effect(int)
        raise ValueError("boom")

    @workflow
    def flow() -> Workflow[str]:
        task = spawn(fails())
        with pytest.raises(ValueError, match="boom"):
            yield task
        lost = gather(task, wait_signal("never"), return_exceptions=True)
        yield race(lost, sleep(1))
        return "ok"

    step = Stepper(flow)
    step.fire(1)
    assert step.result() == "ok"
