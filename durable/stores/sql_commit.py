"""Commits: the steps of a batch, stored together, or left out if they lost.

Rules
-----
* The fence is one SELECT for the whole batch: owner, epoch, run, history length, not ended.
  A step that does not pass is LOST and nothing of it is written.
* The inbox is read in a second statement, after the fence.  Sets of ids are compared, never
  the largest.
* Then everything is written, one statement for all rows of a kind.  Deleting the done tasks
  comes first: it counts what it deleted, and if one was not there, the transaction is rolled
  back and done again carefully, with a look at each (`TaskLost`).
* Four shapes of UPDATE, so that an ordinary step touches no index: ``GROW`` (only longer),
  ``GROW_WAKE`` (another moment), ``GROW_PARK`` (and released), ``CHANGE`` (status, version).
* What a step sends is delivered last: it meets its target as this transaction leaves it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from durable.model import Status
from durable.store import End, Step, Verdict
from durable.stores.sql_messages import Note, put, send
from durable.stores.sql_rows import words
from durable.stores.sql_text import Query, Statement
from durable.stores.sql_tx import Row, Tx

__all__ = ["TaskLost", "commit"]

# Whether it is an ordinary running instance, of which only the length changes.
PLAIN = "status = 'running' AND reason = '' AND started_at IS NOT NULL"
FENCE = Query(
    f"""
    SELECT uid, number, epoch, run, history_length, wake_at, {PLAIN}
    FROM {{instances}}
    WHERE uid IN ({{list}}) AND owner = ? AND owner <> '' AND finished_at IS NULL{{skip_locked}}
    """,
    kinds="xvvvvvv",
)
INBOX = Query("SELECT number, id FROM {inbox} WHERE number IN ({list})", kinds="vv", unbounded=True)
ADD_EVENTS = Statement(
    "INSERT INTO {history} (number, run, seq, event) VALUES {list}", item="(?, ?, ?, ?)"
)
TAKE_MESSAGES = Statement("DELETE FROM {inbox} WHERE id IN ({list})")

KEYS = "(number, run, command) IN (SELECT * FROM {values})"
END_TASKS = Statement(
    f"DELETE FROM {{tasks}} WHERE {KEYS} AND owner = ? AND epoch = ?", item="(?, ?, ?)"
)
TASKS = Query(
    f"""
    SELECT number, run, command, id, owner, epoch, cancel_requested
    FROM {{tasks}} WHERE {KEYS}{{skip_locked}}
    """,
    item="(?, ?, ?)",
    kinds="vvvvvvv",
)
ADD_TASKS = Statement(
    """
    INSERT INTO {tasks} (number, run, command, name, queue, args, kwargs, options, owner, epoch,
        wake_at, deadline, scheduled_at, attempt, crashes, cancel_requested)
    VALUES {list}
    """,
    item="(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0, 0)",
)
DROP_TASKS = Statement("DELETE FROM {tasks} WHERE id IN ({list})")
DROP_ALL_TASKS = Statement("DELETE FROM {tasks} WHERE number IN ({list})")
ASK_TO_CANCEL = Statement("UPDATE {tasks} SET cancel_requested = 1 WHERE id IN ({list})")

WAKE_UNSEEN = Statement(
    "UPDATE {instances} SET wake_at = ? WHERE number IN ({list}) AND coalesce(wake_at, ?) >= ?"
)
GROW = Statement(
    """
    UPDATE {instances} SET history_length = history_length + ?, crashes = 0
    WHERE number IN ({list})
    """
)
GROW_WAKE = Statement(
    """
    UPDATE {instances}
    SET history_length = history_length + v.column2, wake_at = v.column3, crashes = 0
    FROM {values} AS v WHERE number = v.column1
    """,
    item="(?, ?, ?)",
)
GROW_PARK = Statement(
    """
    UPDATE {instances}
    SET history_length = history_length + v.column2, wake_at = v.column3, crashes = 0, owner = ''
    FROM {values} AS v WHERE number = v.column1
    """,
    item="(?, ?, ?)",
)
CHANGE = Statement(
    """
    UPDATE {instances}
    SET history_length = history_length + v.column2, wake_at = v.column3, crashes = 0,
        owner = v.column4, status = v.column5, reason = v.column6, blocked_by = v.column7,
        started_at = coalesce(started_at, v.column8), finished_at = v.column9,
        version = coalesce(v.column10, version),
        needs = CASE WHEN v.column10 IS NULL THEN needs ELSE workflow || '@' || v.column10 END
    FROM {values} AS v WHERE number = v.column1
    """,
    item="(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
SET_VARS = Statement(
    "UPDATE {payloads} SET vars = v.column2 FROM {values} AS v WHERE number = v.column1",
    item="(?, ?)",
)
SET_RESULT = Statement(
    """
    UPDATE {payloads} SET result = v.column2, failure = v.column3, unread = v.column4
    FROM {values} AS v WHERE number = v.column1
    """,
    item="(?, ?, ?, ?)",
)

RUNNING = End(Status.RUNNING)

TaskRowKey = tuple[int, int, int]
"""(number, run, command)."""


class TaskLost(Exception):
    """A task that a step has done is not there: the batch must be committed carefully."""


def commit(
    tx: Tx, worker: str, steps: Sequence[Step], max_inbox: int, *, careful: bool = False
) -> list[Verdict]:
    """Store those steps that still stand; one verdict each."""
    verdicts = [Verdict.LOST] * len(steps)
    rows = {row[0]: row for row in tx.fetch(FENCE, [s.uid for s in steps], after=(worker,))}
    standing: list[tuple[int, Step, Row]] = []
    for place, step in enumerate(steps):
        row = rows.get(step.uid)
        if row is not None and row[2:5] == [step.epoch, step.run, step.history_length]:
            standing.append((place, step, row))
    if careful:
        standing = _with_their_tasks(tx, worker, standing)
    batch = _Batch(tx, worker)
    for number, id in tx.fetch(INBOX, [row[1] for _, _, row in standing]):
        batch.inbox[number].add(id)
    unseen: list[int] = []
    for place, step, row in standing:
        if batch.unseen(step, row):
            verdicts[place] = Verdict.UNSEEN
            unseen.append(row[1])
        else:
            verdicts[place] = Verdict.COMMITTED
            batch.add(step, row)
    tx.each(WAKE_UNSEEN, unseen, before=(tx.now,), after=(tx.now, tx.now))
    batch.store(careful)
    batch.post(max_inbox)
    tx.tell = bool(unseen) or batch.notable
    return verdicts


def _with_their_tasks(
    tx: Tx, worker: str, standing: list[tuple[int, Step, Row]]
) -> list[tuple[int, Step, Row]]:
    """Those steps whose done tasks are all there, and the worker's."""
    keys = [(row[1], step.run, n) for _, step, row in standing for n, _ in step.done]
    found = _tasks(tx, keys)
    held = {key: task[5] for key, task in found.items() if task[4] == worker}
    return [
        (place, step, row)
        for place, step, row in standing
        if all(held.get((row[1], step.run, n)) == epoch for n, epoch in step.done)
    ]


