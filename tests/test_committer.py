"""How proposals are stored, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from durable.errors import OutcomeUnknown
from durable.runner.committer import Committer
from durable.store import Poison, Unavailable, Verdict


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


def test_one_batch_and_its_answers(committer: Committer, store: Recorder) -> None:
    add(committer, "abc")
    committer.send("w")
    assert (store.batches, store.answers) == ([["a", "b", "c"]], ["a", "b", "c"])
    assert not committer


def test_what_is_busy_rests_until_the_next_turn(committer: Committer, store: Recorder) -> None:
    store.busy = {"b"}
    add(committer, "abc")
    committer.send("w")
    assert store.answers == ["a", "c"]
    assert left(committer) == "b"


def test_what_was_not_stored_stays_in_its_order(committer: Committer, store: Recorder) -> None:
    store.errors = [Unavailable("away")]
    add(committer, "ab")
    with pytest.raises(Unavailable):
        committer.send("w")
    assert left(committer) == "ab"
    committer.clear()
    assert not committer


def test_what_may_have_been_stored_is_distrusted(committer: Committer, store: Recorder) -> None:
    store.errors = [OutcomeUnknown("who knows", "")]
    add(committer, "ab")
    with pytest.raises(OutcomeUnknown):
        committer.send("w")
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
