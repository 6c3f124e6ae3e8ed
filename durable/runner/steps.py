"""From a decision of the interpreter to a step of the store: pure translation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack

from durable.codec import Codec
from durable.commands import ActivityOptions
from durable.errors import InstanceFinished, InstanceNotFound, UsageError
from durable.events import (
    ActivityCancelled,
    Event,
    SignalDelivered,
    SignalFailed,
    SignalReceived,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    dump,
)
from durable.failure import Failure
from durable.interpreter import Ending, ScheduledTask, SentSignal
from durable.model import EPOCH, Status
from durable.store import Cancel, End, NewTask, Outgoing, Sent

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
    )


def cancel(run: int, command: int) -> Cancel:
    return Cancel(command, cancelled_id(run, command), cancelled_event(command))


def cancelled_id(run: int, command: int) -> str:
    return f"cancelled:{run}:{command}"


def cancelled_event(command: int) -> bytes:
    return dump(ActivityCancelled(0, EPOCH, command), 0)


def done_id(run: int, command: int) -> str:
    return f"done:{run}:{command}"


def outgoing(uid: bytes, run: int, sent: SentSignal, now: int, codec: Codec) -> Outgoing:
    """A signal to another instance, with the event that answers each outcome."""
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


def end(ending: Ending, unread: tuple[str, ...] = ()) -> End:
    """The end of an instance; ``unread``: signals that came too late to be events."""
    return End(unread=ending.unread + unread, **_ENDS[type(ending.event)](ending.event))
