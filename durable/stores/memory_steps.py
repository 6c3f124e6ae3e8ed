"""What workers and senders write, in the memory store: messages, steps, results of tasks.

Rules
-----
* A commit decides on all its steps first, then applies those that hold, and delivers what
  they send last: a message meets its target as this transaction leaves it.
* A receipt is looked at before anything else, so a repeated call is answered like the first.
* The one who calls holds the store's lock. Nothing here raises half-way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from durable.model import Status, Task
from durable.store import Cancel, Completion, End, Outgoing, Postponed, Sent, Step, Verdict
from durable.stores.memory_rows import Row, Rows

__all__ = ["Steps"]


class Steps:
    """The writes, on these rows; an inbox takes ``max_inbox`` messages from senders."""

    def __init__(self, rows: Rows, max_inbox: int) -> None:
        self._rows = rows
        self._max_inbox = max_inbox

    def send(self, message: Outgoing, now: int) -> Sent:
        """Deliver a message, or say why not."""
        row = self._rows.target(message.id, message.message_id)
        if isinstance(row, Sent):
            return row
        if len(row.inbox) >= self._max_inbox:
            return Sent.FULL
        self._rows.deliver(row, message.message_id, message.event, now, urgent=message.urgent)
        return Sent.SENT

    # -- steps --------------------------------------------------------------------------

    def commit(self, worker: str, steps: Sequence[Step], now: int) -> tuple[list[Verdict], bool]:
        """A verdict for each step, and whether anybody else may be waiting for this."""
        verdicts = [self._judge(worker, step) for step in steps]
        committed: list[Step] = []
        for step, verdict in zip(steps, verdicts, strict=True):
            if verdict is Verdict.UNSEEN:
                self._rows.wake(self._rows.by_uid[step.uid], now)
            elif verdict is Verdict.COMMITTED:
                self._apply(worker, step, now)
                committed.append(step)
        for step in committed:
            self._post(step, now)
        notable = [step for step in committed if self._notable(step, now)]
        return verdicts, bool(notable) or Verdict.UNSEEN in verdicts

    def _judge(self, worker: str, step: Step) -> Verdict:
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
        if ends and row.inbox.keys() - set(step.messages):
            return Verdict.UNSEEN
        return Verdict.COMMITTED

    def _apply(self, worker: str, step: Step, now: int) -> None:
        """All of a step but what it sends."""
        row = self._rows.by_uid[step.uid]
        instance = row.instance
        row.histories[step.run] += step.events
        for number in step.messages:
            row.inbox.pop(number, None)
        for command, _ in step.done:
            self._rows.drop_task(row, (step.uid, step.run, command))
        end = step.end or End(Status.RUNNING)
        starts = end.status is not Status.BLOCKED and instance.started_at is None
        self._rows.update(
            row,
            history_length=instance.history_length + len(step.events),
            version=instance.version if step.version is None else step.version,
            vars=instance.vars if step.vars is None else step.vars,
            started_at=now if starts else instance.started_at,
            reason=end.reason,
            crashes=0,
        )
        if end.status.finished:
            row.unread = end.unread
            self._rows.finish(row, end.status, now, result=end.result, failure=end.failure)
            return
        for new in step.tasks:
            self._rows.add_task(row, new, now)
        for cancel in step.cancels:
            self._cancel(row, cancel, now)
        self._rows.update(
            row,
            status=end.status,
            blocked_by=end.blocked_by,
            owner="" if step.release else worker,
            wake_at=None if end.blocked_by else now if row.inbox else step.wake_at,
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
        self._rows.deliver(row, cancel.message_id, cancel.answer, now)

    def _post(self, step: Step, now: int) -> None:
        """Send what a step sends; the answers come back as messages, while it lives."""
        row = self._rows.by_uid[step.uid]
        for message in step.sends:
            answer = (message.answers or {}).get(self.send(message, now))
            if answer is not None and not row.instance.status.finished:
                self._rows.deliver(row, f"answer:{message.message_id}", answer, now)

    def _notable(self, step: Step, now: int) -> bool:
        row = self._rows.by_uid[step.uid]
        due = step.release and step.wake_at is not None and step.wake_at <= now
        free_tasks = any(not task.owner for task in step.tasks)
        return bool(due or free_tasks or step.end or step.sends or step.cancels or row.inbox)

    # -- results of tasks ---------------------------------------------------------------

    def complete(self, worker: str, done: Completion, now: int) -> bool:
        """The result of a task becomes a message; False if the worker no longer held it."""
        if self._repeated(done):
            return True
        if self._held(worker, done) is None:
            return False
        row = self._rows.by_uid[done.uid]
        self._rows.drop_task(row, (done.uid, done.run, done.command))
        self._rows.deliver(row, done.message_id, done.event, now)
        return True

    def postpone(self, worker: str, later: Postponed, now: int) -> bool:
        """A task is given back for another attempt, or ends here if its cancel was asked."""
        if self._repeated(later):
            return True
        task = self._held(worker, later)
        if task is None:
            return False
        row = self._rows.by_uid[later.uid]
        if task.cancel_requested:
            self._rows.drop_task(row, (later.uid, later.run, later.command))
            self._rows.deliver(row, later.message_id, later.answer, now)
            return True
        self._rows.put_task(
            row,
            replace(
                task,
                owner="",
                wake_at=later.wake_at,
                attempt=later.attempt,
                last_error=later.last_error,
                crashes=task.crashes + later.crashed,
            ),
        )
        return True

    def _repeated(self, one: Completion | Postponed) -> bool:
        row = self._rows.by_uid.get(one.uid)
        return row is not None and one.message_id in row.receipts

    def _held(self, worker: str, one: Completion | Postponed) -> Task | None:
        """The task, if the worker holds it as it did when it began this attempt."""
        task = self._rows.task((one.uid, one.run, one.command))
        if task is None or not worker or (task.owner, task.epoch) != (worker, one.epoch):
            return None
        return task
