"""The runner: claimed work → one batch of decisions → commit. No loop, no threads."""

from durable.runner.attempt import ActivityContext, Attempt, Outcome, current_activity, run_attempt
from durable.runner.runner import Runner
from durable.runner.transactional import Transactions

__all__ = [
    "ActivityContext",
    "Attempt",
    "Outcome",
    "Runner",
    "Transactions",
    "current_activity",
    "run_attempt",
]
