"""What comes from outside: completions by token, context, and a signal that may start."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest
from engine_kit import Engine, kinds, until

from durable import (
    ActivityError,
    Client,
    Handle,
    PromiseError,
    Status,
    Workflow,
    activity,
    continue_as_new,
    current_activity,
    external,
    sleep,
    wait_signal,
    workflow,
)
from durable.definitions import StartOverrides
from durable.errors import (
    ChildWorkflowError,
    InstanceFinished,
    InstanceNotFound,
    PayloadError,
    PermanentError,
    UsageError,
    WorkflowError,
)
from durable.tokens import ATTEMPT, Token

tokens: dict[str, str] = {}


@activity(retry=None)
def give_away(name: str) -> Any:
    tokens[name] = current_activity().token
    raise current_activity().complete_later()


@workflow
def later(name: str) -> Workflow[Any]:
    return (yield give_away.call(name))


@workflow
def promised() -> Workflow[Any]:
    promise = external("approval")
    try:
        value = yield promise
    except PromiseError as error:
        return f"failed: {error.error}"
    yield wait_signal("go")
    return value


@workflow
def collects() -> Workflow[list[Any]]:
    found: list[Any] = []
    while len(found) < 3:
        found.append((yield wait_signal("n")))
    return found


def token_of(handle: Handle[Any]) -> str:
    until(lambda: "PromiseCreated" in kinds(handle))
    return str(handle.history()[1].token)  # type: ignore[attr-defined]


# -- promises ---------------------------------------------------------------------------


def test_a_promise_is_kept_once(engine: Engine) -> None:
    engine.work([promised])
    handle = engine.start(promised)
    token = token_of(handle)
    engine.client.complete(token, {"by": "ann"})
    engine.client.complete(token, "too late")
    engine.client.fail(token, "too late")
    handle.signal("go")
    assert handle.result(timeout=20) == {"by": "ann"}
    assert kinds(handle).count("PromiseCompleted") == 1
    assert "PromiseFailed" not in kinds(handle)


@pytest.mark.parametrize(
    ("error", "text"),
    [("the bank said no", "Exception: the bank said no"), (KeyError("k"), "KeyError: 'k'")],
)
def test_a_promise_is_failed(engine: Engine, error: Any, text: str) -> None:
    engine.work([promised])
    handle = engine.start(promised)
    engine.client.fail(token_of(handle), error)
    assert handle.result(timeout=20) == f"failed: {text}"


def test_what_cannot_be_completed(engine: Engine) -> None:
    engine.work([promised])
    client = engine.client
    handle = engine.start(promised)
    token = token_of(handle)
    for wrong in ("", "x", token[:-2], token[1:], f"{token}é", Token("p", b"u", 1, 1).text(b"k")):
        with pytest.raises(UsageError, match="not made by a workflow"):
            client.complete(wrong, 1)
    for odd in (None, 7, b"x"):
        with pytest.raises(TypeError):
            client.complete(odd, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an exception or a text"):
        client.fail(token, 7)  # type: ignore[arg-type]
    with pytest.raises(PayloadError, match="value"):
        client.complete(token, object())
    handle.terminate()
    for act in (client.complete, client.fail):
        with pytest.raises(InstanceFinished, match="the promise of this token is over"):
            act(token, "x")
    handle.delete()
    with pytest.raises(InstanceNotFound, match="deleted"):
        client.complete(token, 1)


def test_a_promise_is_of_one_run(engine: Engine) -> None:
    """In the next one the number of its command is that of something else."""

    @workflow
    def flow(first: bool) -> Workflow[Any]:
        promise = external()
        if first:
            yield wait_signal("go")
            return continue_as_new(False)
        return (yield promise)

    engine.work([flow])
    handle = engine.start(flow, True)
    old = token_of(handle)
    handle.signal("go")
    until(lambda: handle.describe()["run"] == 2)
    new = token_of(handle)
    assert new != old
    with pytest.raises(InstanceFinished):
        engine.client.complete(old, "wrong")
    engine.client.complete(new, "right")
    assert handle.result(timeout=20) == "right"


# -- attempts ---------------------------------------------------------------------------


def test_an_activity_is_completed_from_outside(engine: Engine) -> None:
    engine.work([later], [give_away])
    handle = engine.start(later, "a")
    until(lambda: handle.describe()["tasks"] and _task(handle)["state"] == "awaits completion")
    engine.client.complete(tokens["a"], [1, 2])
    assert handle.result(timeout=20) == [1, 2]
    event = handle.history()[-2]
    assert (type(event).__name__, event.attempt) == ("ActivityCompleted", 1)  # type: ignore[attr-defined]
    engine.client.complete(tokens["a"], "again")  # ignored
    assert handle.result(timeout=20) == [1, 2]


def _task(handle: Handle[Any]) -> dict[str, Any]:
    (task,) = handle.describe()["tasks"]
    return dict(task)


def test_a_failure_from_outside_is_final(engine: Engine) -> None:
    @activity
    def three_attempts() -> Any:
        tokens["r"] = current_activity().token
        raise current_activity().complete_later()

    @workflow
    def flow() -> Workflow[Any]:
        try:
            return (yield three_attempts.call())
        except ActivityError as error:
            return [str(error.error), error.error.details, error.attempt]

    engine.work([flow], [three_attempts])
    handle = engine.start(flow)
    until(lambda: handle.describe()["tasks"] and _task(handle)["state"] == "awaits completion")
    engine.client.fail(tokens["r"], PermanentError("no", details={"code": 7}))
    assert handle.result(timeout=20) == ["durable.errors.PermanentError: no", {"code": 7}, 1]


def test_an_attempt_that_is_over(engine: Engine) -> None:
    engine.work([later], [give_away])
    handle = engine.start(later, "b")
    until(lambda: handle.describe()["tasks"] and _task(handle)["state"] == "awaits completion")
    instance = engine.client.store.instance(handle.id)
    assert instance is not None
    uid = instance.uid
    stale = Token(ATTEMPT, uid, 1, 0, epoch=77).text(engine.store.secret())
    with pytest.raises(InstanceFinished, match="the attempt of this token is over"):
        engine.client.complete(stale, 1)
    handle.terminate()
    with pytest.raises(InstanceFinished, match="the attempt of this token is over"):
        engine.client.fail(tokens["b"], "x")
    handle.delete()
    with pytest.raises(InstanceNotFound):
        engine.client.complete(tokens["b"], 1)


# -- a signal that may start ------------------------------------------------------------


def test_signal_or_start(engine: Engine) -> None:
    engine.work([collects])
    client = engine.client
    flow = collects.options(id="c")
    first = client.signal_or_start(flow, signal="n", value=1)
    second = client.signal_or_start(flow, signal="n", value=2)
    assert (first.new, second.new) == (True, False)
    third = client.signal_or_start(flow, signal="n", value=3)
    assert first.result(timeout=20) == third.result(timeout=20) == [1, 2, 3]
    with pytest.raises(InstanceFinished):
        client.signal_or_start(flow, signal="n", value=4)
    again = client.signal_or_start(
        collects.options(id="c", if_exists="restart"), signal="n", value=4
    )
    assert again.new
    for value in (5, 6):
        client.signal_or_start(
            collects.options(id="c", if_exists="restart"), signal="n", value=value
        )
    assert again.result(timeout=20) == [4, 5, 6]
    assert again.describe()["run"] == 2


def test_signal_or_start_by_name(engine: Engine) -> None:
    engine.work([collects])
    client, options = engine.client, StartOverrides(id="c", tags=["red"])
    handle = client.signal_or_start("collects", signal="n", value=1, options=options)
    assert handle.describe()["tags"] == ["red"]
    for value in (2, 3):
        client.signal_or_start("collects", signal="n", value=value, options=options)
    assert handle.result(timeout=20) == [1, 2, 3]


def test_start_by_name_with_options(engine: Engine) -> None:
    engine.work([collects])
    handle = engine.client.start_named("collects", id="d", tags=["red"])
    assert handle.id == "d"
    assert handle.row().tags == ("red",)
    with pytest.raises(UsageError, match="if_exists='never' is none of"):
        engine.client.start_named("collects", [1], {"b": 2}, if_exists="never")


def test_signal_or_start_is_checked(engine: Engine) -> None:
    client = engine.client
    with pytest.raises(UsageError, match=r'with a name options=\{"id": …\}'):
        client.signal_or_start("collects", signal="n", options={})
    with pytest.raises(TypeError, match="did you mean 'id'"):
        client.signal_or_start("collects", signal="n", options={"ids": "c"})  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="options= is for a name"):
        client.signal_or_start(collects, signal="n", options={"id": "c"})
    with pytest.raises(UsageError, match="needs an id"):
        client.signal_or_start(collects, signal="n")
    with pytest.raises(TypeError, match="collects"):
        client.signal_or_start(collects.options(id="c"), 1, signal="n")
    with pytest.raises(TypeError, match="a signal has a name"):
        client.signal_or_start(collects.options(id="c"), signal=1)  # type: ignore[call-overload]
    with pytest.raises(PayloadError):
        client.signal_or_start(collects.options(id="c"), signal="n", value=object())
    assert client.count() == 0


def test_many_signal_or_start_at_once(engine: Engine) -> None:
    """Each signal is taken once, whether it starts a run, restarts one or is only sent."""
    engine.work([collects])
    flow = collects.options(id="many", if_exists="restart")
    barrier = threading.Barrier(8)

    def some(thread: int) -> None:
        barrier.wait(20)
        for number in range(12):
            engine.client.signal_or_start(flow, signal="n", value=[thread, number])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(some, range(8)))
    handle = engine.client.get("many")
    until(lambda: handle.status() is Status.COMPLETED or not engine.store.inbox(handle._uid))
    runs = range(1, handle.describe()["run"] + 1)
    events = [event for run in runs for event in handle.history(run)]
    values = [tuple(e.value) for e in events if hasattr(e, "message_id")]  # type: ignore[attr-defined]
    assert len(values) == len(set(values))
    unread = handle.describe()["unread"]
    assert len(values) + len(unread) <= 96


# -- families ---------------------------------------------------------------------------


def test_a_parent_hears_of_a_terminated_child(engine: Engine) -> None:
    @workflow
    def parent() -> Workflow[Any]:
        try:
            return (yield promised.options(id="kid").call())
        except ChildWorkflowError as error:
            return str(error.error)

    engine.work([parent, promised])
    handle = engine.start(parent)
    until(lambda: engine.client.count(search="kid"))
    engine.client.terminate("kid", "enough")
    kind = "durable.errors.WorkflowTerminatedError"
    assert handle.result(timeout=20) == f"{kind}: instance 'kid' was terminated: enough"


def test_a_terminated_parent_closes_its_children(engine: Engine) -> None:
    @workflow
    def parent() -> Workflow[Any]:
        yield external("never")

    @workflow
    def starts(close: str) -> Workflow[Any]:
        return (yield promised.options(id=close, parent_close=close).call())

    @workflow
    def grand() -> Workflow[Any]:
        yield starts.options(id="middle", parent_close="terminate").call("cancel")

    engine.work([parent, starts, grand, promised])
    handles = {close: engine.start(starts, close) for close in ("terminate", "abandon")}
    handles["cancel"] = engine.start(grand)
    until(lambda: engine.client.count(workflow="promised") == 3)
    for close in handles:
        until(lambda close=close: kinds(engine.client.get(close)))  # type: ignore[misc]
    for handle in handles.values():
        handle.terminate("over")
    expected = {
        "terminate": Status.TERMINATED, "abandon": Status.RUNNING,
        "cancel": Status.CANCELLED, "middle": Status.TERMINATED,
    }  # fmt: skip
    for id, status in expected.items():
        until(lambda id=id, status=status: engine.client.get(id).status() is status, id)  # type: ignore[misc]
    assert engine.client.get("terminate").describe()["reason"] == (
        f"the parent {handles['terminate'].id} has ended"
    )


# -- context, and options ---------------------------------------------------------------


def test_context_is_carried_from_the_client(engine: Engine) -> None:
    tenant: ContextVar[str] = ContextVar("tenant")

    @activity
    def who() -> str:
        return tenant.get("nobody")

    @workflow
    def flow() -> Workflow[Any]:
        yield sleep(0)
        return [tenant.get("nobody"), (yield who.call())]

    engine.work([flow], [who], propagators=[tenant])
    client = Client(engine.store, propagators=[tenant])
    assert client.start(flow).result(timeout=20) == ["nobody", "nobody"]
    set_before = tenant.set("acme")
    try:
        started = client.start(flow)
        signalled = client.signal_or_start(flow.options(id="s"), signal="n")
        (many,) = client.start_many([(flow,)])
    finally:
        tenant.reset(set_before)
    for handle in (started, signalled, many):
        assert handle.result(timeout=20) == ["acme", "acme"]
    with pytest.raises(TypeError, match="propagator"):
        Client(engine.store, propagators=["tenant"])


def test_options_of_a_start(engine: Engine) -> None:
    from durable import Retry

    @workflow
    def flow() -> Workflow[Any]:
        yield sleep(0)
        raise ValueError("always")

    client = engine.client
    handle = client.start(flow.options(id="o", retry=Retry(max_attempts=2, first_delay=0)))
    shown = handle.describe()
    assert (shown["retry"].max_attempts, shown["timeout"], shown["attempt"]) == (2, None, 1)
    once = client.start(flow.options(retry=None, timeout=60))
    assert (once.describe()["retry"].max_attempts, once.describe()["timeout"]) == (1, 60.0)
    plain = client.start(flow)
    assert (plain.describe()["retry"], plain.describe()["timeout"]) == (None, None)
    with pytest.raises(UsageError, match="parent_close"):
        client.start(flow.options(parent_close="abandon"))
    engine.work([flow])
    with pytest.raises(WorkflowError, match="always"):  # of its last run
        handle.result(timeout=20)
    assert (handle.describe()["run"], handle.describe()["attempt"]) == (2, 2)
    handle.retry()
    with pytest.raises(WorkflowError):
        handle.result(timeout=20)
    assert handle.describe()["run"] >= 3
