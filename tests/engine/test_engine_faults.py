"""Faults of the store: unknown outcomes, unreachable moments, and messages that come just
before a commit. A wrapper of the store makes them happen, and counts them."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from engine_kit import Engine, StoreProxy, kinds, proxy, until

from durable import (
    Retry,
    Status,
    Workflow,
    activity,
    gather,
    race,
    sleep,
    spawn,
    wait_signal,
    workflow,
)
from durable.errors import OutcomeUnknown
from durable.store import Step, Store, Unavailable, Verdict

INJECTIONS = 100  # in each of eight settings
BATCH = 20
VERBS = ("claim", "commit", "complete", "create", "send", "heartbeat", "owned", "adopt", "history")


@activity
def echo(value: Any) -> Any:
    return value


@activity(retry=Retry(max_attempts=5, first_delay=0.001))
def second_time(key: str) -> str:
    if key not in _seen:
        _seen.add(key)
        raise ValueError("once")
    return key


_seen: set[str] = set()


@workflow
def mixed(number: int) -> Workflow[list[Any]]:
    """A little of everything."""
    found: list[Any] = [(yield echo.call(number))]
    found += yield gather(*[echo.call(i) for i in range(3)], sleep(0.001))
    found.append((yield second_time.call(f"{number}")))
    winner = yield race(wait_signal("go"), sleep(3600))
    found.append(winner.value)
    found.append((yield wait_signal("go")))
    found.append((yield echo.call("end")))
    return found


class FaultyStore(StoreProxy):
    """At random a verb raises: before it was done, or after."""

    def __init__(self, inner: Store, seed: int, error: type[Exception], rate: float) -> None:
        super().__init__(inner)
        self.chance = random.Random(seed)
        self.error = error
        self.rate = rate
        self.before = self.after = 0
        self.on = threading.Event()
        self._guard = threading.Lock()

    def _call(self, verb: str, *args: Any) -> Any:
        with self._guard:
            fails = self.on.is_set() and self.chance.random() < self.rate
            late = self.error is OutcomeUnknown and self.chance.random() < 0.5
            if fails:
                self.after += late
                self.before += not late
        if fails and not late:
            raise self.error(f"injected before {verb}")
        answer = getattr(self.inner, verb)(*args)
        if fails:
            raise self.error(f"injected after {verb}")
        return answer


def _verb(verb: str) -> Any:
    def call(self: FaultyStore, *args: Any) -> Any:
        return self._call(verb, *args)

    return call


for _name in VERBS:
    setattr(FaultyStore, _name, _verb(_name))
proxy(FaultyStore)  # type: ignore[type-abstract]


@pytest.mark.parametrize("error", [OutcomeUnknown, Unavailable])
@pytest.mark.parametrize("cache", [10_000, 0])
def test_random_faults_lose_nothing_and_repeat_nothing(
    store_url: str, error: type[Exception], cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.SystemRandom().getrandbits(32)
    faulty: list[FaultyStore] = []
    _seen.clear()

    def wrap(store: Store) -> Store:
        made: Any = FaultyStore
        faulty.append(made(store, seed, error, 0.1))
        return faulty[0]

    engine = Engine(store_url, cache, wrap)
    monkeypatch.setattr("durable.worker.FIRST_PAUSE", 0.002)
    try:
        engine.work([mixed], [echo, second_time], lease=1.0)
        store = faulty[0]
        store.on.set()
        count = 0
        while store.before + store.after < INJECTIONS:
            handles = [engine.start(mixed, count + n) for n in range(BATCH)]
            for handle in handles:
                handle.signal("go", 1)
                handle.signal("go", 2)
            for place, handle in enumerate(handles):
                expected = [count + place, 0, 1, 2, None, f"{count + place}", 1, 2, "end"]
                assert handle.result(timeout=30) == expected, f"seed {seed}"
                store.on.clear()
                names = kinds(handle)
                store.on.set()
                assert names.count("ActivityCompleted") == 6, f"seed {seed}"
                assert names.count("SignalReceived") == 2, f"seed {seed}"
            count += BATCH
        store.on.clear()
        assert (
            engine.client.count() == engine.client.stats()["instances"][Status.COMPLETED] == count
        )
        if error is OutcomeUnknown:
            assert store.after > INJECTIONS // 4
    finally:
        faulty[0].on.clear()
        engine.stop()
        engine.client.close()


@proxy
class SignalFirst(StoreProxy):
    """A signal arrives while the last step is computed: just before its commit."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.act: Any = None
        self.verdicts: list[Verdict] = []

    def commit(self, worker: str, steps: Sequence[Step]) -> list[Verdict]:
        if self.act is not None and any(s.end and s.end.status.finished for s in steps):
            act, self.act = self.act, None
            act()
        verdicts = self.inner.commit(worker, steps)
        self.verdicts += verdicts
        return verdicts


