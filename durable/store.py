"""The contract of a store: its verbs, and its promises in words.

Everything above this interface knows no SQL and no Redis; everything below it knows no
generators.  Each verb is one transaction (or one atomic script): all of it is stored, or
nothing.  The conformance suite (`durable.testing.store_contract`) holds every store to this.

Promises
--------
1.  *Acknowledged means stored.*  A verb that returned has reached the disk as far as the
    store's durability tier says; one that raised `Unavailable` or `Poison` changed nothing;
    one that raised `OutcomeUnknown` may have done either.
2.  *One owner.*  An unfinished instance or a task has no owner (``""``) or one worker
    incarnation.  Each claim adds 1 to its epoch.  What an earlier epoch writes is refused.
3.  *Fenced commits.*  A step is committed only if its instance still has the worker, the
    epoch, the run and the history length that the step was computed from, and each task that
    it finishes still has its worker and epoch.  Steps that lost are left out; the others
    commit, all together.
4.  *A message is taken once.*  (uid, message id) leaves a receipt that stays until the
    instance is purged.  `send` and `complete` look at the receipt first: a repeated call is
    answered like the first and stores nothing.  A step that takes what is gone is lost.
5.  *No lost wake-up.*  Whatever puts a message in an inbox sets ``wake_at`` of its instance
    in the same transaction; a commit that leaves one there leaves ``wake_at`` due.
6.  *The last step has seen everything.*  A step that ends its instance while a message that
    it has not taken is in the inbox is answered `Verdict.UNSEEN` and not committed.
7.  *Order.*  Messages of one sender to one instance are read in the order in which they were
    sent.  A claim gives what has been due longest first.
8.  *Ends are final.*  After the end no event is added and the result does not change, until
    the instance is restarted (next run) or deleted.
9.  *One clock.*  `now` is the only clock; moments are microseconds since 1970.

Who is woken: an instance with status blocked and a ``blocked_by`` is not woken by messages
(its code must change first); one whose start is later only by a cancel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from durable.errors import StoreError
from durable.model import Instance, Stats, Status, Task, WorkerInfo

__all__ = [
    "Cancel",
    "ClaimRequest",
    "Claimed",
    "ClaimedInstance",
    "Completion",
    "Created",
    "End",
    "Filter",
    "Message",
    "NewInstance",
    "NewTask",
    "Outgoing",
    "Owned",
    "Page",
    "Poison",
    "Postponed",
    "Sent",
    "Step",
    "Store",
    "TaskKey",
    "Unavailable",
    "Verdict",
]

TaskKey = tuple[bytes, int, int]  # (uid, run, command)

DEFAULT_MAX_INBOX = 100_000

# In ``blocked_by`` if no worker knew the workflow: no fingerprint, so whoever knows it wakes it.
UNKNOWN = "unknown"


class Unavailable(StoreError):
    """The store cannot be reached or cannot write now; nothing was changed. Try later."""


class Poison(StoreError):
    """The store refuses this data and always will; nothing was changed."""


class Verdict(Enum):
    """What became of a step."""

    COMMITTED = "committed"
    LOST = "lost"  # somebody else owns it, or a task's result came too late
    BUSY = "busy"  # its row is locked elsewhere: try again with the next batch
    UNSEEN = "unseen"  # it would end the instance, and a message has come


class Sent(Enum):
    """What became of a message."""

    SENT = "sent"  # stored now, or by an earlier call with the same message id
    NOT_FOUND = "not found"
    FINISHED = "finished"
    FULL = "full"  # too many messages wait in that inbox


@dataclass(frozen=True, slots=True)
class NewInstance:
    """An instance to create. ``token`` names the request: repeating it finds its own row.

    start_at: the first moment at which a worker may look at it. It is *pending* until its
    first step.
    """

    uid: bytes
    id: str
    token: bytes
    workflow: str
    version: int | None
    queue: str
    args: bytes
    kwargs: bytes | None
    start_at: int
    memo: bytes | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Created:
    """uid and run of the instance; ``new`` is False if an existing one is used."""

    uid: bytes
    run: int
    new: bool


@dataclass(frozen=True, slots=True)
class Message:
    """What waits in an inbox: an encoded event that has not happened yet."""

    id: int
    message_id: str
    arrived_at: int
    event: bytes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to the instance with this id; ``urgent`` wakes one before its start, too.
    ``answers``, in a step: the encoded event by which the sender learns the outcome."""

    id: str
    message_id: str
    event: bytes
    urgent: bool = False
    answers: dict[Sent, bytes] | None = None


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a registered worker can take: at most ``instances`` and ``tasks`` of what it knows.

    workflows: names and ``name@version``; activities: names.
    """

    worker: str
    queues: tuple[str, ...]
    workflows: tuple[str, ...]
    activities: tuple[str, ...]
    instances: int
    tasks: int


@dataclass(frozen=True, slots=True)
class ClaimedInstance:
    """An instance that the worker owns, with every message in its inbox, in order."""

    instance: Instance
    messages: list[Message]


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim gave. ``next_wake_at``: when something more falls due, or None.
    ``more``: something due was left behind because the limits were reached.
    """

    instances: list[ClaimedInstance]
    tasks: list[Task]
    next_wake_at: int | None = None
    more: bool = False


