"""What the parts of the suite share: the hooks, and builders that make tests read well."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from durable.model import (
    DEFAULT_QUEUE,
    Instance,
    Parent,
    ParentClose,
    Status,
    Task,
    WorkerInfo,
)
from durable.store import (
    Beat,
    Claimed,
    ClaimedInstance,
    ClaimRequest,
    Close,
    Completion,
    End,
    NewInstance,
    NewTask,
    NextRun,
    Outgoing,
    Postponed,
    Sent,
    Start,
    Step,
    Store,
    TaskKey,
    Verdict,
)

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

PATIENCE = 30.0
"""Seconds that a test waits for a signal that must come."""

COMMITTED, LOST, UNSEEN = Verdict.COMMITTED, Verdict.LOST, Verdict.UNSEEN

COMPLETED = End(Status.COMPLETED, result=b"result")
REPLY = End(Status.COMPLETED, result=b"result", reply=b"child's end")
REFUSED = End(Status.BLOCKED, reason="other code", blocked_by="build-1")
DEADLOCK = End(Status.BLOCKED, reason="deadlock")


def refusal(build: str) -> End:
    """How a worker of this build blocks what it refuses."""
    return End(Status.BLOCKED, reason=f"not for {build}", blocked_by=build)


CLOSE = Close("close-1", b"parent ended", b"closed", "the parent has ended")
"""What a run leaves to its children when it ends."""

CHILDREN = "children"
"""The queue of children, so that their parent's worker does not claim them."""


class Base(ABC):
    """The hooks that a store's test class gives."""

    def __init_subclass__(cls) -> None:
        """Say what a test class lacks: pytest would pass over it without a word."""
        hooks = ("make_store", "another", "make_small_store")
        missing = [name for name in hooks if getattr(getattr(cls, name), "__isabstractmethod__", 0)]
        if missing and cls.__name__.startswith("Test"):
            raise TypeError(f"{cls.__name__} lacks {', '.join(missing)}: see StoreContract")

    @abstractmethod
    def make_store(self, tmp_path: Path) -> Store:
        """A new, empty store; the suite opens it."""

    @abstractmethod
    def another(self, store: Store, tmp_path: Path) -> Store:
        """Another store object on the same data, as another process has it."""

    @abstractmethod
    def make_small_store(self, tmp_path: Path, max_inbox: int) -> Store:
        """A new, empty store that refuses senders when ``max_inbox`` messages wait."""

    one_transaction = True
    """Whether steps of any instances are one transaction, and so is a request to create any; on
    a store with partitions only those of one are."""

    def together(self, *ids: str) -> list[str]:
        """Ids made of these that are created in one transaction."""
        return list(ids)

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = self.make_store(tmp_path)
        store.open()
        yield store
        store.close()

    @pytest.fixture
    def other(self, store: Store, tmp_path: Path) -> Iterator[Store]:
        other = self.another(store, tmp_path)
        other.open()
        yield other
        other.close()

    @pytest.fixture
    def small(self, tmp_path: Path) -> Iterator[Store]:
        """A store whose inboxes take two messages."""
        small = self.make_small_store(tmp_path, 2)
        small.open()
        yield small
        small.close()


# -- instances and messages -------------------------------------------------------------


def an_instance(store: Store, id: str = "i-1", **changes: Any) -> NewInstance:
    """A request for an instance of workflow ``flow``, to start now."""
    fields: dict[str, Any] = {
        "uid": os.urandom(16),
        "id": id,
        "token": os.urandom(16),
        "workflow": "flow",
        "version": None,
        "queue": DEFAULT_QUEUE,
        "args": b"args",
        "kwargs": None,
        "start_at": store.now(),
    }
    return NewInstance(**(fields | changes))


def start(store: Store, *ids: str, **changes: Any) -> bytes:
    """Create instances (``i-1`` if no id is given); returns the uid of the first."""
    new = [an_instance(store, id, **changes) for id in ids or ("i-1",)]
    made = store.create(new, "use" if len(new) > 1 else "raise")  # the ids may be anywhere
    assert all(one.new for one in made)
    return made[0].uid


def look(store: Store, id: str = "i-1") -> Instance:
    """The instance with this id, which exists."""
    instance = store.instance(id)
    assert instance is not None
    return instance


def events(store: Store, uid: bytes, run: int = 1) -> list[bytes]:
    """The history of a run; its numbers are checked."""
    [history] = store.history([(uid, run)])
    assert [seq for seq, _ in history] == list(range(len(history)))
    return [event for _, event in history]


