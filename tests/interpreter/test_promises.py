"""Promises: completed from outside, at any time, once."""

from __future__ import annotations

from typing import Any

import pytest
from flows import Vote, charge
from stepper import Stepper

from durable import (
    CancelScope,
    PromiseError,
    Workflow,
    external,
    gather,
    race,
    sleep,
    spawn,
    wait_signal,
    with_timeout,
    workflow,
)
from durable.errors import PayloadError, UsageError


@workflow
def waits() -> Workflow[list[Any]]:
    promise: Any = external("approval")
    seen: list[Any] = [promise.token, promise.done]
    yield wait_signal("go")
    try:
        seen.append((yield promise))
    except PromiseError as error:
        seen.append(f"{error}")
    return [*seen, promise.done]


def test_a_promise_gives_its_value_whenever_it_is_kept() -> None:
    step = Stepper(waits)
    step.signal("go")
    assert step.keep(0, "yes")
    assert step.result() == ["0", False, "yes", True]
    step = Stepper(waits)
    assert step.keep(0, "early")
    step.signal("go")
    assert step.result() == ["0", False, "early", True]


def test_a_broken_promise_raises_with_the_failure_as_its_cause() -> None:
    step = Stepper(waits)
    step.signal("go")
    assert step.break_promise(0, ValueError("rejected"))
    assert step.result()[2] == "promise approval failed: ValueError: rejected"


def test_the_first_completion_counts() -> None:
    step = Stepper(waits)
    assert step.keep(0, "first")
    assert not step.keep(0, "second")
    assert not step.break_promise(0, ValueError("third"))
    step.signal("go")
    assert step.result()[2] == "first"
    assert not step.keep(0, "after the end")


def test_a_completion_is_expected_only_with_the_token_of_the_promise() -> None:
    step = Stepper(waits, token=lambda number: f"secret{number}")
    assert not step.keep(0, "no", "promise:0")
    assert not step.keep(0, "no", "promise:secret1")
    assert not step.keep(0, "no", "signal")
    assert step.keep(0, "yes", "promise:secret0")
    step.signal("go")
    assert step.result()[:3] == ["secret0", False, "yes"]


def test_a_promise_that_was_copied_from_another_run_is_kept_by_its_old_token() -> None:
    step = Stepper(waits, token=lambda number: "old")
    step.retry()
    step.options.update(run=2, token=lambda number: "new")
    again = step.replay(waits)
    step.interpreter = again
    assert step.keep(0, "yes", "promise:old:2")
    step.signal("go")
    assert step.result()[:3] == ["old", False, "yes"]


def test_a_completion_that_comes_before_the_promise_is_made_is_kept() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        yield wait_signal("go")
        promise: Any = external(timeout=5)
        done = promise.done
        return [done, (yield promise), (yield race(sleep(9), promise)).index]

    step = Stepper(flow)
    assert step.keep(0, "early")
    assert not step.keep(0, "again")
    assert not step.ended
    step.signal("go")
    assert step.result() == [True, "early", 1]
    assert not step.interpreter.timers
    assert not step.interpreter.early


def test_a_completion_for_something_else_is_not_expected() -> None:
    """The number of a promise that was never recorded can become an activity's."""

    @workflow
    def flow() -> Workflow[str]:
        return (yield from charge.call("a"))

    step = Stepper(flow)
    assert not step.keep(0, "not mine")
    step.complete(0, "mine")
    assert step.result() == "mine"


def test_a_promise_breaks_when_its_time_is_up() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        promise: Any = external(timeout=5)
        try:
            yield promise
        except PromiseError as error:
            return [str(error), error.error and error.error.details]
        return []

    step = Stepper(flow)
    assert step.interpreter.next_due() == step.clock + 5_000_000
    step.fire(0)
    assert step.last() == ["PromiseFailed", "WorkflowCompleted"]
    text, details = step.result()
    assert "promise 0 was not kept in time" in text
    assert details == {"kind": "promise"}
    step = Stepper(flow)
    step.keep(0)
    assert step.interpreter.next_due() is None


def test_a_lost_race_keeps_the_promise() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        promise: Any = external()
        first = yield race(promise, sleep(1))
        with CancelScope() as scope:
            _ = spawn(race(promise, wait_signal("never")))
            scope.cancel()
            yield promise
        second = yield with_timeout(promise, 5)
        return [first.index, second]

    step = Stepper(flow)
    step.fire(1)
    assert step.keep(0, "kept")
    assert step.result() == [1, "kept"]


def test_everybody_who_waits_gets_the_value() -> None:
    def waiter(promise: Any) -> Workflow[Any]:
        return (yield promise)

    @workflow
    def flow() -> Workflow[list[Any]]:
        promise: Any = external()
        tasks = [spawn(waiter(promise)), spawn(waiter(promise))]
        both = yield race(promise, promise)
        return [both.index, (yield gather(*tasks, promise))]

    step = Stepper(flow)
    step.keep(0, "x")
    assert step.result() == [0, ["x", "x", "x"]]


def test_the_type_of_a_promise_rebuilds_its_value() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        vote = yield external(type=Vote)
        wrong = external(type=Vote)
        with pytest.raises(PayloadError):
            yield wrong
        return [type(vote).__name__, vote.name]

    step = Stepper(flow)
    step.keep(0, {"name": "x"})
    step.keep(1, 5)
    assert step.result() == ["Vote", "x"]


def test_a_token_is_the_same_in_replay_even_by_a_worker_that_makes_others() -> None:
    step = Stepper(waits, token=lambda number: "mine")
    step.options["token"] = lambda number: "another's"
    replayed = step.replay(waits)
    assert replayed.pending[0].token == "mine"
    replayed.close()


def test_external_says_what_it_takes() -> None:
    kept: list[Any] = []

    @workflow
    def keeper() -> Workflow[None]:
        kept.append(external())
        yield wait_signal("never")

    @workflow
    def flow() -> Workflow[str]:
        with pytest.raises(TypeError, match="external takes a name"):
            external(5)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match=r"external\(timeout=\)"):
            external(timeout=-1)
        with pytest.raises(UsageError, match="another instance"):
            yield kept[0]
        mine: Any = external("mine")
        assert mine == mine
        assert mine != kept[0]
        assert repr(mine) == "<Promise mine>"
        yield sleep(0)
        return "ok"

    _ = Stepper(keeper, replays=False)
    step = Stepper(flow)
    assert step.kinds() == ["WorkflowStarted", "PromiseCreated", "TimerStarted"]
    step.fire(1)
    assert step.result() == "ok"