@dataclass(frozen=True, slots=True)
class Owned:
    """All that a worker owns in the store, with the epochs."""

    instances: dict[bytes, int]
    tasks: dict[TaskKey, int]


@dataclass(frozen=True, slots=True)
class NewTask:
    """An activity to schedule. ``owner`` is the committing worker (it starts the task at
    once; epoch 1) or empty (anybody claims it; epoch 0)."""

    command: int
    name: str
    queue: str
    args: bytes
    kwargs: bytes | None
    options: bytes
    owner: str
    wake_at: int
    deadline: int | None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask an activity to stop. If nobody runs it, its task is deleted and ``answer`` (an
    encoded event) is put in the instance's inbox; otherwise its row is marked."""

    command: int
    message_id: str
    answer: bytes


@dataclass(frozen=True, slots=True)
class End:
    """A change of status that a step makes: an end, a block, or a first start.
    For a block, ``blocked_by`` is the fingerprint of the code that refused, or empty if
    messages may still wake the instance.
    """

    status: Status
    reason: str = ""
    blocked_by: str = ""
    result: bytes | None = None
    failure: bytes | None = None
    unread: tuple[str, ...] = ()


@dataclass(slots=True)
class Step:
    """One decision about one instance, to be stored whole or not at all.

    history_length: the length that it was computed from; ``events`` are the next ones.
    messages: ids of the inbox messages that are among the events (deleted by this step).
    done: (command, epoch) of own tasks whose results are among the events (deleted).
    release: give the instance back; ``wake_at`` is when somebody must look at it again.
    version, vars: set if not None. end: a change of status; an end deletes the tasks.
    A step without ``end`` makes a pending or blocked instance running.
    """

    uid: bytes
    run: int
    epoch: int
    history_length: int
    events: list[bytes]
    messages: list[int] = field(default_factory=list)
    done: list[tuple[int, int]] = field(default_factory=list)
    tasks: list[NewTask] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    sends: list[Outgoing] = field(default_factory=list)
    wake_at: int | None = None
    release: bool = False
    version: int | None = None
    vars: bytes | None = None
    end: End | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """The result of a task for an instance that this worker does not own."""

    uid: bytes
    run: int
    command: int
    epoch: int
    message_id: str
    event: bytes


