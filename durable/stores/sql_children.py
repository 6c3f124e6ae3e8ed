"""Parents and children: started by a step, told of at their end, closed with their parent's run.

Rules
-----
* A child has in its row who started it; the parent's row knows nothing of it.
* All of it is done for a whole batch at once: one statement for the children of all steps,
  and for each generation when a run ends.
* Who ends because its parent did tells nobody: whoever would be told has ended, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from durable import message_ids
from durable.events import begins_again
from durable.model import ParentClose
from durable.store import Close, NewInstance, Step
from durable.stores.sql_clients import EMPTY, insert
from durable.stores.sql_messages import Note, put
from durable.stores.sql_runs import ADD_EVENTS
from durable.stores.sql_text import Query, Update
from durable.stores.sql_tx import Tx

__all__ = ["Ended", "close", "reply", "start", "terminate"]

TOKENS = Query("SELECT id, token FROM {instances} WHERE id IN ({list})", kinds="vx")
PARENTS = Query(
    """
    SELECT i.number, p.number, p.run
    FROM {instances} i{by_number}
    JOIN {instances} p{by_uid} ON p.uid = i.parent_uid AND p.run = i.parent_run
    WHERE i.number IN ({list}) AND p.finished_at IS NULL{lock_p}
    """,
    kinds="vvv",
)
OPEN = Query(
    """
    SELECT i.number, i.parent_uid, i.parent_close, i.uid, i.run, i.history_length
    FROM {values} AS v
    JOIN {instances} i{by_parent} ON i.parent_uid = v.column1 AND i.parent_run = v.column2
    WHERE i.parent_uid IS NOT NULL AND i.finished_at IS NULL{lock_i}
    """,
    columns="bn",
    kinds="vxvxvv",
    unbounded=True,
)
FIRST_MESSAGES = Query(
    """
    SELECT number, event FROM {inbox}
    WHERE id IN (SELECT min(id) FROM {inbox} WHERE number IN ({list}) GROUP BY number)
    """,
    kinds="vb",
)
TERMINATE = Update(
    """
    status = 'terminated', reason = v.column2, finished_at = v.column3,
    history_length = v.column4, epoch = epoch + 1, owner = '', wake_at = NULL, blocked_by = ''
    """,
    columns="ntnn",
)

Ended = tuple[int, int, int, bytes, str]
"""What is to be terminated: (number, run, history length, event, reason)."""


def start(tx: Tx, steps: Iterable[tuple[int, Step]]) -> list[Note]:
    """Create the children of steps; what is to be said where an id was in use."""
    starts = [(number, step.run, one) for number, step in steps for one in step.starts]
    if not starts:
        return []
    tokens = tx.pairs(TOKENS, list(dict.fromkeys(one.new.id for _, _, one in starts)))
    new: list[NewInstance] = []
    taken: list[Note] = []
    for number, run, one in starts:
        id, token = one.new.id, one.new.token
        if id not in tokens:
            tokens[id] = token
            new.append(one.new)
        elif tokens[id] != token:
            taken.append((number, one.message_id, one.taken, run))
    insert(tx, new)
    return taken


def reply(tx: Tx, ends: Sequence[tuple[int, bytes, int, bytes]]) -> None:
    """Tell the parents of what has ended: (number, uid, run, message)."""
    rows = tx.fetch(PARENTS, [number for number, _, _, _ in ends])
    parents = {number: (parent, run) for number, parent, run in rows}
    notes: list[Note] = []
    for number, uid, run, event in ends:
        if number in parents:
            parent, its_run = parents[number]
            notes.append((parent, message_ids.child_done(uid, run), event, its_run))
    put(tx, notes)


def close(tx: Tx, over: Sequence[tuple[bytes, int, Close]]) -> None:
    """Close the children of runs that are over: (uid, run, how)."""
    while over:
        how = {uid: one for uid, _, one in over}
        rows = tx.fetch(OPEN, [(uid, run) for uid, run, _ in over])
        # The list may have been filled up, and a join gives what it says twice.
        children = {row[0]: row[1:] for row in rows}
        cancelled: list[Note] = []
        ended: list[Ended] = []
        over = []
        for number, (parent, kind, uid, run, length) in children.items():
            one = how[parent]
            if kind == ParentClose.CANCEL:
                cancelled.append((number, one.message_id, one.cancelled, 0))
            elif kind == ParentClose.TERMINATE:
                ended.append((number, run, length, one.terminated, one.reason))
                over.append((uid, run, one))
        put(tx, cancelled, urgent=True)
        terminate(tx, ended)


def terminate(tx: Tx, ended: Sequence[Ended]) -> None:
    """End instances now, whoever owns them."""
    first = tx.pairs(FIRST_MESSAGES, [number for number, *_ in ended])
    events: list[tuple[int, int, int, bytes]] = []
    rows: list[tuple[int, str, int, int]] = []
    for number, run, length, event, reason in ended:
        # What ends a copy says of the events before it that they were copied.
        message = first.get(number, b"")
        added = [message, event] if begins_again([message]) else [event]
        events += [(number, run, seq, one) for seq, one in enumerate(added, length)]
        rows.append((number, reason, tx.now, length + len(added)))
    tx.insert(ADD_EVENTS, events)
    tx.each(TERMINATE, rows)
    for statement in EMPTY:
        tx.each(statement, [number for number, *_ in ended])
