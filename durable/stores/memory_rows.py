"""The rows of the memory store, and the few ways in which they change.

Rules
-----
* Every change of an instance goes through `Rows.update`, every change of a task through
  `Rows.put_task` and `Rows.drop_task`: these keep the indexes true.
* Rows hold frozen values of the model, replaced whole; what a read gave never changes.
* The one who calls holds the store's lock. Nothing here raises half-way.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, TypeVar

from durable.model import Instance, Status, Task, WorkerInfo
from durable.purging import wanted
from durable.store import PARKED, Message, NewInstance, NewTask, NextRun, Sent, TaskKey
from durable.stores.memory_agenda import Agenda, Place
from durable.stores.refusals import able, place_name

__all__ = ["Row", "Rows", "key_of", "needs"]

NOBODY = ("", PARKED)

H = TypeVar("H")
K = TypeVar("K")


@dataclass(slots=True)
class Row:
    """An instance and all that it owns. ``histories`` is by run, ``inbox`` by message id
    (in order of arrival); ``bound`` are the ids of those that are only for the present run;
    ``receipts`` are the ids of all messages that ever came."""

    instance: Instance
    token: bytes
    histories: dict[int, list[bytes]]
    inbox: dict[int, Message] = field(default_factory=dict)
    bound: set[int] = field(default_factory=set)
    receipts: set[str] = field(default_factory=set)
    tasks: dict[TaskKey, Task] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    def take(self, messages: Iterable[int]) -> None:
        """Remove messages from the inbox."""
        for number in list(messages):
            self.inbox.pop(number, None)
            self.bound.discard(number)


class Rows:
    """All rows, and what is needed to find them.

    listed: (created_at, uid) of every instance, sorted, for listings.
    held_instances, held_tasks: what each worker owns (dicts as sets that keep an order).
    blocked: instances that wait for other code. started: children by the uid of the parent.
    """

    def __init__(self) -> None:
        self.by_uid: dict[bytes, Row] = {}
        self.by_id: dict[str, Row] = {}
        self.workers: dict[str, WorkerInfo] = {}
        self.instances: Agenda[bytes] = Agenda()
        self.tasks: Agenda[TaskKey] = Agenda()
        self.listed: list[tuple[int, bytes]] = []
        self.held_instances: defaultdict[str, dict[bytes, None]] = defaultdict(dict)
        self.held_tasks: defaultdict[str, dict[TaskKey, None]] = defaultdict(dict)
        self.blocked: dict[bytes, None] = {}
        self.started: defaultdict[bytes, dict[bytes, None]] = defaultdict(dict)
        self._message_ids = count(1)

    # -- instances ----------------------------------------------------------------------

    def add(self, new: NewInstance, now: int) -> Row:
        """A first run."""
        row = Row(_first(new, now), new.token, {1: list(new.history)})
        self.by_uid[new.uid] = self.by_id[new.id] = row
        self._list(row.instance)
        self.update(row)
        self._deliver_first(row, new, now)
        return row

    def restart(self, row: Row, new: NewInstance, now: int) -> None:
        """The next run of a finished instance: all new but its uid, receipts and histories."""
        old = row.instance
        run = old.run + 1
        self._unlist(old)
        row.token = new.token
        row.unread = ()
        row.histories[run] = list(new.history)
        row.instance = replace(_first(new, now), uid=old.uid, run=run, epoch=old.epoch + 1)
        self._list(row.instance)
        self.update(row)
        self._deliver_first(row, new, now)

    def next_run(self, row: Row, new: NextRun, now: int, **changes: Any) -> None:
        """The run after the present one: with a history of its own, without tasks, and of
        the inbox with what is for any run."""
        run = row.instance.run + 1
        row.histories[run] = list(new.history)
        row.take(row.bound)
        self._drop_tasks(row)
        self.update(
            row,
            **changes,
            run=run,
            version=new.version,
            owner="",
            wake_at=new.start_at,
            history_length=len(new.history),
            crashes=0,
            blocked_by="",
            reason="",
            args=new.args,
            kwargs=new.kwargs,
            result=None,
            failure=None,
            finished_at=None,
            header=new.header,
        )
        for message_id, event in new.messages:
            self.deliver(row, message_id, event, now, run=run)

    def target(self, row: Row | None, message_id: str, run: int = 0) -> Row | Sent:
        """Where a message goes, or the answer if it is not to be taken (now)."""
        if row is None:
            return Sent.NOT_FOUND
        if message_id in row.receipts:
            return Sent.SENT
        over = row.instance.status.finished or run not in (0, row.instance.run)
        return Sent.FINISHED if over else row

    def children(self, uid: bytes, run: int) -> list[Row]:
        """What this run of an instance has started and has not ended."""
        rows = [self.by_uid[child] for child in self.started.get(uid, ())]
        return [row for row in rows if _open_child(row.instance, run)]

    def remove(self, row: Row) -> None:
        """A finished instance goes, with all that it owned."""
        del self.by_uid[row.instance.uid], self.by_id[row.instance.id]
        self._unlist(row.instance)

    def wanted(self, instance: Instance) -> bool:
        """Whether its parent could still ask for it."""
        started_by = instance.parent
        parent = None if started_by is None else self.by_uid.get(started_by.uid)
        if started_by is None or parent is None:
            return False
        return wanted(started_by.run, parent.instance)

    def update(self, row: Row, **changes: Any) -> Instance:
        """Change fields of an instance; returns the new one."""
        old = row.instance
        new = row.instance = replace(old, **changes)
        if old.owner not in (new.owner, *NOBODY):
            _drop(self.held_instances, old.owner, new.uid)
        if new.owner not in NOBODY:
            self.held_instances[new.owner][new.uid] = None
        if new.status is Status.BLOCKED and new.blocked_by:
            self.blocked[new.uid] = None
        else:
            self.blocked.pop(new.uid, None)
        place = None
        if new.wake_at is not None:
            place = Place(new.owner, new.queue, _name(new), new.wake_at)
        self.instances.put(new.uid, place)
        return new

    def finish(self, row: Row, status: Status, now: int, **changes: Any) -> None:
        """End an instance: nobody owns it, nobody looks at it, no tasks, no inbox."""
        self._drop_tasks(row)
        row.take(row.inbox)
        self.update(
            row,
            **changes,
            status=status,
            owner="",
            wake_at=None,
            blocked_by="",
            finished_at=now,
        )

    def deliver(
        self,
        row: Row,
        message_id: str,
        event: bytes,
        now: int,
        *,
        urgent: bool = False,
        run: int = 0,
    ) -> None:
        """Put a message into an inbox, once, and wake whoever may be woken by it.

        run: if not 0, the only run that it is for; when that is over, it is dropped.
        """
        instance = row.instance
        over = instance.status.finished or run not in (0, instance.run)
        if over or message_id in row.receipts:
            return
        row.receipts.add(message_id)
        number = next(self._message_ids)
        row.inbox[number] = Message(number, message_id, now, event)
        if run:
            row.bound.add(number)
        if not instance.blocked_by and (urgent or not _delayed(instance, now)):
            self.wake(row, now)

    def wake(self, row: Row, now: int) -> None:
        """Somebody must look at it now, if not already before."""
        if row.instance.wake_at is None or row.instance.wake_at > now:
            self.update(row, wake_at=now)

    def _deliver_first(self, row: Row, new: NewInstance, now: int) -> None:
        for message_id, event in new.messages:
            self.deliver(row, message_id, event, now)

    def _list(self, instance: Instance) -> None:
        insort(self.listed, (instance.created_at, instance.uid))
        if instance.parent is not None:
            self.started[instance.parent.uid][instance.uid] = None

    def _unlist(self, instance: Instance) -> None:
        del self.listed[bisect_left(self.listed, (instance.created_at, instance.uid))]
        if instance.parent is not None:
            _drop(self.started, instance.parent.uid, instance.uid)

    # -- tasks --------------------------------------------------------------------------

    def add_task(self, row: Row, new: NewTask, now: int) -> None:
        """Schedule an activity of the current run."""
        instance = row.instance
        self.put_task(
            row,
            Task(
                uid=instance.uid,
                run=instance.run,
                command=new.command,
                instance_id=instance.id,
                name=new.name,
                queue=new.queue,
                args=new.args,
                kwargs=new.kwargs,
                options=new.options,
                owner=new.owner,
                epoch=1 if new.owner else 0,
                wake_at=new.wake_at,
                attempt=1,
                crashes=0,
                cancel_requested=False,
                deadline=new.deadline,
                last_error=None,
                scheduled_at=now,
                context=new.context,
            ),
        )

    def put_task(self, row: Row, task: Task) -> None:
        """Add a task or replace it by this one."""
        key = key_of(task)
        old = row.tasks.get(key)
        if old is not None and old.owner and old.owner != task.owner:
            _drop(self.held_tasks, old.owner, key)
        row.tasks[key] = task
        if task.owner:
            self.held_tasks[task.owner][key] = None
        free = None if task.owner else Place("", task.queue, task.name, task.wake_at)
        self.tasks.put(key, free)

    def drop_task(self, row: Row, key: TaskKey) -> None:
        """A task is done, or nobody wants it any more."""
        task = row.tasks.pop(key)
        if task.owner:
            _drop(self.held_tasks, task.owner, key)
        self.tasks.put(key, None)

    def _drop_tasks(self, row: Row) -> None:
        for key in list(row.tasks):
            self.drop_task(row, key)

    def task(self, key: TaskKey) -> Task | None:
        """The task with this key."""
        row = self.by_uid.get(key[0])
        return None if row is None else row.tasks.get(key)

    # -- workers ------------------------------------------------------------------------

    def live(self, now: int) -> list[WorkerInfo]:
        """The workers whose lease has not expired."""
        return [info for info in self.workers.values() if info.expires_at > now]

    def tried(self, instance: Instance, workers: Iterable[WorkerInfo]) -> bool:
        """Whether one of these workers may try an instance that code has refused."""
        return able(workers, instance.queue, _name(instance))

    def to_cancel(self, worker: str) -> list[TaskKey]:
        """The tasks that a worker holds and was asked to stop."""
        held = self.held_tasks.get(worker, ())
        return [key for key in held if self.by_uid[key[0]].tasks[key].cancel_requested]

    def release(self, worker: str, now: int, crashes: int) -> None:
        """Give back all that a worker owns, due now."""
        for uid in list(self.held_instances.get(worker, ())):
            row = self.by_uid[uid]
            crashed = row.instance.crashes + crashes
            self.update(row, owner="", wake_at=now, crashes=crashed)
        for key in list(self.held_tasks.get(worker, ())):
            row = self.by_uid[key[0]]
            task = row.tasks[key]
            self.put_task(row, replace(task, owner="", wake_at=now, crashes=task.crashes + crashes))


def needs(instance: Instance) -> str:
    """What a worker must know to run it: its workflow, or the version that it began with."""
    if instance.version is None:
        return instance.workflow
    return f"{instance.workflow}@{instance.version}"


def _name(instance: Instance) -> str:
    return place_name(needs(instance), instance.blocked_by)


def key_of(task: Task) -> TaskKey:
    """The key of a task."""
    return (task.uid, task.run, task.command)


def _delayed(instance: Instance, now: int) -> bool:
    """Whether its start is later. A paused one that has not begun will be pending again."""
    begins = instance.status is Status.PENDING
    begins = begins or (instance.status is Status.PAUSED and not instance.history_length)
    return begins and instance.wake_at is not None and instance.wake_at > now


def _open_child(instance: Instance, run: int) -> bool:
    """Whether this run of its parent has started it, and it has not ended."""
    parent = instance.parent
    return parent is not None and parent.run == run and not instance.status.finished


def _drop(held: defaultdict[H, dict[K, None]], owner: H, key: K) -> None:
    """Forget that somebody has something, and who it is with the last thing."""
    keys = held[owner]
    keys.pop(key, None)
    if not keys:
        del held[owner]


def _first(new: NewInstance, now: int) -> Instance:
    return Instance(
        uid=new.uid,
        id=new.id,
        workflow=new.workflow,
        version=new.version,
        queue=new.queue,
        run=1,
        status=Status.PENDING,
        owner="",
        epoch=0,
        wake_at=new.start_at,
        history_length=len(new.history),
        crashes=0,
        blocked_by="",
        reason="",
        args=new.args,
        kwargs=new.kwargs,
        vars=None,
        result=None,
        failure=None,
        memo=new.memo,
        tags=new.tags,
        created_at=now,
        started_at=None,
        finished_at=None,
        parent=new.parent,
        header=new.header,
    )
