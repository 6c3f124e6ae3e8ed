"""Where a history can be cut, so that a run goes on from there.

Pure functions over the events of one run, in order, decoded or not.  A history is a row of
steps: something *happened*, and the workflow answered with what it *issued*.  A cut is
always between two steps, so that the code, replayed, waits there as it did.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from durable.errors import UsageError
from durable.events import (
    RUN_DEADLINE,
    ActivityCancelled,
    ActivityCancelRequested,
    ActivityCompleted,
    CancelRequested,
    ChildCancelRequested,
    ChildCompleted,
    ChildFailed,
    ChildStarted,
    ContinuedAsNew,
    Event,
    Forked,
    Paused,
    PromiseCompleted,
    Resumed,
    SignalDelivered,
    SignalReceived,
    TimerCancelled,
    TimerFired,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowTerminated,
)

ENDS = (WorkflowCompleted, WorkflowFailed, WorkflowCancelled, WorkflowTerminated, ContinuedAsNew)

# What nobody would send a second time. Failures are not among it: they are asked for again.
KEPT = (
    ActivityCancelled,
    ActivityCompleted,
    CancelRequested,
    ChildCompleted,
    Forked,
    PromiseCompleted,
    SignalDelivered,
    SignalReceived,
)

STOPS = (ActivityCancelRequested, ChildCancelRequested, TimerCancelled)

SHOWN = 3


def retry_point(events: Sequence[Event]) -> tuple[int, list[Event]]:
    """Where a run that failed or was cancelled went wrong.

    Gives the number of events to keep, and what happened after them that is to be applied
    again: signals, and the results of what was asked for before the cut.  Left out is what
    led to the end (a failure, the cancel, the run's deadline) and what came of it.  Of a run
    that went wrong in its first step nothing is kept.

    events: the whole run. Raises `UsageError` for one that did not end in one of these ways.
    """
    if not events or not isinstance(events[-1], WorkflowFailed | WorkflowCancelled):
        raise UsageError("only a run that failed or was cancelled can be retried")
    cancelled = isinstance(events[-1], WorkflowCancelled)
    cut = _went_wrong(events, cancelled)
    issued = {getattr(event, "command", None) for event in events[:cut] if event.issued}
    stopping = {e.command for e in events[:cut] if isinstance(e, ActivityCancelRequested)}
    again: list[Event] = []
    for event in events[cut:]:
        if not isinstance(event, KEPT) or (cancelled and isinstance(event, CancelRequested)):
            continue
        command = getattr(event, "command", None)
        asked = stopping if isinstance(event, ActivityCancelled) else issued
        if command is None or command in asked:
            again.append(event)
    return cut, again


def _went_wrong(events: Sequence[Event], cancelled: bool) -> int:
    """The seq of what led to the end of a run: its cancel (the first one: a scope that was
    cancelled stays so), its deadline, or else the last thing that happened.

    That may only have been waited for, as a `gather` that has failed waits for those that it
    has asked to stop.  Then it is what had made it ask, if nothing else was issued since: no
    code has cleaned up yet what a retry would go on with.
    """
    for seq, event in enumerate(events):
        if cancelled and isinstance(event, CancelRequested):
            return seq
        if not cancelled and isinstance(event, TimerFired) and event.command == RUN_DEADLINE:
            return seq
    stops: dict[Any, int] = {e.command: e.seq for e in events if isinstance(e, STOPS)}
    cut = _last_happened(events)
    while (stop := stops.get(getattr(events[cut], "command", None), cut)) < cut:
        asking = _last_happened(events[:stop])
        if any(e.issued and not isinstance(e, STOPS) for e in events[asking:-1]):
            break
        cut = asking
    return cut


def _last_happened(events: Sequence[Event]) -> int:
    for event in reversed(events):
        if not event.issued and not isinstance(event, Paused | Resumed):
            return event.seq
    return 0


def fork_point(events: Sequence[Event], at: int) -> int:
    """The number of events to keep for a fork after the event ``at``.

    events: of the run so far, or the whole of it. Raises `UsageError`, naming the nearest
    places where it can be cut, unless ``at`` is the last event of a step, before the end of
    the run, and no child is open there.
    """
    if isinstance(at, bool) or not isinstance(at, int):
        raise TypeError(f"at= takes the seq of an event, not {at!r}")
    valid = list(_fork_points(events))
    if at in valid:
        return at + 1
    raise UsageError(f"{_why_not(events, at)}; {_nearest(valid, at)}")


def open_children(events: Iterable[Event]) -> list[ChildStarted]:
    """The children that were started and have not ended, in order."""
    seen = deque(_with_children(events), maxlen=1)
    return [child for _, children in seen for child in children.values()]


def _fork_points(events: Sequence[Event]) -> Iterator[int]:
    for event, children in _with_children(events):
        if isinstance(event, ENDS):
            return
        last = event.seq + 1 == len(events) or not events[event.seq + 1].issued
        if last and not children:
            yield event.seq


def _with_children(events: Iterable[Event]) -> Iterator[tuple[Event, dict[int, ChildStarted]]]:
    """Each event, with the children that are open after it, by command: one dict, which grows
    and shrinks.  A child that is asked to stop in the step that starts it never begins."""
    found: dict[int, ChildStarted] = {}
    new: set[int] = set()
    for event in events:
        if not event.issued:
            new.clear()
        if isinstance(event, ChildStarted):
            found[event.command] = event
            new.add(event.command)
        elif isinstance(event, ChildCompleted | ChildFailed) or (
            isinstance(event, ChildCancelRequested) and event.command in new
        ):
            found.pop(event.command, None)
        yield event, found


def _why_not(events: Sequence[Event], at: int) -> str:
    if not 0 <= at < len(events):
        return f"there is no event {at}: the history has {len(events)}"
    if isinstance(events[at], ENDS):
        return f"event {at} is the end of the run, after which nothing goes on"
    if at + 1 < len(events) and events[at + 1].issued:
        return f"event {at} is in the middle of a step"
    ids = [child.instance_id for child in open_children(events[: at + 1])]
    more = ", …" if len(ids) > SHOWN else ""
    return f"after event {at} children are open ({', '.join(ids[:SHOWN])}{more})"


def _nearest(valid: Sequence[int], at: int) -> str:
    place = bisect_left(valid, at)
    near = [str(seq) for seq in (*valid[:place][-1:], *valid[place:][:1])]
    return f"at= can be {' or '.join(near)}" if near else "it cannot be forked anywhere"


__all__ = ["fork_point", "open_children", "retry_point"]