@pytest.mark.parametrize("cache", [10_000, 0])
@pytest.mark.parametrize("during", ["signal", "cancel"])
def test_what_comes_during_the_last_step_is_not_lost(
    store_url: str, cache: int, during: str
) -> None:
    proxies: list[SignalFirst] = []
    ran: list[int] = []

    def wrap(store: Store) -> Store:
        made: Any = SignalFirst
        proxies.append(made(store))
        return proxies[0]

    @activity
    def once() -> int:
        ran.append(1)
        return 1

    @workflow
    def flow() -> Workflow[Any]:
        yield once.call()
        winner = yield race(wait_signal("late"), default="nothing")
        return winner.value

    engine = Engine(store_url, cache, wrap)
    try:
        handle = engine.start(flow)
        if during == "signal":
            proxies[0].act = lambda: handle.signal("late", "came")
        else:
            proxies[0].act = lambda: handle.cancel("late")
        engine.work([flow], [once])
        until(lambda: handle.status().finished)
        assert Verdict.UNSEEN in proxies[0].verdicts
        assert len(ran) == 1
        names = kinds(handle)
        assert names.count("ActivityCompleted") <= 1
        if during == "signal":
            assert handle.result(timeout=0) == "came"
            assert "SignalReceived" in names
        else:
            assert "CancelRequested" in names
            assert names[-1] == "WorkflowCancelled"
    finally:
        engine.stop()
        engine.client.close()


@proxy
class AwayOnce(StoreProxy):
    """Away at the first commit that takes a message; a second message comes meanwhile."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.act: Any = None

    def commit(self, worker: str, steps: Sequence[Step]) -> list[Verdict]:
        if self.act is not None and any(step.messages for step in steps):
            act, self.act = self.act, None
            act()
            raise Unavailable("away")
        return self.inner.commit(worker, steps)


@pytest.mark.parametrize("cache", [10_000, 0])
def test_a_message_of_a_repeated_commit_is_taken_once(store_url: str, cache: int) -> None:
    proxies: list[AwayOnce] = []
    gate = threading.Event()

    def wrap(store: Store) -> Store:
        made: Any = AwayOnce
        proxies.append(made(store))
        return proxies[0]

    @activity
    def hold() -> None:  # runs all the while, so that the instance is not given back
        gate.wait(30)

    @workflow
    def flow() -> Workflow[list[int]]:
        task = spawn(hold.call())
        found = [(yield wait_signal("go")), (yield wait_signal("go"))]
        yield task
        return found

    engine = Engine(store_url, cache, wrap)
    try:
        engine.work([flow], [hold])
        handle = engine.start(flow)
        until(lambda: "ActivityScheduled" in kinds(handle))
        proxies[0].act = lambda: handle.signal("go", 2)
        handle.signal("go", 1)
        until(lambda: kinds(handle).count("SignalReceived") == 2)
        gate.set()
        assert handle.result(timeout=30) == [1, 2]
        assert kinds(handle).count("SignalReceived") == 2
    finally:
        gate.set()
        engine.stop()
        engine.client.close()
