"""How proposals are stored: in batches, one of them while the next is decided."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from durable import Client, Worker, Workflow, activity, workflow
from durable.errors import OutcomeUnknown
from durable.runner import runner
from durable.runner.committer import Committer
from durable.store import Poison, Step, Unavailable, Verdict
from durable.stores.memory import MemoryStore

PATIENCE = 30


class Recorder:
    """A store that answers as it is told, and the owner of what is sent there."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.answers: list[str] = []
        self.busy: set[str] = set()
        self.poisonous: set[str] = set()
        self.errors: list[Exception] = []
        self.distrusted: list[str] = []

    def commit(self, worker: str, steps: Sequence[Any]) -> list[Verdict]:
        self.batches.append(list(steps))
        if self.errors:
            raise self.errors.pop(0)
        if self.poisonous.intersection(steps):
            raise Poison("no")
        return [Verdict.BUSY if step in self.busy else Verdict.COMMITTED for step in steps]

    def answered(self, proposal: Any, verdict: Verdict) -> None:
        self.answers.append(proposal.step)

    def refused(self, proposal: Any, error: Poison) -> None:
        self.answers.append(f"not {proposal.step}")

    def distrust(self, batch: list[Any]) -> None:
        self.distrusted += [proposal.step for proposal in batch]


@pytest.fixture
def store() -> Recorder:
    return Recorder()


@pytest.fixture
def committer(store: Recorder) -> Committer:
    whole: Any = store
    return Committer(whole, store)


def add(committer: Committer, names: str) -> None:
    for name in names:
        proposal: Any = SimpleNamespace(step=name, written=1)
        committer.add(proposal)


def left(committer: Committer) -> str:
    return "".join(str(proposal.step) for proposal in committer)


def send_and_land(committer: Committer, overlapping: bool) -> None:
    committer.send("w", overlapping=overlapping)
    committer.land("w")


def test_one_batch_and_its_answers(committer: Committer, store: Recorder) -> None:
    add(committer, "abc")
    committer.send("w")
    assert (store.batches, store.answers) == ([["a", "b", "c"]], ["a", "b", "c"])
    assert not committer


def test_a_begun_batch_is_answered_when_it_lands(committer: Committer, store: Recorder) -> None:
    add(committer, "ab")
    committer.send("w", overlapping=True)
    assert not store.answers
    assert not committer
    add(committer, "c")
    committer.land("w")
    assert store.answers == ["a", "b"]
    committer.send("w")
    committer.land("w")
    assert store.answers == ["a", "b", "c"]
    committer.clear()


def test_what_is_busy_rests_until_the_next_turn(committer: Committer, store: Recorder) -> None:
    store.busy = {"b"}
    add(committer, "abc")
    committer.send("w")
    assert store.answers == ["a", "c"]
    assert not committer
    committer.rest()
    assert left(committer) == "b"


@pytest.mark.parametrize("overlapping", [False, True])
def test_what_was_not_stored_stays_in_its_order(
    committer: Committer, store: Recorder, overlapping: bool
) -> None:
    store.errors = [Unavailable("away")]
    add(committer, "ab")
    with pytest.raises(Unavailable):
        send_and_land(committer, overlapping)
    assert left(committer) == "ab"
    committer.clear()
    assert not committer


@pytest.mark.parametrize("overlapping", [False, True])
def test_what_may_have_been_stored_is_distrusted(
    committer: Committer, store: Recorder, overlapping: bool
) -> None:
    store.errors = [OutcomeUnknown("who knows", "")]
    add(committer, "ab")
    with pytest.raises(OutcomeUnknown):
        send_and_land(committer, overlapping)
    assert store.distrusted == ["a", "b"]
    assert not committer
    committer.clear()


def test_the_culprit_is_found_by_halving(committer: Committer, store: Recorder) -> None:
    store.poisonous = {"c"}
    add(committer, "abcde")
    committer.send("w")
    assert store.answers == ["a", "b", "not c", "d", "e"]
    assert not committer


def test_an_error_while_halving_loses_nothing(committer: Committer, store: Recorder) -> None:
    store.errors = [Poison("no"), Unavailable("away")]
    add(committer, "abcd")
    with pytest.raises(Unavailable):
        committer.send("w")
    assert left(committer) == "abcd"


# -- in a worker ------------------------------------------------------------------------


class Server(MemoryStore):
    """Its first commit of steps ends when one more instance was decided."""

    remote = True

    def __init__(self) -> None:
        super().__init__()
        self.decided: list[str] = []
        self.next_is_decided = threading.Event()
        self.sizes: list[int] = []

    def commit(self, worker: str, steps: Sequence[Step]) -> list[Verdict]:
        if not self.sizes:
            assert self.next_is_decided.wait(PATIENCE), "nothing was decided meanwhile"
        self.sizes.append(len(steps))
        return super().commit(worker, steps)


@activity
def double(number: int) -> int:
    return 2 * number


def test_the_next_steps_are_decided_while_a_server_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PART", 2)
    store = Server()

    @workflow
    def flow(number: int) -> Workflow[int]:
        store.decided.append("one")
        if len(store.decided) > runner.PART:
            store.next_is_decided.set()
        result: int = yield double.call(number)
        return result

    client = Client(store)
    handles = client.start_many([(flow.options(id=f"f{n}"), n) for n in range(7)])
    worker = Worker(store, workflows=[flow], activities=[double])
    worker.start()
    try:
        assert [handle.result(timeout=PATIENCE) for handle in handles] == [2 * n for n in range(7)]
    finally:
        worker.stop(0)
    assert store.sizes[:3] == [2, 2, 2]
