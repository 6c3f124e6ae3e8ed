"""Coroutines of one workflow: channels, predicates, signal handlers, promises, deadlocks."""

from __future__ import annotations

from typing import Any

import pytest
from engine_kit import Engine, kinds, until

from durable import (
    Channel,
    ChannelClosed,
    Orchestrator,
    PromiseError,
    Status,
    Workflow,
    activity,
    external,
    gather,
    on_signal,
    race,
    set_var,
    sleep,
    spawn,
    wait_signal,
    wait_until,
    workflow,
)
from durable.errors import InstanceFinished, UsageError, WorkflowError


@activity
def echo(value: Any) -> Any:
    return value


def test_a_pool_of_workers_over_a_channel(engine: Engine) -> None:
    @workflow
    def flow(count: int) -> Workflow[Any]:
        jobs: Channel[int] = Channel()
        results: Channel[int] = Channel(capacity=2)
        for number in range(3):
            spawn(worker(jobs, results), name=f"worker-{number}")
        spawn(producer(jobs, count))
        found: list[int] = []
        while len(found) < count:
            found.append((yield results.receive()))
        return sorted(found)

    def producer(jobs: Channel[int], count: int) -> Workflow[None]:
        for number in range(count):
            yield jobs.send(number)
        jobs.close()

    def worker(jobs: Channel[int], results: Channel[int]) -> Workflow[None]:
        while (job := (yield jobs.receive(default=None))) is not None:
            yield results.send((yield echo.call(job)) * 10)

    engine.work([flow], [echo])
    assert engine.run(flow, 10) == [n * 10 for n in range(10)]


