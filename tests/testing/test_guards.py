"""Guards: what workflow code must not call; and mistakes that the kit makes errors."""

from __future__ import annotations

import cProfile
import gc
import logging
import os
import pathlib
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import date, datetime
from random import randint
from time import time as clock

import pytest

from durable import Workflow, activity, logger, now, on_signal, side_effect, sleep, workflow
from durable import random as durable_random
from durable import uuid4 as durable_uuid4
from durable.errors import GuardError, KitError, NonDeterminismError
from durable.testing import WorkflowEnv

log = logging.getLogger("of a workflow")

CLOCK = "use `now()`"
CHANCE = "use `random()`"
OUTSIDE = "do it in an activity"

BAD: list[tuple[str, Callable[[], object], str]] = [
    ("time.time", lambda: time.time(), CLOCK),
    ("time.time", lambda: clock(), CLOCK),
    ("time.monotonic", lambda: time.monotonic(), CLOCK),
    ("time.sleep", lambda: time.sleep(0), "use `yield sleep(…)`"),
    ("datetime.now", lambda: datetime.now(), CLOCK),
    ("datetime.today", lambda: datetime.today(), CLOCK),
    ("date.today", lambda: date.today(), CLOCK),
    ("random.random", lambda: random.random(), CHANCE),
    ("random.randint", lambda: randint(1, 2), CHANCE),
    ("random.choice", lambda: random.choice([1]), CHANCE),
    ("random.shuffle", lambda: random.shuffle([1, 2]), CHANCE),
    ("os.urandom", lambda: os.urandom(1), CHANCE),
    ("secrets.token_hex", lambda: secrets.token_hex(), CHANCE),
    ("uuid.uuid1", lambda: uuid.uuid1(), "use `uuid4()`"),
    ("uuid.uuid4", lambda: uuid.uuid4(), "use `uuid4()`"),
    ("open", lambda: open(os.devnull).close(), OUTSIDE),
    ("open", lambda: pathlib.Path(os.devnull).read_text(), OUTSIDE),
    ("socket.socket", lambda: socket.socket(), OUTSIDE),
    ("subprocess.Popen", lambda: subprocess.run([sys.executable, "-V"]), OUTSIDE),
    ("threading.Thread.start", lambda: threading.Thread(target=len).start(), "use `spawn(…)`"),
    ("os.environ[…] = …", lambda: os.environ.update(GUARDED="1"), OUTSIDE),
    ("os.environ[…] = …", lambda: os.environ.setdefault("GUARDED", "1"), OUTSIDE),
    ("del os.environ[…]", lambda: os.environ.pop("PATH"), OUTSIDE),
]

GOOD: dict[str, Callable[[], object]] = {
    "logging": lambda: log.warning("it goes on"),
    "a logger": lambda: logger().info("it goes on"),
    "a seeded Random": lambda: random.Random(5).choice([1, 2]),
    "now": now,
    "random": lambda: durable_random().choice([1, 2]),
    "uuid4": durable_uuid4,
    "an import": lambda: __import__("colorsys"),
    "reading os.environ": lambda: os.environ.get("PATH"),
    "printing": lambda: print("it goes on"),
    "a date": lambda: datetime(2025, 1, 1).isoformat(),
}


@pytest.mark.parametrize(("name", "do", "instead"), BAD, ids=[name for name, _, _ in BAD])
@pytest.mark.parametrize("caught", [False, True])
def test_what_must_not_be_called(
    name: str, do: Callable[[], object], instead: str, caught: bool
) -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield sleep(1)
        try:
            do()
        except Exception:
            if not caught:
                raise
        yield sleep(1)

    with pytest.raises(GuardError) as failed:
        WorkflowEnv(flow).run()
    place, text, use = str(failed.value).split(": ", 2)
    assert place.startswith(f"{__file__}:")
    assert text == f"workflow code calls {name}"
    assert use.startswith(instead)
    assert "GUARDED" not in os.environ


@pytest.mark.parametrize("do", GOOD.values(), ids=GOOD)
def test_what_may_be_called(do: Callable[[], object]) -> None:
    @workflow
    def flow() -> Workflow[str]:
        yield sleep(1)
        do()
        yield sleep(1)
        return "done"

    assert WorkflowEnv(flow).run() == "done"


def test_the_line_is_that_of_the_call() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield sleep(1)
        time.time()

    with pytest.raises(GuardError) as caught:
        WorkflowEnv(flow).run()
    line = flow.fn.__code__.co_firstlineno + 3
    assert f"test_guards.py:{line}, in flow: " in str(caught.value)


def test_before_the_first_yield_and_in_helpers() -> None:
    def helper() -> Workflow[float]:
        yield sleep(1)
        return time.time()

    @workflow
    def early() -> Workflow[None]:
        time.time()
        yield sleep(1)

    @workflow
    def late() -> Workflow[float]:
        return (yield from helper())

    for flow in (early, late):
        with pytest.raises(GuardError, match=r"time\.time"):
            WorkflowEnv(flow).run()


def test_activities_and_side_effects_may() -> None:
    @activity
    def act() -> float:
        return random.random() * time.time()

    @workflow
    def flow() -> Workflow[float]:
        began = yield from side_effect(time.time)
        return began * (yield from act.call())

    assert WorkflowEnv(flow, activities=[act]).run() >= 0


