"""The client: start workflows, signal them, look at them.

Rules
-----
* Acknowledged means stored: a call that returned is on disk.
* Every call that changes something carries a token.  When its outcome is unknown, the same
  call is repeated with the same token; only when the deadline has passed does the caller
  get `OutcomeUnknown`.
* A client needs no worker and no workflow code: names may be strings.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from durable.client.caller import Caller, check_sent
from durable.client.completing import complete_by_token, fail_by_token
from durable.client.handle import Handle
from durable.client.rerun import fork_of, retry_instance
from durable.client.starter import Starter
from durable.client.views import InstancePage, InstanceRow
from durable.closing import close_children, reply
from durable.codec import Codec
from durable.definitions import (
    ConfiguredWorkflow,
    StartOptions,
    StartOverrides,
    WorkflowDefinition,
    start_options,
)
from durable.errors import (
    InstanceNotFinished,
    UsageError,
    WrongStatus,
)
from durable.events import (
    CancelRequested,
    Event,
    Paused,
    Resumed,
    SignalReceived,
    WorkflowTerminated,
    dump,
)
from durable.model import (
    EPOCH,
    FINISHED,
    MAX_ID_BYTES,
    MAX_REASON_BYTES,
    Status,
    WorkerInfo,
    checked_text,
    micros,
)
from durable.moments import checked_moment
from durable.propagation import Propagators
from durable.purging import DEFAULT_BATCH, count, purge
from durable.starting import Flow, flow_of
from durable.store import Created, End, Filter, Outgoing, Sent, Store

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_STORE = "sqlite:///durable.db"
DEFAULT_DEADLINE = 30.0


class Client:
    """Talks to a store; thread-safe and fork-safe.

    store: a URL or a `Store`. codec: how values become bytes. deadline: seconds for which a
    call is repeated when the store cannot be reached; defaults to 30. propagators: what is
    carried from here into the workflows that are started (see `durable.propagation`).

    >>> client = Client("sqlite:///orders.db")
    >>> handle = client.start(process_order.options(id="order-1"), "o-1", 500)
    >>> handle.result(timeout=60)
    """

    def __init__(
        self,
        store: Store | str = DEFAULT_STORE,
        *,
        codec: Codec | None = None,
        deadline: float = DEFAULT_DEADLINE,
        propagators: Iterable[Any] = (),
    ) -> None:
        carried = Propagators(propagators)
        if isinstance(store, str):
            from durable.stores import open_store

            store = open_store(store)
            store.open()
        self.store = store
        self.codec = codec or Codec()
        self._caller = Caller(store, self.codec, deadline)
        self._starter = Starter(self._caller, carried)

    def close(self) -> None:
        """Release connections; the client may be used again."""
        self.store.close()

    # -- starting -----------------------------------------------------------------------

    @overload
    def start(
        self,
        flow: WorkflowDefinition[P, T] | ConfiguredWorkflow[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Handle[T]: ...
    @overload
    def start(self, flow: str, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    def start(self, flow: Any, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Start a workflow.

        flow: the workflow, ``workflow.options(id=…)``, or a name (for one with options see
        `start_named`). args, kwargs: its own.
        Raises `TypeError` if they do not fit, `PayloadError` for what cannot be stored,
        `PropagatorError` if a propagator fails,
        `InstanceAlreadyExists` for an id that is taken (see ``if_exists``).
        """
        name, options, definition = flow_of(flow)
        return self._start(name, args, kwargs, options, definition)

    def start_named(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        **options: Unpack[StartOverrides],
    ) -> Handle[Any]:
        """Start a workflow by name, with what ``workflow.options`` takes; its code need not
        be here. Raises as `start`.

        >>> client.start_named("process_order", ["o-1", 500], id="order-1")
        """
        return self._start(name, args, kwargs or {}, start_options(**options), None)

    def start_many(self, starts: Iterable[Sequence[Any]]) -> list[Handle[Any]]:
        """Start many, all or nothing: each ``(flow, *args)``.

        All must have one ``if_exists``. Raises as `start`; then nothing was started.
        """
        rows, policies, definitions = [], set(), []
        for flow, *args in starts:
            name, options, definition = flow_of(flow)
            rows.append(self._starter.new(name, args, {}, options, definition))
            definitions.append(definition)
            policies.add(options.if_exists)
        if not rows:
            return []
        if len(policies) > 1:
            raise UsageError(f"start_many takes one if_exists for all, not {sorted(policies)}")
        (policy,) = policies
        created = self._starter.create(rows, policy)
        return [
            self._handle(row.id, made, definition)
            for row, made, definition in zip(rows, created, definitions, strict=True)
        ]

    @overload
    def signal_or_start(
        self,
        flow: WorkflowDefinition[..., T] | ConfiguredWorkflow[..., T],
        *args: Any,
        signal: str,
        value: Any = None,
        **kwargs: Any,
    ) -> Handle[T]: ...
    @overload
    def signal_or_start(
        self,
        flow: str,
        *args: Any,
        signal: str,
        value: Any = None,
        options: StartOverrides,
        **kwargs: Any,
    ) -> Handle[Any]: ...
    def signal_or_start(
        self,
        flow: Any,
        *args: Any,
        signal: str,
        value: Any = None,
        options: StartOverrides | None = None,
        **kwargs: Any,
    ) -> Handle[Any]:
        """Signal an instance; if there is none with this id, start it with the signal in its
        inbox.  It is one or the other, however many callers there are.

        flow: the workflow with an id, ``workflow.options(id=…)``; or a name, with
        ``options={"id": …}``. signal, value: as in
        `signal`. args, kwargs: of the workflow, if it is started. With
        ``if_exists="restart"`` one that has ended is started again, with the signal.
        Raises `InstanceFinished` if it has ended otherwise, and as `start` and `signal` do.

        >>> client.signal_or_start(cart.options(id="cart-7"), "7", signal="add", value="tea")
        """
        name, chosen, definition = flow_of(flow)
        if options is not None and definition is not None:
            raise UsageError("options= is for a name: give workflow.options(…) instead")
        if options is not None:
            chosen = start_options(**options)
        if chosen.id is None:
            raise UsageError(
                "signal_or_start needs an id: give workflow.options(id=…), or with a name "
                'options={"id": …}'
            )
        message = self._signal(signal, value)
        row = self._starter.new(name, args, kwargs, chosen, definition, [message])
        made = self._starter.signal_or_create(row, restart=chosen.if_exists == "restart")
        return self._handle(row.id, made, definition)

    def _start(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        options: StartOptions,
        definition: Flow | None,
    ) -> Handle[Any]:
        row = self._starter.new(name, args, kwargs, options, definition)
        (made,) = self._starter.create([row], options.if_exists)
        return self._handle(row.id, made, definition)

    def _handle(self, id: str, created: Created, definition: Flow | None = None) -> Handle[Any]:
        return Handle(self, self._caller, id, created, definition)

    # -- acting -------------------------------------------------------------------------

    def signal(self, id: str, name: str, value: Any = None) -> None:
        """Send a signal; it is kept until the workflow reads it.

        Raises `InstanceNotFound`, `InstanceFinished`, `PayloadError`, or `UsageError` if
        too many messages wait already.
        """
        message_id, event = self._signal(name, value)
        check_sent(self._caller.send(Outgoing(id, message_id, event)), id)

    def _signal(self, name: str, value: Any) -> tuple[str, bytes]:
        """The id and the event of a new signal."""
        checked_text(name, "a signal has a name")
        message_id = _token()
        payload = self.codec.encode(value, "value")
        return message_id, self._dump(SignalReceived(0, EPOCH, name, payload, message_id))

    def cancel(self, id: str, reason: str = "") -> None:
        """Ask an instance to stop: `Cancelled` is raised at its waiting yield.

        Raises `InstanceNotFound` or `InstanceFinished`.
        """
        event = self._dump(CancelRequested(0, EPOCH, _text(reason)))
        check_sent(self._caller.send(Outgoing(id, _token(), event, urgent=True)), id)

    def terminate(self, id: str, reason: str = "") -> None:
        """End an instance now; none of its code runs.

        Its parent, if it has one, learns of it as of a failure; its children end as their
        ``parent_close`` says. Raises `InstanceNotFound` or `InstanceFinished`.
        """
        reason = _text(reason)
        instance, now, token = (
            self._caller.instance(id),
            self._caller.repeat(self.store.now),
            _token(),
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
        token, event = _token(), self._dump(Paused(0, EPOCH))
        sent = self._caller.repeat(lambda: self.store.pause(id, token, event))
        if sent is Sent.REFUSED:
            raise WrongStatus(f"instance {id!r} is paused already")
        check_sent(sent, id)

    def resume(self, id: str) -> None:
        """Let a paused instance go on.

        Raises `WrongStatus` if it is not paused, `InstanceNotFound` or `InstanceFinished`.
        """
        token, event = _token(), self._dump(Resumed(0, EPOCH))
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
        self._caller.instance(id)  # if it is gone after this, a call of unknown outcome did it
        sent = self._caller.repeat(lambda: self.store.delete(id))
        if sent is None:
            raise InstanceNotFinished(f"instance {id!r} has not ended: terminate it first")

    def purge(
        self,
        finished_before: datetime,
        status: Status | str | Iterable[Status | str] | None = None,
        batch: int = DEFAULT_BATCH,
        *,
        dry_run: bool = False,
    ) -> int:
        """Delete what ended before a moment, in batches; gives how many. A child stays while
        its parent could be retried, or has not ended the run that started it.

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

    def _dump(self, event: Event) -> bytes:
        return dump(event, self._caller.repeat(self.store.now))

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
        for option, name in (("workflow", workflow), ("queue", queue), ("tag", tag)):
            if name:
                checked_text(name, f"{option}= takes a name")
        if search:
            checked_text(search, "search= takes the beginning of an id", MAX_ID_BYTES)
        where = Filter(
            workflow,
            _statuses(status),
            queue,
            tag,
            None if since is None else micros(checked_moment(since, "since")),
            None if until is None else micros(checked_moment(until, "until")),
            search,
            limit,
            cursor,
            None if parent is None else self._caller.instance(parent).uid,
        )
        page = self._caller.repeat(lambda: self.store.instances(where))
        return InstancePage([InstanceRow.of(row) for row in page.rows], page.cursor)

    def count(self, **filters: Any) -> int:
        """How many instances match; takes the filters of `list`."""
        total, cursor = 0, None
        while True:
            page = self.list(**{**filters, "limit": 10_000, "cursor": cursor})
            total += len(page.rows)
            cursor = page.cursor
            if cursor is None:
                return total

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


def _text(reason: str) -> str:
    return "" if reason == "" else checked_text(reason, "reason= takes text", MAX_REASON_BYTES)


def _token() -> str:
    """What makes a repeated call harmless."""
    return os.urandom(16).hex()


def _statuses(status: Any) -> tuple[Status, ...]:
    if status is None:
        return ()
    given = [status] if isinstance(status, str) else list(status)
    try:
        return tuple(Status(s) for s in given)
    except ValueError as error:
        raise UsageError(f"{error}; there are {', '.join(Status)}") from None
