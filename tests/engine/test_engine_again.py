"""Going on after a retry or a fork: what was overdue, what was unread, what has one key."""

from __future__ import annotations

from typing import Any

import pytest
from engine_kit import Engine, kinds, until

from durable import (
    Cancelled,
    Status,
    Workflow,
    activity,
    current_activity,
    race,
    set_var,
    shield,
    side_effect,
    sleep,
    uuid4,
    wait_signal,
    workflow,
)
from durable.errors import WorkflowError
from durable.events import Forked, TimerFired, TimerStarted


@activity
def key() -> str:
    return current_activity().idempotency_key


def test_a_retry_comes_before_the_timers_that_were_overdue(engine: Engine) -> None:
    """Clean-up and what is done after the retry have keys of their own."""

    @workflow
    def flow() -> Workflow[Any]:
        try:
            yield sleep(1)
        except Cancelled:
            with shield():
                set_var("refund", (yield key.call()))
            raise
        return (yield key.call())

    engine.work([flow], [key])
    handle = engine.start(flow)
    until(lambda: "TimerStarted" in kinds(handle))
    handle.cancel()
    engine.becomes(handle, Status.CANCELLED)
    refund = handle.vars()["refund"]
    (due_at,) = (e.due_at for e in handle.history() if isinstance(e, TimerStarted))
    until(lambda: engine.store.now() / 1e6 > due_at.timestamp(), "overdue")
    handle.retry()
    charge = handle.result(timeout=20)
    assert charge != refund
    assert kinds(handle)[2] == "Retried"


def test_what_was_consumed_wins_again_over_an_overdue_timer(engine: Engine) -> None:
    broken = [True]

    @workflow
    def flow() -> Workflow[str]:
        winner = yield race(go=wait_signal("go"), late=sleep(0.2))
        if broken[0]:
            raise ValueError("a bug")
        return str(winner.name)

    engine.work([flow])
    handle = engine.start(flow)
    handle.signal("go")
    engine.becomes(handle, Status.FAILED)
    broken[0] = False
    started = handle.history()[0].at
    until(lambda: (engine.store.now() / 1e6) > started.timestamp() + 0.25, "overdue")
    handle.retry()
    assert handle.result(timeout=20) == "go"


def test_a_fork_goes_on_from_its_own_seed_before_any_timer(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[str]:
        yield sleep(0)
        return str(uuid4())

    engine.work([flow])
    handle = engine.start(flow)
    first = handle.result(timeout=20)
    fork = engine.client.fork(handle.id, 1)
    assert fork.result(timeout=20) != first
    order = [type(event) for event in fork.history()]
    assert order.index(Forked) < order.index(TimerFired)


def test_signals_that_came_too_late_are_there_after_a_retry(engine: Engine) -> None:
    broken = [True]

    @workflow
    def flow() -> Workflow[Any]:
        first = yield wait_signal("n")
        if broken[0]:
            raise ValueError("a bug")
        return [first, (yield wait_signal("n"))]

    handle = engine.start(flow)
    handle.signal("n", 1)
    handle.signal("n", 2)
    engine.work([flow])
    found = engine.becomes(handle, Status.FAILED)
    assert found["unread"] == ["n"]
    broken[0] = False
    handle.retry()
    assert handle.result(timeout=20) == [1, 2]


def test_a_second_cancel_after_a_retry_reaches_the_child(engine: Engine) -> None:
    @workflow
    def child() -> Workflow[None]:
        yield wait_signal("never")

    @workflow
    def flow() -> Workflow[None]:
        yield child.call()

    engine.work([flow, child])
    handle = engine.start(flow)
    for _ in range(2):
        until(lambda: [c for c in handle.children() if c.status() is Status.RUNNING])
        handle.cancel()
        engine.becomes(handle, Status.CANCELLED)
        assert [c.status() for c in handle.children()] == [Status.CANCELLED]
        handle.retry()
    until(lambda: [c for c in handle.children() if c.status() is Status.RUNNING])


def test_a_fork_has_the_vars_of_that_moment(engine: Engine) -> None:
    from durable import continue_as_new

    @workflow
    def flow(again: bool) -> Workflow[Any]:
        if again:
            set_var("first", 1)
            return continue_as_new(False)
        set_var("second", 2)
        yield sleep(0)
        set_var("third", 3)
        yield wait_signal("end")

    engine.work([flow])
    handle = engine.start(flow, True)
    until(lambda: "third" in handle.vars())
    fork = engine.client.fork(handle.id, 1)
    until(lambda: "third" in fork.vars())
    assert fork.vars() == {"first": 1, "second": 2, "third": 3}


def test_a_side_effect_of_a_last_step_is_not_run_again_for_messages(engine: Engine) -> None:
    calls: list[int] = []
    handles: list[Any] = []

    def pays() -> int:
        calls.append(1)
        handles[0].signal("while it ends")
        return len(calls)

    @workflow
    def flow() -> Workflow[Any]:
        yield wait_signal("go")
        return (yield side_effect(pays))

    engine.work([flow])
    handles.append(engine.start(flow))
    handles[0].signal("go")
    assert handles[0].result(timeout=20) == 1
    assert calls == [1]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, Cancelled])
