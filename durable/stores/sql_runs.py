"""Runs: how the next one of an instance begins.

Rules
-----
* The histories of earlier runs stay, under their numbers.  What else was for the run that is
  over goes: its tasks, and the messages in the inbox that were for it.
* What the run begins with is written before its messages are put into the inbox, so they
  meet an instance of that run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from durable.model import Status
from durable.store import NextRun
from durable.stores.sql_messages import put
from durable.stores.sql_text import Statement, Update
from durable.stores.sql_tx import Tx

__all__ = ["ADD_EVENTS", "DROP_ALL_TASKS", "add_histories", "follow"]

ADD_EVENTS = Statement(
    "INSERT INTO {history} (number, run, seq, event) VALUES {list}",
    item="(?, ?, ?, ?)",
    payloads=(3,),
)
DROP_ALL_TASKS = Statement("DELETE FROM {tasks} WHERE number IN ({list})")
DROP_BOUND = Statement("DELETE FROM {inbox} WHERE number IN ({list}) AND run <> 0")
FOLLOW = Update(
    """
    run = run + 1, history_length = v.column2, wake_at = v.column3, status = v.column4,
    version = v.column5,
    needs = CASE WHEN v.column5 IS NULL THEN workflow ELSE workflow || '@' || v.column5 END,
    epoch = epoch + v.column6, started_at = coalesce(started_at, v.column7), owner = '',
    crashes = 0, blocked_by = '', reason = '', finished_at = NULL
    """,
    columns="nnntnnn",
)
FOLLOW_PAYLOADS = Update(
    """
    args = v.column2, kwargs = v.column3, header = v.column4, result = NULL, failure = NULL,
    unread = ''
    """,
    columns="nbbb",
    table="payloads",
)


def add_histories(tx: Tx, histories: Iterable[tuple[int, int, Sequence[bytes]]]) -> None:
    """What runs begin with: (number, run, events)."""
    rows = [
        (number, run, seq, event)
        for number, run, events in histories
        for seq, event in enumerate(events)
    ]
    tx.insert(ADD_EVENTS, rows)


def follow(tx: Tx, runs: Sequence[tuple[int, int, NextRun]], *, again: bool = False) -> None:
    """Begin the next runs: (number, run that is over, what follows).

    again: the instances had ended; they are pending, and under a new epoch.
    """
    if not runs:
        return
    now = tx.now
    numbers = [number for number, _, _ in runs]
    tx.each(DROP_ALL_TASKS, numbers)
    tx.each(DROP_BOUND, numbers)
    rows: list[tuple[object, ...]] = []
    for number, _, new in runs:
        status = Status.PENDING if again or new.start_at > now else Status.RUNNING
        what = (number, len(new.history), new.start_at, status.value, new.version)
        rows.append((*what, int(again), None if again else now))
    tx.each(FOLLOW, rows)
    tx.each(FOLLOW_PAYLOADS, [(n, new.args, new.kwargs, new.header) for n, _, new in runs])
    add_histories(tx, [(number, run + 1, new.history) for number, run, new in runs])
    put(
        tx,
        [
            (number, message_id, event, run + 1)
            for number, run, new in runs
            for message_id, event in new.messages
        ],
    )
