"""Timers, signals, race, gather, side effects, tasks and derived values."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from engine_kit import Engine, kinds, until

from durable import (
    ActivityError,
    Cancelled,
    SideEffectError,
    Status,
    TaskCancelled,
    Winner,
    Workflow,
    activity,
    gather,
    info,
    now,
    race,
    random,
    send_signal,
    set_var,
    side_effect,
    sleep,
    sleep_until,
    spawn,
    uuid4,
    wait_signal,
    workflow,
)
from durable.errors import InstanceFinished, InstanceNotFound, UsageError, WorkflowError
from durable.events import TimerFired, TimerStarted


@activity
def echo(value: Any) -> Any:
    return value


@activity(retry=None)
def fail(text: str) -> None:
    raise ValueError(text)


def test_timers_are_never_early(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield sleep(0.05)
        yield sleep(timedelta(milliseconds=20))
        yield sleep(0)
        yield sleep_until(now() + timedelta(milliseconds=10))
        yield sleep_until(datetime(2001, 1, 1, tzinfo=UTC))

    engine.work([flow])
    handle = engine.start(flow)
    handle.result(timeout=20)
    history = handle.history()
    due = {e.command: e.due_at for e in history if isinstance(e, TimerStarted)}
    fired = {e.command: e.at for e in history if isinstance(e, TimerFired)}
    assert len(due) == 5
    assert due.keys() == fired.keys()
    assert all(fired[number] >= due[number] for number in due)
    moments = [event.at for event in history]
    assert moments == sorted(moments)


def test_signals_early_and_late_come_in_order(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        found = [(yield wait_signal("a")), (yield wait_signal("b"))]
        set_var("read", 2)
        found.append((yield wait_signal("a")))
        return found

    handle = engine.start(flow)
    handle.signal("b", "early b")
    handle.signal("a", (1, "early"))
    engine.work([flow])
    until(lambda: handle.vars() == {"read": 2})
    handle.signal("a", "late")
    assert handle.result(timeout=20) == [(1, "early"), "early b", "late"]
    with pytest.raises(InstanceFinished):
        handle.signal("a")


def test_a_thousand_signals_in_order(engine: Engine) -> None:
    count = 1000 if engine.cache else 100  # without a cache each one may replay all

    @workflow
    def flow() -> Workflow[list[int]]:
        found = []
        for _ in range(count):
            found.append((yield wait_signal("n")))
        return found

    engine.work([flow])
    handle = engine.start(flow)
    for number in range(count):
        handle.signal("n", number)
    assert handle.result(timeout=30) == list(range(count))


def test_unread_signals_are_listed(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        return (yield wait_signal("read"))

    handle = engine.start(flow)
    for name in ("x", "read", "y", "x"):
        handle.signal(name)
    engine.work([flow])
    handle.result(timeout=20)
    assert handle.describe()["unread"] == ["x", "y", "x"]


def test_one_workflow_signals_another(engine: Engine) -> None:
    @workflow
    def receiver() -> Workflow[Any]:
        return (yield wait_signal("hello"))

    @workflow
    def sender() -> Workflow[list[str]]:
        yield send_signal("receiver", "hello", {"from": info().instance_id})
        errors = []
        for target in ("nobody", "ended"):
            try:
                yield send_signal(target, "hello")
            except (InstanceNotFound, InstanceFinished) as error:
                errors.append(type(error).__name__)
        return errors

    engine.work([receiver, sender])
    ended = engine.start(receiver.options(id="ended"))
    ended.signal("hello")
    ended.result(timeout=20)
    handle = engine.start(receiver.options(id="receiver"))
    assert engine.run(sender.options(id="s")) == ["InstanceNotFound", "InstanceFinished"]
    assert handle.result(timeout=20) == {"from": "s"}


def test_race_rules(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        found: list[Any] = []
        found.append((yield race(wait_signal("none"), sleep(0))))
        found.append((yield race(b=wait_signal("b"), a=wait_signal("a"))))  # a came first
        found.append((yield race(wait_signal("c"), wait_signal("c"))))  # a tie: the order given
        found.append((yield race(slow=sleep(3600), ready=wait_signal("b"))))  # looks first
        found.append((yield race(wait_signal("none"), default="nothing")))
        found.append((yield race(wait_signal("d"), default="nothing")))
        yield race(wait_signal("later"), sleep(0))  # the loser takes nothing that comes later
        set_var("ready", True)
        found.append((yield wait_signal("later")))
        try:
            yield race(fail.call("x"), sleep(3600))
        except ActivityError as error:
            found.append(error.error.message)
        winner = yield race(fail.call("y"), return_exceptions=True)
        found.append(isinstance(winner.value, ActivityError))
        for wrong in (echo.call(1), sleep(1)):
            try:
                yield race(wrong, default=None)
            except UsageError:
                found.append("refused")
        try:
            yield race()
        except ValueError:
            found.append("of nothing")
        return [[w.index, w.name, w.value] if isinstance(w, Winner) else w for w in found]

    handle = engine.start(flow)
    for name in ("a", "b", "c", "d"):
        handle.signal(name, f"{name}!")
    handle.signal("c", "second c")
    engine.work([flow], [echo, fail])
    until(lambda: handle.vars().get("ready"))
    handle.signal("later", 7)
    assert handle.result(timeout=20) == [
        [1, None, None],
        [1, "a", "a!"],
        [0, None, "c!"],
        [1, "ready", "b!"],
        [-1, "default", "nothing"],
        [0, None, "d!"],
        7,
        "x",
        True,
        "refused",
        "refused",
        "of nothing",
    ]
    assert kinds(handle).count("TimerStarted") == 3  # none where a signal was ready
    assert kinds(handle).count("TimerCancelled") == 1


def test_gather_rules(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        found: list[Any] = [(yield gather()), (yield gather(echo.call(1), echo.call((2,))))]
        found.append((yield gather(a=echo.call(1), b=sleep(0))))
        same = echo.call("s")
        found.append((yield gather(same, gather(same, echo.call(3)))))
        mixed = yield gather(fail.call("z"), echo.call(4), return_exceptions=True)
        found.append([isinstance(mixed[0], ActivityError), mixed[1]])
        found.append((yield gather(*[echo.call(i) for i in range(100)])) == list(range(100)))
        return found

    engine.work([flow], [echo, fail])
    assert engine.run(flow) == [
        [], [1, (2,)], {"a": 1, "b": None}, ["s", ["s", 3]], [True, 4], True,
    ]  # fmt: skip


def test_a_failed_gather_waits_for_what_it_started(engine: Engine) -> None:
    began, go = threading.Event(), threading.Event()

    @activity(retry=None)
    def charge() -> str:
        began.set()
        go.wait(20)
        return "charged"

    @activity(retry=None)
    def refuse() -> None:
        began.wait(20)
        raise ValueError("refused")

    @workflow
    def flow() -> Workflow[str]:
        try:
            yield gather(charge.call(), refuse.call(), sleep(3600))
        except ActivityError as error:
            return error.error.message
        return "?"

    engine.work([flow], [charge, refuse])
    handle = engine.start(flow)
    until(lambda: "ActivityFailed" in kinds(handle))
    assert handle.status() is Status.RUNNING
    go.set()
    assert handle.result(timeout=20) == "refused"
    names = kinds(handle)
    assert names.index("ActivityFailed") < len(names) - 2
    assert "TimerCancelled" in names
    assert names[-1] == "WorkflowCompleted"


def test_side_effects_run_once(engine: Engine) -> None:
    calls: list[int] = []

    def effect(add: int) -> tuple[int, ...]:
        calls.append(1)
        return (len(calls), add)

    def breaks() -> None:
        calls.append(1)
        raise KeyError("k")

    @workflow
    def flow() -> Workflow[Any]:
        first = yield side_effect(effect, 5)
        assert type(first) is tuple
        try:
            yield side_effect(breaks)
        except SideEffectError as error:
            kind = error.error.type
        for _ in range(3):
            yield sleep(0)
        return [first, kind]

    engine.work([flow])
    assert engine.run(flow) == [(1, 5), "KeyError"]
    assert len(calls) == 2


def test_spawned_tasks(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        def part(value: int) -> Workflow[int]:
            yield sleep(0)
            return int((yield from echo.call(value)))

        def endless() -> Workflow[None]:
            try:
                yield wait_signal("never")
            except Cancelled:
                set_var("stopped", True)
                raise

        def breaks() -> Workflow[None]:
            yield sleep(0)
            raise ValueError("task")

        one, two = spawn(part(1)), spawn(echo.call(2), name="two")
        found: list[Any] = [(yield two), (yield one), (yield one), one.result(), one.done, two.name]
        found.append((yield gather(spawn(part(3)), spawn(part(4)))))
        task = spawn(endless())
        yield sleep(0)
        task.cancel()
        try:
            yield task
        except TaskCancelled:
            found.append("cancelled")
        try:
            yield spawn(breaks())
        except ValueError as error:
            found.append(str(error))
        spawn(endless())
        yield sleep(0)
        return found

    engine.work([flow], [echo])
    handle = engine.start(flow)
    assert handle.result(timeout=20) == [2, 1, 1, 1, True, "two", [3, 4], "cancelled", "task"]
    assert handle.vars() == {"stopped": True}


def test_a_failure_that_nobody_joined_fails_the_workflow(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[str]:
        def breaks() -> Workflow[None]:
            yield sleep(0)
            raise ValueError("nobody saw it")

        spawn(breaks())
        yield sleep(0.01)
        return "done"

    engine.work([flow])
    with pytest.raises(WorkflowError, match="nobody saw it"):
        engine.run(flow)


def test_derived_values_and_facts_are_the_same_in_replay(engine: Engine) -> None:
    seen: dict[int, list[Any]] = {}

    @workflow(version=3)
    def flow(times: int) -> Workflow[list[Any]]:
        found: list[Any] = []
        for place in range(times):
            facts = info()
            value = [uuid4(), uuid4(), random().random(), now(), facts.version, facts.tags]
            assert value[0] != value[1]
            assert seen.setdefault(place, value) == value
            found.append(value[0])
            set_var("place", place)
            yield sleep(0)
        return found

    engine.work([flow])
    handle = engine.start(flow.options(tags=["t"], memo={"a": 1}), 8)
    found = handle.result(timeout=20)
    assert len(set(found)) == 8
    assert handle.vars() == {"place": 7}
    assert handle.describe()["memo"] == {"a": 1}
