"""What the end of one instance says to another: messages that clients and workers write
alike."""

from __future__ import annotations

from typing import Any

import msgpack

from durable import message_ids
from durable.codec import Codec
from durable.errors import WorkflowCancelledError, WorkflowError, WorkflowTerminatedError
from durable.events import (
    CancelRequested,
    ChildCompleted,
    ChildFailed,
    Event,
    WorkflowTerminated,
    dump,
)
from durable.failure import Failure
from durable.model import EPOCH, Instance, Status
from durable.records import Close, End

_ERRORS: dict[Status, type[WorkflowError]] = {
    Status.CANCELLED: WorkflowCancelledError,
    Status.TERMINATED: WorkflowTerminatedError,
}


def parent_ended(id: str) -> str:
    """Why an open child is cancelled or terminated."""
    return f"the parent {id} has ended"


def close_children(id: str, uid: bytes, run: int, now: int) -> Close:
    """What becomes of the children that are open when a run of this instance ends."""
    reason = parent_ended(id)
    return Close(
        message_ids.child_close(uid, run),
        dump(CancelRequested(0, EPOCH, reason), now),
        dump(WorkflowTerminated(0, EPOCH, reason), now),
        reason,
    )


def reply(child: str, command: int, end: End | Instance, codec: Codec, now: int) -> bytes:
    """What a parent is told of the end of its child.

    child: its id. command: of the parent, that started it. end: how it ends, or has ended.
    """
    event: Event
    if end.status is Status.COMPLETED:
        event = ChildCompleted(0, EPOCH, command, end.result)
    else:
        event = ChildFailed(0, EPOCH, command, _failure(child, end, codec))
    return dump(event, now)


def _failure(child: str, end: End | Instance, codec: Codec) -> list[Any]:
    if end.failure is not None:
        data: list[Any] = msgpack.unpackb(end.failure)
        return data
    reason = f": {end.reason}" if end.reason else ""
    error = _ERRORS[end.status](f"instance {child!r} was {end.status}{reason}")
    return Failure.of(error).to_data(codec.encode)
