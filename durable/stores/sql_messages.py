"""Messages: how they get into inboxes, once each, and whom they wake.

Rules
-----
* A receipt of (instance, message id) is looked at before anything else, and written with
  the message: a repeated call is answered like the first, and stores nothing.
* Whoever puts a message in an inbox wakes its instance in the same transaction (`WAKE`):
  not if code refused it, nor before its start, unless the message is urgent.
* Messages are inserted in the order in which they were given; their ids keep it.
* A message is for one run, or for any (run 0).  When a run ends those for it go, so what is
  in an inbox is for its present run or for any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from durable.store import Outgoing, Sent
from durable.stores.sql_text import Query, Statement
from durable.stores.sql_tx import Tx

__all__ = ["BY_NUMBER", "Note", "put", "receipts", "send"]

Note = tuple[int, str, bytes, int]
"""A message for an instance: (number, message id, event, run that it is for)."""

# All in one order: whoever waits for rows waits for those behind his own.
BY_ID = Query(
    """
    SELECT id, number, run, finished_at FROM {instances}{by_id}
    WHERE id IN ({list}) ORDER BY number{lock}
    """,
    kinds="vvvv",
)
BY_UID = Query(
    """
    SELECT uid, number, run, finished_at FROM {instances}{by_uid}
    WHERE uid IN ({list}) ORDER BY number{lock}
    """,
    kinds="xvvv",
)
BY_NUMBER = Query(
    """
    SELECT id, number, run, finished_at FROM {instances}{by_number}
    WHERE number IN ({list}) ORDER BY number{lock}
    """,
    kinds="vvvv",
)
FIND = Query("SELECT id, number FROM {instances} WHERE id IN ({list})", kinds="vv")
RECEIPTS = Query(
    """
    SELECT r.number, r.message_id FROM {values} AS v
    JOIN {receipts} r ON r.number = v.column1 AND r.message_id = v.column2
    """,
    columns="nt",
    kinds="vv",
)
WAITING = Query(
    "SELECT number, count(*) FROM {inbox} WHERE number IN ({list}) GROUP BY number", kinds="vv"
)
ADD_MESSAGES = Statement(
    "INSERT INTO {inbox} (number, message_id, arrived_at, event, run) VALUES {list}",
    item="(?, ?, ?, ?, ?)",
    payloads=(3,),
)
ADD_RECEIPTS = Statement("INSERT INTO {receipts} (number, message_id) VALUES {list}", item="(?, ?)")
# Refused by code: blocked_by.  A pending instance with a later wake_at is before its start (one
# without is in somebody's hands); so may be a paused one without a history.  coalesce hides a
# column from MySQL's planner, which would lock all of its index that has no end.
WAKE = """
    UPDATE {instances} SET wake_at = ?
    WHERE number IN ({list}) AND coalesce(finished_at, 0) = 0 AND blocked_by = ''
    AND (wake_at IS NULL OR wake_at > ?)
"""
WAKE_URGENT = Statement(WAKE)
WAKE_STARTED = Statement(
    WAKE
    + """
    AND (wake_at IS NULL OR status <> 'pending' AND (status <> 'paused' OR history_length > 0))
    """
)


def send(
    tx: Tx, messages: Sequence[Outgoing], max_inbox: int, *, lock: Query = BY_ID
) -> list[Sent]:
    """Put messages into inboxes, each answered for itself.

    lock: `BY_ID`; or `BY_NUMBER`, which takes a statement more and, in a transaction of an
    application, keeps MySQL from locking the ids before these.
    """
    if not messages:
        return []
    to = [message.id if message.uid is None else message.uid for message in messages]
    targets = _targets(tx, to, lock)
    found = [
        (targets[key][0], message.message_id)
        for key, message in zip(to, messages, strict=True)
        if key in targets
    ]
    taken = receipts(tx, found)
    waiting = tx.pairs(WAITING, list(dict.fromkeys(number for number, _ in found)))
    outcomes: list[Sent] = []
    notes: list[Note] = []
    urgent: set[int] = set()
    for key, message in zip(to, messages, strict=True):
        number, run, finished = targets.get(key, (0, 0, None))
        receipt = (number, message.message_id)
        if not number:
            outcomes.append(Sent.NOT_FOUND)
        elif receipt in taken:
            outcomes.append(Sent.SENT)
        elif finished is not None or message.run not in (0, run):
            outcomes.append(Sent.FINISHED)
        elif waiting.get(number, 0) >= max_inbox:
            outcomes.append(Sent.FULL)
        else:
            outcomes.append(Sent.SENT)
            taken.add(receipt)
            waiting[number] = waiting.get(number, 0) + 1
            notes.append((number, message.message_id, message.event, message.run))
            if message.urgent:
                urgent.add(number)
    _store(tx, notes, urgent)
    return outcomes


def _targets(
    tx: Tx, keys: Iterable[str | bytes], lock: Query
) -> dict[str | bytes, tuple[int, int, int | None]]:
    """(number, run, finished_at) of those instances that there are, by id or uid."""
    unique = dict.fromkeys(keys)
    ids = [key for key in unique if isinstance(key, str)]
    rows = []
    if lock is BY_NUMBER:
        # A number may be somebody else's by now, and what was not found may be new.
        wanted = set(ids)
        found = tx.fetch(BY_NUMBER, [number for _, number in tx.fetch(FIND, ids)])
        rows = [row for row in found if row[0] in wanted]
        ids = list(wanted.difference(row[0] for row in rows))
    rows += tx.fetch(BY_ID, ids)
    rows += tx.fetch(BY_UID, [key for key in unique if isinstance(key, bytes)])
    return {key: (number, run, finished) for key, number, run, finished in rows}


def put(tx: Tx, notes: Iterable[Note], *, urgent: bool = False) -> None:
    """Put messages of our own into inboxes: no inbox is too full for them."""
    new = list(notes)
    if not new:
        return
    taken = receipts(tx, [note[:2] for note in new])
    fresh: list[Note] = []
    for note in new:
        if note[:2] not in taken:
            taken.add(note[:2])
            fresh.append(note)
    _store(tx, fresh, {note[0] for note in fresh} if urgent else set())


def receipts(tx: Tx, keys: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of (number, message id) that have come before."""
    unique = list(dict.fromkeys(keys))
    return {(number, message_id) for number, message_id in tx.fetch(RECEIPTS, unique)}


def _store(tx: Tx, notes: Sequence[Note], urgent: set[int]) -> None:
    now = tx.now
    tx.insert(ADD_MESSAGES, [(number, id, now, event, run) for number, id, event, run in notes])
    tx.insert(ADD_RECEIPTS, [note[:2] for note in notes])
    others = {note[0] for note in notes} - urgent
    for statement, numbers in ((WAKE_STARTED, others), (WAKE_URGENT, urgent)):
        tx.each(statement, sorted(numbers), before=(now,), after=(now,))
