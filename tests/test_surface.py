"""The public names.  A name that leaves these lists breaks somebody's program, and one that
joins them is a promise: a change here needs an entry in CHANGELOG.rst."""

from __future__ import annotations

import importlib

import pytest

PUBLIC = {
    "durable": [
        # definitions
        "Retry",
        "Workflow",
        "activity",
        "workflow",
        # what a workflow yields
        "Command",
        "gather",
        "race",
        "send_signal",
        "side_effect",
        "sleep",
        "sleep_until",
        "wait_signal",
        # what it gets
        "Failure",
        "Info",
        "Task",
        "Winner",
        # what it calls
        "info",
        "logger",
        "now",
        "random",
        "set_var",
        "spawn",
        "uuid4",
        # inside an activity
        "current_activity",
        # what runs workflows, and what talks to them
        "Client",
        "Codec",
        "Handle",
        "Orchestrator",
        "Status",
        "Worker",
        # what workflow and activity code raises and catches
        "ActivityError",
        "Cancelled",
        "ForgottenYield",
        "PermanentError",
        "SideEffectError",
        "TaskCancelled",
        "TimeoutExpired",
    ],
    "durable.errors": [
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
    ],
    "durable.events": [
        "ActivityCancelRequested",
        "ActivityCancelled",
        "ActivityCompleted",
        "ActivityFailed",
        "ActivityScheduled",
        "CancelRequested",
        "Event",
        "SideEffectRecorded",
        "SignalDelivered",
        "SignalFailed",
        "SignalReceived",
        "SignalSent",
        "TimerCancelled",
        "TimerFired",
        "TimerStarted",
        "WorkflowCancelled",
        "WorkflowCompleted",
        "WorkflowFailed",
        "WorkflowStarted",
        "WorkflowTerminated",
    ],
    "durable.store": [
        "Cancel",
        "ClaimRequest",
        "Claimed",
        "ClaimedInstance",
        "Completion",
        "Created",
        "End",
        "Filter",
        "Message",
        "NewInstance",
        "NewTask",
        "Outgoing",
        "Owned",
        "Page",
        "Poison",
        "Postponed",
        "Sent",
        "Step",
        "Store",
        "TaskKey",
        "Unavailable",
        "Verdict",
    ],
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names(module: str) -> None:
    # Imported here, so that a module that cannot be imported fails its own test only.
    names = list(importlib.import_module(module).__all__)
    assert sorted(names) == sorted(PUBLIC[module])


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_exist(module: str) -> None:
    imported = importlib.import_module(module)
    assert [name for name in imported.__all__ if not hasattr(imported, name)] == []