def test_mocks_and_callbacks_may() -> None:
    @activity
    def act() -> float:
        return 0.0

    @workflow
    def child() -> Workflow[float]:
        yield sleep(1)
        return 0.0

    @workflow
    def flow() -> Workflow[list[float]]:
        return [(yield from act.call()), (yield from child.call())]

    env = WorkflowEnv(flow)
    env.mock(act, side_effect=time.time)
    env.mock(child, side_effect=time.time)
    env.after(seconds=0, do=time.time)
    assert min(env.run()) > 0


class Late:
    """In a cycle: the garbage collector finalizes it, whenever it runs."""

    def __init__(self, done: list[str]) -> None:
        self.myself = self
        self.done = done

    def __del__(self) -> None:
        self.done.append(f"finalized at {time.time():.0f}")


@pytest.mark.parametrize("place", [0, 1 << 20])
def test_the_garbage_collector_may(place: int) -> None:
    done: list[str] = []

    def timed(phase: str, info: dict[str, int]) -> None:
        done.append(f"{phase} at {time.perf_counter()}")

    @workflow
    def flow() -> Workflow[None]:
        yield sleep(1)
        Late(done)
        gc.collect()
        yield sleep(1)

    gc.callbacks.insert(place, timed)
    try:
        WorkflowEnv(flow).run()
    finally:
        gc.callbacks.remove(timed)
    assert {what.partition(" ")[0] for what in done} == {"start", "finalized", "stop"}


def test_what_comes_after_a_collection_is_seen() -> None:
    @workflow
    def flow() -> Workflow[None]:
        gc.collect()
        time.time()
        yield sleep(1)

    with pytest.raises(GuardError, match=r"time\.time"):
        WorkflowEnv(flow).run()


def test_without_guards() -> None:
    @workflow
    def flow() -> Workflow[None]:
        time.time()
        yield sleep(1)

    WorkflowEnv(flow, guards=False).run()


def test_a_profiler_is_given_back() -> None:
    def mine(*args: object) -> None: ...

    @workflow
    def flow() -> Workflow[None]:
        time.time()
        yield sleep(1)

    sys.setprofile(mine)
    try:
        with pytest.raises(GuardError):
            WorkflowEnv(flow).run()
        assert sys.getprofile() is mine
    finally:
        sys.setprofile(None)


# -- replay after each step -----------------------------------------------------------------


def test_chance_is_found_by_replay() -> None:
    @workflow
    def flow() -> Workflow[None]:
        for _ in range(30):
            if random.random() < 0.5:
                yield sleep(1)
            else:
                yield side_effect(int)

    with pytest.raises(NonDeterminismError, match=r"test_guards\.py:\d+, in flow"):
        WorkflowEnv(flow, guards=False).run()


def test_the_state_of_a_module_is_found_by_replay() -> None:
    calls = iter(range(1000))

    @workflow
    def flow() -> Workflow[None]:
        yield sleep(1 + next(calls) % 2)
        if next(calls) % 3:
            yield sleep(1)
        yield side_effect(int)

    with pytest.raises(NonDeterminismError, match=r"test_guards\.py:\d+, in flow"):
        WorkflowEnv(flow).run()


def test_the_order_of_a_set_is_found_by_replay() -> None:
    """Its elements have hashes by their addresses, which are others in each replay."""

    class Item:
        def __init__(self, number: int) -> None:
            self.number = number

    kept = []

    @workflow
    def flow() -> Workflow[None]:
        items = [Item(number) for number in range(50)]
        kept.append(items)  # so that no address is used again
        for item in set(items):
            yield side_effect(abs, item.number)
            if item.number % 2:
                yield sleep(1)

    with pytest.raises(NonDeterminismError, match=r"test_guards\.py:\d+, in flow"):
        WorkflowEnv(flow).run()


def test_a_callback_is_workflow_code() -> None:
    @workflow
    def flow() -> Workflow[None]:
        on_signal("x", lambda value: time.time())
        yield sleep(60)

    env = WorkflowEnv(flow)
    env.at(seconds=1, do=lambda: env.signal("x"))
    with pytest.raises(GuardError, match=r"time\.time"):
        env.run()


def test_under_cprofile() -> None:
    @workflow
    def flow() -> Workflow[str]:
        yield sleep(1)
        return "done"

    profile = cProfile.Profile()
    profile.enable()
    try:
        assert WorkflowEnv(flow).run() == "done"
        assert len("still alive") == 11
    finally:
        profile.disable()


def test_a_forgotten_yield() -> None:
    @workflow
    def flow() -> Workflow[None]:
        sleep(5)  # type: ignore[unused-awaitable]
        yield sleep(1)

    line = flow.fn.__code__.co_firstlineno + 2
    with pytest.raises(KitError, match=rf"test_guards\.py:{line}: .*never yielded"):
        WorkflowEnv(flow).run()


def test_long_histories_are_replayed_now_and_then() -> None:
    replays = []

    @workflow
    def flow() -> Workflow[None]:
        replays.append(1)
        for _ in range(1000):
            yield sleep(1)

    WorkflowEnv(flow, guards=False).run()
    assert 100 < len(replays) < 400
