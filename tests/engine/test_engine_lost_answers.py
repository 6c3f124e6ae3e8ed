"""Claims and commits of which the runner does not learn: it is led by hand here, without its
loop, so that each answer is lost at a chosen moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from engine_kit import StoreProxy, kinds, proxy

from durable import Client, Codec, Workflow, activity, spawn, wait_signal, workflow
from durable.errors import OutcomeUnknown
from durable.model import WorkerInfo
from durable.registry import Registry
from durable.runner import Outcome, Runner
from durable.runner.cache import Cache
from durable.store import Claimed, ClaimRequest, Step, Store, Unavailable, Verdict
from durable.stores import open_store

FOREVER = 1 << 60


@activity
def hold() -> None:
    """Runs all the while, so that the instance is not given back."""


@workflow
def flow() -> Workflow[list[int]]:
    spawn(hold.call())
    return [(yield wait_signal("go")), (yield wait_signal("go")), (yield wait_signal("go"))]


@proxy
class Forgetful(StoreProxy):
    """Loses the answer of the next claim, or is away at the next commit."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.loses = self.away = False
        self.request: ClaimRequest | None = None
        self.verdicts: list[Verdict] = []

    def claim(self, request: ClaimRequest) -> Claimed:
        self.request = request
        claimed = self.inner.claim(request)
        loses, self.loses = self.loses, False
        if loses:
            raise OutcomeUnknown("the answer was lost")
        return claimed

    def commit(self, worker: str, steps: Sequence[Step]) -> list[Verdict]:
        away, self.away = self.away, False
        if away:
            raise Unavailable("away")
        verdicts = self.inner.commit(worker, steps)
        self.verdicts += verdicts
        return verdicts


class ByHand:
    """One instance, whose activity has begun, and the runner that holds it."""

    def __init__(self) -> None:
        made: Any = Forgetful
        self.store = made(open_store("memory://"))
        registry = Registry([], [flow], [hold])
        worker = WorkerInfo(
            "w", "host", "machine", 1, "build", ("default",), 4, registry.needs(), ("hold",),
            0, FOREVER,
        )  # fmt: skip
        self.store.register(worker)
        self.runner = Runner(
            self.store, registry, Codec(), worker, slots=4, max_held=10, cache=Cache(10)
        )
        self.handle = Client(self.store).start(flow)
        self.runner.claim()
        (self.attempt,) = self.runner.turn()

    def lose_a_claim(self) -> None:
        self.store.loses = True
        with pytest.raises(OutcomeUnknown):
            self.runner.claim()

    def fail_to_commit(self) -> None:
        self.store.away = True
        with pytest.raises(Unavailable):
            self.runner.turn()

    def turn(self) -> None:
        while self.runner.busy:
            self.runner.turn()

    def signals(self) -> int:
        return kinds(self.handle).count("SignalReceived")


def test_a_message_whose_claim_was_lost_is_read() -> None:
    it = ByHand()
    it.handle.signal("go", 1)
    it.lose_a_claim()
    it.turn()
    assert it.signals() == 1


def test_a_message_whose_claim_comes_late_is_read_after_a_heartbeat() -> None:
    it = ByHand()
    it.handle.signal("go", 1)
    assert it.store.request is not None
    it.store.inner.claim(it.store.request)
    it.runner.must_reconcile = True  # as after each heartbeat
    it.turn()
    assert it.signals() == 1


def test_a_step_is_made_again_if_its_instance_was_adopted_before_its_commit() -> None:
    it = ByHand()
    it.handle.signal("go", 1)
    it.runner.claim()
    it.fail_to_commit()
    it.handle.signal("go", 2)
    it.lose_a_claim()
    it.turn()
    assert it.signals() == 2
    it.handle.signal("go", 3)
    it.runner.claim()
    it.turn()
    assert it.signals() == 3


def test_a_step_is_committed_though_its_instance_was_claimed_again_before() -> None:
    it = ByHand()
    it.handle.signal("go", 1)
    it.runner.claim()
    it.fail_to_commit()
    it.handle.signal("go", 2)
    it.runner.claim()
    it.turn()
    assert it.signals() == 2
    assert set(it.store.verdicts) == {Verdict.COMMITTED}


def test_a_result_that_came_before_a_lost_claim_is_not_asked_for_again() -> None:
    it = ByHand()
    it.runner.finish(Outcome(it.attempt, Codec().encode(None)))
    it.handle.signal("go", 1)
    it.lose_a_claim()
    it.handle.signal("go", 2)
    it.runner.claim()
    started = []
    while it.runner.busy:
        started += it.runner.turn()
    it.runner.claim()  # of the result, from the inbox
    while it.runner.busy:
        started += it.runner.turn()
    assert not started
    assert kinds(it.handle).count("ActivityCompleted") == 1
    assert it.signals() == 2
