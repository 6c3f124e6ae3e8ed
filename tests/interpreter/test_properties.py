"""Properties of the interpreter, over random workflows and random orders of events."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_driver import Driver, Watched, fingerprint
from random_programs import program

from durable.events import (
    PromiseCompleted,
    PromiseFailed,
    SignalReceived,
    TimerCancelled,
    TimerFired,
    TimerStarted,
    WorkflowCompleted,
    load,
)
from durable.interpreter import Decision
from durable.interpreter.coroutine import _UNCLOSABLE


def check_program(seed: int) -> int:
    """Run one program; at every prefix the replayed interpreter equals the live one."""
    random = Random(seed)
    driver = Driver(program(random, size=10), random)
    count = 1
    check_prefix(driver)
    for _ in driver.steps():
        count += 1
        check_prefix(driver)
    if driver.interpreter.ending is not None:
        check_end(driver)
    check_values(driver)
    drop(driver.interpreter)
    return count


def check_prefix(driver: Driver) -> None:
    live, replayed = driver.interpreter, driver.fresh()
    assert not live.model.wrong
    replayed.replay(driver.history)
    assert fingerprint(replayed) == fingerprint(live)
    assert not replayed.model.wrong
    assert replayed.take().events == [], "replay decided something"
    drop(replayed)


def drop(interpreter: Watched) -> None:
    """Dropped from memory it does nothing, and nothing is left."""
    variables, kept = dict(interpreter.variables), len(_UNCLOSABLE)
    interpreter.close()
    assert not interpreter.coroutines
    assert not interpreter.env.ghosts, "a statement ran"
    assert interpreter.take() == Decision()
    assert interpreter.variables == variables
    assert not interpreter.model.wrong
    assert len(_UNCLOSABLE) == kept


def check_end(driver: Driver) -> None:
    """Nothing is left behind: no coroutine, no waiter, no timer, no scope."""
    interpreter, env = driver.interpreter, driver.interpreter.env
    ending = interpreter.ending
    assert ending is not None
    assert interpreter.root is not None
    assert not interpreter.coroutines
    assert not interpreter.signals.count, "somebody still waits"
    assert not interpreter.predicates
    assert not interpreter.root.own.children, "a scope is left"
    assert not any(c._senders or c._receivers for c in env.channels)
    assert not any(p._state.waiters for p in env.promises)
    assert not any(task._coroutine.joiners for task, _ in env.tasks)
    check_timers(driver)
    received = [e for e in driver.history if isinstance(e, SignalReceived)]
    seen = " ".join(env.seen)
    read = [e for e in received if f"<{e.seq}>" in seen]
    assert all(seen.count(f"<{e.seq}>") == 1 for e in read), "read twice"
    left = [e for e in received if e not in read]
    assert [e.name for e in left] == list(ending.unread), "a signal was lost"
    if type(ending.event).__name__ == "ContinuedAsNew":
        carried = [e for d in ending.carried if isinstance(e := load(d, 0), SignalReceived)]
        assert [(e.name, e.value, e.message_id) for e in carried] == [
            (e.name, e.value, e.message_id) for e in left
        ]
        assert len(ending.carried) - len(carried) == interpreter.cancel_requested
    if isinstance(ending.event, WorkflowCompleted):
        assert driver.codec.decode(ending.event.value) == env.seen


def check_values(driver: Driver) -> None:
    """No derived value comes twice; a promise is kept if and only if its end has come."""
    env = driver.interpreter.env
    derived = [value for line in env.seen for value in re.findall(r"[0-9a-f-]{36}|0\.\d{9,}", line)]
    assert len(derived) == len(set(derived))
    ended = {e.command for e in driver.history if isinstance(e, PromiseCompleted | PromiseFailed)}
    assert all(p.done == (p._state.number in ended) for p in env.promises)


def check_timers(driver: Driver) -> None:
    """Every timer has fired or was cancelled; what is left are limits of other things."""
    ends: Counter[int] = Counter()
    started = set()
    for event in driver.history:
        if isinstance(event, TimerStarted):
            started.add(event.command)
        elif isinstance(event, TimerFired | TimerCancelled):
            ends[event.command] += 1
    assert all(ends[number] == 1 for number in started), "a timer is left, or ends twice"
    promises = {promise._state.number for promise in driver.interpreter.env.promises}
    assert set(driver.interpreter.timers) <= {-1, *promises}


@pytest.mark.filterwarnings("ignore::durable.ForgottenYield")
@pytest.mark.parametrize("block", range(15))
def test_live_equals_replay_for_many_programs(block: int) -> None:
    for seed in range(block * 100, block * 100 + 100):
        try:
            check_program(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.filterwarnings("ignore::durable.ForgottenYield")
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(min_value=10_000))
def test_live_equals_replay(seed: int) -> None:
    check_program(seed)
