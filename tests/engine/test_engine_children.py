"""Child workflows: ids, results, failures, cancels, signals, what happens when a parent ends."""

from __future__ import annotations

from typing import Any

import pytest
from engine_kit import Engine, kinds, until

from durable import (
    ActivityError,
    Cancelled,
    ChildWorkflowError,
    Retry,
    Status,
    Workflow,
    activity,
    continue_as_new,
    gather,
    info,
    race,
    send_signal,
    set_var,
    shield,
    sleep,
    spawn,
    wait_signal,
    workflow,
)
from durable.errors import InstanceAlreadyExists, UsageError
from durable.events import ChildStarted


@activity(retry=None)
def fails(text: str) -> None:
    raise ValueError(text)


@workflow
def adds(a: int, b: int) -> Workflow[int]:
    yield sleep(0)
    return a + b


@workflow
def waits(name: str = "go") -> Workflow[Any]:
    try:
        return (yield wait_signal(name))
    except Cancelled:
        with shield():
            yield sleep(0)
        set_var("cleaned", True)
        raise


@workflow
def broken() -> Workflow[None]:
    yield fails.call("bad card")


def test_results_and_derived_ids(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        one = yield adds.call(1, 2)
        many = yield gather(*[adds.call(n, b=n) for n in range(3)])
        named = yield adds.options(id="chosen", tags=["x"], memo={"n": 1}).call(5, 5)
        return [one, many, named]

    engine.work([flow, adds])
    handle = engine.start(flow.options(id="parent"))
    assert handle.result(timeout=20) == [3, [0, 2, 4], 10]
    ids = [child.id for child in handle.children()]
    assert ids == ["parent/1.1", "parent/1.2", "parent/1.3", "parent/1.4", "chosen"]
    chosen = engine.client.get("chosen").describe()
    assert chosen["parent"]["id"] == "parent"
    assert chosen["tags"] == ["x"]
    assert chosen["memo"] == {"n": 1}


def test_a_child_of_a_child_and_signals_both_ways(engine: Engine) -> None:
    @workflow
    def grandchild() -> Workflow[Any]:
        parent = info().parent
        assert parent is not None
        yield send_signal(parent, "up", "from below")
        return (yield wait_signal("down"))

    @workflow
    def child() -> Workflow[Any]:
        task = spawn(grandchild.call())
        up = yield wait_signal("up")
        yield send_signal(f"{info().instance_id}/1.1", "down", "from above")
        return [up, (yield task)]

    @workflow
    def flow() -> Workflow[Any]:
        return (yield child.call())

    engine.work([flow, child, grandchild])
    handle = engine.start(flow.options(id="top"))
    assert handle.result(timeout=20) == ["from below", "from above"]
    assert [c.id for c in engine.client.get("top/1.1").children()] == ["top/1.1/1.1"]
    assert info_of(engine, "top")["parent"] is None


def info_of(engine: Engine, id: str) -> dict[str, Any]:
    return engine.client.get(id).describe()


def test_failures_have_their_cause(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        try:
            yield broken.call()
        except ChildWorkflowError as error:
            return [error.workflow, error.instance_id, error.is_a(ActivityError), error.error.cause]
        return "?"

    engine.work([flow, broken], [fails])
    name, id, is_it, cause = engine.start(flow.options(id="p")).result(timeout=20)
    assert (name, id, is_it) == ("broken", "p/1.1", True)
    assert (cause["type"], cause["message"]) == ("ValueError", "bad card")
    assert "raise ValueError(text)" in cause["traceback"]


def test_an_id_in_use_is_an_error_at_the_yield(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        try:
            yield adds.options(id="taken").call(1, 1)
        except InstanceAlreadyExists as error:
            return [str(error), (yield adds.options(id="free").call(1, 1))]
        return "?"

    engine.work([flow, adds, waits])
    other = engine.start(waits.options(id="taken"))
    text, value = engine.run(flow)
    assert "'taken'" in text
    assert value == 2
    other.signal("go")
    other.result(timeout=20)
    with pytest.raises(UsageError, match="if_exists"):
        adds.options(id="x", if_exists="use").call(1, 1)  # type: ignore[unused-awaitable]


def test_a_cancel_reaches_children_and_waits_for_them(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        yield gather(waits.call("a"), waits.call("b"))

    engine.work([flow, waits])
    handle = engine.start(flow.options(id="p"))
    until(lambda: len(handle.children()) == 2)
    until(lambda: all(c.status() is Status.RUNNING for c in handle.children()))
    handle.cancel("enough")
    engine.becomes(handle, Status.CANCELLED)
    for child in handle.children():  # they had ended before their parent
        assert child.status() is Status.CANCELLED
        assert child.vars() == {"cleaned": True}


def test_a_child_cancelled_by_somebody_else_is_an_error_in_the_parent(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        seen = []
        for name in ("cancelled", "terminated"):
            try:
                yield waits.options(id=name).call()
            except ChildWorkflowError as error:
                seen.append(error.error.type)
        return seen

    engine.work([flow, waits])
    handle = engine.start(flow)
    for name in ("cancelled", "terminated"):
        until(lambda name=name: [c for c in handle.children() if c.id == name])  # type: ignore[misc]
        child = engine.client.get(name)
        until(lambda child=child: child.status() is Status.RUNNING)  # type: ignore[misc]
        if name == "cancelled":
            child.cancel()
        else:
            child.terminate("out")
    assert handle.result(timeout=20) == [
        "durable.errors.WorkflowCancelledError",
        "durable.errors.WorkflowTerminatedError",
    ]


def test_a_child_that_loses_a_race_is_cancelled(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        winner = yield race(slow=waits.options(id="loser").call(), fast=adds.call(1, 1))
        return winner.name

    engine.work([flow, waits, adds])
    assert engine.run(flow) == "fast"
    engine.becomes(engine.client.get("loser"), Status.CANCELLED)


@pytest.mark.parametrize("ending", ["returns", "fails", "terminated", "continues"])
def test_what_becomes_of_children_when_their_parent_ends(engine: Engine, ending: str) -> None:
    @workflow
    def flow(again: bool) -> Workflow[Any]:
        if again:
            yield wait_signal("never")
        for close in ("cancel", "terminate", "abandon"):
            spawn(waits.options(id=f"{ending}-{close}", parent_close=close).call())
        yield wait_signal("end")
        if ending == "fails":
            raise ValueError("no")
        return continue_as_new(True) if ending == "continues" else "returned"

    engine.work([flow, waits])
    handle = engine.start(flow, False)
    until(lambda: len(handle.children()) == 3)
    until(lambda: all(c.status() is Status.RUNNING for c in handle.children()))
    if ending == "terminated":
        handle.terminate("out")
    else:
        handle.signal("end")
    cancelled, terminated, abandoned = (
        engine.client.get(f"{ending}-{c}") for c in ("cancel", "terminate", "abandon")
    )
    engine.becomes(cancelled, Status.CANCELLED)
    engine.becomes(terminated, Status.TERMINATED)
    assert cancelled.vars() == {"cleaned": True}
    assert abandoned.status() is Status.RUNNING
    abandoned.signal("go", "on its own")
    assert abandoned.result(timeout=20) == "on its own"
    assert handle.describe()["run"] == (2 if ending == "continues" else 1)


def test_an_abandoned_child_is_not_cancelled_with_its_parent(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        yield waits.options(id="abandoned", parent_close="abandon").call()

    engine.work([flow, waits])
    handle = engine.start(flow)
    until(lambda: handle.children())
    handle.cancel()
    engine.becomes(handle, Status.CANCELLED)
    child = engine.client.get("abandoned")
    child.signal("go", 1)
    assert child.result(timeout=20) == 1


def test_a_child_of_a_run_that_has_ended_is_not_heard(engine: Engine) -> None:
    @workflow
    def flow(run: int) -> Workflow[Any]:
        if run == 1:
            yield race(
                waits.options(id="from-run-1", parent_close="abandon").call(), wait_signal("next")
            )
            return continue_as_new(2)
        return (yield adds.call(20, 22))

    engine.work([flow, waits, adds])
    handle = engine.start(flow.options(id="p"), 1)
    until(lambda: handle.children())
    handle.signal("next")
    assert handle.result(timeout=20) == 42
    assert [c.id for c in handle.children()] == ["from-run-1", "p/2.1"]


def test_a_child_is_tried_again_as_a_new_run_of_its_id(engine: Engine) -> None:
    @workflow(retry=Retry(max_attempts=3, first_delay=0.01))
    def flaky() -> Workflow[Any]:
        yield sleep(0)
        if info().attempt < 3:
            raise ValueError("not yet")
        return [info().instance_id, info().run, info().attempt]

    @workflow
    def flow() -> Workflow[Any]:
        good = yield flaky.call()
        try:
            yield flaky.options(retry=None).call()
        except ChildWorkflowError as error:
            return [good, error.is_a(ValueError)]
        return "?"

    engine.work([flow, flaky])
    handle = engine.start(flow.options(id="p"))
    assert handle.result(timeout=20) == [["p/1.1", 3, 3], True]


def test_hundreds_of_children(engine: Engine) -> None:
    count = 1000 if engine.cache else 60

    @workflow
    def flow() -> Workflow[int]:
        return sum((yield gather(*[adds.call(n, 0) for n in range(count)])))

    engine.work([flow, adds])
    handle = engine.start(flow)
    assert handle.result(timeout=60) == count * (count - 1) // 2
    started = [e for e in handle.history() if isinstance(e, ChildStarted)]
    assert len({e.instance_id for e in started}) == count
    assert len(handle.children()) == count


def test_a_child_of_an_unknown_workflow_is_shown_as_blocked(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        return (yield adds.call(1, 1))

    engine.work([flow], unknown_after=0.01)
    handle = engine.start(flow)
    until(lambda: handle.children())
    (child,) = handle.children()
    found = engine.becomes(child, Status.BLOCKED)
    assert "no worker knows workflow adds" in found["reason"]
    engine.work([adds])
    assert handle.result(timeout=20) == 2


def test_queues_of_children(engine: Engine) -> None:
    @workflow(queue="own")
    def with_queue() -> Workflow[str]:
        yield sleep(0)
        return info().queue

    @workflow
    def without() -> Workflow[str]:
        yield sleep(0)
        return info().queue

    @workflow
    def flow() -> Workflow[Any]:
        return (
            yield gather(with_queue.call(), without.call(), without.options(queue="given").call())
        )

    engine.work([flow, with_queue, without], queues=["main", "own", "given"])
    handle = engine.start(flow.options(queue="main"))
    assert handle.result(timeout=20) == ["own", "main", "given"]
    assert "ChildCompleted" in kinds(handle)
