"""From a decision of the interpreter to a step of the store: pure translation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import msgpack

from durable import message_ids
from durable.closing import reply
from durable.codec import Codec
from durable.commands import ActivityOptions
from durable.definitions import StartOptions, WorkflowDefinition
from durable.errors import (
    InstanceAlreadyExists,
    InstanceFinished,
    InstanceNotFound,
    PermanentError,
    UsageError,
)
from durable.events import (
    ActivityCancelled,
    CancelRequested,
    ChildFailed,
    ContinuedAsNew,
    Event,
    SignalDelivered,
    SignalFailed,
    SignalReceived,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    dump,
    load,
)
from durable.failure import Failure
from durable.header import Header
from durable.interpreter import ChildCancel, Ending, ScheduledTask, SentSignal, StartedChild
from durable.model import EPOCH, Instance, Parent, ParentClose, Status
from durable.retry import microseconds, type_name
from durable.starting import child_token, header, start_at
from durable.store import Cancel, End, NewInstance, NewTask, NextRun, Outgoing, Sent, Start


def new_task(task: ScheduledTask, owner: str, now: int) -> NewTask:
    """The row of an activity; ``owner`` starts it at once."""
    options: ActivityOptions = task.call.options
    total = options.retry.total_timeout if options.retry is not None else None
    return NewTask(
        task.command,
        task.call.name,
        task.queue,
        task.args,
        task.kwargs,
        options.data,
        owner,
        now,
        None if total is None else now + microseconds(total, "total_timeout"),
        task.context,
    )


def cancel(run: int, command: int) -> Cancel:
    return Cancel(command, message_ids.activity_cancelled(run, command), cancelled_event(command))


def cancelled_event(command: int) -> bytes:
    return dump(ActivityCancelled(0, EPOCH, command), 0)


def outgoing(uid: bytes, run: int, sent: SentSignal, now: int, codec: Codec) -> Outgoing:
    """A signal to another instance, with the event that answers each outcome. run: in which
    it was issued: a retry of the run that sends it again is recognised."""
    number, target = sent.command, sent.instance_id
    message_id = message_ids.signal_sent(uid, run, number)

    def refused(error: Exception) -> bytes:
        return dump(SignalFailed(0, EPOCH, number, Failure.of(error).to_data(codec.encode)), now)

    return Outgoing(
        target,
        message_id,
        dump(SignalReceived(0, EPOCH, sent.name, sent.value, message_id), now),
        answers={
            Sent.SENT: dump(SignalDelivered(0, EPOCH, number), now),
            Sent.NOT_FOUND: refused(InstanceNotFound(f"there is no instance {target!r}")),
            Sent.FINISHED: refused(InstanceFinished(f"instance {target!r} has ended")),
            Sent.FULL: refused(UsageError(f"too many messages wait for instance {target!r}")),
        },
    )


def child_uid(parent: bytes, child: str, command: int, at: int) -> bytes:
    """The uid of a child: it derives from what stands in the parent's history, so that a
    later step of any worker finds the same child. As with all uids its first 6 bytes are the
    time; then the command, so that children are listed in their order; then a digest."""
    parts = parent + child.encode() + command.to_bytes(8, "big") + at.to_bytes(8, "big")
    place = (at // 1000).to_bytes(6, "big") + (command & 0xFFFFFF).to_bytes(3, "big")
    return place + blake2b(parts, digest_size=7).digest()


def start_child(instance: Instance, child: StartedChild, now: int, codec: Codec) -> Start:
    """The row of a child, with the event that answers if its id is in use."""
    options: StartOptions = child.call.options
    command, id = child.command, child.instance_id
    uid = child_uid(instance.uid, id, command, child.at)
    taken = InstanceAlreadyExists(f"an instance with the id {id!r} exists")
    failure = Failure.of(taken).to_data(codec.encode)
    close = options.parent_close or ParentClose.CANCEL
    row = NewInstance(
        uid,
        id,
        child_token(uid),
        child.call.name,
        options.version,
        child.queue,
        child.args,
        child.kwargs,
        start_at(options, now),
        child.memo,
        options.tags,
        Parent(instance.uid, instance.id, instance.run, command, close),
        header(options, child.context),
    )
    taken_id = message_ids.id_taken(instance.run, command)
    return Start(row, taken_id, dump(ChildFailed(0, EPOCH, command, failure, False), now))


def cancel_child(instance: Instance, child: ChildCancel, now: int) -> Outgoing:
    """The message by which a parent asks its child to stop."""
    event = CancelRequested(0, EPOCH, f"cancelled by its parent {instance.id}")
    return Outgoing(
        child.instance_id,
        message_ids.child_cancel(instance.uid, instance.run, child.command),
        dump(event, now),
        urgent=True,
        uid=child_uid(instance.uid, child.instance_id, child.command, child.at),
    )


def next_run(
    instance: Instance,
    definition: WorkflowDefinition[..., Any],
    ending: Ending,
    now: int,
    unit: float,
) -> NextRun | None:
    """The run that follows: the workflow continues as new, or has failed and is to be tried
    again; None if this is the end. unit: a random number in [0, 1) for the delay."""
    head = Header.load(instance.header)
    event = ending.event
    if isinstance(event, ContinuedAsNew):
        head = replace(head, carried=ending.carried, attempt=1)
        return NextRun(event.args, event.kwargs, now, head.version, head.dump())
    if not isinstance(event, WorkflowFailed) or ending.cancelled:
        return None
    retry = head.retry if head.has_retry else definition.retry
    delay = None
    if retry is not None and type_name(PermanentError) not in ending.types:
        delay = retry.delay(head.attempt, ending.types, unit)
    if retry is None or delay is None:
        return None
    again_at = now + microseconds(delay, "delay")
    total = retry.total_timeout
    if total is not None and again_at > instance.created_at + microseconds(total, "total_timeout"):
        return None
    head = replace(head, carried=ending.carried, attempt=head.attempt + 1)
    return NextRun(instance.args, instance.kwargs, again_at, instance.version, head.dump())


def carry(following: NextRun, left: list[bytes], now: int) -> NextRun:
    """The next run, with the signals and cancels that came too late for the one before; a
    cancel lets it begin at once."""
    events = [(data, load(data, 0)) for data in left]
    head = Header.load(following.header)
    kept = [data for data, event in events if isinstance(event, SignalReceived | CancelRequested)]
    cancelled = any(isinstance(event, CancelRequested) for _, event in events)
    head = replace(head, carried=(*head.carried, *kept))
    begins_at = now if cancelled else following.start_at
    return replace(following, header=head.dump(), start_at=begins_at)


def pack_vars(variables: dict[str, bytes]) -> bytes:
    data: bytes = msgpack.packb(variables)
    return data


def unpack_vars(data: bytes | None) -> dict[str, bytes]:
    return {} if data is None else dict(msgpack.unpackb(data))


def _completed(event: Any) -> dict[str, Any]:
    return {"status": Status.COMPLETED, "result": event.value}


def _failed(event: Any) -> dict[str, Any]:
    return {
        "status": Status.FAILED,
        "failure": msgpack.packb(event.error),
        "reason": f"{event.error[0]}: {event.error[1]}",
    }


def _cancelled(event: Any) -> dict[str, Any]:
    return {"status": Status.CANCELLED, "reason": event.reason}


_ENDS: dict[type[Event], Callable[[Any], dict[str, Any]]] = {
    WorkflowCompleted: _completed,
    WorkflowFailed: _failed,
    WorkflowCancelled: _cancelled,
}


def end(instance: Instance, ending: Ending, left: list[bytes], codec: Codec, now: int) -> End:
    """The end of an instance, with what its parent is told; ``left``: what came too late to be
    an event. Its signals are listed as unread, and kept for a retry."""
    found = [(data, load(data, 0)) for data in left]
    signals = [(data, event.name) for data, event in found if isinstance(event, SignalReceived)]
    names = tuple(name for _, name in signals)
    ended = End(unread=ending.unread + names, **_ENDS[type(ending.event)](ending.event))
    head = Header.load(instance.header)
    if signals or head.carried:
        head = replace(head, carried=tuple(data for data, _ in signals))
        ended = replace(ended, header=head.dump(empty=True))
    parent = instance.parent
    if parent is None:
        return ended
    return replace(ended, reply=reply(instance.id, parent.command, ended, codec, now))
