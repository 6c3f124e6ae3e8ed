"""Child workflows: their ids, their ends, and how they are cancelled."""

from __future__ import annotations

from typing import Any

import pytest
from flows import cancel_on, charge, child, ship
from stepper import Stepper

from durable import (
    Cancelled,
    CancelScope,
    ChildWorkflowError,
    Workflow,
    gather,
    race,
    shield,
    side_effect,
    sleep,
    spawn,
    wait_signal,
    with_timeout,
    workflow,
)
from durable.errors import (
    InstanceAlreadyExists,
    NonDeterminismError,
    PayloadError,
    UsageError,
    WorkflowCancelledError,
    WorkflowTerminatedError,
)
from durable.model import MAX_ID_BYTES

CANCELLED = WorkflowCancelledError("instance was cancelled")


@workflow
def parent() -> Workflow[list[str]]:
    """One child, in a scope that the signal "stop" cancels."""
    seen: list[str] = []
    with CancelScope() as scope:
        _ = spawn(cancel_on("stop", scope))
        try:
            seen.append((yield child.call("a")))
            yield side_effect(int)
            seen.append("goes on")
        except Cancelled as error:
            seen.append(f"cancelled by {type(error.__cause__).__name__}")
            raise
        except ChildWorkflowError as error:
            seen.append(f"{error.workflow} {error.instance_id} {error.error.message}")
        except InstanceAlreadyExists as error:
            seen.append(f"exists: {error}")
    return seen


def test_the_id_of_a_child_derives_from_its_parent_run_and_ordinal() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield gather(child.call("a"), child.options(id="mine").call("b"), sleep(1), child.call("c"))

    step = Stepper(flow, run=3)
    started = [e.instance_id for e in step.events() if hasattr(e, "instance_id")]
    assert started == ["instance/3.1", "mine", "instance/3.3"]
    assert [s.instance_id for s in step.decision.starts.values()] == started
    assert list(step.decision.starts) == [0, 1, 3]


def test_a_long_id_of_a_parent_still_gives_short_ids_of_children() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield gather(child.call("a"), child.call("b"))

    longest = "x" * (MAX_ID_BYTES - 4)
    ids = [
        [s.instance_id for s in Stepper(flow, instance_id=id).decision.starts.values()]
        for id in (longest, longest + "y", "z" * (MAX_ID_BYTES - 3))
    ]
    assert ids[0] == [f"{longest}/1.1", f"{longest}/1.2"]
    assert all(len(id.encode()) <= MAX_ID_BYTES for pair in ids for id in pair)
    assert len({id for pair in ids for id in pair}) == 6


def test_a_child_gives_its_result_rebuilt_by_its_hints() -> None:
    step = Stepper(parent)
    [start] = step.decision.starts.values()
    assert step.codec.decode(start.args) == ["a"]
    assert (start.queue, start.at) == ("default", step.clock)
    step.child_completes(0, "result")
    assert step.result() == ["result", "goes on"]


def test_an_id_in_use_raises_at_the_yield() -> None:
    step = Stepper(parent)
    step.child_fails(0, InstanceAlreadyExists("instance 'x' exists"), started=False)
    assert step.result() == ["exists: instance 'x' exists"]


@pytest.mark.parametrize("error", [ValueError("no"), CANCELLED, WorkflowTerminatedError("killed")])
def test_a_child_that_ends_otherwise_is_an_error_of_the_child(error: Exception) -> None:
    """A cancel by somebody else, too: it must not look like one of the parent."""
    step = Stepper(parent)
    step.child_fails(0, error)
    assert step.result() == [f"child instance/1.1 {error}"]


def test_a_child_that_we_have_cancelled_raises_cancelled() -> None:
    step = Stepper(parent)
    step.signal("stop")
    assert step.child_cancels == [0]
    [cancel] = step.decision.child_cancels
    assert (cancel.instance_id, cancel.at) == ("instance/1.1", step.clock - 1_000_000)
    step.child_fails(0, CANCELLED)
    assert step.result() == ["cancelled by RemoteError"]


def test_a_child_that_completes_in_spite_of_the_cancel_delivers_its_result() -> None:
    step = Stepper(parent)
    step.signal("stop")
    step.cancel("a second reason")
    assert step.kinds().count("ChildCancelRequested") == 1
    assert step.child_cancels == [0]
    step.child_completes(0, "after all")
    assert step.kinds()[-1] == "WorkflowCancelled"  # the client's cancel is not caught
    step = Stepper(parent)
    step.signal("stop")
    step.child_completes(0, "after all")
    assert step.result() == ["after all", "cancelled by NoneType"]


def test_a_child_that_fails_in_spite_of_the_cancel_delivers_its_failure() -> None:
    step = Stepper(parent)
    step.signal("stop")
    step.child_fails(0, ValueError("no"))
    assert step.result() == ["child instance/1.1 no"]


