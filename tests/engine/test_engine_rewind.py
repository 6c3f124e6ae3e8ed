"""Retry and fork: going on from an earlier point of a history."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from engine_kit import Engine, StoreProxy, kinds, proxy, until

from durable import (
    Cancelled,
    Client,
    Handle,
    Status,
    Workflow,
    activity,
    external,
    gather,
    shield,
    sleep,
    uuid4,
    wait_signal,
    workflow,
)
from durable.errors import (
    InstanceAlreadyExists,
    InstanceFinished,
    InstanceNotFound,
    OutcomeUnknown,
    UsageError,
    WorkflowError,
)
from durable.store import Store, Unavailable

calls: list[str] = []
broken = threading.Event()


@pytest.fixture(autouse=True)
def _everything_is_broken() -> Iterator[None]:
    calls.clear()
    broken.set()
    yield
    broken.clear()


@activity(retry=None)
def act(name: str) -> str:
    calls.append(name)
    if name.startswith("bad") and broken.is_set():
        raise ValueError(f"{name} is broken")
    return name


@workflow
def two_steps() -> Workflow[list[str]]:
    return [(yield from act.call("good")), (yield from act.call("bad"))]


@workflow
def approval() -> Workflow[str]:
    yield act.call("ask")
    answer = yield wait_signal("answer")
    if broken.is_set():
        raise RuntimeError("this code is broken")
    return str(answer)


@workflow
def family(*names: str) -> Workflow[list[str]]:
    return (yield from gather(*[member.options(id=name).call(name) for name in names]))


@workflow
def member(name: str) -> Workflow[str]:
    if name.startswith("waiting"):
        yield wait_signal("go")
    return (yield from act.call(name))


FLOWS = (two_steps, approval, family, member)


def fails(handle: Handle[Any]) -> None:
    with pytest.raises(WorkflowError):
        handle.result(timeout=20)
    assert handle.status() is Status.FAILED


# -- retry ------------------------------------------------------------------------------


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
    engine.becomes(handle, Status.BLOCKED)
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


@workflow
def promised() -> Workflow[Any]:
    promise = external("p")
    yield act.call("tell " + promise.token)
    value = yield promise
    if broken.is_set():
        raise RuntimeError("this code is broken")
    return value


def token_of(handle: Handle[Any]) -> str:
    until(lambda: "ActivityCompleted" in kinds(handle))
    return str(handle.history()[1].token)  # type: ignore[attr-defined]


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


# -- fork -------------------------------------------------------------------------------


def test_a_fork_of_one_that_runs(engine: Engine) -> None:
    engine.work(FLOWS, [act])
    broken.clear()
    handle = engine.start(approval.options(id="source", tags=["t"], memo={"k": 1}, queue="default"))
    until(lambda: len(kinds(handle)) == 3)
    fork = handle.fork(at=2, id="fork")
    again = engine.client.fork("source", 1)
    for number, one in enumerate((handle, fork, again)):
        one.signal("answer", number)
    assert [one.result(timeout=20) for one in (handle, fork, again)] == ["0", "1", "2"]
    assert calls == ["ask", "ask"]  # once by the source, once by the fork before its result
    assert kinds(fork) == [
        "WorkflowStarted", "ActivityScheduled", "ActivityCompleted", "Forked",
        "SignalReceived", "WorkflowCompleted",
    ]  # fmt: skip
    shown = fork.describe()
    assert (shown["tags"], shown["memo"], shown["run"]) == (["t"], {"k": 1}, 1)
    assert (fork.id, fork.new, shown["parent"]) == ("fork", True, None)


def test_a_fork_of_one_that_has_ended(engine: Engine) -> None:
    engine.work(FLOWS, [act])
    handle = engine.start(two_steps)
    fails(handle)
    broken.clear()
    fork = handle.fork(3)
    assert fork.result(timeout=20) == ["good", "bad"]
    assert calls == ["good", "bad", "bad"]
    handle.retry()
    assert handle.result(timeout=20) == ["good", "bad"]
    assert handle.fork(3, run=1).result(timeout=20) == ["good", "bad"]
    terminated = engine.start(approval)
    until(lambda: len(kinds(terminated)) == 3)
    terminated.terminate()
    revived = terminated.fork(2)
    revived.signal("answer", "yes")
    assert revived.result(timeout=20) == "yes"


def test_a_fork_has_random_values_of_its_own(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        before = uuid4()
        yield wait_signal("go")
        yield sleep(0)
        return [before, uuid4()]

    engine.work([flow])
    handle = engine.start(flow)
    until(lambda: kinds(handle))
    fork = handle.fork(0)
    results = []
    for one in (handle, fork):
        one.signal("go")
        results.append(one.result(timeout=20))
    assert results[0][0] == results[1][0]
    assert results[0][1] != results[1][1]


def test_a_fork_has_tokens_of_its_own(engine: Engine) -> None:
    broken.clear()
    engine.work([promised], [act])
    handle = engine.start(promised)
    token = token_of(handle)
    fork = handle.fork(3)
    mine = str(fork.history()[1].token)  # type: ignore[attr-defined]
    assert mine != token
    engine.client.complete(mine, "the fork's")
    assert fork.result(timeout=20) == "the fork's"
    assert handle.status() is Status.RUNNING
    engine.client.complete(token, "the source's")
    assert handle.result(timeout=20) == "the source's"


def test_a_fork_elsewhere_is_refused(engine: Engine) -> None:
    engine.work(FLOWS, [act])
    client = engine.client
    handle = engine.start(family.options(id="f"), "waiting")
    until(lambda: client.count(search="waiting") == 1)
    for at, why in (
        (0, "middle of a step"),
        (1, r"children are open \(waiting\)"),
        (9, "no event"),
    ):
        with pytest.raises(UsageError, match=why):
            handle.fork(at)
    with pytest.raises(UsageError, match="run 2 of instance 'f' has no history"):
        client.fork("f", 0, run=2)
    with pytest.raises(InstanceNotFound):
        client.fork("nobody", 0)
    until(lambda: kinds(client.get("waiting")))
    with pytest.raises(UsageError, match="NUL"):
        client.fork("waiting", 0, "a\0b")
    with pytest.raises(InstanceAlreadyExists, match="f"):
        client.fork("waiting", 0, "f")
    assert client.count() == 2


@proxy
class Away(StoreProxy):
    """The verbs in ``failing`` fail once each; those that write have done it."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._failing: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in Store.__dict__:
            return found

        def call(*args: Any) -> Any:
            if name not in self._failing:
                return found(*args)
            self._failing.remove(name)
            if name not in ("rerun", "create", "unblock"):
                raise Unavailable("not now")
            found(*args)
            raise OutcomeUnknown("it was done, but nobody heard of it")

        return call


def test_a_store_that_is_away_is_waited_for(engine: Engine) -> None:
    """Every call of a retry and of a fork is repeated until its outcome is known."""
    engine.work(FLOWS, [act])
    handle = engine.start(two_steps.options(id="x"))
    fails(handle)
    store = Away(engine.store)  # type: ignore[abstract]  # see proxy
    client = Client(store)
    broken.clear()
    store._failing |= {"rerun", "history", "instance", "now"}
    client.retry("x")
    assert handle.result(timeout=20) == ["good", "bad"]
    assert handle.describe()["run"] == 2
    store._failing |= {"create", "history", "instance", "now"}
    assert client.fork("x", 1, "y").result(timeout=20) == ["good", "bad"]
    assert store._failing == set()
