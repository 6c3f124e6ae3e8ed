"""The client: start workflows, signal them, look at them.

Rules
-----
* Acknowledged means stored: a call that returned is on disk.
* Every call that changes something carries a token.  When its outcome is unknown, the same
  call is repeated with the same token; only when the deadline has passed does the caller
  get `OutcomeUnknown`.
* A client needs no worker and no workflow code: names may be strings.  Only to see where a
  workflow is takes its code.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any

from durable.client.caller import Caller, check_sent
from durable.client.completing import complete_by_token, fail_by_token
from durable.client.handle import Handle
from durable.client.requests import Requests, new_token, reason_text
from durable.client.rerun import fork_of, retry_instance
from durable.client.transactions import TransactionClient
from durable.client.transfer import take_in_all
from durable.client.views import InstancePage, InstanceRow
from durable.closing import close_children, reply
from durable.codec import Codec
from durable.errors import (
    InstanceNotFinished,
    UsageError,
    WrongStatus,
)
from durable.events import (
    Paused,
    Resumed,
    WorkflowTerminated,
    dump,
)
from durable.exports import Export
from durable.model import (
    EPOCH,
    FINISHED,
    MAX_ID_BYTES,
    Status,
    WorkerInfo,
    checked_text,
    micros,
)
from durable.moments import checked_moment
from durable.propagation import Propagators
from durable.purging import DEFAULT_BATCH, count, purge
from durable.registry import Registry
from durable.starting import Flow
from durable.store import Created, End, Filter, Sent, Store

if TYPE_CHECKING:
    from peewee import Database

DEFAULT_STORE = "sqlite:///durable.db"
DEFAULT_DEADLINE = 30.0


class Client(Requests):
    """Talks to a store; thread-safe and fork-safe.

    store: a URL, a `Store`, or a Peewee ``Database`` (see `durable.stores.open_store`).
    codec: how values become bytes. deadline: seconds for which a call is repeated when the
    store cannot be reached; defaults to 30. propagators: what is carried from here into the
    workflows that are started (see `durable.propagation`).
    modules, workflows: whose code `Handle.where` needs, beside that of the workflows which
    this client starts.

    >>> client = Client("sqlite:///orders.db")
    >>> handle = client.start(process_order.options(id="order-1"), "o-1", 500)
    >>> handle.result(timeout=60)
    """

    def __init__(
        self,
        store: Store | Database | str = DEFAULT_STORE,
        *,
        codec: Codec | None = None,
        deadline: float = DEFAULT_DEADLINE,
        propagators: Iterable[Any] = (),
        modules: Iterable[ModuleType] = (),
        workflows: Iterable[Any] = (),
    ) -> None:
        self.known = Registry(modules, workflows)
        carried = Propagators(propagators)
        if not isinstance(store, Store):
            from durable.stores import open_store

            store = open_store(store)
            store.open()
        self.store = store
        self._caller = Caller(store, codec or Codec(), deadline)
        super().__init__(self._caller, carried)

    def close(self) -> None:
        """Release connections; the client may be used again."""
        self.store.close()

    def using(self, connection: Any) -> TransactionClient:
        """Start, signal and cancel within the transaction that the application has open.

        What is asked for there becomes real with the commit of the application, and was never
        if it rolls back.

        connection: of the database in which the store is. A connection of ``sqlite3``, PyMySQL
        or psycopg 3; or what has one of these: a Peewee ``Database``,
        ``django.db.connection``, a ``Connection`` or ``Session`` of SQLAlchemy. It must have a
        transaction open.
        Raises `UsageError` if the store is none in a database with transactions. All else that
        can be wrong with the connection is a `UsageError` of the first request.

        >>> with db.atomic():
        ...     Order.create(id="o-1")
        ...     client.using(db).start(process_order.options(id="order-1"), "o-1", 500)
        """
        intake = self.store.using(connection)
        return TransactionClient(intake, self.codec, self.propagators, self._handle)

    def _handle(self, id: str, created: Created, definition: Flow | None = None) -> Handle[Any]:
        if definition is not None:
            self.known.workflows.setdefault(definition.name, {})[definition.version] = definition
        return Handle(self, self._caller, id, created, definition)

    # -- acting -------------------------------------------------------------------------

    def terminate(self, id: str, reason: str = "") -> None:
        """End an instance now; none of its code runs.

        Its parent, if it has one, learns of it as of a failure; its children end as their
        ``parent_close`` says. Raises `InstanceNotFound` or `InstanceFinished`.
        """
        reason = reason_text(reason)
        instance, now, token = (
            self._caller.instance(id),
            self._caller.repeat(self.store.now),
            new_token(),
        )
        event = dump(WorkflowTerminated(0, EPOCH, reason), now)
        answer, parent = None, instance.parent
        if parent is not None:
            end = End(Status.TERMINATED, reason)
            answer = reply(id, parent.command, end, self.codec, now)
        ending = close_children(id, instance.uid, instance.run, now)
        sent = self._caller.repeat(
            lambda: self.store.terminate(id, token, event, reason, answer, ending)
        )
        check_sent(sent, id)

    def pause(self, id: str) -> None:
        """Let an instance rest: what its running activities give is kept, signals and what
        falls due wait, until it is resumed.

        Raises `WrongStatus` if it is paused, `InstanceNotFound` or `InstanceFinished`.
        """
        token, event = new_token(), self._dump(Paused(0, EPOCH))
        sent = self._caller.repeat(lambda: self.store.pause(id, token, event))
        if sent is Sent.REFUSED:
            raise WrongStatus(f"instance {id!r} is paused already")
        check_sent(sent, id)

    def resume(self, id: str) -> None:
        """Let a paused instance go on.

        Raises `WrongStatus` if it is not paused, `InstanceNotFound` or `InstanceFinished`.
        """
        token, event = new_token(), self._dump(Resumed(0, EPOCH))
        sent = self._caller.repeat(lambda: self.store.resume(id, token, event))
        if sent is Sent.REFUSED:
            status = self._caller.instance(id).status
            raise WrongStatus(f"instance {id!r} is {status}: only a paused one can be resumed")
        check_sent(sent, id)

    def retry(self, id: str) -> None:
        """Let an instance that failed, was cancelled or is blocked go on from its last good
        point.

        One that has ended gets another run, with the history up to the event that led to the
        end.  If that was a failure (of an activity, a child, a promise), it is asked for
        again; anything else is applied again, perhaps by better code.  A cancelled one goes
        on as if it had not been.  Children that failed or were cancelled are retried first.

        Raises `InstanceNotFound`, or `WrongStatus` naming the status of any other instance.
        """
        retry_instance(self._caller, id)

    def fork(
        self, source: str, at: int, id: str | None = None, *, run: int | None = None
    ) -> Handle[Any]:
        """Start a new instance with the history of another, up to the event ``at`` (with it).

        source: the id of the other, which may have ended, and is left as it is. at: the seq of
        the last event of a step. id: of the new one; None makes a random one. run: of the
        source; None means the present one.  Promises get new tokens.
        Raises `UsageError`, naming the nearest places, where it cannot be cut: in a step, after
        the end, or while children are open. Raises `InstanceNotFound`, `InstanceAlreadyExists`.

        >>> client.fork("order-1", at=5, id="order-1-again")
        """
        row = fork_of(self._caller, source, at, id, run)
        (made,) = self._starter.create([row], "raise")
        return self._handle(row.id, made)

    def take_in(self, exports: Iterable[Export]) -> list[Handle[Any]]:
        """Create instances as they were in another store, with their histories.

        exports: what ``Handle.export()`` gave, parents before their children.  What had ended
        has ended here, too.  Anything else is paused, and runs only when it is resumed: what
        was under way is then asked for again.  ``created_at`` and the like are of this store.

        Raises `InstanceAlreadyExists` or `UsageError`, before anything is created; and if the
        store fails half-way, an error whose note says what was taken in.
        """
        return [self._handle(*one) for one in take_in_all(self._caller, list(exports))]

    def complete(self, token: str, value: Any = None) -> None:
        """Give a promise (``external()``), or an activity that is to be completed later, its
        result.  The first one counts; a second is ignored.

        Raises `UsageError` for what is no token of this store, `PayloadError`,
        `InstanceNotFound`, or `InstanceFinished` if the run or the attempt is over.
        """
        complete_by_token(self._caller, token, value)

    def fail(self, token: str, error: BaseException | str) -> None:
        """Let a promise, or an activity that is to be completed later, fail. It is final: the
        activity is not tried again, whatever its retry policy.

        error: an exception or a text. Raises as `complete`.
        """
        fail_by_token(self._caller, token, error)

    def delete(self, id: str) -> None:
        """Delete a finished instance and all that it owned.

        Raises `InstanceNotFound` or `InstanceNotFinished`.
        """
        sent = self._caller.delete(id)
        if sent is None:
            raise InstanceNotFinished(f"instance {id!r} has not ended: terminate it first")
        check_sent(sent, id)

    def purge(
        self,
        finished_before: datetime,
        status: Status | str | Iterable[Status | str] | None = None,
        batch: int = DEFAULT_BATCH,
        *,
        dry_run: bool = False,
    ) -> int:
        """Delete what ended before a moment, in batches; gives how many (a batch whose outcome
        was unknown at first is not counted). A child stays while its parent could be retried,
        or has not ended the run that started it.

        status: only these (finished) statuses. batch: instances in one transaction, at most;
        defaults to 500. dry_run: delete nothing, only count.
        """
        statuses = _statuses(status) or tuple(FINISHED)
        if batch < 1:
            raise UsageError(f"batch={batch} must be at least 1")
        unfinished = [s for s in statuses if not s.finished]
        if unfinished:
            raise UsageError(f"purge deletes what has ended; {unfinished[0]} has not")
        before = micros(checked_moment(finished_before, "finished_before"))
        if dry_run:
            return self._caller.repeat(lambda: count(self.store, before, statuses))
        return purge(
            lambda: self._caller.repeat(lambda: self.store.purge(before, statuses, batch)),
            time.sleep,
        )

    # -- looking ------------------------------------------------------------------------

    def get(self, id: str) -> Handle[Any]:
        """A handle of an instance; raises `InstanceNotFound`."""
        instance = self._caller.instance(id)
        return self._handle(id, Created(instance.uid, instance.run, False))

    def list(
        self,
        *,
        workflow: str | None = None,
        status: Status | str | Iterable[Status | str] | None = None,
        queue: str | None = None,
        tag: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        search: str | None = None,
        parent: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> InstancePage:
        """Instances that match, newest first.

        since, until: of creation. search: beginning of the id. parent: id of the instance
        that started them, in any of its runs; raises `InstanceNotFound` if there is none.
        limit: rows in a page. cursor: of the page before.
        """
        if not 1 <= limit <= 10_000:
            raise UsageError(f"limit={limit} must be between 1 and 10,000")
        where = self._filter(workflow, status, queue, tag, since, until, search, parent)
        where = replace(where, limit=limit, cursor=cursor)
        page = self._caller.repeat(lambda: self.store.instances(where))
        return InstancePage([InstanceRow.of(row) for row in page.rows], page.cursor)

    def count(
        self,
        *,
        workflow: str | None = None,
        status: Status | str | Iterable[Status | str] | None = None,
        queue: str | None = None,
        tag: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        search: str | None = None,
        parent: str | None = None,
    ) -> int:
        """How many instances match; the filters are those of `list`."""
        where = self._filter(workflow, status, queue, tag, since, until, search, parent)
        return self._caller.repeat(lambda: self.store.count(where))

    def _filter(
        self,
        workflow: str | None,
        status: Any,
        queue: str | None,
        tag: str | None,
        since: datetime | None,
        until: datetime | None,
        search: str | None,
        parent: str | None,
    ) -> Filter:
        for option, name in (("workflow", workflow), ("queue", queue), ("tag", tag)):
            if name:
                checked_text(name, f"{option}= takes a name")
        if search:
            checked_text(search, "search= takes the beginning of an id", MAX_ID_BYTES)
        return Filter(
            workflow,
            _statuses(status),
            queue,
            tag,
            None if since is None else micros(checked_moment(since, "since")),
            None if until is None else micros(checked_moment(until, "until")),
            search,
            parent=None if parent is None else self._caller.instance(parent).uid,
        )

    def stats(self) -> dict[str, Any]:
        """Counts: instances by status, tasks, messages, workers, and the age in seconds of
        what has been due longest."""
        stats, now = self._caller.repeat(self.store.stats), self._caller.repeat(self.store.now)
        oldest = stats.oldest_wake_at
        return {
            "instances": dict(stats.instances),
            "tasks_waiting": stats.tasks_waiting,
            "tasks_running": stats.tasks_running,
            "messages": stats.messages,
            "workers": stats.workers,
            "oldest_due_seconds": 0.0 if oldest is None else max(0, now - oldest) / 1_000_000,
        }

    def workers(self) -> Sequence[WorkerInfo]:
        """The registered workers; those whose ``expires_at`` is past have died."""
        return self._caller.repeat(self.store.workers)


def _statuses(status: Any) -> tuple[Status, ...]:
    if status is None:
        return ()
    given = [status] if isinstance(status, str) else list(status)
    try:
        return tuple(Status(s) for s in given)
    except ValueError as error:
        raise UsageError(f"{error}; there are {', '.join(Status)}") from None
