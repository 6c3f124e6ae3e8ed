"""What a client gives back: rows of a list, and what an instance looks like."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgpack

from durable.codec import Codec
from durable.commands import ActivityOptions
from durable.errors import PayloadError
from durable.events import ActivityFailed, load
from durable.failure import Failure
from durable.header import Header
from durable.model import Instance, Parent, Status, Task, moment
from durable.records import PARKED
from durable.retry import ONCE


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One line of a list. Moments are aware UTC datetimes; parent: the id of the instance that
    started it, or None."""

    id: str
    workflow: str
    version: int | None
    queue: str
    status: Status
    run: int
    reason: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    tags: tuple[str, ...]
    parent: str | None = None

    @classmethod
    def of(cls, instance: Instance) -> InstanceRow:
        return cls(
            instance.id,
            instance.workflow,
            instance.version,
            instance.queue,
            instance.status,
            instance.run,
            instance.reason,
            moment(instance.created_at),
            _moment(instance.started_at),
            _moment(instance.finished_at),
            instance.tags,
            None if instance.parent is None else instance.parent.id,
        )


@dataclass(frozen=True, slots=True)
class InstancePage:
    """Instances, newest first; ``cursor`` gives the next page, None at the end."""

    rows: list[InstanceRow]
    cursor: str | None


def describe(
    instance: Instance, tasks: list[Task], unread: tuple[str, ...], known: set[str], codec: Codec
) -> dict[str, Any]:
    """All that the store knows of an instance, decoded. ``known``: names of activities that
    live workers have.

    parent: id, run, command and close, or None. attempt: of the workflow, under its retry
    policy. retry, timeout: given at the start in place of the definition's, or None.
    """
    header = Header.load(instance.header)
    return {
        "id": instance.id,
        "workflow": instance.workflow,
        "version": instance.version,
        "queue": instance.queue,
        "run": instance.run,
        "attempt": header.attempt,
        "parent": _parent(instance.parent),
        "status": instance.status,
        "reason": instance.reason,
        "blocked_by": instance.blocked_by,
        "args": shown(instance.args, codec),
        "kwargs": shown(instance.kwargs, codec) or {},
        "vars": variables(instance, codec),
        "result": shown(instance.result, codec),
        "failure": failure_of(instance, codec),
        "retry": (header.retry or ONCE) if header.has_retry else None,
        "timeout": header.timeout,
        "memo": shown(instance.memo, codec),
        "tags": list(instance.tags),
        "created_at": moment(instance.created_at),
        "started_at": _moment(instance.started_at),
        "finished_at": _moment(instance.finished_at),
        "wake_at": _moment(instance.wake_at),
        "history_length": instance.history_length,
        "owner": "" if instance.owner == PARKED else instance.owner,
        "unread": list(unread),
        "tasks": [_task(task, known, codec) for task in tasks],
    }


def variables(instance: Instance, codec: Codec) -> dict[str, Any]:
    """What the workflow has set by ``set_var``."""
    if instance.vars is None:
        return {}
    return {name: codec.decode(value) for name, value in msgpack.unpackb(instance.vars).items()}


def failure_of(instance: Instance, codec: Codec) -> Failure | None:
    """Why it failed, as data."""
    if instance.failure is None:
        return None
    return Failure.from_data(msgpack.unpackb(instance.failure), codec.decode)


def shown(payload: bytes | None, codec: Codec) -> Any:
    """A value for people; one that cannot be read says so instead of hiding the rest."""
    try:
        return None if payload is None else codec.decode(payload)
    except PayloadError as error:
        return f"<unreadable: {error}>"


def _parent(parent: Parent | None) -> dict[str, Any] | None:
    if parent is None:
        return None
    return {
        "id": parent.id,
        "run": parent.run,
        "command": parent.command,
        "close": parent.close.value,
    }


def _task(task: Task, known: set[str], codec: Codec) -> dict[str, Any]:
    error = None
    if task.last_error is not None:
        event = load(task.last_error, 0)
        if isinstance(event, ActivityFailed):
            error = str(Failure.from_data(event.error, codec.decode))
    options = ActivityOptions.from_data(task.options)
    return {
        "name": task.name,
        "command": task.command,
        "queue": task.queue,
        "attempt": task.attempt,
        "max_attempts": options.retry.max_attempts if options.retry else 1,
        "crashes": task.crashes,
        "deferrals": task.deferrals,
        "state": _state(task),
        "wake_at": moment(task.wake_at),
        "details": shown(task.details, codec),
        "cancel_requested": task.cancel_requested,
        "last_error": error,
        "known_by_a_worker": task.name in known,
    }


def task_note(task: Task) -> str:
    """Where an activity is just now, in a few words."""
    return f"attempt {task.attempt} {_state(task)}"


def _state(task: Task) -> str:
    if task.owner:
        return "running"
    return "awaits completion" if task.awaits else "waiting"


def _moment(at: int | None) -> datetime | None:
    return None if at is None else moment(at)
