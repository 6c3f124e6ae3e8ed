"""Results of tasks whose instance lives elsewhere, and tasks that are tried again later.

Rules
-----
* Only who holds a task, at its epoch, may end or postpone it: an attempt that overran
  cannot complete the next one.
* A receipt is looked at first: a repeated report is answered like the first.
"""

from __future__ import annotations

from collections.abc import Sequence

from durable.store import Completion, Postponed
from durable.stores.sql_messages import Note, put, receipts
from durable.stores.sql_text import Query, Statement
from durable.stores.sql_tx import Tx

__all__ = ["complete"]

HELD = Query(
    """
    SELECT i.uid, t.run, t.command, t.id, t.epoch, t.cancel_requested
    FROM {values} AS v
    JOIN {instances} i ON i.uid = v.column1
    JOIN {tasks} t ON t.number = i.number AND t.run = v.column2 AND t.command = v.column3
    WHERE t.owner = ? AND t.owner <> '' AND t.run = i.run{skip_locked}
    """,
    item="(?, ?, ?)",
    kinds="xvvvvv",
)
NUMBERS = Query("SELECT uid, number FROM {instances} WHERE uid IN ({list})", kinds="xv")
DROP = Statement("DELETE FROM {tasks} WHERE id IN ({list})")
POSTPONE = Statement(
    """
    UPDATE {tasks} SET owner = '', wake_at = v.column2, attempt = v.column3,
        last_error = v.column4, crashes = crashes + v.column5
    FROM {values} AS v WHERE id = v.column1
    """,
    item="(?, ?, ?, ?, ?)",
)


def complete(
    tx: Tx, worker: str, completions: Sequence[Completion], postponed: Sequence[Postponed]
) -> list[bool]:
    """Put results into inboxes and give tasks back; whether the worker still held each."""
    reports: list[Completion | Postponed] = [*completions, *postponed]
    uids = list(dict.fromkeys(report.uid for report in reports))
    numbers = tx.pairs(NUMBERS, uids)
    keys = list(dict.fromkeys((one.uid, one.run, one.command) for one in reports))
    held = {
        (uid, run, command): (id, epoch, cancelled)
        for uid, run, command, id, epoch, cancelled in tx.fetch(HELD, keys, after=(worker,))
    }
    known = [(numbers[one.uid], one.message_id) for one in reports if one.uid in numbers]
    taken = receipts(tx, known)
    told: list[bool] = []
    notes: list[Note] = []
    ended: list[int] = []
    later: list[tuple[object, ...]] = []
    for one in reports:
        number = numbers.get(one.uid, 0)
        if (number, one.message_id) in taken:
            told.append(True)
            continue
        key = (one.uid, one.run, one.command)
        id, epoch, cancelled = held.get(key, (0, None, False))
        told.append(epoch == one.epoch)
        if epoch != one.epoch:
            continue
        del held[key]
        if isinstance(one, Postponed) and not cancelled:
            crashed = int(one.crashed)
            later.append((id, one.wake_at, one.attempt, one.last_error, crashed))
            continue
        event = one.answer if isinstance(one, Postponed) else one.event
        ended.append(id)
        taken.add((number, one.message_id))
        notes.append((number, one.message_id, event))
    tx.each(DROP, ended)
    tx.each(POSTPONE, later)
    put(tx, notes)
    tx.tell = any(told)
    return told
