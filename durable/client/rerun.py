"""Retry and fork: an instance goes on from an earlier point of its history.

A retry is a run of the same instance, a fork a new instance.  Both begin with events that are
copied; a `Retried` or `Forked` waits in the inbox, by which the engine asks again for what was
under way there, and looks for children that have ended meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from durable import message_ids
from durable.client.caller import Caller, check_sent
from durable.client.rewind import fork_point, open_children, retry_point
from durable.closing import parent_ended
from durable.errors import UsageError, WrongStatus
from durable.events import (
    CancelRequested,
    ChildCancelRequested,
    ChildFailed,
    Event,
    Forked,
    PromiseCompleted,
    PromiseCreated,
    Retried,
    WorkflowStarted,
    dump,
)
from durable.header import Header
from durable.model import EPOCH, Instance, Status, checked_id
from durable.starting import new_uid
from durable.store import NewInstance, NextRun, Sent
from durable.tokens import PROMISE, Token

RETRIED = (Status.FAILED, Status.CANCELLED)

_INSTEAD = {
    Status.PAUSED: "resume it",
    Status.COMPLETED: "fork it, to go on from an earlier point in a new instance",
    Status.TERMINATED: "fork it, to go on in a new instance",
}


def retry_instance(caller: Caller, id: str) -> None:
    """Let an instance go on from its last good point: see `Client.retry`."""
    instance, token = caller.instance(id), os.urandom(16).hex()
    if instance.status is Status.BLOCKED:
        sent = caller.repeat(lambda: caller.store.unblock(id, token))
    elif instance.status in RETRIED:
        following = _next_run(caller, instance, token)
        sent = caller.repeat(lambda: caller.store.rerun(id, token, instance.run, following))
    else:
        raise _cannot(instance)
    if sent is Sent.REFUSED:  # somebody else was quicker
        raise _cannot(caller.instance(id))
    check_sent(sent, id)


def _cannot(instance: Instance) -> WrongStatus:
    instead = _INSTEAD.get(instance.status, "it goes on by itself")
    return WrongStatus(
        f"instance {instance.id!r} is {instance.status}; only one that failed, was cancelled "
        f"or is blocked can be retried: {instead}"
    )


def _next_run(caller: Caller, instance: Instance, token: str) -> NextRun:
    """The run that a retry begins; its children are retried here and now."""
    stored, events = caller.events(instance.uid, instance.run)
    cut, again = retry_point(events)
    _retry_children(caller, instance, events, cut, again)
    now = caller.repeat(caller.store.now)
    header = Header.load(instance.header)
    messages = []
    late = header.carried  # for the run that ended, and too late for it
    if cut:
        messages.append((message_ids.retried(token), dump(Retried(0, EPOCH, instance.run), now)))
        header = replace(header, carried=())
    for event in again:
        message_id = message_ids.applied_again(token, event.seq)
        if isinstance(event, PromiseCompleted):
            message_id = message_ids.promise_done(
                _token_of(events, event.command), instance.run + 1
            )
        messages.append((message_id, stored[event.seq]))
    if cut:
        messages += [(message_ids.late(token, place), data) for place, data in enumerate(late)]
    return NextRun(
        instance.args,
        instance.kwargs,
        now,
        instance.version,
        replace(header, attempt=1).dump(),
        stored[:cut],
        messages,
    )


def _retry_children(
    caller: Caller, parent: Instance, events: Sequence[Event], cut: int, again: Sequence[Event]
) -> None:
    """Retry the children that are open at the cut and failed or were cancelled, so that the
    new run takes them over; it would wait for their ends for ever.

    Raises `WrongStatus`, before any was retried, if one still cleans up because its parent
    has ended: the new run would only hear of its cancel.
    """
    children = list(_wanted_children(caller, parent, events, cut, again))
    for child in children:
        if not child.status.finished and _is_closing(caller, child, parent):
            raise WrongStatus(
                f"child {child.id!r} still ends, because its parent {parent.id!r} has ended: "
                "retry when it has ended, or terminate it"
            )
    for child in children:
        if child.status in RETRIED:
            retry_instance(caller, child.id)


def _wanted_children(
    caller: Caller, parent: Instance, events: Sequence[Event], cut: int, again: Sequence[Event]
) -> Iterator[Instance]:
    """Those that the new run waits for and has not asked to stop.  An id that was in use is
    that of somebody else, or of a child of an earlier run."""
    ends = [event for event in events[cut:] if isinstance(event, ChildFailed)]
    unwanted = {event.command for event in ends if not event.started}
    unwanted |= {e.command for e in events[:cut] if isinstance(e, ChildCancelRequested)}
    for started in open_children([*events[:cut], *again]):
        if started.command in unwanted:
            continue
        child = caller.repeat(partial(caller.store.instance, started.instance_id))
        if child is None or child.parent is None:
            continue
        if (child.parent.uid, child.parent.command) == (parent.uid, started.command):
            yield child


def _is_closing(caller: Caller, child: Instance, parent: Instance) -> bool:
    """Whether it was asked to stop because its parent has ended."""
    closes = message_ids.child_close(parent.uid, parent.run)
    waiting = caller.repeat(partial(caller.store.inbox, child.uid))
    if any(message.message_id == closes for message in waiting):
        return True
    reason = parent_ended(parent.id)
    _, applied = caller.events(child.uid, child.run)
    return any(isinstance(e, CancelRequested) and e.reason == reason for e in applied)


def _token_of(events: Sequence[Event], command: int) -> str:
    """The token of a promise that the workflow has made."""
    made = (e for e in events if isinstance(e, PromiseCreated) and e.command == command)
    return next(made).token


def fork_of(caller: Caller, source: str, at: int, id: str | None, run: int | None) -> NewInstance:
    """The row of a fork: see `Client.fork`."""
    instance = caller.instance(source)
    run = instance.run if run is None else run
    stored, events = caller.events(instance.uid, run)
    if not events:
        raise UsageError(f"run {run} of instance {source!r} has no history, so nothing to fork")
    first, kept = events[0], fork_point(events, at)
    assert isinstance(first, WorkflowStarted)
    now = caller.repeat(caller.store.now)
    entropy = os.urandom(42)
    uid, token, seed = new_uid(now, entropy[:10]), entropy[10:26], entropy[26:]
    header = replace(Header.load(instance.header), context=first.context, carried=(), attempt=1)
    return NewInstance(
        uid,
        uid.hex() if id is None else checked_id(id),
        token,
        instance.workflow,
        first.version,
        instance.queue,
        first.args,
        first.kwargs,
        now,
        instance.memo,
        instance.tags,
        header=header.dump(),
        history=_signed_anew(caller, uid, stored[:kept], events),
        messages=[(message_ids.forked(token), dump(Forked(0, EPOCH, source, at, seed), now))],
    )


def _signed_anew(
    caller: Caller, uid: bytes, stored: Sequence[bytes], events: Sequence[Event]
) -> list[bytes]:
    """A history for another instance: its promises have tokens of their own."""
    copied = list(stored)
    for seq in range(len(copied)):
        event = events[seq]
        if isinstance(event, PromiseCreated):
            secret = caller.repeat(caller.store.secret)
            token = Token(PROMISE, uid, 1, event.command).text(secret)
            copied[seq] = dump(replace(event, token=token))
    return copied


__all__ = ["fork_of", "retry_instance"]