def inbox(store: Store, uid: bytes) -> list[tuple[str, bytes]]:
    """(message id, event) of what waits."""
    return [(message.message_id, message.event) for message in store.inbox(uid)]


def a_message(id: str = "i-1", message_id: str = "m-1", **changes: Any) -> Outgoing:
    """A message whose event tells its id."""
    fields: dict[str, Any] = {"id": id, "message_id": message_id, "event": message_id.encode()}
    return Outgoing(**(fields | changes))


def send(store: Store, message_id: str = "m-1", id: str = "i-1", **changes: Any) -> Sent:
    """Send one message."""
    [outcome] = store.send([a_message(id, message_id, **changes)])
    return outcome


def terminate(store: Store, id: str = "i-1", message_id: str = "t-1") -> Sent:
    """Terminate an instance."""
    return store.terminate(id, message_id, b"terminated", "enough")


def pause(store: Store, id: str = "i-1", message_id: str = "p-1") -> Sent:
    """Pause an instance."""
    return store.pause(id, message_id, b"paused")


def resume(store: Store, id: str = "i-1", message_id: str = "p-2") -> Sent:
    """Undo a pause."""
    return store.resume(id, message_id, b"resumed")


def a_next(store: Store, **changes: Any) -> NextRun:
    """A run that follows, to start now."""
    fields: dict[str, Any] = {
        "args": b"next",
        "kwargs": None,
        "start_at": store.now(),
        "version": None,
    }
    return NextRun(**(fields | changes))


def rerun(store: Store, message_id: str = "r-1", run: int = 1, **changes: Any) -> Sent:
    """Begin another run of ``i-1``."""
    return store.rerun("i-1", message_id, run, a_next(store, **changes))


# -- workers ----------------------------------------------------------------------------


def an_info(store: Store, id: str = "w-1", lease: int = HOUR, **changes: Any) -> WorkerInfo:
    """A worker that knows ``flow`` and ``act``; its lease ends ``lease`` µs from now."""
    now = store.now()
    fields: dict[str, Any] = {
        "id": id,
        "host": "host",
        "machine": "machine",
        "pid": 1,
        "build": "build-1",
        "queues": (DEFAULT_QUEUE,),
        "slots": 8,
        "workflows": ("flow", "flow@1"),
        "activities": ("act",),
        "started_at": now,
        "expires_at": now + lease,
    }
    return WorkerInfo(**(fields | changes))


class FakeWorker:
    """A worker reduced to its conversation with the store; registered when it is made."""

    def __init__(self, store: Store, id: str = "w-1", lease: int = HOUR, **changes: Any) -> None:
        self.store = store
        self.info = an_info(store, id, lease, **changes)
        self.id = id
        store.register(self.info)

    def claim(self, instances: int = 1000, tasks: int = 1000) -> Claimed:
        """What is due and fits to its registration."""
        info = self.info
        request = ClaimRequest(
            self.id, info.queues, info.workflows, info.activities, instances, tasks
        )
        return self.store.claim(request)

    def take(self) -> ClaimedInstance:
        """Claim the only instance that is due."""
        [claimed] = self.claim(tasks=0).instances
        return claimed

    def take_task(self) -> Task:
        """Claim the only task that is due."""
        [task] = self.claim(instances=0).tasks
        return task

    def ids(self) -> list[str]:
        """Claim what is due; the ids of the instances."""
        return [claimed.instance.id for claimed in self.claim().instances]

    def commit(self, *steps: Step) -> list[Verdict]:
        return self.store.commit(self.id, steps)

    def advance(self, claimed: ClaimedInstance | Instance, **changes: Any) -> Instance:
        """Commit one step, which must succeed; the instance as it is then."""
        step = a_step(claimed, **changes)
        assert self.commit(step) == [COMMITTED]
        instance = claimed.instance if isinstance(claimed, ClaimedInstance) else claimed
        return look(self.store, instance.id)

    def finish(self, claimed: ClaimedInstance | Instance, end: End = COMPLETED) -> Instance:
        """End an instance with a last step that takes all its messages."""
        return self.advance(claimed, end=end)

    def complete(self, task: Task, **changes: Any) -> bool:
        """Report the result of a task."""
        [told] = self.store.complete(self.id, [a_completion(task, **changes)], [])
        return told is COMMITTED

    def postpone(self, task: Task, **changes: Any) -> bool:
        """Give a task back for another attempt."""
        [told] = self.store.complete(self.id, [], [a_postponed(task, **changes)])
        return told is COMMITTED

    def beat(self, task: Task, details: bytes | None = b"details") -> list[TaskKey]:
        """The heartbeat of a task."""
        beat = Beat(task.uid, task.run, task.command, task.epoch, details)
        return self.store.beat(self.id, [beat])


