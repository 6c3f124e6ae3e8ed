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
import random
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, ParamSpec, TypeVar, overload

from durable.codec import Codec
from durable.definitions import (
    ConfiguredWorkflow,
    StartOptions,
    WorkflowDefinition,
    start_options,
)
from durable.errors import (
    InstanceFinished,
    InstanceNotFinished,
    InstanceNotFound,
    OutcomeUnknown,
    UsageError,
)
from durable.events import (
    CancelRequested,
    Event,
    SignalReceived,
    WorkflowTerminated,
    dump,
)
from durable.handle import Handle
from durable.model import (
    DEFAULT_QUEUE,
    EPOCH,
    FINISHED,
    Instance,
    Status,
    WorkerInfo,
    micros,
    moment,
)
from durable.store import Created, Filter, NewInstance, Outgoing, Sent, Store, Unavailable
from durable.views import InstancePage, InstanceRow

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_STORE = "sqlite:///durable.db"
DEFAULT_DEADLINE = 30.0
MAX_ID_BYTES = 255


class Client:
    """Talks to a store; thread-safe and fork-safe.

    store: a URL or a `Store`. codec: how values become bytes. deadline: seconds for which a
    call is repeated when the store cannot be reached; defaults to 30.

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
    ) -> None:
        if isinstance(store, str):
            from durable.stores import open_store

            self.store = open_store(store)
            self.store.open()
        else:
            self.store = store
        self.codec = codec or Codec()
        self.deadline = deadline

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

        flow: the workflow, ``workflow.options(id=…)``, or a name. args, kwargs: its own.
        Raises `TypeError` if they do not fit, `PayloadError` for what cannot be stored,
        `InstanceAlreadyExists` for an id that is taken (see ``if_exists``).
        """
        name, options, definition = _flow(flow)
        if definition is not None:
            definition.check_call(args, kwargs)
        return self._start(name, args, kwargs, options, definition)

    def start_named(
        self, name: str, args: Sequence[Any], kwargs: dict[str, Any], options: StartOptions
    ) -> Handle[Any]:
        """Start a workflow by name, with options; its code need not be here."""
        return self._start(name, args, kwargs, options, None)

    def start_many(self, starts: Iterable[Sequence[Any]]) -> list[Handle[Any]]:
        """Start many, all or nothing: each ``(flow, *args)``.

        All must have one ``if_exists``. Raises as `start`; then nothing was started.
        """
        rows, policies, definitions = [], set(), []
        for flow, *args in starts:
            name, options, definition = _flow(flow)
            if definition is not None:
                definition.check_call(args, {})
            rows.append(self._new(name, args, {}, options, definition))
            definitions.append(definition)
            policies.add(options.if_exists)
        if not rows:
            return []
        if len(policies) > 1:
            raise UsageError(f"start_many takes one if_exists for all, not {sorted(policies)}")
        (policy,) = policies
        created = self._repeat(lambda: self.store.create(rows, policy))
        return [
            Handle(self, row.id, made, definition)
            for row, made, definition in zip(rows, created, definitions, strict=True)
        ]

    def _start(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        options: StartOptions,
        definition: WorkflowDefinition[..., Any] | None,
    ) -> Handle[Any]:
        row = self._new(name, args, kwargs, options, definition)
        created = self._repeat(lambda: self.store.create([row], options.if_exists))
        return Handle(self, row.id, created[0], definition)

    def _new(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        options: StartOptions,
        definition: WorkflowDefinition[..., Any] | None,
    ) -> NewInstance:
        now = self.store.now()
        start_at = now
        if options.delay is not None:
            start_at = now + int(options.delay * 1_000_000)
        elif options.start_at is not None:
            start_at = max(now, micros(options.start_at))
        entropy = os.urandom(26)  # at once: each call costs as much as all the rest
        uid = new_uid(now, entropy[:10])
        _check_name(name, "a workflow's name")
        for text, what in ((options.queue, "a queue"), *((tag, "a tag") for tag in options.tags)):
            if text is not None:
                _check_name(text, what)
        queue = options.queue or (definition.queue if definition else DEFAULT_QUEUE)
        return NewInstance(
            uid,
            uid.hex() if options.id is None else checked_id(options.id),
            entropy[10:],
            name,
            options.version,
            queue,
            self.codec.encode(list(args), "args"),
            self.codec.encode(kwargs, "kwargs") if kwargs else None,
            start_at,
            None if options.memo is None else self.codec.encode(options.memo, "memo"),
            options.tags,
        )

    # -- acting -------------------------------------------------------------------------

    def signal(self, id: str, name: str, value: Any = None) -> None:
        """Send a signal; it is kept until the workflow reads it.

        Raises `InstanceNotFound`, `InstanceFinished`, `PayloadError`, or `UsageError` if
        too many messages wait already.
        """
        if not isinstance(name, str):
            raise TypeError(f"a signal has a name, not {name!r}")
        message_id = os.urandom(16).hex()
        event = SignalReceived(0, EPOCH, name, self.codec.encode(value, "value"), message_id)
        self._send(id, message_id, event, urgent=False)

    def cancel(self, id: str, reason: str = "") -> None:
        """Ask an instance to stop: `Cancelled` is raised at its waiting yield.

        Raises `InstanceNotFound` or `InstanceFinished`.
        """
        self._send(id, os.urandom(16).hex(), CancelRequested(0, EPOCH, reason), urgent=True)

    def terminate(self, id: str, reason: str = "") -> None:
        """End an instance now; none of its code runs.

        Raises `InstanceNotFound` or `InstanceFinished`.
        """
        token = os.urandom(16).hex()
        event = dump(WorkflowTerminated(0, moment(self.store.now()), reason))
        sent = self._repeat(lambda: self.store.terminate(id, token, event, reason))
        _check_sent(sent, id)

    def delete(self, id: str) -> None:
        """Delete a finished instance and all that it owned.

        Raises `InstanceNotFound` or `InstanceNotFinished`.
        """
        sent = self._repeat(lambda: self.store.delete(id))
        if sent is None:
            raise InstanceNotFinished(f"instance {id!r} has not ended: terminate it first")
        _check_sent(sent, id)

    def purge(
        self,
        finished_before: datetime,
        status: Status | str | Iterable[Status | str] | None = None,
        batch: int = 1000,
    ) -> int:
        """Delete what ended before a moment, in batches; gives how many.

        status: only these (finished) statuses. batch: instances in one transaction.
        """
        statuses = _statuses(status) or tuple(FINISHED)
        unfinished = [s for s in statuses if not s.finished]
        if unfinished:
            raise UsageError(f"purge deletes what has ended; {unfinished[0]} has not")
        before = micros(_aware(finished_before, "finished_before"))
        total = 0
        while True:
            count = self._repeat(lambda: self.store.purge(before, statuses, batch))
            total += count
            if count < batch:
                return total

    def _send(self, id: str, message_id: str, event: Event, urgent: bool) -> None:
        message = Outgoing(id, message_id, dump(event, self.store.now()), urgent)
        _check_sent(self._repeat(lambda: self.store.send([message]))[0], id)

    # -- looking ------------------------------------------------------------------------

    def get(self, id: str) -> Handle[Any]:
        """A handle of an instance; raises `InstanceNotFound`."""
        instance = self.instance(id)
        return Handle(self, id, Created(instance.uid, instance.run, False), None)

    def instance(self, id: str) -> Instance:
        """The stored row; raises `InstanceNotFound`."""
        instance = self._repeat(lambda: self.store.instance(id))
        if instance is None:
            raise InstanceNotFound(f"there is no instance {id!r}")
        return instance

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
        limit: int = 100,
        cursor: str | None = None,
    ) -> InstancePage:
        """Instances that match, newest first.

        since, until: of creation. search: beginning of the id. limit: rows in a page.
        cursor: of the page before.
        """
        if not 1 <= limit <= 10_000:
            raise UsageError(f"limit={limit} must be between 1 and 10,000")
        where = Filter(
            workflow,
            _statuses(status),
            queue,
            tag,
            None if since is None else micros(_aware(since, "since")),
            None if until is None else micros(_aware(until, "until")),
            search,
            limit,
            cursor,
        )
        page = self._repeat(lambda: self.store.instances(where))
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
        stats, now = self._repeat(self.store.stats), self.store.now()
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
        return self._repeat(self.store.workers)

    # -- one way to call ----------------------------------------------------------------

    def _repeat(self, call: Callable[[], T]) -> T:
        """Call until the outcome is known or the deadline has passed."""
        end = time.monotonic() + self.deadline
        pause = 0.02
        while True:
            try:
                return call()
            except (OutcomeUnknown, Unavailable):
                if time.monotonic() + pause > end:
                    raise
            time.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 2, 1.0)


