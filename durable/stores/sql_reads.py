"""Reads: single instances, listings, histories, inboxes, tasks, workers, counts.

A listing asks for the keys of each status separately, newest first, and merges them: the
one index (status, created_at, uid) serves listings with and without a status, and counts.
The children of a parent have an index of their own, whatever their status.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peewee import Tuple, fn

from durable.errors import UsageError
from durable.model import Instance, Stats, Status, Task, WorkerInfo
from durable.store import Filter, Message, Page
from durable.stores.schema import Schema
from durable.stores.sql_rows import (
    INSTANCE,
    INSTANCE_KINDS,
    TASK,
    TASK_KINDS,
    WORKERS,
    instance_from,
    instances_of,
    task_from,
    words_from,
    worker_from,
)
from durable.stores.sql_text import Query
from durable.stores.sql_tx import Tx

__all__ = [
    "history",
    "inbox",
    "instance",
    "instances",
    "live_workers",
    "stats",
    "tasks",
    "unread",
    "workers",
]

FEW = 2000
"""A prefix that fewer ids have is looked up by id; for a commoner one a listing goes through
the instances by date, where it soon finds enough of them."""

BY_ID = Query(INSTANCE + "WHERE i.id = ?", kinds=INSTANCE_KINDS)
NUMBER = "(SELECT number FROM {instances} WHERE uid = ?)"
HISTORY = Query(
    f"SELECT seq, event FROM {{history}} WHERE number = {NUMBER} AND run = ? ORDER BY seq",
    kinds="vb",
    unbounded=True,
)
MESSAGES = Query(
    f"SELECT id, message_id, arrived_at, event FROM {{inbox}} WHERE number = {NUMBER} ORDER BY id",
    kinds="vvvb",
    unbounded=True,
)
UNREAD = Query(f"SELECT unread FROM {{payloads}} WHERE number = {NUMBER}", kinds="v")
TASKS = Query(TASK + "WHERE i.uid = ? ORDER BY t.run, t.command", kinds=TASK_KINDS, unbounded=True)
ALL_WORKERS = Query(WORKERS + "ORDER BY started_at, id", kinds="v" * 11)
BY_STATUS = Query("SELECT status, count(*) FROM {instances} GROUP BY status", kinds="vv")


def instance(tx: Tx, id: str) -> Instance | None:
    """The instance with this id."""
    row = tx.one(BY_ID, id)
    return None if row is None else instance_from(row)


def history(tx: Tx, keys: Sequence[tuple[bytes, int]]) -> list[list[tuple[int, bytes]]]:
    """For each (uid, run): its (seq, event), in order."""
    return [[(seq, event) for seq, event in tx.rows(HISTORY, uid, run)] for uid, run in keys]


def inbox(tx: Tx, uid: bytes) -> list[Message]:
    """The messages that wait."""
    return [Message(*row) for row in tx.rows(MESSAGES, uid)]


def unread(tx: Tx, uid: bytes) -> tuple[str, ...]:
    """Names of the signals that nobody had read."""
    row = tx.one(UNREAD, uid)
    return words_from(row[0]) if row else ()


def tasks(tx: Tx, uid: bytes) -> list[Task]:
    """The scheduled activities of an instance."""
    return [task_from(row) for row in tx.rows(TASKS, uid)]


def workers(tx: Tx) -> list[WorkerInfo]:
    """The registered workers."""
    return [worker_from(row) for row in tx.rows(ALL_WORKERS)]


def live_workers(tx: Tx) -> list[WorkerInfo]:
    """Those whose lease has not expired."""
    return [info for info in workers(tx) if info.expires_at > tx.now]


# -- listings ---------------------------------------------------------------------------


def instances(tx: Tx, models: Schema, where: Filter) -> Page:
    """Instances that match, newest first."""
    keys: list[Any] = []
    conditions = _conditions(tx, models, where)
    for of_status in _statuses(models, where):
        keys += tx.raw(*_keys(models, where, [*of_status, *conditions]))
    keys.sort(reverse=True)
    page = keys[: where.limit]
    found = instances_of(tx, [number for _, _, number in page])
    # A row may have gone since its key was read.
    rows = [found[number] for _, _, number in page if number in found]
    cursor = f"{page[-1][0]}-{page[-1][1].hex()}" if len(keys) > where.limit else None
    return Page(rows, cursor)


def _keys(models: Schema, where: Filter, conditions: Sequence[Any]) -> tuple[str, list[Any]]:
    """The query for (created_at, uid, number) of one status."""
    query, at, uid = _matching(models, where)
    query = query.select(at, uid, models.instances.number)
    if where.cursor is not None:
        query = query.where(_before(models, at, uid, *_position(where.cursor)))
    query = query.where(*conditions).order_by(at.desc(), uid.desc()).limit(where.limit + 1)
    text, params = query.sql()
    return text, params


def _matching(models: Schema, where: Filter) -> tuple[Any, Any, Any]:
    """What has the tag and was created when it should; with the columns to order it by."""
    table, tags = models.instances, models.tags
    at, uid, query = table.created_at, table.uid, table.select()
    if where.tag is not None:
        at, uid = tags.created_at, tags.uid
        query = tags.select().join(table, on=(table.uid == tags.uid)).where(tags.tag == where.tag)
    if where.since is not None:
        query = query.where(at >= where.since)
    if where.until is not None:
        query = query.where(at < where.until)
    return query, at, uid


def _before(models: Schema, at: Any, uid: Any, moment: int, key: bytes) -> Any:
    """What comes after a position, newest first."""
    if models.dialect.compares_rows:
        return Tuple(at, uid) < Tuple(moment, key)
    return (at < moment) | ((at == moment) & (uid < key))


def _statuses(models: Schema, where: Filter) -> list[list[Any]]:
    """For each query that is made, its conditions on the status."""
    status = models.instances.status
    names = [one.value for one in dict.fromkeys(where.statuses or Status)]
    if where.parent is None:
        return [[status == name] for name in names]
    # Concatenated, so that the planner does not see the status: it would sort all that have it.
    return [[status.concat("").in_(names)] if where.statuses else []]


def _conditions(tx: Tx, models: Schema, where: Filter) -> list[Any]:
    table = models.instances
    conditions: list[Any] = []
    if where.parent is not None:
        conditions.append(table.parent_uid == where.parent)
    if where.workflow is not None:
        conditions.append(table.workflow == where.workflow)
    if where.queue is not None:
        conditions.append(table.queue == where.queue)
    if where.prefix:
        ids = table.id >= where.prefix
        end = _after(where.prefix)
        if end is not None:
            ids &= table.id < end
        rows = tx.raw(*table.select(table.number).where(ids).limit(FEW + 1).sql())
        few = len(rows) <= FEW
        conditions.append(table.number.in_([number for [number] in rows]) if few else ids)
    return conditions


def _after(prefix: str) -> str | None:
    """The first text, byte by byte, after all that begin with the prefix."""
    for end in range(len(prefix), 0, -1):
        last = ord(prefix[end - 1]) + 1
        if 0xD800 <= last <= 0xDFFF:
            last = 0xE000
        if last <= 0x10FFFF:
            return prefix[: end - 1] + chr(last)
    return None


def _position(cursor: str) -> tuple[int, bytes]:
    created_at, _, uid = cursor.partition("-")
    try:
        return int(created_at), bytes.fromhex(uid)
    except ValueError:
        raise UsageError(f"{cursor!r} is not a cursor that a listing gave") from None


# -- counts -----------------------------------------------------------------------------


def stats(tx: Tx, models: Schema) -> Stats:
    """Counts over everything."""
    instances, tasks = models.instances, models.tasks
    counts = {status.value: 0 for status in Status}
    counts.update((status, count) for status, count in tx.rows(BY_STATUS))
    free = (instances.owner == "") & instances.wake_at.is_null(False)
    oldest = instances.select(fn.MIN(instances.wake_at)).where(free)
    return Stats(
        instances=counts,
        tasks_waiting=_count(tx, tasks.select().where(tasks.owner == "")),
        tasks_running=_count(tx, tasks.select().where(tasks.owner != "")),
        messages=_count(tx, models.inbox.select()),
        workers=_count(tx, models.workers.select()),
        oldest_wake_at=tx.raw(*oldest.sql())[0][0],
    )


def count(tx: Tx, models: Schema, where: Filter) -> int:
    """How many instances match."""
    query, _, _ = _matching(models, where)
    if where.statuses:
        query = query.where(models.instances.status.in_([one.value for one in where.statuses]))
    if conditions := _conditions(tx, models, where):
        query = query.where(*conditions)
    return _count(tx, query)


def _count(tx: Tx, query: Any) -> int:
    [[count]] = tx.raw(*query.select(fn.COUNT(1)).sql())
    return int(count)
