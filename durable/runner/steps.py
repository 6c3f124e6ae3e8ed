"""From a decision of the interpreter to a step of the store: pure translation."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import msgpack

from durable.closing import reply
from durable.codec import Codec
from durable.commands import MISSING, ActivityOptions
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
from durable.model import EPOCH, Instance, Parent, ParentClose, Status, micros
from durable.retry import microseconds, type_name
from durable.store import Cancel, End, NewInstance, NewTask, NextRun, Outgoing, Sent, Start

_MICROS = 1_000_000


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
        None if total is None else now + int(total * _MICROS),
        task.context,
    )


def cancel(run: int, command: int) -> Cancel:
    return Cancel(command, cancelled_id(run, command), cancelled_event(command))


def cancelled_id(run: int, command: int) -> str:
    return f"cancelled:{run}:{command}"


def cancelled_event(command: int) -> bytes:
    return dump(ActivityCancelled(0, EPOCH, command), 0)


def outgoing(uid: bytes, run: int, sent: SentSignal, now: int, codec: Codec) -> Outgoing:
    """A signal to another instance, with the event that answers each outcome. run: in which
    it was issued: a retry of the run that sends it again is recognised."""
    number, target = sent.command, sent.instance_id
    message_id = f"{uid.hex()}:{run}:{number}"

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
    given = options.retry is not MISSING
    retry = options.retry if given else None
    header = Header(retry, given, options.timeout, child.context, version=options.version)
    taken = InstanceAlreadyExists(f"an instance with the id {id!r} exists")
    failure = Failure.of(taken).to_data(codec.encode)
    start_at = now
    if options.delay is not None:
        start_at = now + microseconds(options.delay, "delay")
    elif options.start_at is not None:
        start_at = max(now, micros(options.start_at))
    close = options.parent_close or ParentClose.CANCEL
    row = NewInstance(
        uid,
        id,
        blake2b(uid, digest_size=16).digest(),
        child.call.name,
        options.version,
        child.queue,
        child.args,
        child.kwargs,
        start_at,
        None if options.memo is None else codec.encode(options.memo, "memo"),
        options.tags,
        Parent(instance.uid, instance.id, instance.run, command, close),
        header.dump(),
    )
    taken_id = f"taken:{instance.run}:{command}"
    return Start(row, taken_id, dump(ChildFailed(0, EPOCH, command, failure, False), now))


def cancel_child(instance: Instance, child: ChildCancel, now: int) -> Outgoing:
    """The message by which a parent asks its child to stop."""
    event = CancelRequested(0, EPOCH, f"cancelled by its parent {instance.id}")
    return Outgoing(
        "",
        f"{instance.uid.hex()}:{child.command}:cancel",
        dump(event, now),
        urgent=True,
        uid=child_uid(instance.uid, child.instance_id, child.command, child.at),
    )


def next_run(
    instance: Instance, definition: WorkflowDefinition[..., Any], ending: Ending, now: int
) -> NextRun | None:
    """The run that follows: the workflow continues as new, or has failed and is to be tried
    again; None if this is the end."""
    header = Header.load(instance.header)
    event = ending.event
    if isinstance(event, ContinuedAsNew):
        header = replace(header, carried=ending.carried, attempt=1)
        return NextRun(event.args, event.kwargs, now, header.version, header.dump())
    if not isinstance(event, WorkflowFailed) or ending.cancelled:
        return None
    retry = header.retry if header.has_retry else definition.retry
    delay = None
    if retry is not None and type_name(PermanentError) not in ending.types:
        delay = retry.delay(header.attempt, ending.types, random.random())
    if retry is None or delay is None:
        return None
    start_at = now + microseconds(delay, "delay")
    total = retry.total_timeout
    if total is not None and start_at > instance.created_at + microseconds(total, "total_timeout"):
        return None
    header = replace(header, carried=ending.carried, attempt=header.attempt + 1)
    return NextRun(instance.args, instance.kwargs, start_at, instance.version, header.dump())


def carry(following: NextRun, left: list[bytes], now: int) -> NextRun:
    """The next run, with the signals and cancels that came too late for the one before; a
    cancel lets it begin at once."""
    events = [(data, load(data, 0)) for data in left]
    header = Header.load(following.header)
    kept = [data for data, event in events if isinstance(event, SignalReceived | CancelRequested)]
    cancelled = any(isinstance(event, CancelRequested) for _, event in events)
    header = replace(header, carried=(*header.carried, *kept))
    start_at = now if cancelled else following.start_at
    return replace(following, header=header.dump(), start_at=start_at)


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


def end(instance: Instance, ending: Ending, unread: tuple[str, ...], codec: Codec, now: int) -> End:
    """The end of an instance, with what its parent is told; ``unread``: signals that came too
    late to be events."""
    ended = End(unread=ending.unread + unread, **_ENDS[type(ending.event)](ending.event))
    parent = instance.parent
    if parent is None:
        return ended
    return replace(ended, reply=reply(instance.id, parent.command, ended, codec, now))
