"""Properties of the interpreter, over random workflows and random orders of events."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_programs import Driver, fingerprint, program

from durable.events import SignalReceived, WorkflowCompleted


def check_program(seed: int) -> int:
    """Run one program; at every prefix the replayed interpreter equals the live one."""
    random = Random(seed)
    driver = Driver(program(random), random)
    count = 0
    for _ in driver.steps():
        count += 1
        replayed = driver.fresh()
        replayed.replay(driver.events())
        assert fingerprint(replayed) == fingerprint(driver.interpreter), f"seed {seed}"
        assert replayed.take().events == [], f"seed {seed}: replay decided something"
        replayed.close()
        assert not replayed.coroutines
    if driver.interpreter.ending is not None:
        check_end(driver, seed)
    before = len(driver.stored)
    driver.interpreter.close()
    assert driver.interpreter.take().events == [], f"seed {seed}: eviction had an effect"
    assert len(driver.stored) == before
    return count


def check_end(driver: Driver, seed: int) -> None:
    """Nothing is left behind: no coroutine, no waiter, no timer."""
    interpreter = driver.interpreter
    assert not interpreter.coroutines, f"seed {seed}"
    assert not interpreter.signals.count, f"seed {seed}: somebody still waits"
    assert not interpreter.timers, f"seed {seed}: a timer is left"
    ending = interpreter.ending
    assert ending is not None
    received = [e for e in driver.events() if isinstance(e, SignalReceived)]
    unread = list(ending.unread)
    for name in set(unread):
        assert unread.count(name) <= sum(e.name == name for e in received), f"seed {seed}"
    if isinstance(ending.event, WorkflowCompleted):
        seen = " ".join(driver.codec.decode(ending.event.value))
        read = [e for e in received if seen.count(f"<{e.seq}>")]
        assert all(seen.count(f"<{e.seq}>") == 1 for e in read), f"seed {seed}: read twice"
        lost = Counter(e.name for e in received) - Counter(e.name for e in read)
        assert lost == Counter(unread), f"seed {seed}: a signal was lost"


@pytest.mark.filterwarnings("ignore::durable.ForgottenYield")
def test_live_equals_replay_for_many_programs() -> None:
    events = sum(check_program(seed) for seed in range(1500))
    assert events > 5_000


@pytest.mark.filterwarnings("ignore::durable.ForgottenYield")
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(min_value=10_000))
def test_live_equals_replay(seed: int) -> None:
    check_program(seed)
