"""Runs: continue-as-new, retries of whole workflows, limits of a history."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from engine_kit import Engine, kinds, until

from durable import (
    PermanentError,
    Retry,
    Status,
    Workflow,
    activity,
    continue_as_new,
    info,
    now,
    set_var,
    set_vars,
    side_effect,
    sleep,
    wait_signal,
    workflow,
)
from durable.errors import UsageError, WorkflowCancelledError, WorkflowError
from durable.events import ContinuedAsNew, SignalReceived, WorkflowStarted


def test_a_chain_of_runs_has_one_id_and_one_result(engine: Engine) -> None:
    @workflow
    def flow(left: int, total: int = 0) -> Workflow[Any]:
        set_var(f"run {info().run}", left)
        yield sleep(0)
        if left:
            return continue_as_new(left - 1, total=total + left)
        return [total, info().run, info().history_length]

    engine.work([flow])
    handle = engine.start(flow.options(id="chain", tags=["t"], memo="m"), 4)
    total, run, length = handle.result(timeout=20)
    assert (total, run) == (10, 5)
    assert length == 3  # a fresh history each time
    assert handle.vars() == {f"run {n}": 5 - n for n in range(1, 6)}
    assert kinds(handle) == ["WorkflowStarted", "TimerStarted", "TimerFired", "WorkflowCompleted"]
    first = handle.history(run=1)
    assert isinstance(first[-1], ContinuedAsNew)
    assert (first[-1].args, first[-1].kwargs) == ((3,), {"total": 4})
    assert isinstance(first[0], WorkflowStarted)
    found = handle.describe()
    assert (found["run"], found["tags"], found["memo"]) == (5, ["t"], "m")


def test_unread_signals_go_on_in_order(engine: Engine) -> None:
    @workflow
    def flow(seen: list[Any]) -> Workflow[Any]:
        seen.append((yield wait_signal("n")))
        return seen if len(seen) == 20 else continue_as_new(seen)

    handle = engine.start(flow, [])
    for number in range(10):
        handle.signal("n", number)
    engine.work([flow])
    for number in range(10, 20):
        handle.signal("n", number)
    assert handle.result(timeout=20) == list(range(20))


def test_signals_that_race_a_continue_as_new_are_not_lost(engine: Engine) -> None:
    @workflow
    def flow(seen: int, goal: int) -> Workflow[int]:
        yield wait_signal("n")
        return seen + 1 if seen + 1 == goal else continue_as_new(seen + 1, goal)

    engine.work([flow])
    count = 200 if engine.cache else 60
    handles = [engine.start(flow, 0, count) for _ in range(3)]
    for _ in range(count):
        for handle in handles:
            handle.signal("n")
    for handle in handles:
        assert handle.result(timeout=30) == count
        assert handle.describe()["run"] == count
        assert handle.describe()["unread"] == []


def test_signals_of_other_names_are_carried_through_runs_that_do_not_read_them(
    engine: Engine,
) -> None:
    @workflow
    def flow(left: int) -> Workflow[Any]:
        if left:
            return continue_as_new(left - 1)
        return [(yield wait_signal("a")), (yield wait_signal("b"))]

    handle = engine.start(flow, 3)
    handle.signal("b", 1)
    handle.signal("a", 2)
    engine.work([flow])
    assert handle.result(timeout=20) == [2, 1]
    received = [e for e in handle.history() if isinstance(e, SignalReceived)]
    assert [e.name for e in received] == ["b", "a"]


def test_a_cancel_that_meets_continue_as_new_reaches_the_next_run(engine: Engine) -> None:
    @activity
    def works() -> None:
        started.append(1)
        until(lambda: cancelled)

    @workflow
    def flow(again: bool) -> Workflow[str]:
        if again:
            yield sleep(3600)
            return "never"
        yield works.call()  # on_cancel="wait": its result is delivered
        return continue_as_new(True)

    started: list[int] = []
    cancelled: list[int] = []
    engine.work([flow], [works])
    handle = engine.start(flow, False)
    until(lambda: started)
    handle.cancel("enough")
    until(lambda: "ActivityCancelRequested" in kinds(handle))
    cancelled.append(1)
    with pytest.raises(WorkflowCancelledError, match="enough"):
        handle.result(timeout=20)
    assert handle.describe()["run"] == 2


def test_wrong_arguments_of_the_next_run_raise_at_the_line(engine: Engine) -> None:
    @workflow
    def flow(n: int) -> Workflow[Any]:
        with pytest.raises(TypeError, match="too many positional"):
            continue_as_new(1, 2)
        with pytest.raises(TypeError, match=r"write `return continue_as_new"):
            yield continue_as_new(1)
        return "ok"

    engine.work([flow])
    assert engine.run(flow, 0) == "ok"
    with pytest.raises(UsageError, match="only inside"):
        continue_as_new(1)


def test_a_new_run_takes_the_newest_version(engine: Engine) -> None:
    @workflow(name="flow", version=1)
    def old(n: int) -> Workflow[Any]:
        yield wait_signal("go")
        return continue_as_new(n)

    @workflow(name="flow", version=2)
    def new(n: int) -> Workflow[Any]:
        yield sleep(0)
        return ["new", info().version]

    worker = engine.work([old])
    handle = engine.start(old, 1)
    until(lambda: handle.status() is Status.RUNNING)
    worker.stop()
    engine.work([old, new])
    handle.signal("go")
    assert handle.result(timeout=20) == ["new", 2]


def test_a_failed_workflow_is_tried_again(engine: Engine) -> None:
    @workflow(retry=Retry(max_attempts=3, first_delay=0.02, jitter=0, non_retryable=(KeyError,)))
    def flow(kind: str) -> Workflow[Any]:
        set_vars(attempt=info().attempt, run=info().run)
        began = yield side_effect(lambda: 1)
        yield sleep(0)
        if kind == "permanent":
            raise PermanentError("no")
        if kind == "key":
            raise KeyError("no")
        if info().attempt <= 2 or kind == "always":
            raise ValueError(f"attempt {info().attempt}")
        return began

    engine.work([flow])
    handle = engine.start(flow, "twice")
    assert handle.result(timeout=20) == 1
    assert handle.vars() == {"attempt": 3, "run": 3}
    assert handle.describe()["attempt"] == 3
    ended = handle.history(run=1)[-1]
    begun = handle.history(run=2)[0]
    assert begun.at - ended.at >= timedelta(seconds=0.02)
    for kind, runs in (("always", 3), ("permanent", 1), ("key", 1)):
        other = engine.start(flow, kind)
        with pytest.raises(WorkflowError):
            other.result(timeout=20)
        assert other.describe()["run"] == runs
    once = engine.start(flow.options(retry=None), "twice")
    with pytest.raises(WorkflowError, match="attempt 1"):
        once.result(timeout=20)


def test_a_cancel_before_the_next_attempt_ends_it(engine: Engine) -> None:
    @workflow(retry=Retry(first_delay=3600))
    def flow() -> Workflow[None]:
        yield sleep(0)
        if info().attempt == 1:
            raise ValueError("no")
        yield sleep(3600)

    engine.work([flow])
    handle = engine.start(flow)
    until(lambda: handle.describe()["run"] == 2)
    assert handle.status() is Status.PENDING
    handle.signal("ignored for now")
    handle.cancel("not again")
    with pytest.raises(WorkflowCancelledError, match="not again"):
        handle.result(timeout=20)


def test_a_long_history_is_warned_of_and_then_blocked(
    engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable.runner.decide.WARN_HISTORY", 20)

    @workflow
    def flow() -> Workflow[int]:
        count = 0
        while True:
            count += yield wait_signal("n")

    worker = engine.work([flow], max_history=40, build="one")
    handle = engine.start(flow.options(id="long"))
    with caplog.at_level(logging.WARNING, "durable.worker"):
        for number in range(50):
            handle.signal("n", number)
        found = engine.becomes(handle, Status.BLOCKED)
    assert "continue_as_new" in found["reason"]
    assert "max_history=40" in found["reason"]
    assert found["history_length"] <= 40
    warned = [r for r in caplog.records if "long has" in r.getMessage()]
    assert len(warned) == 1
    worker.stop()
    engine.work([flow], max_history=1000, build="one")
    handle.retry()
    until(lambda: len(handle.history()) == 51, "nothing of it is lost")


def test_time_goes_on_over_runs(engine: Engine) -> None:
    @workflow
    def flow(before: Any) -> Workflow[Any]:
        yield sleep(0)
        if before is None:
            return continue_as_new(now())
        return before <= now()

    engine.work([flow])
    assert engine.run(flow, None) is True


def test_what_comes_after_a_failure_goes_to_the_next_attempt(engine: Engine) -> None:
    """The store is asked to commit the end of a run while messages come."""

    @workflow(retry=Retry(max_attempts=50, first_delay=0.01, max_delay=0.01))
    def flow(goal: int) -> Workflow[Any]:
        seen: list[Any] = []
        while len(seen) < goal:
            seen.append((yield wait_signal("n")))
            if info().attempt == len(seen):
                raise ValueError("again")
        return len(seen)

    handle = engine.start(flow, 3)
    for number in range(12):
        handle.signal("n", number)
    engine.work([flow])
    # Attempts 1, 2 and 3 read 1, 2 and 3 signals and fail; the fourth one reads 3.
    assert handle.result(timeout=20) == 3
    assert handle.describe()["unread"] == ["n"] * 3


def test_a_pinned_version_stays_over_runs(engine: Engine) -> None:
    @workflow(name="flow", version=1)
    def old(n: int) -> Workflow[Any]:
        yield sleep(0)
        return continue_as_new(n - 1) if n else ["old", info().run]

    @workflow(name="flow", version=2)
    def new(n: int) -> Workflow[Any]:
        yield sleep(0)
        return continue_as_new(n - 1) if n else ["new", info().run]

    engine.work([old, new])
    assert engine.run(old.options(version=1), 2) == ["old", 3]
    assert engine.run(old, 2) == ["new", 3]
