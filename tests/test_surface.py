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
        "wait_until",
        "with_timeout",
        # what it gets
        "Channel",
        "Failure",
        "Info",
        "Promise",
        "Task",
        "Winner",
        # what it calls
        "continue_as_new",
        "external",
        "info",
        "logger",
        "now",
        "on_signal",
        "patched",
        "random",
        "set_var",
        "set_vars",
        "spawn",
        "uuid4",
        # its blocks
        "CancelScope",
        "shield",
        "span",
        "timeout",
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
        "ChannelClosed",
        "ChildWorkflowError",
        "ForgottenYield",
        "PermanentError",
        "PromiseError",
        "RetryLater",
        "SideEffectError",
        "TaskCancelled",
        "TimeoutExpired",
    ],
    "durable.errors": [
        "ActivityCrashed",
        "ActivityError",
        "Cancelled",
        "ChannelClosed",
        "ChildWorkflowError",
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
        "PromiseError",
        "ResultTimeout",
        "RetryLater",
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
        "ChildCancelRequested",
        "ChildCompleted",
        "ChildFailed",
        "ChildStarted",
        "ContinuedAsNew",
        "Event",
        "Forked",
        "PatchMarked",
        "Paused",
        "PromiseCompleted",
        "PromiseCreated",
        "PromiseFailed",
        "Resumed",
        "Retried",
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
        "Beat",
        "Cancel",
        "ClaimRequest",
        "Claimed",
        "ClaimedInstance",
        "Close",
        "Completion",
        "Created",
        "DEFAULT_MAX_INBOX",
        "End",
        "Filter",
        "Message",
        "NewInstance",
        "NewTask",
        "NextRun",
        "Outgoing",
        "Owned",
        "PARKED",
        "Page",
        "Poison",
        "Postponed",
        "Sent",
        "Start",
        "Step",
        "Store",
        "TaskKey",
        "UNKNOWN",
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
