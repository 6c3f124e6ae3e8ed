"""Which other instances a batch of steps changes, and whether they can be had now.

Rules
-----
* Targets of messages, the parents of what ends, and the children of runs that are over, with
  all below those that are terminated.
* They are found without a lock, locked all at once where nobody else has them, and read again
  when they are changed.  What has come between (a child's child, an id that was used again) is
  waited for there; that is rare, and ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from durable.model import ParentClose
from durable.store import Step
from durable.stores.sql_text import Query
from durable.stores.sql_tx import Tx

__all__ = ["out_of_reach"]

BY_ID = Query("SELECT id, number FROM {instances} WHERE id IN ({list})", kinds="vv")
BY_UID = Query("SELECT uid, number FROM {instances} WHERE uid IN ({list})", kinds="xv")
PARENTS = Query(
    """
    SELECT i.number, p.number
    FROM {instances} i JOIN {instances} p ON p.uid = i.parent_uid WHERE i.number IN ({list})
    """,
    kinds="vv",
)
CHILDREN = Query(
    """
    SELECT i.parent_uid, i.parent_run, i.number, i.uid, i.run, i.parent_close
    FROM {values} AS v
    JOIN {instances} i ON i.parent_uid = v.column1 AND i.parent_run = v.column2
    WHERE i.parent_uid IS NOT NULL AND i.finished_at IS NULL
    """,
    columns="bn",
    kinds="xvvxvv",
    unbounded=True,
)
LOCK = Query(
    "SELECT number FROM {instances} WHERE number IN ({list}) ORDER BY number{skip_locked}",
    kinds="v",
)

Reach = defaultdict[int, set[int]]
"""Who is wanted, by number: the places of the steps that want it."""


def out_of_reach(tx: Tx, steps: Sequence[tuple[int, int, Step]]) -> set[int]:
    """Lock what these steps change: (place, number, step); the places of those that cannot."""
    wanted: Reach = defaultdict(set)
    _targets(tx, steps, wanted)
    ending = {number: place for place, number, step in steps if step.end is not None}
    for number, parent in tx.fetch(PARENTS, list(ending)):
        wanted[parent].add(ending[number])
    _families(tx, [(s.uid, s.run, place) for place, _, s in steps if s.close is not None], wanted)
    locked = {number for [number] in tx.fetch(LOCK, sorted(wanted))}
    missed = (places for number, places in wanted.items() if number not in locked)
    return set().union(*missed)


def _targets(tx: Tx, steps: Iterable[tuple[int, int, Step]], wanted: Reach) -> None:
    sends: defaultdict[str | bytes, set[int]] = defaultdict(set)
    for place, _, step in steps:
        for message in step.sends:
            sends[message.id if message.uid is None else message.uid].add(place)
    rows = tx.fetch(BY_ID, [key for key in sends if isinstance(key, str)])
    rows += tx.fetch(BY_UID, [key for key in sends if isinstance(key, bytes)])
    for key, number in rows:
        wanted[number] |= sends[key]


def _families(tx: Tx, over: Iterable[tuple[bytes, int, int]], wanted: Reach) -> None:
    """Children of runs: (uid, run, place of the step that ends it)."""
    places = {(uid, run): place for uid, run, place in over}
    while places:
        below: dict[tuple[bytes, int], int] = {}
        for parent, of_run, number, uid, run, close in tx.fetch(CHILDREN, list(places)):
            place = places[parent, of_run]
            wanted[number].add(place)
            if close == ParentClose.TERMINATE:
                below[uid, run] = place
        places = below
