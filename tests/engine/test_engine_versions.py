"""Living with code changes: versions, patches, blocked instances, rolling deploys."""

from __future__ import annotations

from typing import Any

import pytest
from engine_kit import Engine, kinds, until

from durable import (
    Handle,
    Status,
    Workflow,
    activity,
    info,
    patched,
    set_var,
    sleep,
    wait_signal,
    workflow,
)
from durable.errors import UsageError


@activity
def old_step() -> str:
    return "old"


@activity
def new_step() -> str:
    return "new"


@activity
def check() -> str:
    return "checked"


@workflow(name="order", version=1)
def order_1() -> Workflow[Any]:
    first = yield old_step.call()
    yield wait_signal("go")
    return [first, info().version]


@workflow(name="order", version=2)
def order_2() -> Workflow[Any]:
    first = yield new_step.call()
    yield wait_signal("go")
    return [first, info().version]


STEPS = [old_step, new_step, check]


def test_versions_stand_side_by_side(engine: Engine) -> None:
    first = engine.work([order_1], STEPS)
    old = engine.start("order")
    until(lambda: "ActivityCompleted" in kinds(old))
    first.stop()
    engine.work([order_1, order_2], STEPS)
    new, pinned = engine.start("order"), engine.client.start(order_1.options(version=1))
    for handle in (old, new, pinned):
        handle.signal("go")
    assert old.result(timeout=20) == ["old", 1]
    assert new.result(timeout=20) == ["new", 2]
    assert pinned.result(timeout=20) == ["old", 1]


def test_two_workers_of_different_code_share_a_store(engine: Engine) -> None:
    """A rolling deploy: each instance goes on with the code that it began with."""
    engine.work([order_1], STEPS, build="a")
    before = [engine.start("order") for _ in range(5)]
    until(lambda: all("ActivityCompleted" in kinds(handle) for handle in before))
    engine.work([order_2], STEPS, build="b")
    after = [engine.start("order") for _ in range(10)]
    for handle in before + after:
        handle.signal("go")
    assert [handle.result(timeout=20) for handle in before] == [["old", 1]] * 5
    results = [handle.result(timeout=20) for handle in after]
    assert all(result in (["old", 1], ["new", 2]) for result in results)


def test_an_instance_whose_version_is_gone_waits_for_it(engine: Engine) -> None:
    first = engine.work([order_1], STEPS)
    handle = engine.start("order")
    until(lambda: "ActivityCompleted" in kinds(handle))
    first.stop()
    handle.signal("go")
    engine.work([order_2], STEPS, unknown_after=0.01)
    found = engine.becomes(handle, Status.BLOCKED)
    assert "order@1" in found["reason"]
    engine.work([order_1], STEPS)
    assert handle.result(timeout=20) == ["old", 1]


def flow_before() -> Any:
    @workflow(name="patched")
    def flow() -> Workflow[Any]:
        yield wait_signal("one")
        found = [(yield old_step.call())]
        yield wait_signal("two")
        return found

    return flow


def flow_patched() -> Any:
    @workflow(name="patched")
    def flow() -> Workflow[Any]:
        yield wait_signal("one")
        found = []
        if patched("check first"):
            found.append((yield check.call()))
        found.append((yield old_step.call()))
        yield wait_signal("two")
        found.append(patched("check first"))
        return found

    return flow


def flow_after() -> Any:
    """The call is taken out when no run of before is left."""

    @workflow(name="patched")
    def flow() -> Workflow[Any]:
        yield wait_signal("one")
        found = [(yield check.call()), (yield old_step.call())]
        yield wait_signal("two")
        return found

    return flow


def at_two(handle: Handle[Any]) -> None:
    handle.signal("one")
    until(lambda: handle.describe()["tasks"] == [] and "ActivityCompleted" in kinds(handle))


def test_a_patch_is_taken_by_runs_that_had_not_come_to_it(engine: Engine) -> None:
    first = engine.work([flow_before()], STEPS, build="1")
    past, early = engine.start("patched"), engine.start("patched")
    at_two(past)
    until(lambda: early.status() is Status.RUNNING)
    first.stop()
    second = engine.work([flow_patched()], STEPS, build="2")
    past.signal("two")
    assert past.result(timeout=20) == ["old", False]
    at_two(early)
    until(lambda: kinds(early).count("ActivityCompleted") == 2)
    fresh = engine.start("patched")
    at_two(fresh)
    until(lambda: kinds(fresh).count("ActivityCompleted") == 2)
    assert "PatchMarked" in kinds(early)
    early.signal("two")
    assert early.result(timeout=20) == ["checked", "old", True]
    second.stop()
    engine.work([flow_after()], STEPS, build="3")
    fresh.signal("two")
    assert fresh.result(timeout=20) == ["checked", "old"]


def changed(step: Any) -> Any:
    @workflow(name="changes")
    def flow() -> Workflow[Any]:
        set_var("began", True)
        found = yield step.call()
        yield wait_signal("go")
        return found

    return flow


def test_code_that_does_not_match_blocks_and_loses_nothing(engine: Engine) -> None:
    good = engine.work([changed(old_step)], STEPS, build="good")
    handle = engine.start("changes")
    until(lambda: "ActivityCompleted" in kinds(handle))
    good.stop()
    bad = engine.work([changed(new_step)], STEPS, build="bad")
    handle.signal("go")
    found = engine.becomes(handle, Status.BLOCKED)
    assert "old_step" in found["reason"]
    assert "new_step.call()" in found["reason"]
    assert __file__ in found["reason"]
    length = found["history_length"]
    handle.retry()  # the same code refuses it again
    until(lambda: handle.describe()["status"] is Status.BLOCKED and handle.describe()["reason"])
    assert handle.describe()["history_length"] == length
    bad.stop()
    engine.work([changed(old_step)], STEPS, build="good again")
    assert handle.result(timeout=20) == "old"


def test_a_forced_retry_when_the_code_was_mended_under_the_same_name(engine: Engine) -> None:
    good = engine.work([changed(old_step)], STEPS, build="same")
    handle = engine.start("changes")
    until(lambda: "ActivityCompleted" in kinds(handle))
    good.stop()
    bad = engine.work([changed(new_step)], STEPS, build="same")
    handle.signal("go")
    engine.becomes(handle, Status.BLOCKED)
    bad.stop()
    engine.work([changed(old_step)], STEPS, build="same")
    assert handle.status() is Status.BLOCKED  # a worker of this name has refused it
    handle.retry()
    assert handle.result(timeout=20) == "old"
    with pytest.raises(UsageError, match="completed"):
        handle.retry()


def test_an_error_of_the_interpreter_blocks_one_instance_only(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from durable.interpreter.waits import TimerWait

    real = TimerWait.issue

    def breaks(self: Any) -> None:
        if self.command.microseconds == 1_234_000_000:
            raise RuntimeError("a bug of ours")
        real(self)

    monkeypatch.setattr(TimerWait, "issue", breaks)

    @workflow
    def flow(seconds: float) -> Workflow[str]:
        yield sleep(seconds)
        return "ok"

    worker = engine.work([flow])
    broken = engine.start(flow, 1234)
    found = engine.becomes(broken, Status.BLOCKED)
    assert "a bug of ours" in found["reason"]
    assert engine.run(flow, 0) == "ok"
    assert worker.running
