"""Workers with old and new code side by side: what one refuses another takes, at once."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Any

import pytest
from engine_kit import Engine, kinds, until

from durable import Handle, Status, Worker, Workflow, activity, patched, wait_signal, workflow


@activity
def charge() -> str:
    return "charged"


@activity
def check() -> str:
    return "checked"


@activity
def pack() -> str:
    return "packed"


STEPS = [charge, check, pack]


def code(step: Any) -> Any:
    """A workflow whose histories begin with this activity."""

    @workflow(name="order")
    def flow() -> Workflow[Any]:
        found = yield step.call()
        yield wait_signal("go")
        return found

    return flow


def before() -> Any:
    @workflow(name="deployed")
    def flow() -> Workflow[Any]:
        found = [(yield charge.call())]
        yield wait_signal("go")
        found.append((yield charge.call()))
        return found

    return flow


def after() -> Any:
    """The same with something new, announced by a patch."""

    @workflow(name="deployed")
    def flow() -> Workflow[Any]:
        found = [(yield check.call())] if patched("check first") else []
        found.append((yield charge.call()))
        yield wait_signal("go")
        found.append((yield charge.call()))
        return found

    return flow


def work(engine: Engine, flow: Any, build: str) -> Worker:
    return engine.work([flow], STEPS, build=build)


def begun(engine: Engine, flow: Any, build: str, count: int) -> list[Handle[Any]]:
    """Instances that wait for ``go``; the worker that began them has stopped."""
    worker = work(engine, flow, build)
    handles = [engine.start(flow) for _ in range(count)]
    until(lambda: all("ActivityCompleted" in kinds(handle) for handle in handles))
    worker.stop()
    return handles


def go(handles: list[Handle[Any]]) -> None:
    for handle in handles:
        handle.signal("go")


def rests(engine: Engine, handle: Handle[Any], *builds: str) -> None:
    """Wait until all these have refused it, and nobody is to look at it."""

    def quiet() -> bool:
        found = engine.store.instance(handle.id)
        assert found is not None
        return sorted(found.blocked_by.split()) == sorted(builds) and found.wake_at is None

    until(quiet, f"{handle} is refused by {builds}")
    assert handle.status() is Status.BLOCKED


class Refusals(logging.Handler):
    """Counts how often each instance was refused."""

    def __init__(self) -> None:
        super().__init__()
        self.of: Counter[str] = Counter()
        self._counting = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "%s is blocked: %s" and isinstance(record.args, tuple):
            with self._counting:
                self.of[str(record.args[0])] += 1


@pytest.fixture
def refusals() -> Any:
    found = Refusals()
    logger = logging.getLogger("durable.worker")
    logger.addHandler(found)
    yield found
    logger.removeHandler(found)


def test_old_and_new_code_finish_all_together(engine: Engine) -> None:
    """Whoever begins an instance, each step goes to who can do it while both run."""
    work(engine, before(), "old")
    handles = [engine.start("deployed") for _ in range(15)]
    work(engine, after(), "new")
    handles += [engine.start("deployed") for _ in range(15)]
    go(handles)
    old, new = ["charged", "charged"], ["checked", "charged", "charged"]
    for handle in handles:
        result = handle.result(timeout=30)
        assert result == (new if "PatchMarked" in kinds(handle) else old)
        assert handle.describe()["blocked_by"] == ""


def test_what_an_old_worker_blocked_goes_on_beside_it(engine: Engine) -> None:
    """The right code comes while the wrong one goes on running, and being the first to ask."""
    handles = begun(engine, code(check), "new", 50)
    work(engine, code(charge), "old")
    go(handles)
    until(lambda: engine.client.count(status="blocked") == 50)
    work(engine, code(check), "new")
    assert [handle.result(timeout=30) for handle in handles] == ["checked"] * 50


def test_a_block_while_the_right_code_is_there(engine: Engine) -> None:
    """It waits for nobody to register."""
    handles = begun(engine, code(check), "new", 10)
    work(engine, code(check), "new")
    work(engine, code(charge), "old")
    go(handles)
    assert [handle.result(timeout=30) for handle in handles] == ["checked"] * 10


def test_two_that_refuse_try_once_each(engine: Engine, refusals: Refusals) -> None:
    handles = begun(engine, code(check), "right", 5)
    work(engine, code(charge), "wrong")
    work(engine, code(pack), "wrong, too")
    go(handles)
    for handle in handles:
        rests(engine, handle, "wrong", "wrong,%20too")
    fresh = [engine.start("order") for _ in range(10)]  # both workers have much to look at
    until(lambda: all("ActivityCompleted" in kinds(handle) for handle in fresh))
    for handle in handles:
        rests(engine, handle, "wrong", "wrong,%20too")
        assert refusals.of[handle.id] == 2
    work(engine, code(check), "right")
    assert [handle.result(timeout=30) for handle in handles] == ["checked"] * 5
    assert {refusals.of[handle.id] for handle in handles} == {2}


def test_the_old_worker_stops(engine: Engine) -> None:
    handles = begun(engine, code(check), "new", 10)
    old = work(engine, code(charge), "old")
    go(handles)
    for handle in handles:
        rests(engine, handle, "old")
    old.stop()
    for handle in handles:
        rests(engine, handle, "old")
    work(engine, code(check), "new")
    assert [handle.result(timeout=30) for handle in handles] == ["checked"] * 10


def test_a_retry_is_for_every_build(engine: Engine, refusals: Refusals) -> None:
    [handle] = begun(engine, code(check), "right", 1)
    work(engine, code(charge), "wrong")
    go([handle])
    rests(engine, handle, "wrong")
    handle.retry()
    until(lambda: refusals.of[handle.id] == 2)
    rests(engine, handle, "wrong")


def test_the_right_code_came_during_a_pause(engine: Engine) -> None:
    [handle] = begun(engine, code(check), "new", 1)
    work(engine, code(charge), "old")
    go([handle])
    rests(engine, handle, "old")
    handle.pause()
    work(engine, code(check), "new")
    assert handle.status() is Status.PAUSED
    handle.resume()
    assert handle.result(timeout=30) == "checked"


def test_no_other_code_came_during_a_pause(engine: Engine, refusals: Refusals) -> None:
    [handle] = begun(engine, code(check), "new", 1)
    work(engine, code(charge), "old")
    go([handle])
    rests(engine, handle, "old")
    handle.pause()
    handle.resume()
    rests(engine, handle, "old")
    assert refusals.of[handle.id] == 1
