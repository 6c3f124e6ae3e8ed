"""`WorkflowEnv`: virtual time, what is sent from outside, what workflows do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from kit_flows import charge, order, ship, waiting

from durable import (
    ActivityError,
    Cancelled,
    PromiseError,
    Retry,
    Workflow,
    activity,
    continue_as_new,
    current_activity,
    external,
    info,
    now,
    on_signal,
    shield,
    sleep,
    sleep_until,
    wait_until,
    workflow,
)
from durable.errors import (
    InstanceFinished,
    KitError,
    MockError,
    WorkflowCancelledError,
    WorkflowError,
    WorkflowTerminatedError,
)
from durable.testing import WorkflowEnv

# -- level zero -------------------------------------------------------------------------


def test_level_zero_needs_nothing() -> None:
    gen = order("o-1", 500)
    assert next(gen) == charge.call("o-1", 500)
    assert next(gen) != charge.call("o-1", 501)


# -- time -------------------------------------------------------------------------------


def test_a_day_passes() -> None:
    env = WorkflowEnv(order, activities=[charge, ship])
    assert env.run("o-1", 500) == "shipped o-1"
    assert env.now - datetime(2025, 1, 1, tzinfo=UTC) == timedelta(hours=24)


def test_waiting_costs_nothing() -> None:
    @workflow
    def year() -> Workflow[None]:
        for _ in range(365):
            yield sleep(timedelta(days=1))

    env = WorkflowEnv(year, guards=False)
    began = time.perf_counter()
    env.run()
    assert time.perf_counter() - began < 5  # a year of waiting, in a few turns a day


def test_start_at() -> None:
    @workflow
    def when() -> Workflow[datetime]:
        yield sleep_until(datetime(2030, 5, 5, 12, tzinfo=UTC))
        return now()

    env = WorkflowEnv(when, start_at=datetime(2030, 5, 5, 11, tzinfo=UTC))
    assert env.run() == datetime(2030, 5, 5, 12, tzinfo=UTC)
    assert env.now == datetime(2030, 5, 5, 12, tzinfo=UTC)


def test_start_at_is_aware() -> None:
    with pytest.raises(ValueError, match="start_at"):
        WorkflowEnv(order, start_at=datetime(2030, 5, 5))


def test_retries_take_virtual_time() -> None:
    @activity(retry=Retry(max_attempts=3, first_delay=10, backoff=2))
    def unlucky() -> str:
        if current_activity().attempt < 3:
            raise ConnectionError("no")
        return "at last"

    @workflow
    def flow() -> Workflow[str]:
        return (yield from unlucky.call())

    env = WorkflowEnv(flow, activities=[unlucky])
    began = env.now
    assert env.run() == "at last"
    calls = env.calls(unlucky)
    assert [call.attempt for call in calls] == [1, 2, 3]
    times = [call.at - began for call in calls if call.at is not None]
    assert times == [timedelta(0), timedelta(seconds=10), timedelta(seconds=30)]


def test_advance() -> None:
    env = WorkflowEnv(order, activities=[charge, ship])
    handle = env.start("o-1", 500)
    env.advance(hours=23)
    assert not handle.status().finished
    assert env.now - datetime(2025, 1, 1, tzinfo=UTC) == timedelta(hours=23)
    env.advance(hours=1)
    assert env.result() == "shipped o-1"


def test_at_and_after() -> None:
    seen: list[str] = []
    env = WorkflowEnv(order, activities=[charge, ship])
    env.at(hours=2, do=lambda: seen.append("at 2"))
    env.at(datetime(2025, 1, 1, 1, tzinfo=UTC), do=lambda: seen.append("at 1"))
    env.at(hours=1, do=lambda: env.after(minutes=30, do=lambda: seen.append("at 1:30")))
    env.run("o-1", 500)
    assert seen == ["at 1", "at 1:30", "at 2"]


def test_durations_are_seconds_timedeltas_or_words() -> None:
    seen: list[float] = []
    env = WorkflowEnv(order, activities=[charge, ship])
    began = env.now

    def note() -> None:
        seen.append((env.now - began).total_seconds())

    env.at(60, do=note)
    env.at(timedelta(minutes=2), do=note)
    env.at(minutes=3, do=note)
    env.start("o-1", 500)
    env.advance(30)
    env.after(1.5, do=note)
    env.after(timedelta(seconds=2), do=note)
    env.advance(timedelta(hours=1))
    assert seen == [31.5, 32, 60, 120, 180]
    assert env.now - began == timedelta(hours=1, seconds=30)


Kit: Any = WorkflowEnv

WRONG: list[tuple[Callable[[Any], object], type[Exception], str]] = [
    (lambda env: env.at(hour=1, do=int), TypeError, r"env\.at takes weeks, .* and not hour"),
    (lambda env: env.after(5, seconds=5, do=int), TypeError, r"env\.after takes .* not both"),
    (lambda env: env.advance("1h"), TypeError, r"env\.advance takes seconds .* not '1h'"),
    (lambda env: env.advance(hours=-1), ValueError, r"env\.advance cannot be"),
    (lambda env: env.advance(hours="1"), TypeError, r"env\.advance takes numbers, .* hours='1'"),
    (lambda env: env.at(env.now, hours=1, do=int), TypeError, r"env\.at takes .* not both"),
    (lambda env: env.at(hours=1, do=None), TypeError, r"env\.at\(do=\) takes a function"),
    (lambda env: env.after(1, do=env.signal("go")), TypeError, r"env\.after\(do=\) .* not None"),
    (lambda env: env.on_child(order, None), TypeError, r"env\.on_child takes a function"),
    (lambda env: env.on_child(None, int), MockError, r"an activity, a workflow, or a name"),
    (lambda env: Kit(None, guards=5), TypeError, r"guards= is True or False, not 5"),
    (lambda env: Kit("order").run(), KitError, r"takes the workflow order itself"),
    (lambda env: Kit(order.fn), TypeError, r"takes a workflow .* not order: decorate"),
    (lambda env: Kit(charge), TypeError, r"runs a workflow, and charge is an activity"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_mistakes(wrong: Callable[[Any], object], error: type[Exception], message: str) -> None:
    env = WorkflowEnv(waiting)
    env.start()
    with pytest.raises(error, match=message):
        wrong(env)


def test_time_does_not_move_inside_a_callback() -> None:
    env = WorkflowEnv(order, activities=[charge, ship])
    env.at(hours=1, do=lambda: env.advance(hours=1))
    with pytest.raises(KitError, match=r"env\.advance in a callback"):
        env.run("o-1", 500)
    env = WorkflowEnv(order, activities=[charge, ship])
    env.at(hours=1, do=env.result)
    with pytest.raises(KitError, match="to wait for a result in a callback"):
        env.run("o-1", 500)


def test_a_callback_that_fails_fails_the_test() -> None:
    def wrong() -> None:
        raise LookupError("of the test")

    env = WorkflowEnv(order, activities=[charge, ship])
    env.at(hours=1, do=wrong)
    with pytest.raises(LookupError, match="of the test"):
        env.run("o-1", 500)


# -- from outside -----------------------------------------------------------------------


def test_a_signal_at_a_time() -> None:
    env = WorkflowEnv(order, activities=[charge])
    env.at(hours=1, do=lambda: env.signal("refund"))
    assert env.run("o-1", 500) == "refunded"
    assert env.now - datetime(2025, 1, 1, tzinfo=UTC) == timedelta(hours=1)


def test_a_signal_now() -> None:
    env = WorkflowEnv(waiting)
    env.start()
    env.signal("go", {"by": "bob"})
    assert env.result() == {"by": "bob"}
    with pytest.raises(InstanceFinished):
        env.signal("go")


def test_cancel_runs_the_cleanup() -> None:
    @workflow
    def careful() -> Workflow[None]:
        try:
            yield sleep(3600)
        except Cancelled:
            with shield():
                yield ship.call("back")
            raise

    env = WorkflowEnv(careful, activities=[ship])
    env.at(minutes=1, do=lambda: env.cancel("no longer wanted"))
    with pytest.raises(WorkflowCancelledError, match="no longer wanted"):
        env.run()
    env.assert_called(ship, "back")


def test_terminate() -> None:
    env = WorkflowEnv(waiting)
    env.after(seconds=1, do=lambda: env.terminate("enough"))
    with pytest.raises(WorkflowTerminatedError, match="enough"):
        env.run()


@workflow
def promised() -> Workflow[str]:
    promise = external("answer", timeout=60, type=str)
    yield ship.call(promise.token)
    try:
        return (yield from promise)
    except PromiseError as error:
        return f"{error.error.type}: {error.error.message}"


def test_promises() -> None:
    env = WorkflowEnv(promised, activities=[ship])
    env.after(seconds=1, do=lambda: env.complete(env.calls(ship)[0].args[0], "yes"))
    assert env.run() == "yes"
    env = WorkflowEnv(promised, activities=[ship])
    env.after(seconds=1, do=lambda: env.fail(env.calls(ship)[0].args[0], ValueError("who?")))
    assert env.run() == "ValueError: who?"
    env = WorkflowEnv(promised, activities=[ship])
    assert env.run().startswith("durable.errors.TimeoutExpired")


@activity(timeout=60, retry=None)
def asked() -> str:
    TOKENS.append(current_activity().token)
    raise current_activity().complete_later()


TOKENS: list[str] = []


@workflow
def asking() -> Workflow[str]:
    try:
        return (yield from asked.call())
    except ActivityError as error:
        return f"{error.error.type}: {error.error.details}"


def test_an_activity_that_is_completed_later() -> None:
    env = WorkflowEnv(asking, activities=[asked])
    env.after(seconds=30, do=lambda: env.complete(TOKENS[-1], "done"))
    assert env.run() == "done"
    env = WorkflowEnv(asking, activities=[asked])
    assert env.run() == "durable.errors.TimeoutExpired: {'kind': 'attempt'}"
    assert env.now - datetime(2025, 1, 1, tzinfo=UTC) == timedelta(seconds=60)


def test_pause_and_resume() -> None:
    env = WorkflowEnv(order, activities=[charge, ship])
    handle = env.start("o-1", 500)
    handle.pause()
    env.advance(hours=48)
    assert str(env.status) == "paused"
    handle.resume()
    assert env.result() == "shipped o-1"


# -- what workflows do ------------------------------------------------------------------


def test_continue_as_new() -> None:
    @workflow
    def counter(left: int) -> Workflow[int]:
        yield sleep(1)
        if left:
            return continue_as_new(left - 1)
        return info().run

    assert WorkflowEnv(counter).run(3) == 4


def test_on_signal() -> None:
    @workflow
    def summing() -> Workflow[int]:
        seen: list[int] = []
        on_signal("add", seen.append)
        yield wait_until(lambda: len(seen) == 3)
        return sum(seen)

    env = WorkflowEnv(summing)
    for number in (1, 2, 3):
        env.at(seconds=number, do=partial(env.signal, "add", number))
    assert env.run() == 6


def test_every_queue_is_served() -> None:
    @activity(queue="far away")
    def far() -> str:
        return "here"

    @workflow(queue="elsewhere")
    def flow() -> Workflow[str]:
        return (yield from far.call())

    assert WorkflowEnv(flow, activities=[far]).run() == "here"


def test_versions() -> None:
    @workflow(name="versioned", version=1)
    def one() -> Workflow[int]:
        yield sleep(1)
        return 1

    @workflow(name="versioned", version=2)
    def two() -> Workflow[int]:
        yield sleep(1)
        return 2

    @workflow
    def parent() -> Workflow[Any]:
        return (yield two.call())

    assert WorkflowEnv(parent, workflows=[one, two]).run() == 2


def test_an_async_activity() -> None:
    @activity
    async def fetched() -> str:
        return "fetched"

    @workflow
    def flow() -> Workflow[str]:
        return (yield from fetched.call())

    assert WorkflowEnv(flow, activities=[fetched]).run() == "fetched"


def test_an_async_activity_of_a_test_that_runs_in_a_loop_itself() -> None:
    who: ContextVar[str] = ContextVar("who")

    @activity
    async def real() -> str:
        await asyncio.sleep(0)
        return f"real, for {who.get()}"

    @activity
    async def mocked() -> str:
        raise AssertionError("the real one was called")

    @workflow
    def flow() -> Workflow[list[str]]:
        return [(yield from real.call()), (yield from mocked.call())]

    async def fake() -> str:
        return "mocked"

    async def test() -> list[str]:
        who.set("bob")
        env = WorkflowEnv(flow, activities=[real])
        env.mock(mocked, side_effect=fake)
        found: list[str] = env.run()
        return found

    assert asyncio.run(test()) == ["real, for bob", "mocked"]


def test_methods_of_an_object() -> None:
    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        @activity
        def sell(self, what: str) -> str:
            return f"{what} of {self.name}"

    @workflow
    def flow() -> Workflow[str]:
        return (yield from Shop.sell.call("tea"))

    assert WorkflowEnv(flow, activities=[Shop("Ann")]).run() == "tea of Ann"


def test_heartbeats_reach_the_next_attempt() -> None:
    @activity(retry=Retry(first_delay=1))
    def loading() -> list[Any]:
        here = current_activity()
        if here.attempt == 1:
            here.heartbeat("half")
            raise ConnectionError("broken off")
        return [here.last_heartbeat, here.attempt]

    @workflow
    def flow() -> Workflow[list[Any]]:
        return (yield from loading.call())

    assert WorkflowEnv(flow, activities=[loading]).run() == ["half", 2]


def test_a_failure_of_the_workflow() -> None:
    @workflow
    def wrong() -> Workflow[None]:
        yield sleep(1)
        raise LookupError("not there")

    with pytest.raises(WorkflowError, match="LookupError: not there"):
        WorkflowEnv(wrong).run()
