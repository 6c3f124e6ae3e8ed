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
6.  *The last step has seen everything.*  A step that ends its instance, or begins a run that
    starts later, while a message that it has not taken is in the inbox is answered
    `Verdict.UNSEEN` and not committed.
7.  *Order.*  Messages of one sender to one instance are read in the order in which they were
    sent.  A claim gives what has been due longest first.
8.  *Ends are final.*  After the end no event is added and the result does not change, until
    the instance gets another run or is deleted.  No run's history is ever changed.
9.  *One clock.*  `now` is the only clock; moments are microseconds since 1970.

Who is woken: one whose start is later only by a cancel.  A paused one belongs to `PARKED`,
so whatever falls due waits for `resume`; without a history it is as pending as it was, so
its start may still be later.

Recorded elsewhere: a step of `PARKED` is committed like that of any owner, and may leave the
instance paused (``end``), finished, or in a next run, which is to be paused again.

Refused by code: an instance with status blocked and a ``blocked_by`` is not woken by messages
(its code must change first), and never claimed by a worker whose build is in it.  After the
block, and after `resume`, it is due if some live worker serves its queue, knows what it needs
and has another build; if there is none, it rests until one registers.  So each build tries it
once.  `UNKNOWN` is no build: whoever knows what it needs may try.

Parents: a child has in its row who started it.  Its end is put in the parent's inbox in the
same transaction, for that run of the parent; when that run is over it is dropped.

Partitions: a store on several servers may spread its instances by their ids.  Then a verb is
one transaction in each partition that it concerns, and what one instance does to another (a
signal, a start, an end, a close) is stored with what has caused it and arrives a little later,
once and in order.  When the verb returns it has arrived, unless a server was away.

Runs: what a run has asked for is for that run alone: results of tasks, ends of children,
`Start.taken`, `Outgoing.answers`, `Cancel.answer`; and so are `NextRun.messages`.  What
clients and other instances send is for any run, unless it names one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from durable.errors import UsageError
from durable.model import Instance, Stats, Status, Task, WorkerInfo
from durable.records import (
    DEFAULT_MAX_INBOX,
    PARKED,
    UNKNOWN,
    Beat,
    Cancel,
    Claimed,
    ClaimedInstance,
    ClaimRequest,
    Close,
    Completion,
    Created,
    End,
    Filter,
    Message,
    NewInstance,
    NewTask,
    NextRun,
    Outgoing,
    Owned,
    Page,
    Poison,
    Postponed,
    Sent,
    Start,
    Step,
    TaskKey,
    Unavailable,
    Verdict,
)

__all__ = [
    "Beat",
    "Cancel",
    "ClaimRequest",
    "Claimed",
    "ClaimedInstance",
    "Close",
    "Completion",
    "Created",
    "DEFAULT_MAX_INBOX",
    "End",
    "Filter",
    "Intake",
    "Message",
    "NewInstance",
    "NewTask",
    "NextRun",
    "Outgoing",
    "Owned",
    "PARKED",
    "Page",
    "Poison",
    "Postponed",
    "Sent",
    "Start",
    "Step",
    "Store",
    "TaskKey",
    "UNKNOWN",
    "Unavailable",
    "Verdict",
]


class Intake(Protocol):
    """What takes the requests of clients: a `Store`, or a transaction of an application."""

    def now(self) -> int:
        """As `Store.now`."""

    def create(self, new: Sequence[NewInstance], if_exists: str) -> list[Created]:
        """As `Store.create`."""

    def send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        """As `Store.send`."""


