"""Workers: registration, leases, takeover, and instances that no code is there for.

Rules
-----
* A lease belongs to a worker, not to what it owns: a heartbeat renews one row.
* Taking over removes the worker and releases all that it owned, in one transaction; what it
  still writes afterwards is refused, for it is not the owner any more.  While another
  transaction holds one of its instances the worker stays, for the next takeover.
* What depends on who lives (who may try what code has refused) is decided one at a time:
  `Tx.exclude`.  Else a worker that registers and a step that blocks could miss each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from durable.model import WorkerInfo
from durable.store import UNKNOWN, TaskKey
from durable.stores.refusals import SEPARATOR, able, place_name
from durable.stores.sql_claim import FREE_INSTANCES, INSTANCE_HEADS
from durable.stores.sql_reads import live_workers
from durable.stores.sql_results import to_cancel
from durable.stores.sql_rows import NEEDS, words
from durable.stores.sql_text import Query, Statement
from durable.stores.sql_tx import Tx

__all__ = [
    "block_unknown",
    "expired",
    "heartbeat",
    "register",
    "take_over",
    "unknown",
    "unregister",
]

AT_ONCE = 1000
"""How many instances one call of `block_unknown` blocks of each kind: it holds the lock."""

REMOVE = Statement("DELETE FROM {workers} WHERE id IN ({list})")
ADD = Statement(
    """
    INSERT INTO {workers} (id, host, machine, pid, build, queues, slots, workflows, activities,
        started_at, expires_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    """
)
# What rests until other code comes; what somebody has in hands does not.
RESTS = "status = 'blocked' AND blocked_by <> '' AND owner = '' AND wake_at IS NULL"
REFUSED = Query(
    f"""
    SELECT DISTINCT queue, workflow, coalesce(version, -1), {NEEDS}, blocked_by
    FROM {{instances}} WHERE {RESTS}
    """,
    kinds="vvvvv",
    unbounded=True,
)
# Needs is written anew: it has no builds in a row that an earlier release has blocked.
WAKE_REFUSED = Statement(
    f"""
    UPDATE {{instances}}
    SET wake_at = ?, needs = {NEEDS} || CASE blocked_by WHEN '{UNKNOWN}' THEN ''
        ELSE '{SEPARATOR}' || blocked_by END
    WHERE {RESTS}
    AND (queue, workflow, coalesce(version, -1), blocked_by) IN (SELECT * FROM {{values}} AS v)
    """,
    columns="ttnt",
)
REST = Statement("UPDATE {instances} SET wake_at = NULL WHERE number IN ({list})")
RENEW = Statement("UPDATE {workers} SET expires_at = ? WHERE id = ? AND expires_at > ?")
# Whoever claims for one of them has claimed before this, or finds that it is gone.
LEAVING = Query("SELECT id FROM {workers} WHERE id IN ({list}) ORDER BY id{alone}", kinds="v")
OWNED_INSTANCES = Query(
    "SELECT number FROM {instances} WHERE owner IN ({list}) AND owner <> ''{skip_locked}",
    kinds="v",
    unbounded=True,
)
OWNED_TASKS = Query(
    "SELECT id FROM {tasks} WHERE owner IN ({list}) AND owner <> ''{lock}",
    kinds="v",
    unbounded=True,
)
RELEASE_INSTANCES = Statement(
    """
    UPDATE {instances} SET owner = '', wake_at = ?, crashes = crashes + ? WHERE number IN ({list})
    """
)
RELEASE_TASKS = Statement(
    "UPDATE {tasks} SET owner = '', wake_at = ?, crashes = crashes + ? WHERE id IN ({list})"
)
LEFT = Query(
    "SELECT DISTINCT owner FROM {instances} WHERE owner IN ({list}) AND owner <> ''", kinds="v"
)
EXPIRED = Query("SELECT id FROM {workers} WHERE expires_at <= ?", kinds="v")
BLOCK = Statement(
    """
    UPDATE {instances} SET status = 'blocked', blocked_by = ?, wake_at = NULL, reason = ?
    WHERE number IN ({list})
    """
)
UNSAID = Query(
    """
    SELECT number FROM {instances}
    WHERE {free} AND queue = ? AND needs = ? AND wake_at <= ? AND reason <> ?
    ORDER BY wake_at LIMIT ?
    """,
    kinds="v",
)
SAY = Statement("UPDATE {instances} SET reason = ? WHERE number IN ({list})")


def register(tx: Tx, worker: WorkerInfo) -> None:
    """Add a worker; wake what other code has refused and it may run."""
    tx.exclude()
    tx.each(REMOVE, [worker.id])
    tx.run(
        ADD,
        worker.id,
        worker.host,
        worker.machine,
        worker.pid,
        worker.build,
        words(worker.queues),
        worker.slots,
        words(worker.workflows),
        words(worker.activities),
        worker.started_at,
        worker.expires_at,
    )
    groups = [
        (queue, workflow, version, blocked_by)
        for queue, workflow, version, need, blocked_by in tx.rows(REFUSED)
        if able([worker], queue, place_name(need, blocked_by))
    ]
    tx.each(WAKE_REFUSED, groups, before=(tx.now,))


def heartbeat(tx: Tx, worker: str, lease: int) -> list[TaskKey] | None:
    """Renew a lease that has not expired; the tasks that are to be cancelled."""
    tx.tell = False
    if not tx.run(RENEW, tx.now + lease, worker, tx.now):
        return None
    return to_cancel(tx, worker)


def unregister(tx: Tx, worker: str) -> None:
    """Remove a worker that leaves; nothing crashed."""
    _release(tx, [worker], crashes=0)


def expired(tx: Tx) -> list[str]:
    """The workers whose lease has ended."""
    return [id for [id] in tx.rows(EXPIRED, tx.now)]


def take_over(tx: Tx, workers: Sequence[str] | None) -> int:
    """Remove workers that are dead; how many there were."""
    dead = expired(tx) if workers is None else list(dict.fromkeys(workers))
    tx.tell = bool(dead)
    return _release(tx, dead, crashes=1)


def _release(tx: Tx, workers: Sequence[str], crashes: int) -> int:
    """Give back what they own and remove them; but those stay of whom a row is in another
    transaction's hands, to be taken over again."""
    tx.fetch(LEAVING, workers)
    instances = [number for [number] in tx.fetch(OWNED_INSTANCES, workers)]
    tx.each(RELEASE_INSTANCES, instances, before=(tx.now, crashes))
    tasks = [id for [id] in tx.fetch(OWNED_TASKS, workers)]
    tx.each(RELEASE_TASKS, tasks, before=(tx.now, crashes))
    left = {owner for [owner] in tx.fetch(LEFT, workers)}
    return tx.each(REMOVE, [worker for worker in workers if worker not in left])


def unknown(tx: Tx, worker: WorkerInfo) -> list[tuple[str, str]]:
    """(queue, name) of what is due in a worker's queues and no live worker can run."""
    strange = [
        (queue, name)
        for queue in dict.fromkeys(worker.queues)
        for name, first, _ in tx.heads(INSTANCE_HEADS, queue)
        if first <= tx.now and name not in worker.workflows
    ]
    if not strange:  # nobody need be asked
        return []
    live = live_workers(tx)
    known = {name for info in live for name in info.workflows}
    return [
        (queue, name)
        for queue, name in strange
        if name not in known
        if SEPARATOR not in name or not able(live, queue, name)
    ]


def block_unknown(tx: Tx, worker: WorkerInfo, after: int) -> int:
    """Say of such instances what they lack, and block those that are long due. What code has
    refused rests again: who might have tried it is gone."""
    tx.exclude()
    changed = 0
    for queue, name in unknown(tx, worker):
        if SEPARATOR in name:
            changed += tx.each(REST, _due(tx, queue, name, tx.now))
            continue
        reason = f"no worker knows workflow {name}"
        long_due = _due(tx, queue, name, min(tx.now, tx.now - after - 1))
        changed += tx.each(BLOCK, long_due, before=(UNKNOWN, reason))
        unsaid = tx.rows(UNSAID, queue, name, tx.now, reason, AT_ONCE)
        changed += tx.each(SAY, [number for [number] in unsaid], before=(reason,))
    tx.tell = changed > 0
    return changed


def _due(tx: Tx, queue: str, name: str, moment: int) -> list[int]:
    """Numbers of what nobody owns and was due at a moment."""
    return [number for _, number in tx.rows(FREE_INSTANCES, queue, name, moment, AT_ONCE)]
