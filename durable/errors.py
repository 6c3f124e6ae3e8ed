"""Every error and warning of durable.

Errors end in ``Error`` where an event has the other name.  Nothing here is ever looked
up from stored data: what failed elsewhere arrives as a `Failure` (plain data) and is
raised as one of these classes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from durable.moments import checked_moment

if TYPE_CHECKING:
    from durable.failure import Failure

__all__ = [
    "ActivityCrashed",
    "ActivityError",
    "Cancelled",
    "ChannelClosed",
    "ChildWorkflowError",
    "DurableError",
    "ExploreError",
    "ForgottenYield",
    "GuardError",
    "HistoryTooLong",
    "InstanceAlreadyExists",
    "InstanceFinished",
    "InstanceNotFinished",
    "InstanceNotFound",
    "KitError",
    "MockError",
    "NonDeterminismError",
    "OutcomeUnknown",
    "PayloadError",
    "PermanentError",
    "PromiseError",
    "RemoteFailure",
    "ResultTimeout",
    "RetryLater",
    "SideEffectError",
    "StoreError",
    "StuckError",
    "TaskCancelled",
    "TimeoutExpired",
    "UsageError",
    "WorkflowCancelledError",
    "WorkflowError",
    "WorkflowTerminatedError",
    "WrongStatus",
]


class DurableError(Exception):
    """The base of every error of this library."""


class UsageError(DurableError):
    """The library was used in a way that cannot work; the message names the fix."""


class WrongStatus(UsageError):
    """The instance is in a status in which this is not possible; the message names it."""


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


class ChannelClosed(DurableError):
    """A channel is closed: nothing can be sent, and nothing is left to receive."""


class RemoteFailure(DurableError):
    """The base of errors that stand for a failure elsewhere.

    ``error`` is that failure as data: type, message, traceback, cause, details.
    """

    error: Failure | None

    def __init__(self, message: str, error: Failure | None = None) -> None:
        super().__init__(message)
        self.error = error

    def is_a(self, cls: type[BaseException] | str) -> bool:
        """Whether the failure was of this class (or of the class with this qualified name),
        or of a subclass of it."""
        return self.error is not None and self.error.is_a(cls)

    def find(self, cls: type[BaseException] | str) -> Failure | None:
        """The first failure of this class among the failure and its causes; None if there is
        none: ``error.find(CardDeclined)`` on a `WorkflowError` of a workflow whose activity
        raised it."""
        return None if self.error is None else self.error.find(cls)


class SideEffectError(RemoteFailure):
    """The function given to ``side_effect`` raised; ``error`` is what it raised, as data."""

    error: Failure


class PromiseError(RemoteFailure):
    """A promise was failed from outside (`Client.fail`), or its time was up; ``error`` is the
    failure as data."""

    error: Failure


class ActivityCrashed(DurableError):
    """An activity took its worker down ``max_crashes`` times."""


class NonDeterminismError(DurableError):
    """The code of a workflow does not issue the commands that its history has.

    seq: of the event where they part; None if it is not known. recorded, issued: what the
    history has there, and what the code did instead. line: of the code, as ``file:line``.
    """

    def __init__(
        self,
        message: str,
        *,
        seq: int | None = None,
        recorded: str = "",
        issued: str = "",
        line: str = "",
    ) -> None:
        super().__init__(message)
        self.seq = seq
        self.recorded = recorded
        self.issued = issued
        self.line = line


class PropagatorError(DurableError):
    """The ``inject`` of a propagator failed, or gave what cannot be stored.  In a workflow it
    blocks the instance: a replay would not meet it."""


class HistoryTooLong(DurableError):
    """The history of a run has more events than it may have (``max_history`` of the worker):
    its instance is blocked."""


class TimeoutExpired(DurableError):
    """Something did not end in time.

    ``details`` is ``{"kind": …}``: ``attempt``, ``heartbeat``, ``schedule``, ``promise``,
    ``command``, ``scope`` or ``workflow``.
    """

    def __init__(self, message: str = "", details: object = None) -> None:
        super().__init__(message)
        self.details = details


class PermanentError(DurableError):
    """Raised by an activity: do not try again.

    ``details`` is any storable value; it arrives as ``error.details``.
    """

    def __init__(self, message: str = "", details: object = None) -> None:
        super().__init__(message)
        self.details = details


class RetryLater(DurableError):
    """Raised by an activity: not now, try again after ``delay`` seconds (or a timedelta), or
    ``at`` an aware datetime.

    It counts in ``current_activity().attempt``, but not towards ``max_attempts``.
    Raises `UsageError` unless exactly one of the two is given, `ValueError` for a moment
    outside the years 1 to 9999 in UTC.

    >>> raise RetryLater(delay=30)
    """

    def __init__(
        self, delay: float | timedelta | None = None, *, at: datetime | None = None
    ) -> None:
        if (delay is None) == (at is None):
            raise UsageError("RetryLater takes delay= or at=, one of them")
        if at is not None and (not isinstance(at, datetime) or at.tzinfo is None):
            raise UsageError(f"RetryLater(at={at!r}) must be an aware datetime")
        if at is not None:
            checked_moment(at, "RetryLater(at=)")
        if delay is not None:
            number = delay.total_seconds() if isinstance(delay, timedelta) else delay
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise TypeError(f"RetryLater(delay=) takes seconds or a timedelta, not {delay!r}")
            if not 0 <= number < float("inf"):
                raise UsageError(f"RetryLater(delay={delay!r}) must be 0 or more seconds")
            delay = number
        super().__init__(f"again {f'in {delay:g} s' if at is None else f'at {at}'}")
        self.delay = delay
        self.at = at


class ActivityError(RemoteFailure):
    """An activity failed for good.

    ``activity`` is its name, ``attempt`` the number of the last attempt (from 1; 0 if its
    schedule_timeout ended it) and ``error`` the failure as data.
    """

    error: Failure

    def __init__(self, activity: str, attempt: int, error: Failure) -> None:
        which = f" at attempt {attempt}" if attempt else ""
        super().__init__(f"activity {activity} failed{which}: {error}", error)
        self.activity = activity
        self.attempt = attempt


class ChildWorkflowError(RemoteFailure):
    """A child workflow failed, or was cancelled or terminated by somebody else.

    ``workflow`` is its name, ``instance_id`` its id and ``error`` the failure as data.
    """

    error: Failure

    def __init__(self, workflow: str, instance_id: str, error: Failure) -> None:
        super().__init__(f"child workflow {workflow} ({instance_id!r}) failed: {error}", error)
        self.workflow = workflow
        self.instance_id = instance_id


class WorkflowError(RemoteFailure):
    """An instance failed; ``error`` is the failure as data."""


class WorkflowCancelledError(WorkflowError):
    """An instance was cancelled."""


class WorkflowTerminatedError(WorkflowError):
    """An instance was terminated."""


class Cancelled(BaseException):
    """Raised at every yield of a workflow, or of a scope in it, that was cancelled; and by the
    heartbeat of an activity that is asked to stop.

    A `BaseException`, so that ``except Exception`` does not swallow it.
    """


class KitError(DurableError, AssertionError):
    """A test under `durable.testing` cannot go on, or is not as it says."""


class StuckError(KitError):
    """A workflow waits for what will never come; the text says for what."""


class MockError(KitError):
    """A mock was not called as it should be, or something was called that has none."""


class GuardError(KitError):
    """Workflow code has called what it must not; the text says where, and what to use."""


class ExploreError(KitError):
    """`durable.testing.explore` has found a schedule that breaks a workflow."""


class ForgottenYield(UserWarning):
    """A command was created and never yielded: nothing was done."""