# -- helpers ----------------------------------------------------------------------------


def new_uid(now: int, entropy: bytes) -> bytes:
    """16 bytes: milliseconds, then 10 random bytes, so that neighbours in time are
    neighbours in every index (as in a UUID of version 7, RFC 9562)."""
    return (now // 1000).to_bytes(6, "big") + entropy


def checked_id(id: str) -> str:
    """The id, if it can be one."""
    if not isinstance(id, str):
        raise TypeError(f"an id is text, not {id!r}")
    try:
        size = len(id.encode())
    except UnicodeEncodeError as error:
        raise UsageError(f"id {id!r} is no valid text: {error.reason}") from None
    if not 0 < size <= MAX_ID_BYTES or "\0" in id:
        raise UsageError(
            f"an id has 1 to {MAX_ID_BYTES} bytes and no NUL; {id[:40]!r} has {size} bytes"
        )
    return id


def _check_name(name: str, what: str) -> None:
    if not isinstance(name, str) or not name:
        raise UsageError(f"{what} is a text that is not empty, not {name!r}")


def _flow(flow: Any) -> tuple[str, StartOptions, WorkflowDefinition[..., Any] | None]:
    if isinstance(flow, str):
        return flow, start_options(), None
    if isinstance(flow, WorkflowDefinition):
        return flow.name, start_options(), flow
    if isinstance(flow, ConfiguredWorkflow):
        return flow.definition.name, flow.settings, flow.definition
    name = getattr(flow, "__name__", repr(flow))
    raise TypeError(f"start takes a workflow or its name, not {name}: decorate it with @workflow")


def _check_sent(sent: Sent, id: str) -> None:
    if sent is Sent.NOT_FOUND:
        raise InstanceNotFound(f"there is no instance {id!r}")
    if sent is Sent.FINISHED:
        raise InstanceFinished(f"instance {id!r} has ended")
    if sent is Sent.FULL:
        raise UsageError(f"too many messages wait for instance {id!r}: let it read some first")


def _statuses(status: Any) -> tuple[Status, ...]:
    if status is None:
        return ()
    given = [status] if isinstance(status, str) else list(status)
    try:
        return tuple(Status(s) for s in given)
    except ValueError as error:
        raise UsageError(f"{error}; there are {', '.join(Status)}") from None


def _aware(value: datetime, what: str) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(f"{what} takes an aware datetime, not {value!r}")
    return value
