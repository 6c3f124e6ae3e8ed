"""What clients do to whole instances: create, restart, terminate, delete, purge.

Rules
-----
* A token names a request: an instance that has it was created by the same call, which was
  repeated because nobody knew how it had ended.
* A restart keeps the uid, the receipts and the histories of earlier runs; everything else
  is new, and the epoch is higher, so nobody of the former run can write.
* Whatever belongs to an instance is deleted with it, in the same transaction: its number
  may be used again.
"""

from __future__ import annotations

from collections.abc import Sequence

from durable.errors import InstanceAlreadyExists, UsageError
from durable.model import Status
from durable.store import Created, NewInstance, Sent
from durable.stores.sql_messages import receipts
from durable.stores.sql_rows import needs, words, words_from
from durable.stores.sql_text import Query, Statement
from durable.stores.sql_tx import Tx

__all__ = ["create", "delete", "purge", "terminate"]

EXISTING = Query(
    """
    SELECT id, number, uid, token, run, finished_at FROM {instances} WHERE id IN ({list})
    """,
    kinds="vvxxvv",
)
ADD_INSTANCES = Statement(
    """
    INSERT INTO {instances} (uid, id, token, workflow, version, needs, queue, wake_at, created_at,
        run, status, owner, epoch, history_length, crashes, blocked_by, reason)
    VALUES {list}
    """,
    item="(?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 'pending', '', 0, 0, 0, '', '')",
)
NUMBERS = Query("SELECT uid, number FROM {instances} WHERE uid IN ({list})", kinds="xv")
ADD_PAYLOADS = Statement(
    "INSERT INTO {payloads} (number, args, kwargs, memo, tags, unread) VALUES {list}",
    item="(?, ?, ?, ?, ?, '')",
)
ADD_TAGS = Statement("INSERT INTO {tags} (tag, created_at, uid) VALUES {list}", item="(?, ?, ?)")
DROP_TAG = Statement("DELETE FROM {tags} WHERE tag = ? AND created_at = ? AND uid = ?")
RESTART = Statement(
    """
    UPDATE {instances}
    SET token = ?, workflow = ?, version = ?, needs = ?, queue = ?, wake_at = ?, created_at = ?,
        run = run + 1, epoch = epoch + 1, status = 'pending', owner = '', history_length = 0,
        crashes = 0, blocked_by = '', reason = '', started_at = NULL, finished_at = NULL
    WHERE number = ?
    """
)
NEW_PAYLOADS = Statement(
    """
    UPDATE {payloads} SET args = ?, kwargs = ?, memo = ?, tags = ?, vars = NULL, result = NULL,
        failure = NULL, unread = ''
    WHERE number = ?
    """
)
TARGET = Query(
    "SELECT number, run, history_length, finished_at FROM {instances} WHERE id = ?", kinds="vvvv"
)
ADD_RECEIPT = Statement("INSERT INTO {receipts} (number, message_id) VALUES (?, ?)")
ADD_EVENT = Statement("INSERT INTO {history} (number, run, seq, event) VALUES (?, ?, ?, ?)")
TERMINATE = Statement(
    """
    UPDATE {instances}
    SET status = 'terminated', reason = ?, finished_at = ?, history_length = history_length + 1,
        epoch = epoch + 1, owner = '', wake_at = NULL, blocked_by = ''
    WHERE number = ?
    """
)
# status || '' hides the status from the planner, which would sort all that have it.
ENDED = Query(
    """
    SELECT number FROM {instances}
    WHERE finished_at < ? AND status || '' IN ({list}) ORDER BY finished_at LIMIT ?
    """,
    kinds="v",
)
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

Known = tuple[int, bytes, bytes, int, bool]
"""(number, uid, token, run, finished) of an instance; number 0 if it was made just now."""


def create(tx: Tx, new: Sequence[NewInstance], if_exists: str) -> list[Created]:
    """Create instances, all or nothing."""
    if if_exists not in MODES:
        raise UsageError(f"if_exists={if_exists!r}: it is one of {', '.join(map(repr, MODES))}")
    ids = list(dict.fromkeys(one.id for one in new))
    known: dict[str, Known] = {
        id: (number, uid, token, run, finished is not None)
        for id, number, uid, token, run, finished in tx.fetch(EXISTING, ids)
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
            _restart(tx, number, uid, one)
            known[one.id] = (number, uid, one.token, run + 1, False)
            created.append(Created(uid, run + 1, True))
        else:
            raise InstanceAlreadyExists(f"an instance with the id {one.id!r} exists")
    _insert(tx, first)
    return created


def _insert(tx: Tx, new: Sequence[NewInstance]) -> None:
    rows = []
    for n in new:
        need = needs(n.workflow, n.version)
        what = (n.uid, n.id, n.token, n.workflow, n.version, need, n.queue)
        rows.append((*what, n.start_at, tx.now))
    tx.insert(ADD_INSTANCES, rows)
    numbers = tx.pairs(NUMBERS, [n.uid for n in new])
    tx.insert(
        ADD_PAYLOADS, [(numbers[n.uid], n.args, n.kwargs, n.memo, words(n.tags)) for n in new]
    )
    tx.insert(ADD_TAGS, [(tag, tx.now, n.uid) for n in new for tag in dict.fromkeys(n.tags)])


def _restart(tx: Tx, number: int, uid: bytes, new: NewInstance) -> None:
    """The next run of a finished instance."""
    _drop_tags(tx, [number])
    for statement in EMPTY:
        tx.each(statement, [number])
    need = needs(new.workflow, new.version)
    named = (new.token, new.workflow, new.version, need, new.queue)
    tx.run(RESTART, *named, new.start_at, tx.now, number)
    tx.run(NEW_PAYLOADS, new.args, new.kwargs, new.memo, words(new.tags), number)
    tx.insert(ADD_TAGS, [(tag, tx.now, uid) for tag in dict.fromkeys(new.tags)])


def terminate(tx: Tx, id: str, message_id: str, event: bytes, reason: str) -> Sent:
    """End an instance now, whoever owns it."""
    target = tx.one(TARGET, id)
    if target is None:
        return Sent.NOT_FOUND
    number, run, length, finished = target
    if receipts(tx, [(number, message_id)]):
        return Sent.SENT
    if finished is not None:
        return Sent.FINISHED
    tx.run(ADD_RECEIPT, number, message_id)
    tx.run(ADD_EVENT, number, run, length, event)
    tx.run(TERMINATE, reason, tx.now, number)
    for statement in EMPTY:
        tx.each(statement, [number])
    return Sent.SENT


def delete(tx: Tx, id: str) -> Sent | None:
    """Delete a finished instance."""
    target = tx.one(TARGET, id)
    if target is None:
        return Sent.NOT_FOUND
    number, _, _, finished = target
    if finished is None:
        return None
    _remove(tx, [number])
    return Sent.SENT


def purge(tx: Tx, finished_before: int, statuses: Sequence[Status], limit: int) -> int:
    """Delete finished instances, oldest first."""
    names = [status.value for status in statuses]
    rows = tx.fetch(ENDED, names, before=(finished_before,), after=(limit,))
    numbers = [number for [number] in rows]
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
