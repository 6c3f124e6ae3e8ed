"""Looks at the store after each change: what must hold after every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from durable.events import (
    ActivityCancelled,
    ActivityCancelRequested,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    CancelRequested,
    ContinuedAsNew,
    Event,
    Retried,
    SignalReceived,
    TimerCancelled,
    TimerFired,
    TimerStarted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowStarted,
    WorkflowTerminated,
    load,
)
from durable.model import Instance, Status, micros
from durable.store import PARKED, Completion, Postponed, Step, Verdict
from durable.stores.memory import MemoryStore
from durable.stores.memory_rows import Row
from simulation.invariants import check

DONE = (ActivityCompleted, ActivityFailed, ActivityCancelled)
ENDS = (WorkflowCompleted, WorkflowFailed, WorkflowCancelled, WorkflowTerminated, ContinuedAsNew)


class Story:
    """One run, as its events tell it; events are looked at when they come.

    copied: it was there before its run began. scheduled: activities, by command. fresh: those
    that were asked for in answer to the last thing that happened: one that is cancelled in
    the same answer is withdrawn, and never becomes a task.
    """

    def __init__(self, where: str, copied: bool) -> None:
        self.where = where
        self.copied = copied
        self.stored: list[bytes] = []
        self.events: list[Event] = []
        self.scheduled: dict[int, int] = {}
        self.fresh: set[int] = set()
        self.withdrawn: set[int] = set()
        self.done: dict[int, type[Event]] = {}
        self.timers: dict[int, int] = {}
        self.fired: set[int] = set()
        self.signals: dict[str, Any] = {}
        self.reasons: set[str] = set()
        self.ended = False
        self.ended_at = 0
        self.retried = False
        self.retried_from = 0

    def is_a_copy(self, run: int) -> bool:
        """Whether this run has nothing yet but what a retry has copied."""
        return self.copied and self.retried_from + 1 != run

    def grow(self, stored: list[bytes], now: int) -> None:
        """Take the events that are new."""
        known = len(self.stored)
        check("I5", len(stored) >= known, self.where, "has become shorter")
        check("I5", not known or stored[known - 1] is self.stored[-1], self.where, "was rewritten")
        for seq in range(known, len(stored)):
            event = load(stored[seq], seq)
            check("I2", not self.ended, self.where, "goes on after its end with", event)
            if not event.issued:
                self.fresh.clear()
            first = isinstance(event, WorkflowStarted) or (seq == 0 and type(event) in ENDS)
            check("I3", first == (seq == 0), self.where, event)
            look = LOOKS.get(type(event))
            if look is not None:
                look(self, event, now)
            self.stored.append(stored[seq])
            self.events.append(event)

    def open_activities(self) -> set[int]:
        return self.scheduled.keys() - self.done.keys() - self.withdrawn

    # -- one event ----------------------------------------------------------------------

    def _scheduled(self, event: Any, now: int) -> None:
        check("I10", event.command not in self.scheduled, self.where, "scheduled twice", event)
        self.scheduled[event.command] = event.seq
        self.fresh.add(event.command)

    def _cancel_requested(self, event: Any, now: int) -> None:
        if event.command in self.fresh:
            self.withdrawn.add(event.command)

    def _completed(self, event: Any, now: int) -> None:
        number = event.command
        check("I10", number in self.scheduled, self.where, "was never scheduled:", event)
        check("I10", number not in self.done, self.where, "completed twice:", event)
        check("I10", number not in self.withdrawn, self.where, "was withdrawn:", event)
        self.done[number] = type(event)

    def _timer(self, event: Any, now: int) -> None:
        self.timers[event.command] = micros(event.due_at)

    def _timer_cancelled(self, event: Any, now: int) -> None:
        self.timers.pop(event.command, None)

    def _fired(self, event: Any, now: int) -> None:
        due = self.timers.pop(event.command, None)
        check("I8", due is not None, self.where, "was cancelled, or has fired before:", event)
        check("I8", due is not None and due <= now, self.where, "too early:", event, due, now)
        self.fired.add(event.command)

    def _signal(self, event: Any, now: int) -> None:
        sender = "I14" if event.message_id.count(":") == 2 else "I6"
        check(sender, event.message_id not in self.signals, self.where, "has twice", event)
        self.signals[event.message_id] = event

    def _cancel(self, event: Any, now: int) -> None:
        check("I9", event.reason not in self.reasons, self.where, "is cancelled twice:", event)
        self.reasons.add(event.reason)

    def _end(self, event: Any, now: int) -> None:
        self.ended = True
        self.ended_at = micros(event.at)

    def _retried(self, event: Any, now: int) -> None:
        self.retried, self.retried_from = True, event.from_run


LOOKS: dict[type[Event], Callable[[Story, Any, int], None]] = {
    ActivityScheduled: Story._scheduled,
    ActivityCancelRequested: Story._cancel_requested,
    TimerStarted: Story._timer,
    TimerCancelled: Story._timer_cancelled,
    TimerFired: Story._fired,
    SignalReceived: Story._signal,
    CancelRequested: Story._cancel,
    Retried: Story._retried,
    **dict.fromkeys(DONE, Story._completed),
    **dict.fromkeys(ENDS, Story._end),
}


class Monitor:
    """Of one store. It reads the rows directly: it must not disturb what it watches.

    stops: how many workers have stopped in order, which gives back what still runs.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.rows = store._rows
        self.stories: dict[tuple[bytes, int], Story] = {}
        self.stops = 0
        self._seen: dict[bytes, Instance] = {}

    def apply(self, verb: str, args: tuple[Any, ...]) -> Any:
        """Call the store, and look at what has changed."""
        if verb == "commit":
            return self._commit(*args)
        if verb == "complete":
            return self._complete(*args)
        self.stops += verb == "unregister"
        answer = getattr(self.store, verb)(*args)
        self.look()
        return answer

    def _commit(self, worker: str, steps: list[Step]) -> list[Verdict]:
        before = {step.uid: self.rows.by_uid[step.uid].instance for step in steps}
        verdicts = self.store.commit(worker, steps)
        for step, verdict in zip(steps, verdicts, strict=True):
            if verdict is Verdict.COMMITTED:
                old = before[step.uid]
                stood = (old.owner, old.epoch, old.run, old.history_length)
                wrote = (worker, step.epoch, step.run, step.history_length)
                check("I13", stood == wrote, old.id, "stood at", stood, "not at", wrote)
        self.look()
        return verdicts

    def _complete(
        self, worker: str, done: list[Completion], postponed: list[Postponed]
    ) -> list[Verdict]:
        both: list[Completion | Postponed] = [*done, *postponed]
        tasks = [self.rows.task((one.uid, one.run, one.command)) for one in both]
        known = [one.message_id in self.rows.by_uid[one.uid].receipts for one in both]
        answers = self.store.complete(worker, done, postponed)
        for one, task, repeated, taken in zip(both, tasks, known, answers, strict=True):
            held = task is not None and (task.owner, task.epoch) == (worker, one.epoch)
            check(
                "I13",
                taken is not Verdict.COMMITTED or repeated or held,
                worker,
                "no longer held",
                one,
            )
        self.look()
        return answers

    def look(self) -> None:
        """At every row that has changed."""
        now = self.store.now()
        for uid, row in self.rows.by_uid.items():
            if self._seen.get(uid) is not row.instance:
                self._look_at(row, now)
                self._seen[uid] = row.instance

    def look_for_unheard(self, since: int) -> None:
        """Nothing waits since then for an owner who does not know of it."""
        for row in self.rows.by_uid.values():
            instance = row.instance
            if instance.owner in ("", PARKED) or instance.wake_at is not None:
                continue
            timers = self.stories[instance.uid, instance.run].timers
            came = [message.arrived_at for message in row.inbox.values()]
            first = min([*came, *timers.values()], default=since)
            check("I11", first >= since, instance.id, "waits since", first, "for", instance.owner)

    def _look_at(self, row: Row, now: int) -> None:
        instance, before = row.instance, self._seen.get(row.instance.uid)
        if before is not None and before.status.finished and before.run == instance.run:
            same = (before.status, before.result, before.failure, before.finished_at)
            now_is = (instance.status, instance.result, instance.failure, instance.finished_at)
            check("I2", same == now_is, instance.id, "ended as", same, "and now is", now_is)
        runs = list(row.histories)
        check("I3", runs == list(range(1, instance.run + 1)), instance.id, "has runs", runs)
        length = len(row.histories[instance.run])
        check("I15", length == instance.history_length, instance.id, "has", length, "events")
        for run, stored in row.histories.items():
            story = self.stories.get((instance.uid, run))
            if story is None:
                story = Story(f"{instance.id} run {run}", copied=bool(stored))
                self.stories[instance.uid, run] = story
            if len(stored) != len(story.stored):
                story.grow(stored, now)
        if instance.status.finished:
            left = (len(row.tasks), len(row.inbox))
            check("I11", left == (0, 0), instance.id, "has ended, with tasks, messages", left)
        else:
            self._look_at_open(row, self.stories[instance.uid, instance.run], now)

    def _look_at_open(self, row: Row, story: Story, now: int) -> None:
        """An unfinished instance: its parts agree, and somebody will look at it."""
        instance = row.instance
        messages = [load(message.event, 0) for message in row.inbox.values()]
        if not any(isinstance(event, Retried) for event in messages):
            answered = {event.command for event in messages if isinstance(event, DONE)}
            tasks = {command for _, _, command in row.tasks}
            missing = story.open_activities() ^ (tasks | answered)
            check("I15", not missing, instance.id, "tasks and history differ in", missing)
        if instance.owner or instance.status in (Status.PAUSED, Status.PENDING):
            return
        if row.inbox and not instance.blocked_by:
            due = instance.wake_at is not None and instance.wake_at <= now
            check("I11", due, instance.id, "has messages and nobody is to look at it")
        if story.timers and instance.status is Status.RUNNING:
            first = min(story.timers.values())
            due = instance.wake_at is not None and instance.wake_at <= max(first, now)
            check("I11", due, instance.id, "has a timer due at", first, "not", instance.wake_at)
