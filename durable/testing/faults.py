"""What may go wrong in a test, as its reports call it.

Rules
-----
* The number of an answer stands in schedules: 0 is that all goes well, n the nth of a tuple.
* An activity fails for good as if all its attempts had failed; one that is tried without end
  cannot.
"""

from __future__ import annotations

from durable.runner import Attempt

__all__ = [
    "DEATHS", "DIES", "ENDS", "FAILS", "FAILS_FOR_GOOD", "LEFT_BEHIND", "LONGER",
    "LOSES_ANSWER_FOR_GOOD", "RARELY", "REPEATS", "REPEATS_AFTER", "SLOWLY", "WORKER", "ends_of",
]  # fmt: skip

RARELY = 0.5
"""The weight of all but how an attempt ends: workflows have code for activities that fail, and
so most bugs there."""

FAILS, LOSES_ANSWER, DIES, FAILS_FOR_GOOD, LOSES_ANSWER_FOR_GOOD = range(1, 6)
ENDS = ("fails", "is done, and its answer is lost", "is done, and the worker dies")
ENDS_FOR_GOOD = (*ENDS, "fails for good", "is done, and its answer is lost for good")
LEFT_BEHIND = ("is done by the worker that has died",)

WORKER = "the worker"
DEATHS = ("dies before a commit", "dies after a commit")

MINUTE = 60_000_000
SLOWLY = ("takes a second", "takes a minute", "takes an hour", "takes a day")
LONGER = (0, MINUTE // 60, MINUTE, 60 * MINUTE, 24 * 60 * MINUTE)

REPEATS = ("is sent twice", "is sent again a minute later")
REPEATS_AFTER = (0, 0, MINUTE)


def ends_of(attempt: Attempt) -> tuple[str, ...]:
    """How it may end, besides well."""
    retry = attempt.options.retry
    if retry is None or retry.max_attempts is None:
        has_end = attempt.deadline is not None
    else:  # at the last attempt each failure is for good
        has_end = attempt.number - attempt.deferrals < retry.max_attempts
    return ENDS_FOR_GOOD if has_end else ENDS