class Store(ABC):
    """Where workflows live. Thread-safe and fork-safe; made by `durable.stores.open_store`.

    Every verb may raise `Unavailable`, `Poison`, `OutcomeUnknown` or `StoreError`.
    """

    url: str
    """Where it is, without the password."""

    speaks_sql: bool = False
    """Whether the statements that `migrate` returns are SQL."""

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
    def secret(self) -> bytes:
        """32 random bytes, made when the store was, the same for every process that uses it:
        the key of tokens."""

    @abstractmethod
    def size(self) -> int:
        """Bytes that it takes on disk (0 if it has none)."""

    def durability(self) -> str:
        """What becomes of what was acknowledged: ``durable`` (it survives a power failure),
        ``prefix`` (a crash may take what came last; what is left is consistent), ``volatile``
        (all of it may go) or ``unknown`` (the store cannot tell)."""
        return "unknown"

    def server(self) -> str:
        """The name and version of the database (nothing if there is none)."""
        return ""

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
        An id that exists because of the same token counts as created.  Raises `UsageError` if
        the ids are in several partitions, as then it cannot be all or nothing, unless they are
        used if they exist, or were made of the uids.
        Raises `InstanceAlreadyExists` naming the id; then nothing was created.
        """

    @abstractmethod
    def send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        """Put messages into inboxes, each answered for itself."""

    def using(self, connection: Any) -> Intake:
        """What takes requests within the transaction that an application has open.

        connection: see `durable.Client.using`; it is looked at at each request, which raises
        `UsageError` if it is none of this database, or has no transaction open. A request is
        not repeated: one that raised has changed nothing.
        Raises `UsageError` if the store is none in a database with transactions.
        """
        raise UsageError(
            f"{self.url} has no transaction that an application could share: start after its"
            " commit, with an id of your own and if_exists='use'"
        )

    @abstractmethod
    def terminate(
        self,
        id: str,
        message_id: str,
        event: bytes,
        reason: str,
        reply: bytes | None = None,
        close: Close | None = None,
    ) -> Sent:
        """End an instance now: epoch + 1, the event appended, tasks and inbox deleted, its
        parent told (reply), its children closed.

        If the first message in the inbox is one of `BEGIN_AGAIN`, it is appended before the
        event: else nothing would tell that what is before it was copied.  So it is with the
        children that are terminated."""

    @abstractmethod
    def pause(self, id: str, message_id: str, event: bytes) -> Sent:
        """Let nobody look at an instance: epoch + 1, the event appended (if it has a
        history), owner `PARKED`. What a worker had in its hands, or was in a deadlock, will
        be due. REFUSED if it is paused already."""

    @abstractmethod
    def resume(self, id: str, message_id: str, event: bytes) -> Sent:
        """Undo `pause`: epoch + 1, the event appended (if it has a history), nobody's. It is
        blocked again if code had refused it, pending if its run has no history, else
        running; due when it would have been, or now if only messages wait for it.
        REFUSED if it is not paused."""

    @abstractmethod
    def unblock(self, id: str, message_id: str) -> Sent:
        """Wake a blocked instance: any build may try it. REFUSED if it is not blocked."""

    @abstractmethod
    def rerun(self, id: str, message_id: str, run: int, next: NextRun) -> Sent:
        """Begin the run after ``run`` of an instance that has ended in it: pending, epoch + 1,
        without result and failure; its tags, vars, memo and parent stay.  Children of the
        ended run that have not ended become children of the new one.
        REFUSED if it has not ended, or in another run."""

    @abstractmethod
    def delete(self, id: str) -> Sent | None:
        """Delete a finished instance and all that it owned.

        Returns SENT, NOT_FOUND, or None if it is not finished.
        """

    @abstractmethod
    def purge(self, finished_before: int, statuses: Sequence[Status], limit: int) -> int:
        """Delete at most ``limit`` finished instances, oldest first; returns how many: 0 if
        there are no more, and fewer than ``limit`` if what they own is much.

        One stays while its parent could still ask for it, in other words (see
        `durable.purging.wanted`): if the parent has not ended and it is a child of its
        present run or the one before, or if the parent could be retried.
        """

    # -- workers ------------------------------------------------------------------------

    @abstractmethod
    def register(self, worker: WorkerInfo) -> None:
        """Add a worker; instances in its queues that need a workflow it knows and are
        blocked by other builds than its own (or `UNKNOWN`) are woken.  Whoever waits is
        told: there is somebody to take over from one day."""

    @abstractmethod
    def heartbeat(self, worker: str, lease: int) -> list[TaskKey] | None:
        """Renew the lease (microseconds) unless it has expired.

        Returns the keys of its tasks whose cancel was requested, or None if it has expired
        or is not registered.
        """

    @abstractmethod
    def beat(self, worker: str, beats: Sequence[Beat]) -> list[TaskKey]:
        """Keep the details of heartbeats of tasks that the worker (still) holds, at these
        epochs; returns the keys of all its tasks whose cancel was requested."""

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
        (``blocked_by`` is `UNKNOWN`).  What code has refused rests again at once.
        Returns how many rows it changed."""

    @abstractmethod
    def claim(self, request: ClaimRequest) -> Claimed:
        """Take what is due: instances and tasks without an owner, and the worker's own
        instances that are due again; epoch + 1 for each, so that a claim of which the worker
        does not learn shows in `owned`."""

    @abstractmethod
    def owned(self, worker: str) -> Owned:
        """What the worker owns."""

    @abstractmethod
    def adopt(self, worker: str, uids: Sequence[bytes], tasks: Sequence[TaskKey]) -> Claimed:
        """Claim again what the worker owns already, under new epochs; what it does not own
        (any more) is left out, and some of what is large may be, for another call."""

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
    ) -> list[Verdict]:
        """Put results of the worker's tasks into inboxes and postpone others; for each
        (completions first): COMMITTED, LOST if the worker did not hold the task any more, or
        BUSY."""

    transactional: ClassVar[bool] = False
    """Whether the store is in a database in which applications have tables: see `transact`."""

    def transact(self, worker: str, work: Callable[[Any], Completion]) -> bool:
        """Run a function in a transaction of its own, with the connection, and store in it what
        the function returns: the result of a task of the worker.

        False if the worker does not hold the task any more. Then, and if anything was raised,
        all that the function wrote on the connection is rolled back.
        """
        raise UsageError(f"{self.url} has no transactions that an application could share")

    @abstractmethod
    def settle(self, completion: Completion) -> Sent:
        """As `complete`, for somebody outside, whoever holds the task: SENT if the task is at
        this epoch (now, or at an earlier call with this message id); NOT_FOUND if there is
        no such instance; else FINISHED."""

    # -- reads --------------------------------------------------------------------------

    @abstractmethod
    def instance(self, id: str) -> Instance | None:
        """The instance with this id."""

    @abstractmethod
    def instances(self, where: Filter) -> Page:
        """Instances that match, newest first."""

    @abstractmethod
    def count(self, where: Filter) -> int:
        """How many instances match, whatever the ``limit`` and from the first on."""

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
