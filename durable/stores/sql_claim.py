"""Claims: who gets what is due; and what a worker owns already.

Rules
-----
* What is free is found by range: (queue, need) for instances, (queue, name) for tasks.
  `look` finds the ranges that exist, with their first moments, by jumping through the index
  from one to the next.  So a claim costs the same beside a million that wait, and beside a
  backlog that only other workers can run.
* What code has refused is in ranges of its own (see ``refusals``), so a claim that must not
  have it passes over it, and pays nothing where there is none.
* `look` takes no lock and decides nothing; `claim` reads again what it takes.
* Only a registered worker claims, and stays registered until it has: what was claimed for one
  that was taken over would be owned under a name that nobody looks after any more.
* Whoever is in another transaction's hands is left out, and due at the next look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from durable.store import Claimed, ClaimedInstance, ClaimRequest, Owned, TaskKey
from durable.stores.refusals import SEPARATOR, fits
from durable.stores.sql_rows import instances_of, messages_of, tasks_of
from durable.stores.sql_text import Query, Statement
from durable.stores.sql_tx import Row, Tx

__all__ = ["Due", "adopt", "claim", "look", "owned", "release"]

OWN_AT_ONCE = 1000
"""How many of its own due instances a claim gives to a worker."""

LOOK_AGAIN = 100_000
"""Microseconds until what was due, and could not be had, is looked for again."""

Range = tuple[str, str]
"""(queue, need) or (queue, name)."""


# (need or name, first wake_at, first wake_at after now) of the ranges of a queue.
INSTANCE_HEADS = Query("{instance_heads}", kinds="vvv")
TASK_HEADS = Query("{task_heads}", kinds="vvv")
OWN_HEADS = Query(
    """
    SELECT
        (SELECT wake_at FROM {instances} WHERE owner = ? AND owner <> ''
            AND wake_at IS NOT NULL ORDER BY wake_at LIMIT 1),
        (SELECT wake_at FROM {instances} WHERE owner = ? AND owner <> ''
            AND wake_at > ? ORDER BY wake_at LIMIT 1)
    """,
    kinds="vv",
)
FREE_INSTANCES = Query(
    """
    SELECT wake_at, number FROM {instances}
    WHERE {free} AND queue = ? AND needs = ? AND wake_at <= ?
    ORDER BY wake_at LIMIT ?{skip_locked}
    """,
    kinds="vv",
)
FREE_TASKS = Query(
    """
    SELECT wake_at, id FROM {tasks}
    WHERE owner = '' AND queue = ? AND name = ? AND wake_at <= ?
    ORDER BY wake_at LIMIT ?{skip_locked}
    """,
    kinds="vv",
)
OWN_INSTANCES = Query(
    """
    SELECT wake_at, number FROM {instances}
    WHERE owner = ? AND owner <> '' AND wake_at <= ?
    ORDER BY wake_at LIMIT ?{skip_locked}
    """,
    kinds="vv",
)
REGISTERED = Query("SELECT build FROM {workers} WHERE id = ?", kinds="v")
STAYS = Query("SELECT build FROM {workers} WHERE id = ?{share}", kinds="v")
TAKE_INSTANCES = Statement(
    "UPDATE {instances} SET owner = ?, epoch = epoch + 1, wake_at = NULL WHERE number IN ({list})"
)
TAKE_TASKS = Statement("UPDATE {tasks} SET owner = ?, epoch = epoch + 1 WHERE id IN ({list})")
GIVE_BACK = Statement("UPDATE {instances} SET owner = '', wake_at = ? WHERE number IN ({list})")

OWNED_INSTANCES = Query(
    "SELECT uid, epoch FROM {instances} WHERE owner = ? AND owner <> ''",
    kinds="xv",
    unbounded=True,
)
OWNED_TASKS = Query(
    """
    SELECT i.uid, t.run, t.command, t.epoch
    FROM {tasks} t JOIN {instances} i ON i.number = t.number
    WHERE t.owner = ? AND t.owner <> ''
    """,
    kinds="xvvv",
    unbounded=True,
)
OWN_NUMBERS = Query(
    """
    SELECT uid, number FROM {instances}
    WHERE uid IN ({list}) AND nullif(owner, '') = ?{skip_locked}
    """,
    kinds="xv",
)
OWN_TASK_IDS = Query(
    """
    SELECT t.id FROM {values} AS v
    JOIN {instances} i ON i.uid = v.column1
    JOIN {tasks} t ON t.number = i.number AND t.run = v.column2 AND t.command = v.column3
    WHERE nullif(t.owner, '') = ?{lock_t}
    """,
    columns="bnn",
    kinds="v",
)


@dataclass(frozen=True, slots=True)
class Due:
    """What `look` found. ``own``: something that the worker owns is due."""

    instances: list[Range]
    tasks: list[Range]
    own: bool
    next_wake_at: int | None

    @property
    def anything(self) -> bool:
        return bool(self.instances or self.tasks or self.own)


def look(tx: Tx, request: ClaimRequest) -> Due:
    """Find what could be claimed, and when there will be more."""
    worker, now = request.worker, tx.now
    later: list[int | None] = []
    workflows = frozenset(request.workflows if request.instances else ())
    activities = frozenset(request.activities if request.tasks else ())

    def known(name: str) -> bool:
        if name in workflows or SEPARATOR not in name:
            return name in workflows
        found = tx.one(REGISTERED, worker)
        return found is not None and fits(name, workflows, found[0])

    instances = _ranges(tx, INSTANCE_HEADS, request.queues, known, later)
    tasks = _ranges(tx, TASK_HEADS, request.queues, activities.__contains__, later)
    [[first, after]] = tx.rows(OWN_HEADS, worker, worker, now)
    later.append(after)
    return Due(
        instances,
        tasks,
        own=first is not None and first <= now,
        next_wake_at=min((at for at in later if at is not None), default=None),
    )


def _ranges(
    tx: Tx,
    heads: Query,
    queues: Iterable[str],
    known: Callable[[str], bool],
    later: list[int | None],
) -> list[Range]:
    """The due ranges with known names; adds the first later moment of each to a list."""
    found: list[Range] = []
    for queue in dict.fromkeys(queues):
        for name, first, after in tx.heads(heads, queue):
            later.append(after)
            if first <= tx.now and known(name):
                found.append((queue, name))
    return found


def claim(tx: Tx, request: ClaimRequest, due: Due) -> Claimed:
    """Take what is due, longest due first."""
    tx.tell = False  # others have less to do than before
    worker, now = request.worker, tx.now
    if not tx.rows(STAYS, worker):
        return Claimed([], [])
    free, more = _longest_due(tx, FREE_INSTANCES, due.instances, request.instances)
    own, more_own = _cut(tx.rows(OWN_INSTANCES, worker, now, OWN_AT_ONCE + 1), OWN_AT_ONCE)
    ready, more_tasks = _longest_due(tx, FREE_TASKS, due.tasks, request.tasks)
    numbers = [number for _, number in sorted(free + own)]
    tx.each(TAKE_INSTANCES, numbers, before=(worker,))
    tx.each(TAKE_TASKS, [id for _, id in ready], before=(worker,))
    next_wake_at = due.next_wake_at
    if not (free or own or ready):  # it is in another transaction's hands, who may let it go
        next_wake_at = min(now + LOOK_AGAIN, next_wake_at or now + LOOK_AGAIN)
    return Claimed(
        _claimed(tx, numbers),
        tasks_of(tx, [id for _, id in ready]),
        next_wake_at,
        more or more_own or more_tasks,
    )


def _longest_due(
    tx: Tx, query: Query, ranges: Sequence[Range], limit: int
) -> tuple[list[Row], bool]:
    """(wake_at, key) of at most ``limit`` rows, longest due first, and whether it cut."""
    if limit <= 0:
        return [], False
    found: list[Row] = []
    for queue, name in ranges:
        found += tx.rows(query, queue, name, tx.now, limit + 1)
    return _cut(sorted(found), limit)


def _cut(rows: list[Row], limit: int) -> tuple[list[Row], bool]:
    return rows[:limit], len(rows) > limit


def _claimed(tx: Tx, numbers: Sequence[int]) -> list[ClaimedInstance]:
    instances = instances_of(tx, numbers)
    messages = messages_of(tx, numbers)
    return [ClaimedInstance(instances[number], messages.get(number, [])) for number in numbers]


# -- what is owned already --------------------------------------------------------------


def owned(tx: Tx, worker: str) -> Owned:
    """All that a worker owns, with the epochs."""
    return Owned(
        {row[0]: row[1] for row in tx.rows(OWNED_INSTANCES, worker)},
        {(uid, run, n): epoch for uid, run, n, epoch in tx.rows(OWNED_TASKS, worker)},
    )


def release(tx: Tx, worker: str, uids: Sequence[bytes]) -> None:
    """Give back what a worker owns and has not touched."""
    owned = tx.fetch(OWN_NUMBERS, list(dict.fromkeys(uids)), after=(worker,))
    tx.each(GIVE_BACK, [number for _, number in owned], before=(tx.now,))


def adopt(tx: Tx, worker: str, uids: Sequence[bytes], tasks: Sequence[TaskKey]) -> Claimed:
    """Give what a worker owns a new epoch each."""
    tx.tell = False
    uids = list(dict.fromkeys(uids))
    found = tx.pairs(OWN_NUMBERS, uids, after=(worker,))
    numbers = [found[uid] for uid in uids if uid in found]
    tx.each(TAKE_INSTANCES, numbers, before=(worker,))
    keys = list(dict.fromkeys(tasks))
    # Once each: a list is filled up by repeating its last item.
    ids = list(dict.fromkeys(id for [id] in tx.fetch(OWN_TASK_IDS, keys, after=(worker,))))
    tx.each(TAKE_TASKS, ids, before=(worker,))
    return Claimed(_claimed(tx, numbers), tasks_of(tx, ids))
