"""Retry: going on from an earlier point of a history."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from engine_kit import Engine, kinds, until
from rewind_flows import (
    FLOWS,
    act,
    approval,
    broken,
    calls,
    fails,
    family,
    member,
    promised,
    token_of,
    two_steps,
)

from durable import (
    Cancelled,
    Status,
    Workflow,
    activity,
    external,
    gather,
    set_var,
    shield,
    sleep,
    uuid4,
    wait_signal,
    workflow,
)
from durable.errors import (
    InstanceFinished,
    InstanceNotFound,
    UsageError,
    WorkflowError,
)


@pytest.fixture(autouse=True)
def _everything_is_broken() -> Iterator[None]:
    calls.clear()
    broken.set()
    yield
    broken.clear()


def test_what_failed_is_tried_again(engine: Engine) -> None:
    engine.work(FLOWS, [act])
    handle = engine.start(two_steps.options(tags=["t"], memo="m"))
    fails(handle)
    handle.retry()
    fails(handle)
    broken.clear()
    handle.retry()
    assert handle.result(timeout=20) == ["good", "bad"]
    assert calls == ["good", "bad", "bad", "bad"]
    prefix = ["WorkflowStarted", "ActivityScheduled", "ActivityCompleted", "ActivityScheduled"]
    first, second, third = ([type(e).__name__ for e in handle.history(run)] for run in (1, 2, 3))
    assert first == [*prefix, "ActivityFailed", "WorkflowFailed"]
    assert second == [*prefix, "Retried", "ActivityFailed", "WorkflowFailed"]
    assert third == [*prefix, "Retried", "Retried", "ActivityCompleted", "WorkflowCompleted"]
    shown = handle.describe()
    assert (shown["run"], shown["tags"], shown["memo"]) == (3, ["t"], "m")
    assert shown["failure"] is None


def test_what_did_not_fail_is_applied_again(engine: Engine) -> None:
    engine.work(FLOWS, [act])
    handle = engine.start(approval)
    handle.signal("answer", "yes")
    fails(handle)
    broken.clear()
    handle.retry()
    assert handle.result(timeout=20) == "yes"
    assert calls == ["ask"]
    assert kinds(handle).count("SignalReceived") == 1


def test_an_activity_that_was_completed_is_not_run_again(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        value = yield act.call("good")
        if broken.is_set():
            raise RuntimeError("this code is broken")
        yield wait_signal("go")
        return value

    engine.work([flow], [act])
    handle = engine.start(flow)
    fails(handle)
    broken.clear()
    handle.retry()
    until(lambda: handle.status() is Status.RUNNING)
    assert handle.describe()["tasks"] == []
    handle.signal("go")
    assert handle.result(timeout=20) == "good"
    assert calls == ["good"]


def test_a_failure_in_the_first_step_begins_anew(engine: Engine) -> None:
    @workflow
    def flow(value: int) -> Workflow[int]:
        if broken.is_set():
            raise ValueError("at once")
        yield sleep(0)
        return value

    engine.work([flow])
    handle = engine.start(flow, 7)
    fails(handle)
    seed = handle.history()[0].seed  # type: ignore[attr-defined]
    broken.clear()
    handle.retry()
    assert handle.result(timeout=20) == 7
    assert kinds(handle)[:2] == ["WorkflowStarted", "TimerStarted"]
    assert handle.history()[0].seed != seed  # type: ignore[attr-defined]


def test_random_values_stay_and_go_on(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        before = uuid4()
        yield act.call("good")
        between = uuid4()
        yield act.call("bad")
        return [before, between, uuid4()]

    engine.work([flow], [act])
    handle = engine.start(flow)
    fails(handle)
    broken.clear()
    handle.retry()
    assert len(set(handle.result(timeout=20))) == 3


def test_a_cancelled_instance_goes_on(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        yield act.call("first")
        try:
            return (yield wait_signal("go"))
        except Cancelled:
            with shield():
                yield act.call("clean up")
            raise

    engine.work([flow], [act])
    handle = engine.start(flow)
    until(lambda: "ActivityCompleted" in kinds(handle))
    handle.cancel("a mistake")
    until(lambda: handle.status() is Status.CANCELLED)
    handle.retry()
    until(lambda: handle.status() is Status.RUNNING)
    handle.signal("go", "on")
    assert handle.result(timeout=20) == "on"
    assert calls == ["first", "clean up"]
    assert "CancelRequested" not in kinds(handle)


def test_signals_that_came_after_the_cancel_are_kept(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        try:
            return (yield wait_signal("go"))
        except Cancelled:
            with shield():
                yield wait_signal("cleaned up")
            raise

    engine.work([flow])
    handle = engine.start(flow)
    until(lambda: kinds(handle))
    handle.cancel()
    handle.signal("go", "late")
    handle.signal("cleaned up")
    until(lambda: handle.status() is Status.CANCELLED)
    handle.retry()
    assert handle.result(timeout=20) == "late"
    assert handle.describe()["unread"] == ["cleaned up"]


def test_a_blocked_instance_is_tried_at_once(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        yield act.call("good" if broken.is_set() else "other")
        yield wait_signal("go")
        return "done"

    worker = engine.work([flow], [act])
    handle = engine.start(flow)
    until(lambda: "ActivityCompleted" in kinds(handle))
    worker.stop(0.2)
    broken.clear()
    engine.work([flow], [act])
    handle.signal("go")
    if engine.cache:  # its generator was cached by the worker that has stopped
        until(lambda: handle.status() is Status.BLOCKED)
    engine.becomes(handle, Status.BLOCKED)
    length = len(kinds(handle))
    handle.retry()
    # It has been blocked all the time: that it was refused again is seen by who refuses it.
    until(lambda: handle.describe()["blocked_by"])
    assert len(kinds(handle)) == length
    broken.set()
    handle.retry()
    assert handle.result(timeout=20) == "done"
    assert handle.describe()["run"] == 1


def test_the_status_of_others_is_named(engine: Engine) -> None:
    client = engine.client
    handle = engine.start(approval.options(id="a"))
    with pytest.raises(UsageError, match="'a' is pending; only one that failed"):
        client.retry("a")
    handle.terminate()
    with pytest.raises(UsageError, match=r"'a' is terminated; .*: fork it"):
        handle.retry()
    broken.clear()
    engine.work(FLOWS, [act])
    done = engine.start(two_steps.options(id="d"))
    assert done.result(timeout=20)
    with pytest.raises(UsageError, match=r"'d' is completed; .*: fork it"):
        done.retry()
    with pytest.raises(InstanceNotFound):
        client.retry("nobody")


def test_only_one_of_many_retries_counts(engine: Engine) -> None:
    engine.work(FLOWS, [act])
    handle = engine.start(approval)
    handle.signal("answer", "yes")
    fails(handle)
    engine.stop()
    barrier = threading.Barrier(6)

    def once(_: int) -> str:
        barrier.wait(20)
        try:
            handle.retry()
        except UsageError as error:
            return str(error)
        return "retried"

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(once, range(6)))
    assert outcomes.count("retried") == 1
    assert all("is pending" in outcome for outcome in outcomes if outcome != "retried")
    assert handle.describe()["run"] == 2


def test_children_that_failed_are_retried_first(engine: Engine) -> None:
    engine.work(FLOWS, [act])
    handle = engine.start(family, "good", "bad")
    fails(handle)
    assert engine.client.get("good").result(timeout=20) == "good"
    broken.clear()
    handle.retry()
    assert handle.result(timeout=20) == ["good", "bad"]
    assert calls == ["good", "bad", "bad"] or calls == ["bad", "good", "bad"]
    assert engine.client.get("bad").describe()["run"] == 2
    assert engine.client.get("good").describe()["run"] == 1


def test_what_was_stopped_with_what_failed_goes_on(engine: Engine) -> None:
    """A gather that fails asks the others to stop and waits for them."""
    engine.work(FLOWS, [act])
    handle = engine.start(family, "waiting", "bad")
    fails(handle)
    waiting = engine.client.get("waiting")
    assert waiting.status() is Status.CANCELLED
    broken.clear()
    handle.retry()
    waiting.signal("go")
    assert handle.result(timeout=20) == ["waiting", "bad"]
    assert waiting.describe()["run"] == 2


def test_siblings_that_finished_all_the_same_are_not_run_again(engine: Engine) -> None:
    began, go = threading.Event(), threading.Event()

    @activity
    def slow() -> str:
        calls.append("slow")
        began.set()
        go.wait(20)
        return "slow"

    @workflow
    def flow() -> Workflow[Any]:
        return (yield gather(slow.call(), act.call("bad")))

    engine.work([flow], [slow, act])
    handle = engine.start(flow)
    assert began.wait(20)
    until(lambda: "ActivityCancelRequested" in kinds(handle))
    go.set()
    fails(handle)
    broken.clear()
    handle.retry()
    assert handle.result(timeout=20) == ["slow", "bad"]
    assert sorted(calls) == ["bad", "bad", "slow"]


def test_a_child_that_was_retried_before_is_heard(engine: Engine) -> None:
    engine.work(FLOWS, [act])
    handle = engine.start(family, "bad")
    fails(handle)
    broken.clear()
    child = engine.client.get("bad")
    child.retry()
    assert child.result(timeout=20) == "bad"  # of which the run that is over hears nothing
    handle.retry()
    assert handle.result(timeout=20) == ["bad"]
    assert calls == ["bad", "bad"]


def test_a_child_whose_id_is_in_use_is_asked_for_again(engine: Engine) -> None:
    engine.work(FLOWS, [act])
    other = engine.start(member.options(id="waiting"), "waiting other")
    handle = engine.start(family, "waiting")
    fails(handle)
    other.terminate()
    other.delete()
    handle.retry()
    until(lambda: engine.client.count(search="waiting") == 1)
    engine.client.signal("waiting", "go")
    assert handle.result(timeout=20) == ["waiting"]


def test_a_run_whose_time_was_up_has_its_time_anew(engine: Engine) -> None:
    broken.clear()
    engine.work(FLOWS, [act])
    handle = engine.start(approval.options(timeout=0.5))
    with pytest.raises(WorkflowError, match="did not end within"):
        handle.result(timeout=20)
    engine.stop()
    handle.retry()
    handle.signal("answer", "in time")
    engine.work(FLOWS, [act])
    assert handle.result(timeout=20) == "in time"
    assert handle.describe()["timeout"] == 0.5


# -- promises ---------------------------------------------------------------------------


def test_a_promise_that_was_failed_can_be_kept_after_a_retry(engine: Engine) -> None:
    engine.work([promised], [act])
    handle, other = engine.start(promised), engine.start(promised)
    token = token_of(handle)
    engine.client.fail(token, "no")
    fails(handle)
    token_of(other)
    other.terminate()
    broken.clear()
    with pytest.raises(InstanceFinished, match="the promise of this token is over"):
        engine.client.complete(token_of(other), 1)
    handle.retry()
    until(lambda: handle.status() is Status.RUNNING)
    engine.client.complete(token, "yes")
    assert handle.result(timeout=20) == "yes"


def test_a_promise_that_was_kept_stays_so(engine: Engine) -> None:
    engine.work([promised], [act])
    handle = engine.start(promised)
    engine.client.complete(token_of(handle), "once")
    fails(handle)
    broken.clear()
    handle.retry()
    assert handle.result(timeout=20) == "once"


def test_the_time_of_a_promise_counts_anew_after_a_retry(engine: Engine) -> None:
    @workflow
    def limited() -> Workflow[Any]:
        promise = external("p", timeout=0.05 if broken.is_set() else 60)
        set_var("token", promise.token)
        return (yield promise)

    engine.work([limited])
    handle = engine.start(limited)
    fails(handle)
    broken.clear()
    handle.retry()
    until(lambda: handle.status() is Status.RUNNING)
    engine.client.complete(handle.vars()["token"], "yes")
    assert handle.result(timeout=20) == "yes"