def _tasks(tx: Tx, keys: Sequence[TaskRowKey]) -> dict[TaskRowKey, Row]:
    """Rows of `TASKS` by key."""
    unique = list(dict.fromkeys(keys))
    return {(row[0], row[1], row[2]): row for row in tx.fetch(TASKS, unique)}


@dataclass(slots=True)
class _Batch:
    """What is to be written for the steps that stand, sorted by kind.

    inbox: the ids that wait, by number. done: task keys by epoch. grown: numbers by how many
    events came; moved, parked, changed: parameters of the other shapes.
    """

    tx: Tx
    worker: str
    inbox: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    done: defaultdict[int, list[TaskRowKey]] = field(default_factory=lambda: defaultdict(list))
    events: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    tasks: list[tuple[object, ...]] = field(default_factory=list)
    grown: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    moved: list[tuple[int, int, int | None]] = field(default_factory=list)
    parked: list[tuple[int, int, int | None]] = field(default_factory=list)
    changed: list[tuple[object, ...]] = field(default_factory=list)
    vars: list[tuple[int, bytes]] = field(default_factory=list)
    results: list[tuple[object, ...]] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    active: list[tuple[int, Step]] = field(default_factory=list)
    notable: bool = False

    def unseen(self, step: Step, row: Row) -> bool:
        """Whether a last step leaves messages that it has not seen."""
        if step.end is None or not step.end.status.finished:
            return False
        return row[1] in self.inbox and not self.inbox[row[1]].issubset(step.messages)

    def add(self, step: Step, row: Row) -> None:
        """Sort the parts of a step."""
        number, run, length = row[1], step.run, len(step.events)
        seq = step.history_length
        self.events += [(number, run, n, event) for n, event in enumerate(step.events, seq)]
        for command, epoch in step.done:
            self.done[epoch].append((number, run, command))
        left = self._take(number, step.messages) if number in self.inbox else False
        if step.vars is not None:
            self.vars.append((number, step.vars))
        if step.cancels or step.sends:
            self.active.append((number, step))
        end = step.end
        wake_at = self.tx.now if left else step.wake_at
        if end is None and step.version is None and row[6]:
            if step.release:
                self.parked.append((number, length, wake_at))
                self.notable |= wake_at is not None
            elif wake_at == row[5]:
                self.grown[length].append(number)
            else:
                self.moved.append((number, length, wake_at))
                self.notable |= left
        else:
            self._change(number, step, end or RUNNING, wake_at)
            if end is not None and end.status.finished:
                return
        if step.tasks:
            self._schedule(number, step)

    def _take(self, number: int, messages: Sequence[int]) -> bool:
        """Take messages out of the inbox; whether any are left there."""
        waiting = self.inbox[number]
        self.taken += waiting.intersection(messages)
        return not waiting.issubset(messages)

    def _change(self, number: int, step: Step, end: End, wake_at: int | None) -> None:
        now = self.tx.now
        finished = end.status.finished
        if finished:
            self.ended.add(number)
            self.results.append((number, end.result, end.failure, words(end.unread)))
        self.changed.append(
            (
                number,
                len(step.events),
                None if finished or end.blocked_by else wake_at,
                "" if finished or step.release else self.worker,
                end.status.value,
                end.reason,
                "" if finished else end.blocked_by,
                None if end.status is Status.BLOCKED else now,
                now if finished else None,
                step.version,
            )
        )
        self.notable |= step.end is not None or step.release

    def _schedule(self, number: int, step: Step) -> None:
        run, now = step.run, self.tx.now
        for t in step.tasks:
            epoch = 1 if t.owner else 0
            self.notable |= not epoch
            self.tasks.append(
                (number, run, t.command, t.name, t.queue, t.args, t.kwargs, t.options)
                + (t.owner, epoch, t.wake_at, t.deadline, now)
            )

    def store(self, careful: bool) -> None:
        """Write it all, but what steps send and cancel."""
        tx = self.tx
        for epoch, keys in self.done.items():
            deleted = tx.each(END_TASKS, keys, after=(self.worker, epoch))
            if deleted != len(keys) and not careful:
                raise TaskLost
        tx.insert(ADD_EVENTS, self.events)
        tx.each(TAKE_MESSAGES, self.taken)
        tx.insert(ADD_TASKS, self.tasks)
        for length, numbers in self.grown.items():
            tx.each(GROW, numbers, before=(length,))
        tx.each(GROW_WAKE, self.moved)
        tx.each(GROW_PARK, self.parked)
        tx.each(CHANGE, self.changed)
        tx.each(SET_VARS, self.vars)
        tx.each(SET_RESULT, self.results)
        tx.each(DROP_ALL_TASKS, sorted(self.ended))

    def post(self, max_inbox: int) -> None:
        """Cancel, send, and answer."""
        if not self.active:
            return
        self.notable = True
        self._cancel()
        sends = [(number, message) for number, step in self.active for message in step.sends]
        outcomes = send(self.tx, [message for _, message in sends], max_inbox)
        answers: list[Note] = []
        for (number, message), outcome in zip(sends, outcomes, strict=True):
            answer = (message.answers or {}).get(outcome)
            if answer is not None and number not in self.ended:
                answers.append((number, f"answer:{message.message_id}", answer))
        put(self.tx, answers)

    def _cancel(self) -> None:
        """Delete tasks that nobody runs, answering at once; mark the others."""
        cancels = [
            ((number, step.run, cancel.command), cancel)
            for number, step in self.active
            if number not in self.ended
            for cancel in step.cancels
        ]
        found = _tasks(self.tx, [key for key, _ in cancels])
        free = [(key, cancel) for key, cancel in cancels if key in found and not found[key][4]]
        self.tx.each(ASK_TO_CANCEL, [row[3] for row in found.values() if row[4]])
        self.tx.each(DROP_TASKS, [found[key][3] for key, _ in free])
        put(self.tx, [(key[0], cancel.message_id, cancel.answer) for key, cancel in free])
