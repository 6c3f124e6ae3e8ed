"""What is to be stored of tasks apart from steps: results for the inbox, and other attempts."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import compress

from durable.runner.attempt import Outcome
from durable.runner.results import completion, postponed
from durable.store import Completion, Postponed, Store, TaskKey, Verdict


class Outbox:
    """Results and postponed tasks that have not been stored yet.

    chance: decides on the delays of retries; a test sets its own.
    """

    def __init__(self) -> None:
        self.chance: Callable[[], float] = random.random
        self._completions: list[Completion] = []
        self._postponed: list[Postponed] = []

    def __bool__(self) -> bool:
        return bool(self._completions or self._postponed)

    def complete(self, outcome: Outcome, now: int) -> None:
        """The end of a task, for the inbox of its instance."""
        self._completions.append(completion(outcome, now))

    def postpone(self, outcome: Outcome, now: int) -> bool:
        """Give the task back if this was not its end; tells whether it was given back."""
        again = postponed(outcome, now, self.chance())
        if again is not None:
            self._postponed.append(again)
        return again is not None

    def keys(self) -> set[TaskKey]:
        """Whose tasks these are."""
        done = {(c.uid, c.run, c.command) for c in self._completions}
        return done | {(p.uid, p.run, p.command) for p in self._postponed}

    def send(self, store: Store, worker: str) -> None:
        """Store all of it but what is BUSY, which stays. Safe to repeat: if it raises, nothing
        is forgotten."""
        done, later = self._completions, self._postponed
        verdicts = store.complete(worker, done, later)
        busy = [verdict is Verdict.BUSY for verdict in verdicts]
        self._completions = list(compress(done, busy))
        self._postponed = list(compress(later, busy[len(done) :]))

    def clear(self) -> None:
        self._completions, self._postponed = [], []
