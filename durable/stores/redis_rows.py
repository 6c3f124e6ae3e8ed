"""Values of the contract as the scripts want them, and what they answer as values.

A request is msgpack: maps with the names that the scripts use.  A row comes back as it is
stored: the msgpack of its values in the order of ``FIELDS`` or ``TASK_FIELDS`` of
``redis_scripts/library.lua``, one after the other; texts are bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha1
from typing import Any

import msgpack

from durable.errors import StoreError
from durable.model import Instance, Parent, ParentClose, Status, Task, WorkerInfo
from durable.records import refused_also
from durable.store import (
    Beat,
    Claimed,
    ClaimedInstance,
    Close,
    Completion,
    End,
    Message,
    NewInstance,
    NewTask,
    NextRun,
    Outgoing,
    Postponed,
    Start,
    Step,
    TaskKey,
)

__all__ = [
    "as_beat",
    "as_close",
    "as_completion",
    "as_new",
    "as_next",
    "as_outgoing",
    "as_place",
    "as_postponed",
    "as_step",
    "as_task_key",
    "as_worker",
    "claimed_from",
    "digest",
    "events_from",
    "instance_from",
    "listed_from",
    "messages_from",
    "one_event",
    "pack",
    "pairs",
    "task_from",
    "task_key_from",
    "words_from",
    "worker_from",
]

Row = list[Any]

_KEY = struct.Struct(">16sII")
_NUMBER = struct.Struct(">Q")

STATUS = {status.value.encode(): status for status in Status}
CLOSE = {close.value.encode(): close for close in ParentClose}

NOTHING = (None,) * 7

# What makes an array of the values of a row.
INSTANCE_HEAD, TASK_HEAD, MESSAGE_HEAD = b"\xdc\x00\x17", b"\xdc\x00\x0f", b"\x94"


def pack(value: object) -> bytes:
    """A value as a script reads it: the msgpack of Lua knows no type for bytes."""
    packed: bytes = msgpack.packb(value, use_bin_type=False)
    return packed


def _unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=True)


def _row(head: bytes, data: bytes) -> Any:
    try:
        return msgpack.unpackb(head + data, raw=True)
    except ValueError as error:
        raise StoreError(f"a row is damaged: {error}") from error


def digest(secret: bytes) -> str:
    """By which a script knows the store."""
    return sha1(secret, usedforsecurity=False).hexdigest()


def one_event(event: bytes) -> bytes:
    """Events as they stand in a history: here, one."""
    return pack([event])


def as_task_key(key: TaskKey) -> bytes:
    """The key of a task."""
    return _KEY.pack(*key)


def task_key_from(data: bytes) -> TaskKey:
    """The key of a task, from what `as_task_key` gave."""
    uid, run, command = _KEY.unpack(data)
    return uid, run, command


EXACT = 2**53
"""Up to here the numbers of Lua, which are floating-point, are exact: the year 2255."""


def as_moment(at: int | None) -> int | None:
    """A moment as Lua can keep it: later than `EXACT`, up to 64 microseconds earlier."""
    return at if at is None or at < EXACT else at - at % 64


# -- requests ---------------------------------------------------------------------------


def as_new(new: NewInstance) -> dict[str, Any]:
    """An instance to create."""
    parent = new.parent
    return {
        "uid": new.uid,
        "id": new.id,
        "token": new.token,
        "workflow": new.workflow,
        "version": new.version,
        "queue": new.queue,
        "start_at": as_moment(new.start_at),
        "tags": sorted(set(new.tags)),
        "parent": parent
        and (parent.uid, parent.id, parent.run, parent.command, parent.close.value),
        "args": new.args,
        "kwargs": new.kwargs,
        "memo": new.memo,
        "header": new.header,
        "history": pack(list(new.history)),
        "messages": list(new.messages),
    }


def as_next(next: NextRun) -> dict[str, Any]:
    """The run that follows."""
    return {
        "args": next.args,
        "kwargs": next.kwargs,
        "start_at": as_moment(next.start_at),
        "version": next.version,
        "header": next.header,
        "history": pack(list(next.history)),
        "messages": list(next.messages),
    }


def as_close(close: Close | None) -> dict[str, Any] | None:
    """What a run leaves to its children."""
    if close is None:
        return None
    return {
        "message_id": close.message_id,
        "cancelled": close.cancelled,
        "terminated": one_event(close.terminated),
        "reason": close.reason,
    }


def as_outgoing(message: Outgoing) -> dict[str, Any]:
    """A message to somebody."""
    answers = message.answers or {}
    return {
        "id": message.id,
        "message_id": message.message_id,
        "event": message.event,
        "urgent": message.urgent,
        "answers": {sent.value: event for sent, event in answers.items()},
        "uid": message.uid,
        "run": message.run,
    }


def as_step(step: Step) -> dict[str, Any]:
    """A step; what it does not do is left out."""
    found: dict[str, Any] = {
        "uid": step.uid,
        "run": step.run,
        "epoch": step.epoch,
        "length": step.history_length,
        "events": pack(step.events),
        "wake_at": as_moment(step.wake_at),
        "release": step.release,
    }
    if step.messages:
        found["messages"] = step.messages
    if step.done:
        found["done"] = [{"command": command, "epoch": epoch} for command, epoch in step.done]
    if step.tasks:
        found["tasks"] = [_new_task(task) for task in step.tasks]
    if step.cancels:
        found["cancels"] = [
            {"command": one.command, "message_id": one.message_id, "answer": one.answer}
            for one in step.cancels
        ]
    if step.sends:
        found["sends"] = [as_outgoing(message) for message in step.sends]
    if step.starts:
        found["starts"] = [_start(start) for start in step.starts]
    if step.version is not None:
        found["version"] = step.version
    if step.vars is not None:
        found["vars"] = step.vars
    if step.end is not None:
        found["ending"] = _end(step.end)
    if step.next is not None:
        found["next"] = as_next(step.next)
    if step.close is not None:
        found["close"] = as_close(step.close)
    return found


def _new_task(task: NewTask) -> dict[str, Any]:
    return {
        "command": task.command,
        "name": task.name,
        "queue": task.queue,
        "owner": task.owner,
        "wake_at": as_moment(task.wake_at),
        "deadline": as_moment(task.deadline),
        "inputs": pack((task.args, task.kwargs, task.options, task.context)),
    }


def _start(start: Start) -> dict[str, Any]:
    return {"new": as_new(start.new), "message_id": start.message_id, "taken": start.taken}


def _end(end: End) -> dict[str, Any]:
    return {
        "status": end.status.value,
        "reason": end.reason,
        "word": refused_also("", end.blocked_by) if end.blocked_by else None,
        "result": end.result,
        "failure": end.failure,
        "unread": pack(end.unread) if end.unread else None,
        "reply": end.reply,
        "header": end.header,
    }


def as_completion(done: Completion) -> dict[str, Any]:
    """The result of a task."""
    return {
        "uid": done.uid,
        "run": done.run,
        "command": done.command,
        "epoch": done.epoch,
        "message_id": done.message_id,
        "event": done.event,
    }


def as_postponed(one: Postponed) -> dict[str, Any]:
    """A task to be tried again; the event is that of its end, if it is to be cancelled."""
    return {
        "uid": one.uid,
        "run": one.run,
        "command": one.command,
        "epoch": one.epoch,
        "message_id": one.message_id,
        "event": one.answer,
        "wake_at": as_moment(one.wake_at),
        "attempt": one.attempt,
        "last_error": one.last_error,
        "crashed": one.crashed,
        "details": one.details,
        "deferrals": one.deferrals,
        "awaits": one.awaits,
    }


def as_beat(beat: Beat) -> dict[str, Any]:
    """The heartbeat of a task."""
    return {
        "uid": beat.uid,
        "run": beat.run,
        "command": beat.command,
        "epoch": beat.epoch,
        "details": beat.details,
    }


def as_worker(info: WorkerInfo) -> Row:
    """A worker but its id and its lease; last the word that stands for its build."""
    return [
        info.host,
        info.machine,
        info.pid,
        info.build,
        info.queues,
        info.slots,
        info.workflows,
        info.activities,
        info.started_at,
        refused_also("", info.build),
    ]


# -- answers ----------------------------------------------------------------------------


def row_from(uid: bytes, data: bytes, payloads: Sequence[bytes | None]) -> Instance:
    """An instance: its row, and (args, kwargs, vars, result, failure, memo, header)."""
    row = _row(INSTANCE_HEAD, data)
    args, kwargs, vars, result, failure, memo, header = payloads
    parent = None
    if row[17] is not None:
        parent = Parent(row[17], row[18].decode(), row[19], row[20], CLOSE[row[21]])
    return Instance(
        uid=uid,
        id=row[0].decode(),
        workflow=row[1].decode(),
        version=row[2],
        queue=row[3].decode(),
        run=row[4],
        status=STATUS[row[5]],
        owner=row[6].decode(),
        epoch=row[7],
        wake_at=row[8],
        history_length=row[9],
        crashes=row[10],
        blocked_by=row[11].decode(),
        reason=row[12].decode(),
        args=args or b"",
        kwargs=kwargs,
        vars=vars,
        result=result,
        failure=failure,
        memo=memo,
        tags=words_of(row[22]),
        created_at=row[13],
        started_at=row[14],
        finished_at=row[15],
        parent=parent,
        header=header,
    )


def instance_from(stored: Row) -> Instance:
    """An instance from the answer of `stored`: {uid, row, payload, …}."""
    uid, row, *payloads, _ = stored
    return row_from(uid, row, payloads)


def messages_from(stored: Row) -> list[Message]:
    """What waits, from {member, message, …}."""
    found = []
    for member, data in pairs(stored):
        message_id, arrived_at, _, event = _row(MESSAGE_HEAD, data)
        [number] = _NUMBER.unpack_from(member, 16)
        found.append(Message(number, message_id.decode(), arrived_at, event))
    return found


def task_from(stored: Row) -> Task:
    """A task from {task, row, inputs}."""
    key, data, inputs = stored
    uid, run, command = _KEY.unpack(key)
    row = _row(TASK_HEAD, data)
    args, kwargs, options, context = _unpack(inputs)
    return Task(
        uid=uid,
        run=run,
        command=command,
        instance_id=row[0].decode(),
        name=row[1].decode(),
        queue=row[2].decode(),
        args=args,
        kwargs=kwargs,
        options=options,
        owner=row[3].decode(),
        epoch=row[4],
        wake_at=row[5],
        attempt=row[6],
        crashes=row[7],
        cancel_requested=row[8],
        deadline=row[9],
        last_error=row[10],
        scheduled_at=row[11],
        context=context,
        details=row[12],
        deferrals=row[13],
        awaits=row[14],
    )


def claimed_from(packed: bytes) -> Claimed:
    """What a worker has taken, from the answer of `taken`."""
    instances, tasks = _unpack(packed)
    return Claimed(
        [ClaimedInstance(_packed_instance(row), messages_from(inbox)) for row, inbox in instances],
        [task_from(task) for task in tasks],
    )


def _packed_instance(stored: Row) -> Instance:
    """As `instance_from`; what is not there is false when it was packed."""
    uid, row, *payloads, _ = stored
    return row_from(uid, row, [None if one is False else one for one in payloads])


def events_from(chunks: Iterable[bytes]) -> list[tuple[int, bytes]]:
    """A history from its parts."""
    return list(enumerate(event for chunk in chunks for event in _unpack(chunk)))


def words_from(data: bytes | None) -> tuple[str, ...]:
    """Names that were packed; none for None."""
    return words_of(None if data is None else _unpack(data))


def listed_from(stored: Row) -> list[Instance]:
    """Instances without their payloads, from {uid, row, …}."""
    return [row_from(uid, row, NOTHING) for uid, row in pairs(stored)]


def as_place(created_at: int, uid: bytes) -> bytes:
    """Where an instance stands in a listing."""
    return _NUMBER.pack(max(created_at, 0)) + uid


def words_of(values: Sequence[bytes] | None) -> tuple[str, ...]:
    return tuple(value.decode() for value in values or ())


def worker_from(id: bytes, data: bytes, expires_at: bytes) -> WorkerInfo:
    """A worker from {id, worker, the end of its lease}."""
    row = _unpack(data)
    return WorkerInfo(
        id=id.decode(),
        host=row[0].decode(),
        machine=row[1].decode(),
        pid=row[2],
        build=row[3].decode(),
        queues=words_of(row[4]),
        slots=row[5],
        workflows=words_of(row[6]),
        activities=words_of(row[7]),
        started_at=row[8],
        expires_at=int(expires_at),
    )


def pairs(values: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """What stands in twos."""
    return zip(values[::2], values[1::2], strict=True)
