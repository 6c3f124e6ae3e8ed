"""Results of tasks whose instance lives elsewhere, tasks that are tried again later, and what
attempts tell of their progress.

Rules
-----
* Only who holds a task, at its epoch, may end or postpone it: an attempt that overran
  cannot complete the next one.  Somebody outside, who holds nothing, must know the epoch.
* A task that awaits its result from outside is nobody's; it falls due when its time is up,
  and whoever claims it then gives it another epoch.
* A receipt is looked at first: a repeated report is answered like the first.
* A result is for the run that scheduled the task.
"""

from __future__ import annotations

from collections.abc import Sequence

from durable.store import Beat, Completion, Postponed, Sent, TaskKey, Verdict
from durable.stores.sql_messages import Note, put, receipts
from durable.stores.sql_text import Query, Statement, Update
from durable.stores.sql_tx import Tx

__all__ = ["beat", "complete", "finish", "settle", "to_cancel"]

HELD = Query(
    """
    SELECT i.uid, t.run, t.command, t.id, t.epoch, t.cancel_requested
    FROM {values} AS v
    JOIN {instances} i{by_uid} ON i.uid = v.column1
    JOIN {tasks} t ON t.number = i.number AND t.run = v.column2 AND t.command = v.column3
    WHERE nullif(t.owner, '') = ? AND t.run = i.run{lock_t}
    """,
    columns="bnn",
    kinds="xvvvvv",
)
NUMBERS = Query("SELECT uid, number FROM {instances} WHERE uid IN ({list})", kinds="xv")
LOCKED = Query(NUMBERS.text + "{lock}", kinds="xv")
FREE_NUMBERS = Query(NUMBERS.text + "{skip_locked}", kinds="xv")
AT_EPOCH = Query(
    """
    SELECT t.id FROM {tasks} t JOIN {instances} i ON i.number = t.number AND i.run = t.run
    WHERE t.number = ? AND t.run = ? AND t.command = ? AND t.epoch = ?{lock_t}
    """,
    kinds="v",
)
TO_CANCEL = Query(
    """
    SELECT i.uid, t.run, t.command
    FROM {tasks} t JOIN {instances} i ON i.number = t.number
    WHERE t.owner = ? AND t.owner <> '' AND t.cancel_requested = 1
    """,
    kinds="xvv",
)
DROP = Statement("DELETE FROM {tasks} WHERE id IN ({list})")
POSTPONE = Update(
    """
    owner = '', wake_at = v.column2,
    attempt = CASE WHEN v.column8 = 0 THEN v.column3 ELSE attempt END,
    last_error = coalesce(v.column4, last_error), crashes = crashes + v.column5,
    details = coalesce(v.column6, details), deferrals = v.column7, awaits = v.column8
    """,
    columns="nnnbnbnn",
    table="tasks",
    key="id",
)
BEAT = Update(
    "details = v.column2",
    columns="nb",
    table="tasks",
    key="id",
)


def complete(
    tx: Tx, worker: str, completions: Sequence[Completion], postponed: Sequence[Postponed]
) -> list[Verdict]:
    """Put results into inboxes and give tasks back; one verdict each."""
    reports: list[Completion | Postponed] = [*completions, *postponed]
    uids = list(dict.fromkeys(report.uid for report in reports))
    numbers = tx.pairs(FREE_NUMBERS, uids)
    missing = [uid for uid in uids if uid not in numbers] if tx.locks_rows else []
    busy = tx.pairs(NUMBERS, missing).keys()
    here = [one for one in reports if one.uid not in busy]
    keys = list(dict.fromkeys((one.uid, one.run, one.command) for one in here))
    held = {
        (uid, run, command): (id, epoch, cancelled)
        for uid, run, command, id, epoch, cancelled in tx.fetch(HELD, keys, after=(worker,))
    }
    known = [(numbers[one.uid], one.message_id) for one in reports if one.uid in numbers]
    taken = receipts(tx, known)
    told: list[Verdict] = []
    notes: list[Note] = []
    ended: list[int] = []
    later: list[tuple[object, ...]] = []
    for one in reports:
        number = numbers.get(one.uid, 0)
        if (number, one.message_id) in taken:
            told.append(Verdict.COMMITTED)
            continue
        key = (one.uid, one.run, one.command)
        id, epoch, cancelled = held.get(key, (0, None, False))
        if one.uid in busy or epoch != one.epoch:
            told.append(Verdict.BUSY if one.uid in busy else Verdict.LOST)
            continue
        told.append(Verdict.COMMITTED)
        del held[key]
        if isinstance(one, Postponed) and not cancelled:
            later.append(_postponed(id, one))
            continue
        event = one.answer if isinstance(one, Postponed) else one.event
        ended.append(id)
        taken.add((number, one.message_id))
        notes.append((number, one.message_id, event, one.run))
    tx.each(DROP, ended)
    tx.each(POSTPONE, later)
    put(tx, notes)
    tx.tell = Verdict.COMMITTED in told
    return told


def _postponed(id: int, one: Postponed) -> tuple[object, ...]:
    """The parameters of `POSTPONE`."""
    error, crashed = one.last_error, int(one.crashed)
    kept = (one.details, one.deferrals, int(one.awaits))
    return (id, one.wake_at, one.attempt, error, crashed, *kept)


def finish(tx: Tx, worker: str, done: Completion) -> bool:
    """Put a result into its inbox, if the worker holds the task; waits for the instance."""
    number = tx.pairs(LOCKED, [done.uid]).get(done.uid)
    key = (done.uid, done.run, done.command)
    ids = [id for *_, id, epoch, _ in tx.fetch(HELD, [key], after=(worker,)) if epoch == done.epoch]
    if number is None or not ids:
        return False
    tx.each(DROP, ids)
    put(tx, [(number, done.message_id, done.event, done.run)])
    return True


def settle(tx: Tx, done: Completion) -> Sent:
    """Put a result that comes from outside into its inbox, whoever holds the task."""
    number = tx.pairs(LOCKED, [done.uid]).get(done.uid)
    if number is None:
        return Sent.NOT_FOUND
    if receipts(tx, [(number, done.message_id)]):
        return Sent.SENT
    row = tx.one(AT_EPOCH, number, done.run, done.command, done.epoch)
    if row is None:
        return Sent.FINISHED
    tx.each(DROP, row)
    put(tx, [(number, done.message_id, done.event, done.run)])
    return Sent.SENT


def beat(tx: Tx, worker: str, beats: Sequence[Beat]) -> list[TaskKey]:
    """Keep what a worker's attempts tell of themselves; its tasks that are to be cancelled."""
    tx.tell = False
    told = [((one.uid, one.run, one.command), one) for one in beats if one.details is not None]
    keys = list(dict.fromkeys(key for key, _ in told))
    held = {
        (uid, run, command): (id, epoch)
        for uid, run, command, id, epoch, _ in tx.fetch(HELD, keys, after=(worker,))
    }
    details = {
        held[key][0]: one.details for key, one in told if key in held and held[key][1] == one.epoch
    }
    tx.each(BEAT, list(details.items()))
    return to_cancel(tx, worker)


def to_cancel(tx: Tx, worker: str) -> list[TaskKey]:
    """The worker's tasks whose cancel was requested."""
    return [(uid, run, command) for uid, run, command in tx.rows(TO_CANCEL, worker)]
