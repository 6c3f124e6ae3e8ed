"""What must hold when the faults have stopped and all has come to rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from durable import Codec, message_ids
from durable.closing import parent_ended
from durable.events import (
    ActivityCompleted,
    CancelRequested,
    ChildCompleted,
    ChildFailed,
    ContinuedAsNew,
    Event,
    SignalDelivered,
    SignalReceived,
    SignalSent,
    WorkflowStarted,
    WorkflowTerminated,
    load,
)
from durable.header import Header
from durable.interpreter import Interpreter
from durable.model import FINISHED, Instance, ParentClose, Status
from durable.purging import wanted
from durable.runner.held import revive
from durable.stores.memory_rows import Row
from simulation import programs
from simulation.clients import Log
from simulation.invariants import Violation, check
from simulation.monitor import Monitor, Story
from simulation.workers import Execution

CODEC = Codec()
SLOTS = 4
PURGED = 2
"""How many instances a purge may take at once."""


POISON = "it has taken down its worker"


def _asks_to_cancel(row: Row, reason: str) -> bool:
    """Whether it has not read yet that it is cancelled for this reason."""
    events = (load(message.event, 0) for message in row.inbox.values())
    return any(isinstance(event, CancelRequested) and event.reason == reason for event in events)


def is_at_rest(rows: Iterable[Row]) -> bool:
    """Whether nobody has anything to do, and no moment will come at which somebody has."""
    return all(
        row.instance.wake_at is None and not row.tasks and row.instance.owner == ""
        for row in rows
    )  # fmt: skip


def _is_wanted(instance: Instance, others: Mapping[bytes, Instance]) -> bool:
    """Whether its parent, if that is among the others, could still ask for it."""
    parent = instance.parent
    return parent is not None and parent.uid in others and wanted(parent.run, others[parent.uid])


def _message_ids(stored: Iterable[bytes]) -> Iterator[str]:
    """Of the signals among these events."""
    for event in (load(data, 0) for data in stored):
        if isinstance(event, SignalReceived):
            yield event.message_id


class Final:
    """The checks of one run."""

    def __init__(self, monitor: Monitor, log: Log, ledger: list[Execution], disturbed: int) -> None:
        self.monitor = monitor
        self.rows = monitor.rows
        self.log = log
        self.ledger = ledger
        self.disturbed = disturbed

    def check(self) -> None:
        """Raise `Violation` if something does not hold."""
        self._starts()
        for row in self.rows.by_uid.values():
            for run in row.histories:
                story = self.monitor.stories[row.instance.uid, run]
                check("I5", row.histories[run] == story.stored, story.where, "was rewritten")
                self._replay(row, run, story)
                self._delivered(row.instance, run, story)
            self._rests(row)
            self._children(row)
        self._acknowledged()
        self._order()
        self._executions()

    def _stories(self, row: Row) -> list[Story]:
        return [self.monitor.stories[row.instance.uid, run] for run in row.histories]

    # -- starts, replay -----------------------------------------------------------------

    def _starts(self) -> None:
        for id in self.log.starts:
            check("I1", id in self.rows.by_id, id)

    def _replay(self, row: Row, run: int, story: Story) -> None:
        instance = row.instance
        stored = list(story.stored)
        terminated = bool(story.events) and isinstance(story.events[-1], WorkflowTerminated)
        if terminated:
            stored.pop()
        if not stored:
            return
        shown = replace(instance, run=run, started_at=0)
        secret = self.monitor.store.secret
        interpreter: Interpreter | None = None
        try:
            interpreter = revive(
                shown, len(stored), programs.run, list(enumerate(stored)), CODEC, secret,
                copied=story.is_a_copy(run),
            )  # fmt: skip
            ended = interpreter.ending
            check("I4", terminated or (ended is not None) == story.ended, story.where, ended)
            if ended is not None and isinstance(ended.event, ContinuedAsNew):
                self._carried(row, run, ended.carried)
            if ended is not None and run == instance.run and instance.status is Status.COMPLETED:
                value = getattr(ended.event, "value", None)
                check("I2", instance.result == value, story.where, value)
                self._no_repetitions(story, CODEC.decode(instance.result or b""))
        except Violation:
            raise
        except Exception as error:
            check("I4", False, story.where, repr(error))
        finally:
            if interpreter is not None:
                interpreter.close()

    def _carried(self, row: Row, run: int, unread: Iterable[bytes]) -> None:
        """The signals that nobody has read go to the next run; if that ended before it had
        received them, they are kept for a retry."""
        following = self.monitor.stories[row.instance.uid, run + 1]
        begun = following.events and isinstance(following.events[0], WorkflowStarted)
        is_last = run + 1 == row.instance.run
        if (following.events and not begun) or (following.ended and not is_last):
            return
        known = set(following.signals)
        if is_last:
            known |= set(_message_ids(Header.load(row.instance.header).carried))
        lost = set(_message_ids(unread)) - known
        check("I6", not lost, following.where, "has not got what was unread:", lost)

    @staticmethod
    def _no_repetitions(story: Story, seen: list[Any]) -> None:
        values = Counter(
            one for one in seen if isinstance(one, str) and one[:1] == "c" and ":" in one
        )
        twice = [value for value, number in values.items() if number > 1]
        check("I6", not twice, story.where, "saw twice:", twice)

    # -- nothing is stuck ---------------------------------------------------------------

    def _rests(self, row: Row) -> None:
        instance = row.instance
        if instance.status.finished:
            return
        check("I16", not instance.owner and not row.tasks, instance.id, "is owned", instance)
        poison = instance.reason.startswith(POISON)
        rests = poison or not row.inbox
        check("I11", rests, instance.id, instance.status, "rests, with messages", instance.reason)
        deadlock = instance.reason.startswith("deadlock")
        blocked = instance.status is Status.BLOCKED and not poison and not deadlock
        check("I5", not blocked, instance.id, "is blocked:", instance.reason)
        begun = instance.status is not Status.PENDING or poison
        check("I11", begun, instance.id, "has not begun")
        story = self.monitor.stories[instance.uid, instance.run]
        if not poison:
            check("I11", not story.timers, instance.id, "has timers", story.timers)

    def _children(self, row: Row) -> None:
        """Ends are told to the parent, and ends of the parent to its children."""
        child, parent = row.instance, row.instance.parent
        if parent is None:
            return
        family = self.rows.by_uid.get(parent.uid)
        assert family is not None
        story = self.monitor.stories[parent.uid, parent.run]
        over = story.ended or family.instance.run != parent.run
        if child.status.finished and not over and not family.instance.status.finished:
            told = (
                event.command
                for event in story.events
                if isinstance(event, ChildCompleted | ChildFailed)
            )
            # One that has taken down its workers reads nothing any more: it waits in the inbox.
            end = message_ids.child_done(child.uid, child.run)
            waits = any(message.message_id == end for message in family.inbox.values())
            known = waits or parent.command in told
            check("I11", known, child.id, "has ended, unknown to its parent")
        if over and not child.status.finished and parent.close is not ParentClose.ABANDON:
            reasons = self.monitor.stories[child.uid, child.run].reasons
            closed = parent_ended(parent.id) in reasons
            before = any(parent_ended(parent.id) in s.reasons for s in self._stories(row))
            # What has taken down its workers stays as it is, with what it was sent.
            poison = child.reason.startswith(POISON)
            closed = closed or (poison and _asks_to_cancel(row, parent_ended(parent.id)))
            check("I11", closed or before, child.id, "goes on, though its parent has ended")

    def purge(self) -> None:
        """What has ended goes, a few at a time, but for those who may be asked for again."""
        count = PURGED
        while count:
            before = {row.instance.uid: row.instance for row in self.rows.by_uid.values()}
            count = self.monitor.store.purge(self.monitor.store.now() + 1, tuple(FINISHED), PURGED)
            gone = [before[uid] for uid in before.keys() - self.rows.by_uid.keys()]
            check("I17", count == len(gone) <= PURGED, "it told of", count, "and took", gone)
            for instance in gone:
                check("I17", instance.status.finished, instance.id, "has not ended")
                check("I17", not _is_wanted(instance, before), instance.id, "may be asked for")
        left = {row.instance.uid: row.instance for row in self.rows.by_uid.values()}
        for instance in left.values():
            stays = not instance.status.finished or _is_wanted(instance, left)
            check("I17", stays, instance.id, "has ended, and is never purged")

    # -- what was sent ------------------------------------------------------------------

    def _received(self, row: Row) -> Iterator[Event]:
        """What came to an instance, in any run, or waits for it."""
        for story in self._stories(row):
            yield from story.events
        for message in row.inbox.values():
            yield load(message.event, 0)
        for data in Header.load(row.instance.header).carried:
            yield load(data, 0)

    def _was_terminated(self, row: Row) -> bool:
        return any(isinstance(event, WorkflowTerminated) for event in self._received(row))

    def _began_anew(self, row: Row, since: int) -> bool:
        """Whether a run has ended with what was unread, for good: it was terminated, or the
        instance was started once more."""
        stories = [story for story in self._stories(row) if story.ended_at >= since]
        last = self.monitor.stories[row.instance.uid, row.instance.run]
        over = [
            s for s in stories if s is not last and not isinstance(s.events[-1], ContinuedAsNew)
        ]
        return bool(over) or self._was_terminated(row)

    def _acknowledged(self) -> None:
        found: dict[str, tuple[set[Any], set[str]]] = {}
        for id, row in self.rows.by_id.items():
            events = list(self._received(row))
            values = {CODEC.decode(e.value) for e in events if isinstance(e, SignalReceived)}
            reasons = {e.reason for e in events if isinstance(e, CancelRequested)}
            found[id] = values, reasons
        for values, reasons in found.values():
            untold = (values | reasons) & set(self.log.denied)
            check("I16", not untold, "came, though its sender was told that it did not:", untold)
        for _, _, value, id, began_at in self.log.signals:
            check("I6", id in found, "there is no", id, "that could have received", value)
            row = self.rows.by_id[id]
            known = value in found[id][0] or self._began_anew(row, began_at)
            check("I6", known, id, "lost", value)
        for reason, id, began_at in self.log.cancels:
            check("I16", id in found, "there is no", id, "that could be cancelled by", reason)
            ends = (story.ended_at for story in self._stories(self.rows.by_id[id]))
            # A termination that took effect late bears the moment when it was asked for.
            over = max(ends) >= began_at or self._was_terminated(self.rows.by_id[id])
            known = reason in found[id][1] or over
            check("I16", known, id, "goes on without knowing of the cancel", reason)

    def _order(self) -> None:
        numbers = {value: (sender, number) for sender, number, value, _, _ in self.log.signals}
        for story in self.monitor.stories.values():
            last: dict[str, int] = {}
            for event in story.events:
                if not isinstance(event, SignalReceived):
                    continue
                sender, number = numbers.get(CODEC.decode(event.value), ("", 0))
                if sender:
                    before = last.get(sender, 0)
                    check("I7", before < number, story.where, sender, before, number)
                    last[sender] = number

    def _delivered(self, instance: Instance, run: int, story: Story) -> None:
        sent = {e.command: e for e in story.events if isinstance(e, SignalSent)}
        if story.retried:
            return  # numbers are of an earlier run
        for event in story.events:
            if isinstance(event, SignalDelivered):
                target = self.rows.by_id[sent[event.command].instance_id]
                message_id = message_ids.signal_sent(instance.uid, run, event.command)
                came = any(
                    isinstance(one, SignalReceived) and one.message_id == message_id
                    for one in self._received(target)
                )
                lost = f"{story.where} sent {message_id} to {target.instance.id}"
                check("I14", came or self._was_terminated(target), lost)

    # -- activities ---------------------------------------------------------------------

    def _executions(self) -> None:
        executed = Counter((one.key, one.number) for one in self.ledger)
        keys = {one.key for one in self.ledger}
        for (uid, run), story in self.monitor.stories.items():
            for command, kind in story.done.items():
                if kind is ActivityCompleted and not story.retried:
                    check("I12", (uid, run, command) in keys, story.where, "never ran", command)
        for uid, run, command in keys:
            known = self.monitor.stories.get((uid, run))
            scheduled = known is not None and command in known.scheduled
            check("I10", scheduled, "what was never scheduled ran:", uid.hex(), run, command)
        again = sum(number - 1 for number in executed.values())
        check("I12", again <= self.disturbed * SLOTS, again, "again, of", self.disturbed, "faults")


__all__ = ["Final", "is_at_rest"]
