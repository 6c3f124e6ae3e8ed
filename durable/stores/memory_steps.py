"""What workers and senders write, in the memory store: messages, steps, results of tasks.

Rules
-----
* A commit decides on all its steps first and applies those that hold.  Then it creates the
  children that they start, delivers what they send, and last tells the parents and closes
  the children of what has ended: each meets the others as this transaction leaves them.
* A receipt is looked at before anything else, so a repeated call is answered like the first.
* The one who calls holds the store's lock. Nothing here raises half-way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from durable import message_ids
from durable.model import Status, Task
from durable.records import refused_also
from durable.store import (
    Beat,
    Cancel,
    Completion,
    End,
    Outgoing,
    Postponed,
    Sent,
    Step,
    TaskKey,
    Verdict,
)
from durable.stores.memory_family import Family
from durable.stores.memory_rows import Row, Rows

__all__ = ["Steps"]


class Steps:
    """The writes, on these rows; an inbox takes ``max_inbox`` messages from senders."""

    def __init__(self, rows: Rows, family: Family, max_inbox: int) -> None:
        self._rows = rows
        self._family = family
        self._max_inbox = max_inbox

    def send(self, message: Outgoing, now: int) -> Sent:
        """Deliver a message, or say why not."""
        if message.uid is None:
            found = self._rows.by_id.get(message.id)
        else:
            found = self._rows.by_uid.get(message.uid)
        message_id, run = message.message_id, message.run
        row = self._rows.target(found, message_id, run)
        if isinstance(row, Sent):
            return row
        if len(row.inbox) >= self._max_inbox:
            return Sent.FULL
        self._rows.deliver(row, message_id, message.event, now, urgent=message.urgent, run=run)
        return Sent.SENT

    # -- steps --------------------------------------------------------------------------

    def commit(self, worker: str, steps: Sequence[Step], now: int) -> tuple[list[Verdict], bool]:
        """A verdict for each step, and whether anybody else may be waiting for this."""
        verdicts = [self._judge(worker, step, now) for step in steps]
        committed: list[Step] = []
        for step, verdict in zip(steps, verdicts, strict=True):
            if verdict is Verdict.UNSEEN:
                self._rows.wake(self._rows.by_uid[step.uid], now)
            elif verdict is Verdict.COMMITTED:
                self._apply(worker, step, now)
                committed.append(step)
        for follow in (self._start, self._post, self._tell_family):
            for step in committed:
                follow(step, now)
        notable = [step for step in committed if self._notable(step, now)]
        return verdicts, bool(notable) or Verdict.UNSEEN in verdicts

    def _judge(self, worker: str, step: Step, now: int) -> Verdict:
        row = self._rows.by_uid.get(step.uid)
        if row is None or not worker:
            return Verdict.LOST
        instance = row.instance
        stands = (instance.owner, instance.run, instance.epoch, instance.history_length)
        if stands != (worker, step.run, step.epoch, step.history_length):
            return Verdict.LOST
        for command, epoch in step.done:
            task = row.tasks.get((step.uid, step.run, command))
            if task is None or (task.owner, task.epoch) != (worker, epoch):
                return Verdict.LOST
        if not row.inbox.keys() >= set(step.messages):
            return Verdict.LOST
        ends = step.end is not None and step.end.status.finished
        delays = step.next is not None and step.next.start_at > now
        if (ends or delays) and row.inbox.keys() - set(step.messages):
            return Verdict.UNSEEN
        return Verdict.COMMITTED

    def _apply(self, worker: str, step: Step, now: int) -> None:
        """All of a step but what concerns other instances."""
        row = self._rows.by_uid[step.uid]
        self._record(row, step, now)
        if step.next is not None:
            status = Status.PENDING if step.next.start_at > now else Status.RUNNING
            self._rows.next_run(row, step.next, now, status=status)
            return
        end = step.end or End(Status.RUNNING)
        if end.status.finished:
            row.unread = end.unread
            header = row.instance.header if end.header is None else end.header
            self._rows.finish(
                row, end.status, now, result=end.result, failure=end.failure, header=header
            )
            return
        for new in step.tasks:
            self._rows.add_task(row, new, now)
        for cancel in step.cancels:
            self._cancel(row, cancel, now)
        if end.blocked_by:
            self._refuse(row, end, now)
            return
        self._rows.update(
            row,
            status=end.status,
            blocked_by="",
            owner="" if step.release else worker,
            wake_at=now if row.inbox else step.wake_at,
        )

    def _refuse(self, row: Row, end: End, now: int) -> None:
        """Code has refused it: others may try, now if there are any."""
        blocked_by = refused_also(row.instance.blocked_by, end.blocked_by)
        changes = {"status": end.status, "blocked_by": blocked_by, "owner": "", "wake_at": None}
        instance = self._rows.update(row, **changes)
        if self._rows.tried(instance, self._rows.live(now)):
            self._rows.update(row, wake_at=now)

    def _record(self, row: Row, step: Step, now: int) -> None:
        """What every step does: it adds its events, and takes what is among them."""
        row.histories[step.run] += step.events
        row.take(step.messages)
        for command, _ in step.done:
            self._rows.drop_task(row, (step.uid, step.run, command))
        instance = row.instance
        blocks = step.end is not None and step.end.status is Status.BLOCKED
        starts = instance.started_at is None and not blocks
        self._rows.update(
            row,
            history_length=instance.history_length + len(step.events),
            version=instance.version if step.version is None else step.version,
            vars=instance.vars if step.vars is None else step.vars,
            started_at=now if starts else instance.started_at,
            reason="" if step.end is None else step.end.reason,
            crashes=0,
        )

    def _cancel(self, row: Row, cancel: Cancel, now: int) -> None:
        key = (row.instance.uid, row.instance.run, cancel.command)
        task = row.tasks.get(key)
        if task is None:
            return
        if task.owner:
            self._rows.put_task(row, replace(task, cancel_requested=True))
            return
        self._rows.drop_task(row, key)
        self._rows.deliver(row, cancel.message_id, cancel.answer, now, run=row.instance.run)

    def _start(self, step: Step, now: int) -> None:
        """Create the children that a step starts."""
        for child in step.starts:
            self._family.start(self._rows.by_uid[step.uid], step.run, child, now)

    def _post(self, step: Step, now: int) -> None:
        """Send what a step sends; the answers come back as messages, while its run lasts."""
        row = self._rows.by_uid[step.uid]
        for message in step.sends:
            answer = (message.answers or {}).get(self.send(message, now))
            if answer is not None:
                message_id = message_ids.answer(message.message_id)
                self._rows.deliver(row, message_id, answer, now, run=step.run)

    def _tell_family(self, step: Step, now: int) -> None:
        """A run that has ended tells its parent, and closes its children."""
        ended = step.end is not None and step.end.status.finished
        if step.end is not None and ended:
            self._family.reply(self._rows.by_uid[step.uid], step.end.reply, now)
        if ended or step.next is not None:
            self._family.close(step.uid, step.run, step.close, now)

    def _notable(self, step: Step, now: int) -> bool:
        row = self._rows.by_uid[step.uid]
        due = step.release and step.wake_at is not None and step.wake_at <= now
        free_tasks = any(not task.owner for task in step.tasks)
        ends = step.end or step.next
        reaches = step.sends or step.starts or step.cancels
        return bool(due or free_tasks or ends or reaches or row.inbox)

    # -- results of tasks ---------------------------------------------------------------

    def complete(self, worker: str, done: Completion, now: int) -> Verdict:
        """The result of a task becomes a message; LOST if the worker no longer held it."""
        if self._repeated(done):
            return Verdict.COMMITTED
        if self._held(worker, done) is None:
            return Verdict.LOST
        self._answer(done, done.event, now)
        return Verdict.COMMITTED

    def settle(self, done: Completion, now: int) -> Sent:
        """The result of a task comes from outside, whoever holds it."""
        if self._repeated(done):
            return Sent.SENT
        if done.uid not in self._rows.by_uid:
            return Sent.NOT_FOUND
        task = self._rows.task(_key(done))
        if task is None or task.epoch != done.epoch:
            return Sent.FINISHED
        self._answer(done, done.event, now)
        return Sent.SENT

    def postpone(self, worker: str, later: Postponed, now: int) -> Verdict:
        """A task is given back for another attempt, or ends here if its cancel was asked."""
        if self._repeated(later):
            return Verdict.COMMITTED
        task = self._held(worker, later)
        if task is None:
            return Verdict.LOST
        if task.cancel_requested:
            self._answer(later, later.answer, now)
            return Verdict.COMMITTED
        self._rows.put_task(
            self._rows.by_uid[later.uid],
            replace(
                task,
                owner="",
                wake_at=later.wake_at,
                attempt=task.attempt if later.awaits else later.attempt,
                last_error=task.last_error if later.last_error is None else later.last_error,
                crashes=task.crashes + later.crashed,
                details=task.details if later.details is None else later.details,
                deferrals=later.deferrals,
                awaits=later.awaits,
            ),
        )
        return Verdict.COMMITTED

    def beat(self, worker: str, beat: Beat) -> None:
        """Keep the details of a task that the worker holds."""
        task = self._held(worker, beat)
        if task is not None and beat.details is not None:
            self._rows.put_task(self._rows.by_uid[beat.uid], replace(task, details=beat.details))

    def _answer(self, one: Completion | Postponed, event: bytes, now: int) -> None:
        """A task is over: the event goes to the run that scheduled it."""
        row = self._rows.by_uid[one.uid]
        self._rows.drop_task(row, _key(one))
        self._rows.deliver(row, one.message_id, event, now, run=one.run)

    def _repeated(self, one: Completion | Postponed) -> bool:
        row = self._rows.by_uid.get(one.uid)
        return row is not None and one.message_id in row.receipts

    def _held(self, worker: str, one: Completion | Postponed | Beat) -> Task | None:
        """The task, if the worker holds it as it did when it began this attempt."""
        task = self._rows.task(_key(one))
        if task is None or not worker or (task.owner, task.epoch) != (worker, one.epoch):
            return None
        return task


def _key(one: Completion | Postponed | Beat) -> TaskKey:
    return (one.uid, one.run, one.command)
