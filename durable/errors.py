"""Every error and warning of durable.

Errors end in ``Error`` where an event has the other name.  Nothing here is ever looked
up from stored data: what failed elsewhere arrives as a `Failure` (plain data) and is
raised as one of these classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from durable.failure import Failure

__all__ = [
    "ActivityCrashed",
    "ActivityError",
    "Cancelled",
    "DurableError",
    "ForgottenYield",
    "InstanceAlreadyExists",
    "InstanceFinished",
    "InstanceNotFinished",
    "InstanceNotFound",
    "NonDeterminismError",
    "OutcomeUnknown",
    "PayloadError",
    "PermanentError",
    "ResultTimeout",
    "SideEffectError",
    "StoreError",
    "TaskCancelled",
    "TimeoutExpired",
    "UsageError",
    "WorkflowCancelledError",
    "WorkflowError",
    "WorkflowTerminatedError",
]


class DurableError(Exception):
    """The base of every error of this library."""


class UsageError(DurableError):
    """The library was used in a way that cannot work; the message names the fix."""


class PayloadError(DurableError):
    """A value cannot be stored or read back; the message names the path inside it."""


class StoreError(DurableError):
    """The store cannot be reached, or refuses; passwords are never in the message."""


class InstanceNotFound(DurableError):
    """No instance has this id."""


class InstanceAlreadyExists(DurableError):
    """An instance with this id exists; see ``if_exists``."""


class InstanceFinished(DurableError):
    """The instance has ended: nothing can be sent to it any more."""


class InstanceNotFinished(DurableError):
    """The instance has not ended yet."""


class ResultTimeout(DurableError, TimeoutError):
    """The instance did not end in time; the message names its status."""


class OutcomeUnknown(DurableError):
    """The connection broke and it could not be found out whether the call took effect."""


class TaskCancelled(DurableError):
    """A task that was joined has been cancelled."""


class SideEffectError(DurableError):
    """The function given to ``side_effect`` raised; ``error`` is what it raised, as data."""

    error: Failure

    def __init__(self, message: str, error: Failure) -> None:
        super().__init__(message)
        self.error = error


class ActivityCrashed(DurableError):
    """An activity took its worker down ``max_crashes`` times."""


class NonDeterminismError(DurableError):
    """The code of a workflow does not issue the commands that its history has."""


class TimeoutExpired(DurableError):
    """Something did not end in time."""


class PermanentError(DurableError):
    """Raised by an activity: do not try again.

    ``details`` is any storable value; it arrives as ``error.details``.
    """

    def __init__(self, message: str = "", details: object = None) -> None:
        super().__init__(message)
        self.details = details


class ActivityError(DurableError):
    """An activity failed for good.

    ``activity`` is its name, ``attempt`` the number of the last attempt (from 1) and
    ``error`` the failure as data.
    """

    def __init__(self, activity: str, attempt: int, error: Failure) -> None:
        super().__init__(f"activity {activity} failed at attempt {attempt}: {error}")
        self.activity = activity
        self.attempt = attempt
        self.error = error


class WorkflowError(DurableError):
    """An instance failed; ``error`` is the failure as data."""

    def __init__(self, message: str, error: Failure | None = None) -> None:
        super().__init__(message)
        self.error = error


class WorkflowCancelledError(WorkflowError):
    """An instance was cancelled."""


class WorkflowTerminatedError(WorkflowError):
    """An instance was terminated."""


class Cancelled(BaseException):
    """Raised at the waiting yield of a workflow that was asked to stop.

    A `BaseException`, so that ``except Exception`` does not swallow it.
    """


class ForgottenYield(UserWarning):
    """A command was created and never yielded: nothing was done."""
