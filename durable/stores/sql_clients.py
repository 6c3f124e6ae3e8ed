"""What clients do to whole instances: create, restart, delete, purge.

Rules
-----
* A token names a request: an instance that has it was created by the same call, which was
  repeated because nobody knew how it had ended.
* A restart keeps the uid, the receipts and the histories of earlier runs; everything else
  is new, and the epoch is higher, so nobody of the former run can write.
* An id is taken by inserting it, and only what is to be restarted is locked: who asks for an
  id that is free locks nothing that others may want.
* Whatever belongs to an instance is deleted with it, in the same transaction: its number
  may be used again.  Its children are nobody's then, and stay.
* A purge deletes no more in one transaction than others can wait for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from durable.errors import InstanceAlreadyExists, UsageError
from durable.model import Status
from durable.store import Created, NewInstance, Sent
from durable.stores.sql_messages import put
from durable.stores.sql_rows import needs, words, words_from
from durable.stores.sql_runs import add_histories
from durable.stores.sql_text import Query, Statement
from durable.stores.sql_tx import Tx

__all__ = ["EMPTY", "create", "delete", "insert", "purge"]

FIND = "SELECT id, number, uid, token, run, finished_at FROM {instances}"
EXISTING = Query(f"{FIND} WHERE id IN ({{list}}) ORDER BY number", kinds="vvxxvv")
LATEST = Query(f"{FIND}{{by_id}} WHERE id IN ({{list}}) ORDER BY number{{lock}}", kinds="vvxxvv")
LOCKED = Query(
    f"{FIND}{{by_number}} WHERE number IN ({{list}}) ORDER BY number{{lock}}", kinds="vvxxvv"
)
ADD_INSTANCES = Statement(
    """
    INSERT INTO {instances} (uid, id, token, workflow, version, needs, queue, wake_at, created_at,
        history_length, parent_uid, parent_id, parent_run, parent_command, parent_close,
        run, status, owner, epoch, crashes, blocked_by, reason)
    VALUES {list}
    """,
    item="(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 'pending', '', 0, 0, '', '')",
)
NUMBERS = Query("SELECT uid, number FROM {instances} WHERE uid IN ({list})", kinds="xv")
ADD_PAYLOADS = Statement(
    "INSERT INTO {payloads} (number, args, kwargs, memo, header, tags, unread) VALUES {list}",
    item="(?, ?, ?, ?, ?, ?, '')",
    payloads=(1, 2, 3, 4),
)
ADD_TAGS = Statement("INSERT INTO {tags} (tag, created_at, uid) VALUES {list}", item="(?, ?, ?)")
DROP_TAG = Statement("DELETE FROM {tags} WHERE tag = ? AND created_at = ? AND uid = ?")
RESTART = Statement(
    """
    UPDATE {instances}
    SET token = ?, workflow = ?, version = ?, needs = ?, queue = ?, wake_at = ?, created_at = ?,
        history_length = ?, parent_uid = ?, parent_id = ?, parent_run = ?, parent_command = ?,
        parent_close = ?, run = run + 1, epoch = epoch + 1, status = 'pending', owner = '',
        crashes = 0, blocked_by = '', reason = '', started_at = NULL, finished_at = NULL
    WHERE number = ?
    """
)
NEW_PAYLOADS = Statement(
    """
    UPDATE {payloads}
    SET args = ?, kwargs = ?, memo = ?, header = ?, tags = ?, vars = NULL, result = NULL,
        failure = NULL, unread = ''
    WHERE number = ?
    """
)
TARGET = Query("SELECT number, finished_at FROM {instances} WHERE id = ?{lock}", kinds="vv")
# status || '' hides the status from the planner, which would sort all that have it.
# What the parent may still want stays: see `durable.purging.wanted`.
ENDED = Query(
    """
    SELECT i.number FROM {instances} i
    WHERE i.finished_at < ? AND i.status || '' IN ({list}) AND NOT EXISTS (
        SELECT 1 FROM {instances} p
        WHERE p.uid = i.parent_uid AND (
            p.status IN ('failed', 'cancelled')
            OR p.finished_at IS NULL AND p.run <= i.parent_run + 1
        )
    )
    ORDER BY i.finished_at LIMIT ?{skip_locked}
    """,
    kinds="v",
)
EVENTS = Query(
    "SELECT number, count(*) FROM {history} WHERE number IN ({list}) GROUP BY number", kinds="vv"
)
PURGED_EVENTS = 50_000
"""Events that a purge deletes in one transaction, or those of one instance."""
TAGS = Query(
    """
    SELECT i.created_at, i.uid, p.tags
    FROM {instances} i JOIN {payloads} p ON p.number = i.number
    WHERE i.number IN ({list}) AND p.tags <> ''
    """,
    kinds="vxv",
)
EMPTY = [
    Statement(f"DELETE FROM {{{table}}} WHERE number IN ({{list}})") for table in ("inbox", "tasks")
]
EMPTY_ALL = [
    *EMPTY,
    *(
        Statement(f"DELETE FROM {{{table}}} WHERE number IN ({{list}})")
        for table in ("history", "receipts", "payloads", "instances")
    ),
]

MODES = ("raise", "use", "restart")
NOBODY: tuple[object, ...] = (None,) * 5

Known = tuple[int, bytes, bytes, int, bool]
"""(number, uid, token, run, finished) of an instance; number 0 if it was made just now."""


def create(
    tx: Tx, new: Sequence[NewInstance], if_exists: str, *, latest: bool = False
) -> list[Created]:
    """Create instances, all or nothing.

    latest: look at what there is now, if the transaction shows what was when it began.
    """
    if if_exists not in MODES:
        raise UsageError(f"if_exists={if_exists!r}: it is one of {', '.join(map(repr, MODES))}")
    ids = list(dict.fromkeys(one.id for one in new))
    rows = tx.fetch(LATEST if latest else EXISTING, ids)
    if if_exists == "restart" and not latest:
        rows = tx.fetch(LOCKED, [number for _, number, *_ in rows])
    known: dict[str, Known] = {
        id: (number, uid, token, run, finished is not None)
        for id, number, uid, token, run, finished in rows
    }
    created: list[Created] = []
    first: list[NewInstance] = []
    for one in new:
        found = known.get(one.id)
        if found is None:
            first.append(one)
            known[one.id] = (0, one.uid, one.token, 1, False)
            created.append(Created(one.uid, 1, True))
            continue
        number, uid, token, run, finished = found
        if token == one.token or if_exists == "use":
            created.append(Created(uid, run, token == one.token))
        elif if_exists == "restart" and finished:
            _restart(tx, number, run + 1, uid, one)
            known[one.id] = (number, uid, one.token, run + 1, False)
            created.append(Created(uid, run + 1, True))
        else:
            raise InstanceAlreadyExists(f"an instance with the id {one.id!r} exists")
    insert(tx, first)
    return created


def insert(tx: Tx, new: Sequence[NewInstance]) -> None:
    """Add instances whose ids are free."""
    now = tx.now
    tx.insert(ADD_INSTANCES, [_row(n, now) for n in new])
    numbers = tx.pairs(NUMBERS, [n.uid for n in new])
    tx.insert(ADD_PAYLOADS, [(numbers[n.uid], *_payloads(n)) for n in new])
    tx.insert(ADD_TAGS, [(tag, now, n.uid) for n in new for tag in dict.fromkeys(n.tags)])
    _begin(tx, [(numbers[n.uid], 1, n) for n in new])


def _restart(tx: Tx, number: int, run: int, uid: bytes, new: NewInstance) -> None:
    """The next run of a finished instance."""
    _drop_tags(tx, [number])
    for statement in EMPTY:
        tx.each(statement, [number])
    tx.run(RESTART, *_row(new, tx.now)[2:], number)
    tx.run(NEW_PAYLOADS, *_payloads(new), number)
    tx.insert(ADD_TAGS, [(tag, tx.now, uid) for tag in dict.fromkeys(new.tags)])
    _begin(tx, [(number, run, new)])


def _row(n: NewInstance, now: int) -> tuple[object, ...]:
    """The parameters of `ADD_INSTANCES`; those of `RESTART` are the same but for uid and id."""
    parent = n.parent
    who = NOBODY
    if parent is not None:
        who = (parent.uid, parent.id, parent.run, parent.command, parent.close.value)
    what = (n.uid, n.id, n.token, n.workflow, n.version, needs(n.workflow, n.version), n.queue)
    return (*what, n.start_at, now, len(n.history), *who)


def _payloads(new: NewInstance) -> tuple[object, ...]:
    return (new.args, new.kwargs, new.memo, new.header, words(new.tags))


def _begin(tx: Tx, runs: Sequence[tuple[int, int, NewInstance]]) -> None:
    """What runs begin with: (number, run, request)."""
    add_histories(tx, [(number, run, new.history) for number, run, new in runs])
    put(tx, [(number, *one, 0) for number, _, new in runs for one in new.messages])


def delete(tx: Tx, id: str) -> Sent | None:
    """Delete a finished instance."""
    target = tx.one(TARGET, id)
    if target is None:
        return Sent.NOT_FOUND
    number, finished = target
    if finished is None:
        return None
    _remove(tx, [number])
    return Sent.SENT


def purge(tx: Tx, finished_before: int, statuses: Sequence[Status], limit: int) -> int:
    """Delete finished instances, oldest first, not too much in one transaction."""
    names = [status.value for status in statuses]
    rows = tx.fetch(ENDED, names, before=(finished_before,), after=(limit,))
    numbers = [number for [number] in rows]
    lengths = tx.pairs(EVENTS, numbers)
    events = list(accumulate(lengths.get(number, 0) for number in numbers))
    numbers = numbers[: max(1, bisect_right(events, PURGED_EVENTS))]
    _remove(tx, numbers)
    tx.tell = bool(numbers)
    return len(numbers)


def _remove(tx: Tx, numbers: Sequence[int]) -> None:
    _drop_tags(tx, numbers)
    for statement in EMPTY_ALL:
        tx.each(statement, numbers)


def _drop_tags(tx: Tx, numbers: Sequence[int]) -> None:
    for at, uid, text in tx.fetch(TAGS, numbers):
        for tag in dict.fromkeys(words_from(text)):
            tx.run(DROP_TAG, tag, at, uid)