def test_select_over_channels_as_in_go(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        full: Channel[str] = Channel(1)
        empty: Channel[str] = Channel()
        seen: list[Any] = []
        seen.append((yield race(send=full.send("a"), got=empty.receive(), default="-")).name)
        seen.append((yield race(send=full.send("b"), got=empty.receive(), default="-")).name)
        spawn(late(empty))
        winner = yield race(got=empty.receive(), late=sleep(3600))
        seen.append((winner.name, winner.value))
        empty.close()
        with pytest.raises(ChannelClosed):
            yield empty.receive()
        with pytest.raises(ChannelClosed):
            yield empty.send("x")
        full.close()
        seen.append((yield full.receive()))
        yield from full.each(seen.append)
        return seen

    def late(channel: Channel[str]) -> Workflow[None]:
        yield sleep(0)
        yield channel.send("value")

    engine.work([flow])
    found = engine.run(flow)
    assert [list(x) if isinstance(x, tuple) else x for x in found] == [
        "send",
        "default",
        ["got", "value"],
        "a",
    ]


def test_wait_until_sees_what_other_coroutines_do(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        votes: list[str] = []
        on_signal("vote", votes.append)
        yield wait_until(lambda: len(votes) >= 3)
        with pytest.raises(UsageError, match="only looks"):
            yield wait_until(lambda: set_var("x", 1))
        with pytest.raises(ZeroDivisionError):
            yield wait_until(lambda: 1 / 0)
        return votes

    handle = engine.start(flow)
    for name in "abc":
        handle.signal("vote", name)
    engine.work([flow])
    assert handle.result(timeout=20) == ["a", "b", "c"]


def test_a_signal_handler_takes_all_of_its_name_in_order(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        seen: list[Any] = []
        on_signal("n", lambda value: add(seen, value))  # a generator, spawned for each
        with pytest.raises(UsageError, match="on_signal"):
            yield wait_signal("n")
        with pytest.raises(UsageError, match="before"):
            on_signal("n", print)
        yield wait_signal("end")
        yield wait_until(lambda: len(seen) == 20)
        return seen

    def add(seen: list[Any], value: Any) -> Workflow[None]:
        seen.append((yield echo.call(value)))

    handle = engine.start(flow)
    for number in range(20):
        handle.signal("n", number)
    engine.work([flow], [echo])
    handle.signal("end")
    assert sorted(handle.result(timeout=20)) == list(range(20))


def test_a_failing_signal_handler_fails_the_workflow_at_once(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[None]:
        on_signal("n", lambda value: 1 / value)
        yield sleep(3600)

    engine.work([flow])
    handle = engine.start(flow)
    handle.signal("n", 1)
    handle.signal("n", 0)
    with pytest.raises(WorkflowError) as raised:
        handle.result(timeout=20)
    assert raised.value.is_a(ZeroDivisionError)


def test_promises_are_kept_from_outside(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        first, second, third = external("first"), external(), external("third", timeout=0.02)
        tokens = yield gather(*[echo.call(p.token) for p in (first, second, third)])
        yield wait_signal("tokens were read")
        set_var("tokens", tokens)
        found = [(yield first), (yield race(again=first, late=sleep(3600))).name]
        for promise in (second, third):
            try:
                yield promise
            except PromiseError as error:
                found.append(error.error.type)
        return found

    engine.work([flow], [echo])
    handle = engine.start(flow)
    handle.signal("tokens were read")
    until(lambda: handle.vars().get("tokens"))
    tokens = handle.vars()["tokens"]
    engine.client.complete(tokens[0], "kept")
    engine.client.complete(tokens[0], "a second time")  # the first one counts
    engine.client.fail(tokens[1], ValueError("refused"))
    assert handle.result(timeout=20) == [
        "kept",
        "again",
        "ValueError",
        "durable.errors.TimeoutExpired",
    ]
    with pytest.raises(InstanceFinished):
        engine.client.complete(tokens[2], "late")
    with pytest.raises(UsageError, match="not made by"):
        engine.client.complete(tokens[1][:-4] + "AAAA", "guessed")


def test_a_deadlock_is_named_and_a_signal_still_reaches_it(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        channel: Channel[int] = Channel()
        task = spawn(stuck(channel), name="stuck")
        promise = external("that nobody waits for")
        set_var("token", promise.token)
        yield task

    def stuck(channel: Channel[int]) -> Workflow[None]:
        yield channel.receive()

    engine.work([flow])
    handle = engine.start(flow)
    found = engine.becomes(handle, Status.BLOCKED)
    assert "deadlock" in found["reason"]
    assert "root at" in found["reason"]
    assert "stuck at" in found["reason"]
    assert __file__ in found["reason"]
    handle.cancel()
    engine.becomes(handle, Status.CANCELLED)


def test_too_many_commands_at_once_are_refused_at_the_yield(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        with pytest.raises(UsageError, match="100,000"):
            yield gather(*[sleep(n) for n in range(100_001)])
        with pytest.raises(UsageError, match="100,000"):
            yield gather(gather(*[sleep(n) for n in range(100_000)]), sleep(0))
        return "ok"

    engine.work([flow])
    handle = engine.start(flow)
    assert handle.result(timeout=60) == "ok"
    assert kinds(handle) == ["WorkflowStarted", "WorkflowCompleted"]


def test_durations_and_moments_that_make_no_sense() -> None:
    from datetime import UTC, datetime, timedelta

    from durable import sleep_until, timeout, with_timeout

    @workflow
    def flow() -> Workflow[Any]:
        texts = []
        for wrong in (-1, float("nan"), float("inf"), timedelta(days=-1), timedelta(days=40_000)):
            for verb in (
                sleep,
                lambda d: with_timeout(wait_signal("x"), d),
                timeout,
                lambda d: external(timeout=d),
            ):
                try:
                    verb(wrong)
                except ValueError as error:
                    texts.append(str(error))
        for kind in ("soon", None, True):
            with pytest.raises(TypeError, match="seconds"):
                sleep(kind)  # type: ignore[arg-type, unused-awaitable]
        with pytest.raises(ValueError, match="aware datetime"):
            yield sleep_until(datetime(2030, 1, 1))
        yield race(sleep_until(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)), sleep(0))
        with pytest.raises(OverflowError):
            yield sleep_until(datetime(9999, 12, 31, tzinfo=UTC) + timedelta(days=2))
        return len(texts)

    with Orchestrator("memory://", workflows=[flow]) as here:
        assert here.client.start(flow).result(timeout=20) == 20


def test_a_large_argument_is_refused_at_its_line(engine: Engine) -> None:
    from durable.errors import PayloadError

    @workflow
    def child(data: str) -> Workflow[None]:
        yield sleep(0)

    @workflow
    def flow() -> Workflow[Any]:
        big = "x" * 10_000_000
        for command in (echo.call(big), child.call(big)):
            with pytest.raises(PayloadError, match="args"):
                yield command
        return "ok"

    engine.work([flow, child], [echo])
    assert engine.run(flow) == "ok"
