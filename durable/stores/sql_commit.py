"""Commits: the steps of a batch, stored together, or left out if they lost.

Rules
-----
* The fence is one SELECT for the whole batch: owner, epoch, run, history length, not ended.
  A step that does not pass is LOST and nothing of it is written.
* Where rows are locked the fence takes those that it gets, and what steps do to others is
  locked next (`sql_reach`), before anything is written.  A step of which a row is in another
  transaction's hands is BUSY: a batch waits for nobody.
* The inbox is read in a second statement, after the fence.  Sets of ids are compared, never
  the largest.
* The done tasks are found next, all at once; only if one is missing is it asked whose step
  that was.  Then everything is written, one statement for all rows of a kind.
* What code refuses others may try: it is due if one of the live workers may.
* Four shapes of UPDATE, so that an ordinary step touches no index: ``GROW`` (only longer),
  ``GROW_WAKE`` (another moment), ``GROW_PARK`` (and released), ``CHANGE`` (status, version).
  A step that begins the next run has one of its own, in ``sql_runs``.
* What a step does to others comes last: it meets them as this transaction leaves them.  Its
  children are started first, so that they may be sent something; then it sends, and what
  was sent is answered; at the end its parent is told, and its children are closed.
* Answers are for the run that asked: there are none when a step ends it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from durable import message_ids
from durable.model import Status
from durable.records import refused_also
from durable.store import End, NextRun, Step, Verdict
from durable.stores.refusals import able, place_name, suffix
from durable.stores.sql_children import close, reply, start
from durable.stores.sql_messages import Note, put, send
from durable.stores.sql_reach import out_of_reach
from durable.stores.sql_reads import live_workers
from durable.stores.sql_rows import needs, words
from durable.stores.sql_runs import ADD_EVENTS, DROP_ALL_TASKS, follow
from durable.stores.sql_text import Delete, Query, Statement, Update
from durable.stores.sql_tx import Row, Tx

__all__ = ["commit"]

# Whether it is an ordinary running instance, of which only the length changes.
PLAIN = "status = 'running' AND reason = '' AND started_at IS NOT NULL"
STANDS = Query(
    f"""
    SELECT uid, number, epoch, run, history_length, wake_at, {PLAIN}
    FROM {{instances}}
    WHERE uid IN ({{list}}) AND nullif(owner, '') = ? AND finished_at IS NULL
    """,
    kinds="xvvvvvv",
)
FENCE = Query(STANDS.text + "{skip_locked}", kinds=STANDS.kinds)
INBOX = Query("SELECT number, id FROM {inbox} WHERE number IN ({list})", kinds="vv", unbounded=True)
TAKE_MESSAGES = Delete("")

# Joined to the list, and not (…) IN (list): that would look at all tasks of an instance.
HELD = Query(
    """
    SELECT t.id FROM {values} AS v
    JOIN {tasks} t ON t.number = v.column1 AND t.run = v.column2 AND t.command = v.column3
    WHERE t.epoch = v.column4 AND nullif(t.owner, '') = ?{lock_t}
    """,
    columns="nnnn",
    kinds="v",
)
TASKS = Query(
    """
    SELECT t.number, t.run, t.command, t.id, t.owner, t.epoch FROM {values} AS v
    JOIN {tasks} t ON t.number = v.column1 AND t.run = v.column2 AND t.command = v.column3{lock_t}
    """,
    columns="nnn",
    kinds="vvvvvv",
)
ADD_TASKS = Statement(
    """
    INSERT INTO {tasks} (number, run, command, name, queue, args, kwargs, options, owner, epoch,
        wake_at, deadline, context, scheduled_at, attempt, crashes, cancel_requested)
    VALUES {list}
    """,
    item="(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0, 0)",
    payloads=(5, 6, 12),
)
DROP_TASKS = Statement("DELETE FROM {tasks} WHERE id IN ({list})")
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
GROW_WAKE = Update(
    """
    history_length = history_length + v.column2, wake_at = v.column3, crashes = 0
    """,
    columns="nnn",
)
GROW_PARK = Update(
    """
    history_length = history_length + v.column2, wake_at = v.column3, crashes = 0, owner = ''
    """,
    columns="nnn",
)
CHANGE = Update(
    """
    history_length = history_length + v.column2, wake_at = v.column3, crashes = 0,
    owner = v.column4, status = v.column5, reason = v.column6, blocked_by = v.column7,
    started_at = coalesce(started_at, v.column8), finished_at = v.column9,
    version = coalesce(v.column10, version),
    needs = workflow || coalesce('@' || coalesce(v.column10, version), '') || v.column11
    """,
    columns="nnnttttnnnt",
)
PLACES = Query(
    "SELECT number, queue, workflow, version, blocked_by FROM {instances} WHERE number IN ({list})",
    kinds="vvvvv",
)
SET_VARS = Update(
    "vars = v.column2",
    columns="nb",
    table="payloads",
)
SET_RESULT = Update(
    """
    result = v.column2, failure = v.column3, unread = v.column4,
    header = coalesce(v.column5, header)
    """,
    columns="nbbtb",
    table="payloads",
)

RUNNING = End(Status.RUNNING)
NONE: frozenset[int] = frozenset()

Standing = list[tuple[int, Step, Row]]
"""Steps that are not lost: (place in the batch, step, its row of `FENCE`)."""


def commit(tx: Tx, worker: str, steps: Sequence[Step], max_inbox: int) -> list[Verdict]:
    """Store those steps that still stand; one verdict each."""
    verdicts = [Verdict.LOST] * len(steps)
    if not worker:
        return verdicts  # what nobody owns is nobody's to commit
    standing, busy = _fence(tx, worker, steps)
    inbox: defaultdict[int, set[int]] = defaultdict(set)
    for number, id in tx.fetch(INBOX, [row[1] for _, _, row in standing]):
        inbox[number].add(id)
    standing = [s for s in standing if inbox.get(s[2][1], NONE).issuperset(s[1].messages)]
    blind = [one for one in standing if _unseen(one[1], inbox.get(one[2][1]), tx.now)]
    if blind:
        places = {place for place, _, _ in blind}
        standing = [one for one in standing if one[0] not in places]
        blind, _ = _with_tasks(tx, worker, blind)
    standing, done = _with_tasks(tx, worker, standing)
    decided = ((Verdict.BUSY, busy), (Verdict.UNSEEN, blind), (Verdict.COMMITTED, standing))
    for verdict, some in decided:
        for place, _, _ in some:
            verdicts[place] = verdict
    waiting = [row[1] for _, _, row in blind]
    tx.each(WAKE_UNSEEN, waiting, before=(tx.now,), after=(tx.now, tx.now))
    tx.each(DROP_TASKS, done)
    left = _take_messages(tx, standing, inbox)
    _add_events(tx, standing)
    notable = _add_tasks(tx, standing)
    notable |= _update(tx, worker, standing, left)
    notable |= _post(tx, standing, max_inbox)
    tx.tell = notable or bool(blind)
    return verdicts


# -- what still stands ------------------------------------------------------------------


def _fence(tx: Tx, worker: str, steps: Sequence[Step]) -> tuple[Standing, Standing]:
    """Those that stand and have locked all that they change, and those that cannot now."""
    standing = _find(tx, FENCE, worker, list(enumerate(steps)))
    if not tx.locks_rows:
        return standing, []
    found = {place for place, _, _ in standing}
    missing = [(place, step) for place, step in enumerate(steps) if place not in found]
    busy = _find(tx, STANDS, worker, missing)
    others = [(place, row[1], step) for place, step, row in standing if _touches(step)]
    locked_elsewhere = out_of_reach(tx, others)
    busy += [one for one in standing if one[0] in locked_elsewhere]
    return [one for one in standing if one[0] not in locked_elsewhere], busy


def _find(tx: Tx, query: Query, worker: str, steps: Sequence[tuple[int, Step]]) -> Standing:
    rows = tx.fetch(query, [step.uid for _, step in steps], after=(worker,))
    found = {row[0]: row for row in rows}
    return [
        (place, step, row)
        for place, step in steps
        if (row := found.get(step.uid)) is not None
        and row[2:5] == [step.epoch, step.run, step.history_length]
    ]


def _touches(step: Step) -> bool:
    """Whether it changes other instances."""
    return bool(step.sends or (_over(step) and (step.close or step.end)))


def _ends(step: Step) -> bool:
    return step.end is not None and step.end.status.finished


def _over(step: Step) -> bool:
    """Whether its run ends with this step."""
    return step.next is not None or _ends(step)


def _unseen(step: Step, waiting: set[int] | None, now: int) -> bool:
    """Whether a last step, or one after which it rests until the next run begins, leaves
    messages that it has not seen."""
    if waiting is None or waiting.issubset(step.messages):
        return False
    return _ends(step) or (step.next is not None and step.next.start_at > now)


def _with_tasks(tx: Tx, worker: str, standing: Standing) -> tuple[Standing, list[int]]:
    """Those steps whose done tasks are all there and the worker's, and the tasks' ids."""
    keys = [(row[1], s.run, n, epoch) for _, s, row in standing for n, epoch in s.done]
    ids = {id for [id] in tx.fetch(HELD, keys, after=(worker,))}
    if len(ids) == len(keys):
        return standing, sorted(ids)
    found = _tasks(tx, [key[:3] for key in keys])
    held = {(*key, row[5]): row[3] for key, row in found.items() if row[4] == worker}
    standing = [
        (place, s, row)
        for place, s, row in standing
        if all((row[1], s.run, n, epoch) in held for n, epoch in s.done)
    ]
    return standing, [
        held[row[1], s.run, n, epoch] for _, s, row in standing for n, epoch in s.done
    ]


def _tasks(tx: Tx, keys: Iterable[tuple[int, int, int]]) -> dict[tuple[int, int, int], Row]:
    """Rows of `TASKS` by (number, run, command)."""
    unique = list(dict.fromkeys(keys))
    return {(row[0], row[1], row[2]): row for row in tx.fetch(TASKS, unique)}


# -- what is written --------------------------------------------------------------------


def _take_messages(tx: Tx, standing: Standing, inbox: dict[int, set[int]]) -> set[int]:
    """Delete the messages that steps have taken; numbers of inboxes where some are left."""
    left: set[int] = set()
    taken: list[int] = []
    for _, step, row in standing if inbox else ():
        waiting = inbox.get(row[1])
        if waiting:
            taken += waiting.intersection(step.messages)
            if not waiting.issubset(step.messages):
                left.add(row[1])
    tx.each(TAKE_MESSAGES, sorted(taken))
    return left


def _add_events(tx: Tx, standing: Standing) -> None:
    tx.insert(
        ADD_EVENTS,
        [
            (row[1], step.run, seq, event)
            for _, step, row in standing
            for seq, event in enumerate(step.events, step.history_length)
        ],
    )


def _add_tasks(tx: Tx, standing: Standing) -> bool:
    """Schedule; whether there are tasks for anybody."""
    now = tx.now
    rows: list[tuple[object, ...]] = []
    free = False
    for _, step, row in standing:
        if not step.tasks or _over(step):
            continue
        number, run = row[1], step.run
        for t in step.tasks:
            what = (number, run, t.command, t.name, t.queue, t.args, t.kwargs, t.options)
            epoch = 1 if t.owner else 0
            rows.append((*what, t.owner, epoch, t.wake_at, t.deadline, t.context, now))
            free = free or not t.owner
    tx.insert(ADD_TASKS, rows)
    return free


def _update(tx: Tx, worker: str, standing: Standing, left: set[int]) -> bool:
    """Update the instances; whether somebody else may wait for one of them."""
    now = tx.now
    grown: defaultdict[int, list[int]] = defaultdict(list)
    moved: list[tuple[object, ...]] = []
    parked: list[tuple[object, ...]] = []
    changed: list[tuple[Step, int, int | None]] = []
    followed: list[tuple[int, int, NextRun]] = []
    for _, step, row in standing:
        number = row[1]
        wake_at = now if number in left else step.wake_at
        if step.next is not None:
            followed.append((number, step.run, step.next))
        elif step.end is not None or step.version is not None or not row[6]:
            changed.append((step, number, wake_at))
        elif step.release:
            parked.append((number, len(step.events), wake_at))
        elif wake_at == row[5]:
            grown[len(step.events)].append(number)
        else:
            moved.append((number, len(step.events), wake_at))
    for length, numbers in grown.items():
        tx.each(GROW, numbers, before=(length,))
    tx.each(GROW_WAKE, moved)
    tx.each(GROW_PARK, parked)
    refused = _refusals(tx, changed)
    tx.each(CHANGE, [_change(worker, now, *one, refused.get(one[1])) for one in changed])
    tx.each(SET_VARS, [(row[1], s.vars) for _, s, row in standing if s.vars is not None])
    _finish(tx, [(number, step.end) for step, number, _ in changed if step.end])
    follow(tx, followed)
    return bool(left or parked or followed) or any(
        step.end or step.release for step, _, _ in changed
    )


def _refusals(
    tx: Tx, changed: Sequence[tuple[Step, int, int | None]]
) -> dict[int, tuple[str, int | None]]:
    """What code refuses, by number: the builds of all that has refused it, and when others
    are to try."""
    blocks = {
        number: step
        for step, number, _ in changed
        if step.end and step.end.blocked_by and not _ends(step)
    }
    if not blocks:
        return {}
    tx.exclude()
    live = live_workers(tx)
    found: dict[int, tuple[str, int | None]] = {}
    for number, queue, workflow, version, blocked_by in tx.fetch(PLACES, list(blocks)):
        step = blocks[number]
        need = needs(workflow, version if step.version is None else step.version)
        builds = refused_also(blocked_by, step.end.blocked_by if step.end else "")
        found[number] = builds, tx.now if able(live, queue, place_name(need, builds)) else None
    return found


def _change(
    worker: str,
    now: int,
    step: Step,
    number: int,
    wake_at: int | None,
    refused: tuple[str, int | None] | None,
) -> tuple[object, ...]:
    """The parameters of `CHANGE`."""
    end = step.end or RUNNING
    finished = end.status.finished
    blocked_by, wake_at = refused or ("", None if finished else wake_at)
    return (
        number,
        len(step.events),
        wake_at,
        "" if finished or step.release or refused else worker,
        end.status.value,
        end.reason,
        blocked_by,
        None if end.status is Status.BLOCKED else now,
        now if finished else None,
        step.version,
        suffix(blocked_by),
    )


def _finish(tx: Tx, ends: Iterable[tuple[int, End]]) -> None:
    ended = [(number, end) for number, end in ends if end.status.finished]
    if not ended:
        return
    results = [(n, e.result, e.failure, words(e.unread), e.header) for n, e in ended]
    tx.each(SET_RESULT, results)
    tx.each(DROP_ALL_TASKS, [number for number, _ in ended])


# -- what is done to others -------------------------------------------------------------


def _post(tx: Tx, standing: Standing, max_inbox: int) -> bool:
    """Cancel, start, send, tell and close; whether there was anything."""
    active = [
        (row[1], step)
        for _, step, row in standing
        if step.cancels or step.sends or step.starts or step.close or _reply(step)
    ]
    if not active:
        return False
    alive = {number for number, step in active if not _over(step)}
    _cancel(tx, [(number, step) for number, step in active if number in alive])
    put(tx, [note for note in start(tx, active) if note[0] in alive])
    put(tx, [note for note in _send(tx, active, max_inbox) if note[0] in alive])
    ends = [(number, s, event) for number, s in active if (event := _reply(s)) is not None]
    reply(tx, [(number, s.uid, s.run, event) for number, s, event in ends])
    close(tx, [(s.uid, s.run, s.close) for _, s in active if s.close is not None and _over(s)])
    return True


def _reply(step: Step) -> bytes | None:
    """What the parent is told."""
    return step.end.reply if step.end is not None and step.end.status.finished else None


def _send(tx: Tx, steps: Sequence[tuple[int, Step]], max_inbox: int) -> list[Note]:
    """Send what steps send; what is to be answered."""
    sends = [(number, step.run, message) for number, step in steps for message in step.sends]
    outcomes = send(tx, [message for _, _, message in sends], max_inbox)
    answers: list[Note] = []
    for (number, run, message), outcome in zip(sends, outcomes, strict=True):
        answer = (message.answers or {}).get(outcome)
        if answer is not None:
            answers.append((number, message_ids.answer(message.message_id), answer, run))
    return answers


def _cancel(tx: Tx, steps: Sequence[tuple[int, Step]]) -> None:
    """Delete tasks that nobody runs, answering at once; mark the others."""
    cancels = [((n, step.run, one.command), one) for n, step in steps for one in step.cancels]
    found = _tasks(tx, [key for key, _ in cancels])
    free = [(key, one) for key, one in cancels if key in found and not found[key][4]]
    tx.each(ASK_TO_CANCEL, [row[3] for row in found.values() if row[4]])
    tx.each(DROP_TASKS, [found[key][3] for key, _ in free])
    put(tx, [(key[0], one.message_id, one.answer, key[1]) for key, one in free])