@dataclass(frozen=True, slots=True)
class Postponed:
    """A task to be tried again at ``wake_at``. If its cancel was requested meanwhile, the
    task is deleted and ``answer`` put in the inbox instead. ``crashed``: the process that
    ran it died, so its crashes + 1."""

    uid: bytes
    run: int
    command: int
    epoch: int
    wake_at: int
    attempt: int
    last_error: bytes | None
    message_id: str
    answer: bytes
    crashed: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """Which instances to list. ``prefix`` is of the id; since/until are of creation."""

    workflow: str | None = None
    statuses: tuple[Status, ...] = ()
    queue: str | None = None
    tag: str | None = None
    since: int | None = None
    until: int | None = None
    prefix: str | None = None
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Instances, newest first; ``cursor`` gives the next page and is None at the end."""

    rows: list[Instance]
    cursor: str | None


class Store(ABC):
    """Where workflows live. Thread-safe and fork-safe; made by `durable.stores.open_store`.

    Every verb may raise `Unavailable`, `Poison`, `OutcomeUnknown` or `StoreError`.
    """

    url: str
    """Where it is, without the password."""

    # -- the schema ---------------------------------------------------------------------

    @abstractmethod
    def open(self) -> None:
        """Make the store ready to use; a new one is initialised.

        Raises `StoreError` if it is of a newer schema than this code knows.
        """

    @abstractmethod
    def schema(self) -> tuple[int, int]:
        """(version of the stored schema, 0 if there is none; version that this code wants)."""

    @abstractmethod
    def migrate(self, *, dry_run: bool = False) -> list[str]:
        """Bring the schema up to date; returns the statements (to be) run."""

    @abstractmethod
    def close(self) -> None:
        """Release connections; the store may be used again afterwards."""

    @abstractmethod
    def size(self) -> int:
        """Bytes that it takes on disk (0 if it has none)."""

    # -- time and waking ----------------------------------------------------------------

    @abstractmethod
    def now(self) -> int:
        """The store's clock: microseconds since 1970."""

    @abstractmethod
    def mark(self) -> int:
        """A mark for `wait`: take it *before* looking at the store."""

    @abstractmethod
    def wait(self, mark: int, timeout: float | None) -> None:
        """Return as soon as the store may have changed since the mark (by any process), or
        `wake` was called, or ``timeout`` seconds have passed."""

    @abstractmethod
    def wake(self) -> None:
        """Make every `wait` of this process return."""

    # -- clients ------------------------------------------------------------------------

    @abstractmethod
    def create(self, new: Sequence[NewInstance], if_exists: str) -> list[Created]:
        """Create instances, all or nothing.

        if_exists: ``"raise"``, ``"use"`` or ``"restart"`` (a finished one: next run).
        An id that exists because of the same token counts as created.
        Raises `InstanceAlreadyExists` naming the id; then nothing was created.
        """

    @abstractmethod
    def send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        """Put messages into inboxes, each answered for itself."""

    @abstractmethod
    def terminate(self, id: str, message_id: str, event: bytes, reason: str) -> Sent:
        """End an instance now: epoch + 1, the event appended, tasks and inbox deleted."""

    @abstractmethod
    def delete(self, id: str) -> Sent | None:
        """Delete a finished instance and all that it owned.

        Returns SENT, NOT_FOUND, or None if it is not finished.
        """

    @abstractmethod
    def purge(self, finished_before: int, statuses: Sequence[Status], limit: int) -> int:
        """Delete at most ``limit`` finished instances, oldest first; returns how many."""

    # -- workers ------------------------------------------------------------------------

    @abstractmethod
    def register(self, worker: WorkerInfo) -> None:
        """Add a worker; instances blocked by another fingerprint than its ``build`` that
        need a workflow it knows are woken."""

    @abstractmethod
    def heartbeat(self, worker: str, lease: int) -> list[TaskKey] | None:
        """Renew the lease (microseconds) unless it has expired.

        Returns the keys of its tasks whose cancel was requested, or None if it has expired
        or is not registered.
        """

    @abstractmethod
    def unregister(self, worker: str) -> None:
        """Remove a worker and release all that it owns, as not crashed."""

    @abstractmethod
    def take_over(self, workers: Sequence[str] | None) -> int:
        """Remove dead workers and release what they owned, crashes + 1, due now.

        workers: known dead; None: all whose lease has expired. Returns how many.
        """

    @abstractmethod
    def block_unknown(self, worker: WorkerInfo, after: int) -> int:
        """Deal with due instances in its queues that no live worker can run: the row says
        so at once; those due for longer than ``after`` microseconds become blocked
        (``blocked_by`` is `UNKNOWN`).
        Returns how many rows it changed."""

    @abstractmethod
    def claim(self, request: ClaimRequest) -> Claimed:
        """Take what is due: instances and tasks without an owner (epoch + 1), and the
        worker's own instances that are due again (same epoch)."""

    @abstractmethod
    def owned(self, worker: str) -> Owned:
        """What the worker owns."""

    @abstractmethod
    def adopt(self, worker: str, uids: Sequence[bytes], tasks: Sequence[TaskKey]) -> Claimed:
        """Claim again what the worker owns already, under new epochs; what it does not own
        (any more) is left out."""

    @abstractmethod
    def release(self, worker: str, uids: Sequence[bytes]) -> None:
        """Give back instances that the worker owns and has not touched, due now, with their
        crashes as they are; what it does not own is left alone."""

    @abstractmethod
    def commit(self, worker: str, steps: Sequence[Step]) -> list[Verdict]:
        """Store steps in one transaction; one verdict each. A uid appears at most once."""

    @abstractmethod
    def complete(
        self, worker: str, completions: Sequence[Completion], postponed: Sequence[Postponed]
    ) -> list[bool]:
        """Put results of the worker's tasks into inboxes and postpone others; tells for
        each (completions first) whether the worker still held the task."""

    # -- reads --------------------------------------------------------------------------

    @abstractmethod
    def instance(self, id: str) -> Instance | None:
        """The instance with this id."""

    @abstractmethod
    def instances(self, where: Filter) -> Page:
        """Instances that match, newest first."""

    @abstractmethod
    def history(self, keys: Sequence[tuple[bytes, int]]) -> list[list[tuple[int, bytes]]]:
        """For each (uid, run): its (seq, event), in order."""

    @abstractmethod
    def inbox(self, uid: bytes) -> list[Message]:
        """The messages that wait."""

    @abstractmethod
    def unread(self, uid: bytes) -> tuple[str, ...]:
        """Names of the signals that nobody had read when the instance ended."""

    @abstractmethod
    def tasks(self, uid: bytes) -> list[Task]:
        """The scheduled activities of an instance."""

    @abstractmethod
    def workers(self) -> list[WorkerInfo]:
        """The registered workers, expired ones included."""

    @abstractmethod
    def stats(self) -> Stats:
        """Counts over everything."""
