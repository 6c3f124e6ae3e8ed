"""What people do to single instances: terminate, pause, resume, unblock, run again.

Rules
-----
* The receipt is looked at first: a repeated call is answered like the first and does
  nothing.  A call that was refused leaves none.
* Whatever takes an instance out of its owner's hands gives it a new epoch, so that nothing
  of what is under way there is written any more.
* A paused instance keeps its ``blocked_by``, and its ``wake_at``, which messages still set:
  with its `PARKED` owner nobody looks at either.  What a worker has in its hands has no
  moment, and what the worker makes of it is lost; and only a look shows that a deadlock is
  one still.  Both get a moment at the pause.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from durable.model import Status
from durable.store import PARKED, Close, NextRun, Sent
from durable.stores import sql_children
from durable.stores.refusals import able, place_name
from durable.stores.sql_messages import ADD_RECEIPTS, receipts
from durable.stores.sql_reads import live_workers
from durable.stores.sql_rows import NEEDS
from durable.stores.sql_runs import ADD_EVENTS, follow
from durable.stores.sql_text import Query, Statement
from durable.stores.sql_tx import Tx

__all__ = ["pause", "rerun", "resume", "terminate", "unblock"]

TARGET = Query(
    f"""
    SELECT number, uid, run, status, history_length, wake_at, blocked_by, finished_at, queue,
        {NEEDS}
    FROM {{instances}} WHERE id = ?{{lock}}
    """,
    kinds="vxvvvvvvvv",
)
WAITING = Query("SELECT 1 FROM {inbox} WHERE number = ? LIMIT 1", kinds="v")
# What others are computed from is set last: MySQL goes from left to right.
PAUSE = Statement(
    f"""
    UPDATE {{instances}}
    SET wake_at = CASE WHEN wake_at IS NULL AND blocked_by = ''
            AND (owner <> '' OR status = 'blocked') THEN ? ELSE wake_at END,
        status = 'paused', owner = '{PARKED}', epoch = epoch + 1, history_length = ?
    WHERE number = ?
    """
)
RESUME = Statement(
    """
    UPDATE {instances}
    SET status = ?, owner = '', epoch = epoch + 1, history_length = ?, wake_at = ?
    WHERE number = ?
    """
)
UNBLOCK = Statement(
    f"UPDATE {{instances}} SET blocked_by = '', needs = {NEEDS}, wake_at = ? WHERE number = ?"
)
ADOPT = Statement(
    """
    UPDATE {instances} SET parent_run = parent_run + 1
    WHERE parent_uid = ? AND parent_run = ? AND finished_at IS NULL AND parent_uid IS NOT NULL
    """
)

ACTIVE = (Status.PENDING, Status.RUNNING, Status.BLOCKED)


@dataclass(frozen=True, slots=True)
class Target:
    """An instance to which something is to be done, as `TARGET` gives it."""

    number: int
    uid: bytes
    run: int
    status: str
    history_length: int
    wake_at: int | None
    blocked_by: str
    finished_at: int | None
    queue: str
    need: str


def terminate(
    tx: Tx,
    id: str,
    message_id: str,
    event: bytes,
    reason: str,
    reply: bytes | None,
    close: Close | None,
) -> Sent:
    """End an instance now, whoever owns it."""
    found = _accepted(tx, id, message_id, (*ACTIVE, Status.PAUSED))
    if isinstance(found, Sent):
        return found
    number, uid, run = found.number, found.uid, found.run
    sql_children.terminate(tx, [(number, run, found.history_length, event, reason)])
    if reply is not None:
        sql_children.reply(tx, [(number, uid, run, reply)])
    if close is not None:
        sql_children.close(tx, [(uid, run, close)])
    return Sent.SENT


def pause(tx: Tx, id: str, message_id: str, event: bytes) -> Sent:
    """Park an instance."""
    found = _accepted(tx, id, message_id, ACTIVE)
    if isinstance(found, Sent):
        return found
    tx.run(PAUSE, tx.now, _note(tx, found, event), found.number)
    return Sent.SENT


def resume(tx: Tx, id: str, message_id: str, event: bytes) -> Sent:
    """Let everybody look at a paused instance again."""
    found = _accepted(tx, id, message_id, (Status.PAUSED,))
    if isinstance(found, Sent):
        return found
    status, wake_at = _resumed(tx, found)
    length = _note(tx, found, event)
    tx.run(RESUME, status.value, length, wake_at, found.number)
    return Sent.SENT


def _resumed(tx: Tx, found: Target) -> tuple[Status, int | None]:
    """The status of a paused instance that goes on, and when to look at it."""
    if found.blocked_by:
        tx.exclude()
        name = place_name(found.need, found.blocked_by)
        return Status.BLOCKED, tx.now if able(live_workers(tx), found.queue, name) else None
    wake_at = found.wake_at
    if wake_at is None and (not found.history_length or tx.rows(WAITING, found.number)):
        wake_at = tx.now
    return Status.RUNNING if found.history_length else Status.PENDING, wake_at


def unblock(tx: Tx, id: str, message_id: str) -> Sent:
    """Wake a blocked instance, whoever has refused it."""
    found = _accepted(tx, id, message_id, (Status.BLOCKED,))
    if isinstance(found, Sent):
        return found
    tx.run(UNBLOCK, tx.now, found.number)
    return Sent.SENT


def rerun(tx: Tx, id: str, message_id: str, run: int, next: NextRun) -> Sent:
    """Begin the run after one in which an instance has ended."""
    found = _target(tx, id, message_id)
    if isinstance(found, Sent):
        return found
    if found.finished_at is None or found.run != run:
        return Sent.REFUSED
    _accept(tx, found, message_id)
    tx.run(ADOPT, found.uid, run)
    follow(tx, [(found.number, run, next)], again=True)
    return Sent.SENT


def _target(tx: Tx, id: str, message_id: str) -> Target | Sent:
    """The instance with this id, or the answer if there is nothing to be done."""
    row = tx.one(TARGET, id)
    if row is None:
        return Sent.NOT_FOUND
    found = Target(*row)
    return Sent.SENT if receipts(tx, [(found.number, message_id)]) else found


def _accepted(tx: Tx, id: str, message_id: str, allowed: Collection[Status]) -> Target | Sent:
    """The instance, which has one of these statuses and a receipt now; else the answer."""
    found = _target(tx, id, message_id)
    if isinstance(found, Sent):
        return found
    if found.status in allowed:
        _accept(tx, found, message_id)
        return found
    return Sent.REFUSED if found.finished_at is None else Sent.FINISHED


def _accept(tx: Tx, found: Target, message_id: str) -> None:
    tx.insert(ADD_RECEIPTS, [(found.number, message_id)])


def _note(tx: Tx, found: Target, event: bytes) -> int:
    """Append an event, unless the history has not begun; its length then."""
    length = found.history_length
    if length:
        tx.insert(ADD_EVENTS, [(found.number, found.run, length, event)])
        length += 1
    return length