def test_user_code_that_asks_to_exit_does_not_stop_the_worker(
    engine: Engine, error: type[BaseException]
) -> None:
    from durable import SideEffectError, wait_until

    def leaves() -> None:
        raise error

    @workflow
    def flow(kind: str) -> Workflow[Any]:
        try:
            yield side_effect(leaves) if kind == "effect" else wait_until(leaves)
        except SideEffectError as raised:
            return raised.error.type
        return "?"

    worker = engine.work([flow])
    assert error.__name__ in engine.run(flow, "effect")
    with pytest.raises(WorkflowError):
        engine.run(flow, "predicate")
    assert worker.running


def test_an_error_whose_attributes_raise_is_a_failure(engine: Engine) -> None:
    class Odd(Exception):
        @property
        def details(self) -> Any:
            raise RuntimeError("no details")

    @activity(retry=None)
    def odd() -> None:
        raise Odd("odd")

    @workflow
    def flow() -> Workflow[Any]:
        return (yield odd.call())

    engine.work([flow], [odd])
    with pytest.raises(WorkflowError, match="odd"):
        engine.run(flow)


def test_a_failure_that_a_cancelled_gather_had_taken_fails_the_workflow(engine: Engine) -> None:
    from durable import TimeoutExpired, gather, spawn, timeout

    @workflow
    def flow() -> Workflow[str]:
        task = spawn(fails())
        try:
            with timeout(0.05):
                yield gather(task, wait_signal("never"), return_exceptions=True)
        except TimeoutExpired:
            set_var("expired", True)
        return "never"

    def fails() -> Workflow[None]:
        yield sleep(0)
        raise ValueError("of the task")

    engine.work([flow])
    handle = engine.start(flow)
    with pytest.raises(WorkflowError, match="of the task"):
        handle.result(timeout=20)
    assert handle.vars() == {"expired": True}


def test_a_step_that_swallows_its_end_is_blocked_all_the_same(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        yield sleep(0)
        try:
            while True:
                pass
        except BaseException:
            set_var("swallowed", True)
        return (yield key.call())

    engine.work([flow], [key], step_timeout=0.2)
    handle = engine.start(flow)
    found = engine.becomes(handle, Status.BLOCKED)
    assert "took" in found["reason"]
    assert handle.vars() == {}


def test_a_side_effect_has_the_context_of_its_coroutine_and_keeps_its_own(engine: Engine) -> None:
    from contextvars import ContextVar

    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")

    def reads() -> str:
        found = tenant.get()
        tenant.set("leaked")
        return found

    @workflow
    def flow() -> Workflow[Any]:
        tenant.set("acme")
        first = yield side_effect(reads)
        return [first, (yield side_effect(reads)), tenant.get()]

    engine.work([flow])
    assert engine.run(flow) == ["acme", "acme", "acme"]


def test_a_task_that_is_joined_raises_its_error_whole(engine: Engine) -> None:
    from durable import spawn

    @workflow
    def flow() -> Workflow[Any]:
        task = spawn(fails())
        found = []
        for _ in range(2):
            try:
                yield task
            except UnicodeDecodeError as error:
                found.append([error.reason, str(error)])
        return found

    def fails() -> Workflow[None]:
        yield sleep(0)
        b"\xff".decode()

    engine.work([flow])
    first, second = engine.run(flow)
    assert first == second
    assert first[0] == "invalid start byte"
    assert "0xff" in first[1]


def test_groups_and_notes_are_told(engine: Engine) -> None:
    from durable import ActivityError

    @activity(retry=None)
    def several() -> None:
        error = ExceptionGroup("many", [ValueError("one of them"), KeyError("another")])
        error.add_note("while it was loading")
        raise error

    @workflow
    def flow() -> Workflow[Any]:
        try:
            yield several.call()
        except ActivityError as error:
            return error.error.traceback
        return "?"

    engine.work([flow], [several])
    text = engine.run(flow)
    for part in ("ValueError: one of them", "KeyError: 'another'", "while it was loading"):
        assert part in text


def test_a_signal_function_that_gives_a_command_says_what_to_write(engine: Engine) -> None:
    from durable import on_signal

    @workflow
    def flow() -> Workflow[None]:
        on_signal("n", lambda value: key.call())
        yield sleep(3600)

    engine.work([flow], [key])
    handle = engine.start(flow)
    handle.signal("n")
    with pytest.raises(WorkflowError, match="write a generator function that yields it"):
        handle.result(timeout=20)
