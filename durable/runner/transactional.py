"""Attempts whose result is recorded in the transaction in which they write.

Rules
-----
* The transaction begins before the activity and is committed with its result: what the activity
  wrote is there exactly when its result is.
* Whatever is no result (a failure, a cancel, one that comes later) rolls back, and is stored as
  it is for other activities.
* The task is the fence: an attempt that does not hold it any more is rolled back.
* After an unknown outcome the task is looked for: if it is there, it is run again under a new
  epoch, which fences the old transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from durable.codec import Codec
from durable.definitions import ActivityDefinition
from durable.errors import DurableError, OutcomeUnknown
from durable.propagation import Propagators
from durable.runner.attempt import Attempt, Outcome, failed, run_attempt
from durable.runner.results import completion
from durable.store import Completion, Store

__all__ = ["Transactions"]


class Transactions:
    """Runs attempts in transactions of a store. worker: gives the id of whoever holds them."""

    def __init__(self, store: Store, worker: Callable[[], str]) -> None:
        self._store = store
        self._worker = worker

    def run(
        self,
        attempt: Attempt,
        definition: ActivityDefinition[..., Any],
        codec: Codec,
        propagators: Propagators | None,
    ) -> Outcome:
        """As `run_attempt`; in a transaction, if the activity is transactional."""
        if not definition.transactional:
            return run_attempt(attempt, definition, codec, propagators)

        def work(connection: Any) -> Completion:
            attempt.connection = connection
            try:
                outcome = run_attempt(attempt, definition, codec, propagators)
            finally:
                attempt.connection = None
            if outcome.value is None:
                raise _RolledBack(outcome)
            return completion(outcome, self._store.now())

        try:
            self._store.transact(self._worker(), work)
        except _RolledBack as rolled_back:
            return rolled_back.outcome
        except OutcomeUnknown:
            return Outcome(attempt, recorded=True, unknown=True)
        except DurableError as error:
            return failed(attempt, error, codec)
        return Outcome(attempt, recorded=True)


class _RolledBack(Exception):
    """There is no result to be recorded."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome
