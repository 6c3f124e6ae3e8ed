"""Proposals on their way into the store, in batches.

Rules
-----
* What was not stored stays, in its order, for the next turn; so does what is BUSY.
* A batch that the store refuses is halved until the culprit stands alone.
* Of a batch whose outcome is unknown nothing stays: its steps may have been stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from durable.errors import OutcomeUnknown
from durable.runner.decide import Proposal, first_batch
from durable.store import Poison, Store, Verdict

__all__ = ["Committer", "Owner"]


class Owner(Protocol):
    """Who made the proposals, and goes by the answers."""

    def answered(self, proposal: Proposal, verdict: Verdict) -> None:
        """The store has decided: COMMITTED, LOST or UNSEEN."""

    def refused(self, proposal: Proposal, error: Poison) -> None:
        """The store will never take it."""

    def distrust(self, batch: list[Proposal]) -> None:
        """Nobody knows whether these were stored."""


class Committer:
    """Commits for one worker at a time."""

    def __init__(self, store: Store, owner: Owner) -> None:
        self._store = store
        self._owner = owner
        self._proposals: list[Proposal] = []
        self._busy: list[Proposal] = []

    def __bool__(self) -> bool:
        return bool(self._proposals)

    def __iter__(self) -> Iterator[Proposal]:
        return iter(self._proposals)

    def add(self, proposal: Proposal) -> None:
        """One more for the next `send`."""
        self._proposals.append(proposal)

    def send(self, worker: str) -> None:
        """Store all of it; what is BUSY stays for the next turn."""
        try:
            while self._proposals:
                batch = first_batch(self._proposals)
                del self._proposals[: len(batch)]
                self._commit(worker, batch)
        finally:
            self._proposals += self._busy
            self._busy = []

    def clear(self) -> None:
        """Forget all of it."""
        self._proposals.clear()

    def _commit(self, worker: str, batch: list[Proposal]) -> None:
        try:
            verdicts = self._store.commit(worker, [proposal.step for proposal in batch])
        except OutcomeUnknown:
            self._owner.distrust(batch)
            raise
        except Poison as error:
            self._halve(worker, batch, error)
            return
        except BaseException:
            self._proposals[:0] = batch
            raise
        for proposal, verdict in zip(batch, verdicts, strict=True):
            if verdict is Verdict.BUSY:
                self._busy.append(proposal)
            else:
                self._owner.answered(proposal, verdict)

    def _halve(self, worker: str, batch: list[Proposal], error: Poison) -> None:
        if len(batch) == 1:
            self._owner.refused(batch[0], error)
            return
        middle = len(batch) // 2
        first, second = batch[:middle], batch[middle:]
        self._proposals[:0] = second  # where it stays if the first cannot be stored
        self._commit(worker, first)
        del self._proposals[: len(second)]
        self._commit(worker, second)
