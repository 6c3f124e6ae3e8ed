"""Messages: how they get into inboxes, once each, and whom they wake.

Rules
-----
* A receipt of (instance, message id) is looked at before anything else, and written with
  the message: a repeated call is answered like the first, and stores nothing.
* Whoever puts a message in an inbox wakes its instance in the same transaction (`WAKE`):
  not if code refused it, nor before its start, unless the message is urgent.
* Messages are inserted in the order in which they were given; their ids keep it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from durable.store import Outgoing, Sent
from durable.stores.sql_text import Query, Statement
from durable.stores.sql_tx import Tx

__all__ = ["Note", "put", "receipts", "send"]

Note = tuple[int, str, bytes]
"""A message for an instance: (number, message id, event)."""

TARGETS = Query("SELECT id, number, finished_at FROM {instances} WHERE id IN ({list})", kinds="vvv")
RECEIPTS = Query(
    """
    SELECT r.number, r.message_id FROM {values} AS v
    JOIN {receipts} r ON r.number = v.column1 AND r.message_id = v.column2
    """,
    item="(?, ?)",
    kinds="vv",
)
WAITING = Query(
    "SELECT number, count(*) FROM {inbox} WHERE number IN ({list}) GROUP BY number", kinds="vv"
)
ADD_MESSAGES = Statement(
    "INSERT INTO {inbox} (number, message_id, arrived_at, event) VALUES {list}",
    item="(?, ?, ?, ?)",
)
ADD_RECEIPTS = Statement("INSERT INTO {receipts} (number, message_id) VALUES {list}", item="(?, ?)")
# A pending instance with a later wake_at is before its start; one without is in somebody's
# hands. Refused by code: blocked_by.
WAKE = """
    UPDATE {instances} SET wake_at = ?
    WHERE number IN ({list}) AND finished_at IS NULL AND blocked_by = ''
    AND (wake_at IS NULL OR wake_at > ?)
"""
WAKE_URGENT = Statement(WAKE)
WAKE_STARTED = Statement(WAKE + "AND (status <> 'pending' OR wake_at IS NULL)")


def send(tx: Tx, messages: Sequence[Outgoing], max_inbox: int) -> list[Sent]:
    """Put messages into inboxes, each answered for itself."""
    ids = list(dict.fromkeys(message.id for message in messages))
    targets: dict[str, tuple[int, int | None]] = {
        id: (number, finished) for id, number, finished in tx.fetch(TARGETS, ids)
    }
    found = [
        (targets[message.id][0], message.message_id)
        for message in messages
        if message.id in targets
    ]
    taken = receipts(tx, found)
    numbers = list(dict.fromkeys(number for number, _ in found))
    waiting = tx.pairs(WAITING, numbers)
    outcomes: list[Sent] = []
    notes: list[Note] = []
    urgent: set[int] = set()
    for message in messages:
        number, finished = targets.get(message.id, (0, None))
        receipt = (number, message.message_id)
        if not number:
            outcomes.append(Sent.NOT_FOUND)
        elif receipt in taken:
            outcomes.append(Sent.SENT)
        elif finished is not None:
            outcomes.append(Sent.FINISHED)
        elif waiting.get(number, 0) >= max_inbox:
            outcomes.append(Sent.FULL)
        else:
            outcomes.append(Sent.SENT)
            taken.add(receipt)
            waiting[number] = waiting.get(number, 0) + 1
            notes.append((number, message.message_id, message.event))
            if message.urgent:
                urgent.add(number)
    _store(tx, notes, urgent)
    return outcomes


def put(tx: Tx, notes: Iterable[Note]) -> None:
    """Put messages of our own into inboxes: no inbox is too full for them."""
    new = list(notes)
    taken = receipts(tx, [(number, message_id) for number, message_id, _ in new])
    fresh: list[Note] = []
    for note in new:
        if note[:2] not in taken:
            taken.add(note[:2])
            fresh.append(note)
    _store(tx, fresh, set())


def receipts(tx: Tx, keys: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of (number, message id) that have come before."""
    unique = list(dict.fromkeys(keys))
    return {(number, message_id) for number, message_id in tx.fetch(RECEIPTS, unique)}


def _store(tx: Tx, notes: Sequence[Note], urgent: set[int]) -> None:
    tx.insert(ADD_MESSAGES, [(number, id, tx.now, event) for number, id, event in notes])
    tx.insert(ADD_RECEIPTS, [(number, id) for number, id, _ in notes])
    others = {number for number, _, _ in notes} - urgent
    for statement, numbers in ((WAKE_STARTED, others), (WAKE_URGENT, urgent)):
        tx.each(statement, sorted(numbers), before=(tx.now,), after=(tx.now,))
