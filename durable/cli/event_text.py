"""Events as sentences: for ``durable history`` and for the progress of ``durable run``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from typing import Any

from durable import events as e
from durable.cli.text import call_text, duration_text, moment_text, value_text
from durable.reprs import escape

DEFAULT_WIDTH = 60


class EventText:
    """Turns events of one history, in their order, into text.

    width: values are cut to it; None is no limit. utc: how moments are shown.
    """

    def __init__(self, width: int | None = DEFAULT_WIDTH, utc: bool = False) -> None:
        self.width = width
        self.utc = utc
        self._names: dict[int, str] = {}
        self._issued: dict[int, datetime] = {}

    def line(self, event: e.Event) -> str:
        """What an event says."""
        write: Callable[[EventText, Any], str] = _WRITERS.get(type(event), EventText._other)
        return write(self, event)

    def _value(self, value: Any) -> str:
        return value_text(value, self.width)

    def _call(self, name: str, event: Any) -> str:
        return call_text(name, event.args, event.kwargs, self.width)

    def _name(self, command: int) -> str:
        return self._names.get(command, f"command {command}")

    def _took(self, event: Any) -> str:
        since = self._issued.get(event.command)
        return "" if since is None else f"  {duration_text(event.at - since)}"

    def _started(self, event: e.WorkflowStarted) -> str:
        self._names = {e.RUN_DEADLINE: "the end of its time"}
        self._issued.clear()  # of the run before
        attempt = f", attempt {event.attempt}" if event.attempt > 1 else ""
        return f"{self._call(event.workflow, event)} started{attempt}"

    def _scheduled(self, event: e.ActivityScheduled) -> str:
        self._names[event.command] = escape(event.name)
        self._issued[event.command] = event.at
        return f"{self._call(event.name, event)} scheduled"

    def _completed(self, event: e.ActivityCompleted) -> str:
        attempt = f"  attempt {event.attempt}" if event.attempt > 1 else ""
        value = self._value(event.value)
        return f"{self._name(event.command)} → {value}{self._took(event)}{attempt}"

    def _failed(self, event: e.ActivityFailed) -> str:
        error = escape(str(event.error))
        attempt = f" at attempt {event.attempt}" if event.attempt else ""
        return f"{self._name(event.command)} failed{attempt}: {error}"

    def _cancel_requested(self, event: e.ActivityCancelRequested | e.ChildCancelRequested) -> str:
        return f"{self._name(event.command)} is asked to stop"

    def _cancelled(self, event: e.ActivityCancelled) -> str:
        after = f" after a failure: {escape(str(event.error))}" if event.error else ""
        return f"{self._name(event.command)} cancelled{after}"

    def _timer(self, event: e.TimerStarted) -> str:
        self._names[event.command] = f"timer until {moment_text(event.due_at, self.utc)}"
        return self._names[event.command]

    def _fired(self, event: e.TimerFired) -> str:
        return f"{self._name(event.command)} is due"

    def _timer_cancelled(self, event: e.TimerCancelled) -> str:
        return f"{self._name(event.command)} cancelled"

    def _received(self, event: e.SignalReceived) -> str:
        return f"signal {escape(event.name)} received: {self._value(event.value)}"

    def _sent(self, event: e.SignalSent) -> str:
        name, target = escape(event.name), escape(event.instance_id)
        self._names[event.command] = f"signal {name} to {target}"
        return f"signal {name} to {target}: {self._value(event.value)}"

    def _delivered(self, event: e.SignalDelivered) -> str:
        return f"{self._name(event.command)} delivered"

    def _not_delivered(self, event: e.SignalFailed) -> str:
        return f"{self._name(event.command)} failed: {escape(str(event.error))}"

    def _side_effect(self, event: e.SideEffectRecorded) -> str:
        if event.error is not None:
            return f"side effect failed: {escape(str(event.error))}"
        return f"side effect → {self._value(event.value)}"

    def _child(self, event: e.ChildStarted) -> str:
        self._names[event.command] = f"child {escape(event.instance_id)}"
        self._issued[event.command] = event.at
        return f"{self._name(event.command)} started: {self._call(event.workflow, event)}"

    def _child_completed(self, event: e.ChildCompleted) -> str:
        name, value = self._name(event.command), self._value(event.value)
        return f"{name} → {value}{self._took(event)}"

    def _child_failed(self, event: e.ChildFailed) -> str:
        how = "failed" if event.started else "could not be started"
        return f"{self._name(event.command)} {how}: {escape(str(event.error))}"

    def _promise(self, event: e.PromiseCreated) -> str:
        self._names[event.command] = f"promise {escape(event.name) or event.command}"
        return f"{self._name(event.command)} made, token {escape(event.token)}"

    def _promise_completed(self, event: e.PromiseCompleted) -> str:
        return f"{self._name(event.command)} → {self._value(event.value)}"

    def _promise_failed(self, event: e.PromiseFailed) -> str:
        return f"{self._name(event.command)} failed: {escape(str(event.error))}"

    def _patch(self, event: e.PatchMarked) -> str:
        return f"runs the new code of {escape(event.change_id)}"

    def _paused(self, event: e.Paused) -> str:
        return "paused"

    def _resumed(self, event: e.Resumed) -> str:
        return "resumed"

    def _retried(self, event: e.Retried) -> str:
        return f"retried; what is before is of run {event.from_run}"

    def _forked(self, event: e.Forked) -> str:
        return f"forked from {escape(event.from_id)} after its event {event.from_seq}"

    def _cancel(self, event: e.CancelRequested) -> str:
        return f"cancel requested{_because(event.reason)}"

    def _continued(self, event: e.ContinuedAsNew) -> str:
        return f"goes on as a new run, with {self._call('', event)}"

    def _end_completed(self, event: e.WorkflowCompleted) -> str:
        return f"completed → {self._value(event.value)}"

    def _end_failed(self, event: e.WorkflowFailed) -> str:
        return f"failed: {escape(str(event.error))}"

    def _end_cancelled(self, event: e.WorkflowCancelled) -> str:
        return f"cancelled{_because(event.reason)}"

    def _end_terminated(self, event: e.WorkflowTerminated) -> str:
        return f"terminated{_because(event.reason)}"

    def _other(self, event: e.Event) -> str:
        given = (f"{f.name}={getattr(event, f.name)!r}" for f in fields(event)[2:])
        return escape(f"{type(event).__name__}({', '.join(given)})")


def _because(reason: str) -> str:
    return f": {escape(reason)}" if reason else ""


_WRITERS: dict[type[e.Event], Callable[[EventText, Any], str]] = {
    e.WorkflowStarted: EventText._started,
    e.ActivityScheduled: EventText._scheduled,
    e.ActivityCompleted: EventText._completed,
    e.ActivityFailed: EventText._failed,
    e.ActivityCancelRequested: EventText._cancel_requested,
    e.ActivityCancelled: EventText._cancelled,
    e.TimerStarted: EventText._timer,
    e.TimerFired: EventText._fired,
    e.TimerCancelled: EventText._timer_cancelled,
    e.SignalReceived: EventText._received,
    e.SignalSent: EventText._sent,
    e.SignalDelivered: EventText._delivered,
    e.SignalFailed: EventText._not_delivered,
    e.SideEffectRecorded: EventText._side_effect,
    e.ChildStarted: EventText._child,
    e.ChildCancelRequested: EventText._cancel_requested,
    e.ChildCompleted: EventText._child_completed,
    e.ChildFailed: EventText._child_failed,
    e.PromiseCreated: EventText._promise,
    e.PromiseCompleted: EventText._promise_completed,
    e.PromiseFailed: EventText._promise_failed,
    e.PatchMarked: EventText._patch,
    e.Paused: EventText._paused,
    e.Resumed: EventText._resumed,
    e.Retried: EventText._retried,
    e.Forked: EventText._forked,
    e.CancelRequested: EventText._cancel,
    e.ContinuedAsNew: EventText._continued,
    e.WorkflowCompleted: EventText._end_completed,
    e.WorkflowFailed: EventText._end_failed,
    e.WorkflowCancelled: EventText._end_cancelled,
    e.WorkflowTerminated: EventText._end_terminated,
}


def event_data(event: e.Event) -> dict[str, Any]:
    """An event for JSON: seq, at, type, and its own fields."""
    first = {"seq": event.seq, "at": event.at, "type": type(event).__name__}
    return first | {f.name: getattr(event, f.name) for f in fields(event)[2:]}