def test_the_end_of_a_child_that_lost_a_race_is_recorded_and_dropped() -> None:
    @workflow
    def flow() -> Workflow[str]:
        yield race(child.call("a"), sleep(5))
        yield wait_signal("go")
        return "done"

    step = Stepper(flow)
    step.fire(1)
    assert step.child_cancels == [0]
    step.child_fails(0, CANCELLED)
    assert step.last() == ["ChildFailed"]
    step.signal("go")
    assert step.result() == "done"


def test_a_failed_gather_waits_for_its_children() -> None:
    @workflow
    def flow() -> Workflow[str]:
        try:
            yield gather(charge.call("a"), child.call("a"), child.call("b"))
        except Exception as error:
            return type(error).__name__
        return "never"

    step = Stepper(flow)
    step.child_completes(2)
    step.fail(0, ValueError("no"))
    assert step.child_cancels == [1]
    assert not step.ended
    step.child_fails(1, CANCELLED)
    assert step.result() == "ActivityError"


def test_a_child_cancelled_in_the_step_that_starts_it_never_starts() -> None:
    @workflow
    def flow() -> Workflow[str]:
        with CancelScope() as scope:
            task = spawn(child.call("a"))
            yield side_effect(int)
            scope.cancel()
        with pytest.raises(Exception, match="cancelled"):
            yield task
        yield wait_signal("go")
        return "done"

    step = Stepper(flow)
    assert step.decision.starts == {}
    assert step.decision.child_cancels == []
    assert step.kinds()[1:] == ["SideEffectRecorded", "ChildStarted", "ChildCancelRequested"]
    assert not step.interpreter.pending
    step.signal("go")
    assert step.result() == "done"


def test_a_failed_gather_does_not_wait_for_its_children_when_the_root_has_returned() -> None:
    @workflow
    def flow() -> Workflow[str]:
        fails = gather(charge.call("a"), race(with_timeout(gather(child.call("b")), 9)))
        _ = spawn(gather(fails, return_exceptions=True))
        yield wait_signal("go")
        return "done"

    step = Stepper(flow)
    step.fail(0, ValueError("no"))
    step.signal("go")
    assert step.result() == "done"
    assert step.child_cancels == [1]


@pytest.mark.parametrize("asked", [False, True])
def test_children_are_not_awaited_when_the_root_has_returned(asked: bool) -> None:
    """What becomes of them is a matter of `parent_close`, which the store carries out."""

    @workflow
    def flow() -> Workflow[str]:
        with shield():
            _ = spawn(child.call("a"))
        other = spawn(gather(child.call("b"), wait_signal("never")))
        yield wait_signal("go")
        if asked:
            other.cancel()
            yield wait_signal("go")
        return "done"

    step = Stepper(flow)
    step.signal("go")
    if asked:
        assert step.child_cancels == [1]
        step.signal("go")
    assert step.result() == "done"
    assert step.child_cancels == [1] * asked


def test_a_cancel_neither_asks_an_abandoned_child_nor_waits_for_it() -> None:
    @workflow
    def flow() -> Workflow[str]:
        with CancelScope() as scope:
            _ = spawn(cancel_on("stop", scope))
            yield child.options(parent_close="abandon").call("a")
        yield wait_signal("go")
        return "done"

    step = Stepper(flow)
    step.signal("stop")
    assert step.last() == ["SignalReceived"]
    assert step.child_cancels == []
    step.child_completes(0)
    step.signal("go")
    assert step.result() == "done"


def test_replay_compares_the_workflow_of_a_child_its_id_and_its_arguments() -> None:
    def flow_of(command: Any) -> Any:
        @workflow(name="flow")
        def flow() -> Workflow[None]:
            yield command

        return flow

    step = Stepper(flow_of(child.options(id="x").call("a")))
    for other in (
        child.options(id="y").call("a"),
        child.options(id="x").call("b"),
        parent.options(id="x").call(),
        ship.call("a"),
    ):
        with pytest.raises(NonDeterminismError, match="ChildStarted"):
            step.replay(flow_of(other))
    step.replay(flow_of(child.call("a"))).close()  # the default id is the recorded one
    step.replay(flow_of(child.options(id="x", queue="q").call("a"))).close()


def test_options_that_are_a_clients_are_refused() -> None:
    with pytest.raises(UsageError, match="is for a client"):
        _ = child.options(if_exists="use").call("a")
    with pytest.raises(UsageError, match="1 to 255 bytes"):
        _ = child.options(id="").call("a")
    with pytest.raises(TypeError, match="missing a required argument"):
        _ = child.call()  # type: ignore[call-arg]


def test_the_memo_of_a_child_is_a_payload_when_it_is_started() -> None:
    @workflow
    def flow() -> Workflow[Any]:
        with pytest.raises(PayloadError, match="memo"):
            yield gather(child.call("a"), child.options(memo=object()).call("b"))
        yield gather(child.call("a"), child.options(memo={"n": 1}).call("b"))

    step = Stepper(flow)
    memos = [started.memo for started in step.decision.starts.values()]
    assert memos == [None, step.codec.encode({"n": 1})]
