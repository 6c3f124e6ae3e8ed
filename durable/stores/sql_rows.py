"""Rows of tables as values of the model, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence

from durable.model import Instance, Parent, ParentClose, Status, Task, WorkerInfo
from durable.store import Message
from durable.stores.sql_text import Query
from durable.stores.sql_tx import Row, Tx

__all__ = [
    "INSTANCE",
    "INSTANCE_KINDS",
    "NEEDS",
    "TASK",
    "TASK_KINDS",
    "WORKERS",
    "instance_from",
    "instances_of",
    "messages_of",
    "needs",
    "task_from",
    "tasks_of",
    "words",
    "words_from",
    "worker_from",
]

STATUS = {status.value: status for status in Status}
CLOSE = {close.value: close for close in ParentClose}

# In the order of the fields of `Instance`, but the header before the parent; then the number.
INSTANCE = """
    SELECT i.uid, i.id, i.workflow, i.version, i.queue, i.run, i.status, i.owner, i.epoch,
        i.wake_at, i.history_length, i.crashes, i.blocked_by, i.reason, p.args, p.kwargs,
        p.vars, p.result, p.failure, p.memo, p.tags, i.created_at, i.started_at,
        i.finished_at, p.header, i.parent_uid, i.parent_id, i.parent_run, i.parent_command,
        i.parent_close, i.number
    FROM {instances} i JOIN {payloads} p ON p.number = i.number
"""
INSTANCE_KINDS = "xvvvvvvvvvvvvvbbbbbbvvvvbbvvvvv"
_STATUS, _TAGS = 6, 20
_HEADER, _PARENT, _CLOSE = 24, 25, 29

# In the order of the fields of `Task`; then the id.
TASK = """
    SELECT i.uid, t.run, t.command, i.id, t.name, t.queue, t.args, t.kwargs, t.options,
        t.owner, t.epoch, t.wake_at, t.attempt, t.crashes, t.cancel_requested, t.deadline,
        t.last_error, t.scheduled_at, t.context, t.details, t.deferrals, t.awaits, t.id
    FROM {tasks} t JOIN {instances} i ON i.number = t.number
"""
TASK_KINDS = "xvvvvvbbbvvvvvvvbvbbvvv"
_CANCEL_REQUESTED, _AWAITS = 14, 21

INSTANCES = Query(INSTANCE + "WHERE i.number IN ({list})", kinds=INSTANCE_KINDS)
TASKS = Query(TASK + "WHERE t.id IN ({list})", kinds=TASK_KINDS)
MESSAGES = Query(
    """
    SELECT number, id, message_id, arrived_at, event
    FROM {inbox} WHERE number IN ({list}) ORDER BY number, id
    """,
    kinds="vvvvb",
    unbounded=True,
)
WORKERS = """
    SELECT id, host, machine, pid, build, queues, slots, workflows, activities, started_at,
        expires_at
    FROM {workers}
"""


# The same as `needs`, of a row of instances.
NEEDS = "workflow || coalesce('@' || version, '')"


def needs(workflow: str, version: int | None) -> str:
    """What a worker must know to run an instance."""
    return workflow if version is None else f"{workflow}@{version}"


def words(values: Sequence[str]) -> str:
    """Names as one text; the empty text for none."""
    return json.dumps(values, ensure_ascii=False) if values else ""


def words_from(text: str) -> tuple[str, ...]:
    """Names from what `words` gave."""
    return tuple(json.loads(text)) if text else ()


def instance_from(row: Row) -> Instance:
    """An instance from a row of `INSTANCE`."""
    row[_STATUS] = STATUS[row[_STATUS]]
    row[_TAGS] = words_from(row[_TAGS])
    parent = None
    if row[_PARENT] is not None:
        row[_CLOSE] = CLOSE[row[_CLOSE]]
        parent = Parent(*row[_PARENT : _CLOSE + 1])
    row[_HEADER:] = parent, row[_HEADER]
    return Instance(*row)


def instances_of(tx: Tx, numbers: Sequence[int]) -> dict[int, Instance]:
    """Instances by number."""
    return {row[-1]: instance_from(row) for row in tx.fetch(INSTANCES, numbers)}


def messages_of(tx: Tx, numbers: Sequence[int]) -> dict[int, list[Message]]:
    """What waits in the inboxes of these instances, in order; only those that have any."""
    found: dict[int, list[Message]] = {}
    for number, *message in tx.fetch(MESSAGES, numbers):
        found.setdefault(number, []).append(Message(*message))
    return found


def task_from(row: Row) -> Task:
    """A task from a row of `TASK`."""
    row[_CANCEL_REQUESTED] = bool(row[_CANCEL_REQUESTED])
    row[_AWAITS] = bool(row[_AWAITS])
    return Task(*row[:-1])


def tasks_of(tx: Tx, ids: Sequence[int]) -> list[Task]:
    """Tasks, in the order of their ids as given."""
    found = {row[-1]: task_from(row) for row in tx.fetch(TASKS, ids)}
    return [found[id] for id in ids]


def worker_from(row: Sequence[object]) -> WorkerInfo:
    """A worker from a row of `WORKERS`."""
    fields = list(row)
    for place in (5, 7, 8):
        fields[place] = words_from(str(fields[place]))
    return WorkerInfo(*fields)  # type: ignore[arg-type]  # the columns are of its types