def a_step(claimed: ClaimedInstance | Instance, **changes: Any) -> Step:
    """A step with one event, that takes all messages of the claim and keeps the instance."""
    messages: list[int] = []
    if isinstance(claimed, ClaimedInstance):
        messages = [message.id for message in claimed.messages]
        claimed = claimed.instance
    fields: dict[str, Any] = {
        "uid": claimed.uid,
        "run": claimed.run,
        "epoch": claimed.epoch,
        "history_length": claimed.history_length,
        "events": [b"event-%d" % claimed.history_length],
        "messages": messages,
    }
    return Step(**(fields | changes))


# -- children ---------------------------------------------------------------------------


def a_child(
    store: Store,
    starter: ClaimedInstance | Instance,
    id: str = "child",
    close: ParentClose = ParentClose.CANCEL,
    **changes: Any,
) -> Start:
    """A child of this run, to start now."""
    instance = starter.instance if isinstance(starter, ClaimedInstance) else starter
    parent = Parent(instance.uid, instance.id, instance.run, 1, close)
    fields: dict[str, Any] = {"queue": CHILDREN, "parent": parent}
    return Start(an_instance(store, id, **(fields | changes)), f"start:{id}", b"taken")


def a_family(worker: FakeWorker, *ids: str, **changes: Any) -> Instance:
    """Take the only due instance, which starts children with these ids; it is kept."""
    claimed = worker.take()
    starts = [a_child(worker.store, claimed, id, **changes) for id in ids or ("child",)]
    return worker.advance(claimed, starts=starts)


def end_of(child: Instance, event: bytes = b"child's end") -> tuple[str, bytes]:
    """What a parent finds in its inbox when this run of a child has ended."""
    return f"child:{child.uid.hex()}:{child.run}", event


def nurse(store: Store, id: str = "nurse") -> FakeWorker:
    """A worker for children."""
    return FakeWorker(store, id, queues=(CHILDREN,))


# -- tasks ------------------------------------------------------------------------------


def a_task(store: Store, command: int = 1, **changes: Any) -> NewTask:
    """An activity ``act``, for anybody, to run now."""
    fields: dict[str, Any] = {
        "command": command,
        "name": "act",
        "queue": DEFAULT_QUEUE,
        "args": b"args",
        "kwargs": None,
        "options": b"options",
        "owner": "",
        "wake_at": store.now(),
        "deadline": None,
    }
    return NewTask(**(fields | changes))


def schedule(worker: FakeWorker, *tasks: NewTask, **changes: Any) -> Instance:
    """Take the only due instance and schedule these activities; it is released."""
    new = list(tasks) or [a_task(worker.store)]
    fields: dict[str, Any] = {"tasks": new, "release": True}
    return worker.advance(worker.take(), **(fields | changes))


def a_completion(task: Task, **changes: Any) -> Completion:
    """The result of a task."""
    fields: dict[str, Any] = {
        "uid": task.uid,
        "run": task.run,
        "command": task.command,
        "epoch": task.epoch,
        "message_id": f"result:{task.run}:{task.command}",
        "event": b"result",
    }
    return Completion(**(fields | changes))


def a_postponed(task: Task, **changes: Any) -> Postponed:
    """A second attempt, due now."""
    fields: dict[str, Any] = {
        "uid": task.uid,
        "run": task.run,
        "command": task.command,
        "epoch": task.epoch,
        "wake_at": task.wake_at,
        "attempt": task.attempt + 1,
        "last_error": b"error",
        "message_id": f"result:{task.run}:{task.command}",
        "answer": b"cancelled",
    }
    return Postponed(**(fields | changes))


def a_finished(store: Store, *ids: str, status: Status = Status.COMPLETED) -> None:
    """Instances that have ended."""
    start(store, *ids, queue="ended")
    worker = FakeWorker(store, "ender", queues=("ended",))
    for claimed in claim_all(worker):
        worker.finish(claimed, End(status))
    store.unregister("ender")


def claim_all(worker: FakeWorker) -> Sequence[ClaimedInstance]:
    """Every instance that is due."""
    return worker.claim(tasks=0).instances
