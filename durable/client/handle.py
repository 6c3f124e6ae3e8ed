"""A handle: one instance, as a client sees it."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from durable.client.caller import Caller
from durable.client.transfer import export_of
from durable.client.views import InstanceRow, describe, failure_of, task_note, variables
from durable.client.walk import Walk
from durable.client.whereabouts import Where
from durable.definitions import WorkflowDefinition
from durable.errors import (
    InstanceNotFound,
    ResultTimeout,
    UsageError,
    WorkflowCancelledError,
    WorkflowError,
    WorkflowTerminatedError,
)
from durable.events import Event, WorkflowStarted, decoded
from durable.exports import Export
from durable.model import Instance, Status
from durable.registry import Registry
from durable.store import Created, Filter

if TYPE_CHECKING:
    from durable.client.client import Client

T = TypeVar("T")

PAGE = 1000


class Handle(Generic[T]):
    """One instance. It follows the instance that it was made for: when that is deleted and
    another gets its id, it raises `InstanceNotFound`."""

    def __init__(
        self,
        client: Client,
        caller: Caller,
        id: str,
        created: Created,
        definition: WorkflowDefinition[..., T] | None,
    ) -> None:
        self.client = client
        self._caller = caller
        self.id = id
        self.new = created.new
        self._uid = created.uid
        self._definition = definition

    def __repr__(self) -> str:
        return f"<Handle {self.id}>"

    def _instance(self) -> Instance:
        instance = self._caller.instance(self.id)
        if instance.uid != self._uid:
            raise InstanceNotFound(f"instance {self.id!r} was deleted, and started anew")
        return instance

    def status(self) -> Status:
        """Where it is in its life."""
        return self._instance().status

    def row(self) -> InstanceRow:
        """What a list shows of it."""
        return InstanceRow.of(self._instance())

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end and give the result.

        timeout: seconds; None waits for ever. Raises `WorkflowError` if it failed,
        `WorkflowCancelledError`, `WorkflowTerminatedError`, or `ResultTimeout`, which names
        the status.
        """
        store = self._caller.store
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            mark = self._caller.repeat(store.mark)
            instance = self._instance()
            if instance.status.finished:
                return self._outcome(instance)
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                why = f": {instance.reason}" if instance.reason else ""
                ended = f"did not end within {timeout:g} s" if timeout else "has not ended"
                raise ResultTimeout(f"instance {self.id!r} is {instance.status}{why}; it {ended}")
            self._caller.repeat(partial(store.wait, mark, left))

    def _outcome(self, instance: Instance) -> T:
        codec = self._caller.codec
        if instance.status is Status.COMPLETED:
            assert instance.result is not None
            hint = Any if self._definition is None else self._definition.returns
            value: T = codec.decode(instance.result, hint)
            return value
        reason = f": {instance.reason}" if instance.reason else ""
        text = f"instance {self.id!r} was {instance.status}{reason}"
        if instance.status is Status.CANCELLED:
            raise WorkflowCancelledError(text)
        if instance.status is Status.TERMINATED:
            raise WorkflowTerminatedError(text)
        failure = failure_of(instance, codec)
        text = f"instance {self.id!r} failed: {failure}"
        raise WorkflowError(text, failure) from (failure.exception() if failure else None)

    def signal(self, name: str, value: Any = None) -> None:
        """As `Client.signal`."""
        self._instance()
        self.client.signal(self.id, name, value)

    def cancel(self, reason: str = "") -> None:
        """As `Client.cancel`."""
        self._instance()
        self.client.cancel(self.id, reason)

    def terminate(self, reason: str = "") -> None:
        """As `Client.terminate`."""
        self._instance()
        self.client.terminate(self.id, reason)

    def pause(self) -> None:
        """As `Client.pause`."""
        self._instance()
        self.client.pause(self.id)

    def resume(self) -> None:
        """As `Client.resume`."""
        self._instance()
        self.client.resume(self.id)

    def retry(self) -> None:
        """As `Client.retry`."""
        self._instance()
        self.client.retry(self.id)

    def fork(self, at: int, id: str | None = None, *, run: int | None = None) -> Handle[Any]:
        """As `Client.fork`: a new instance with the history up to the event ``at``."""
        self._instance()
        return self.client.fork(self.id, at, id, run=run)

    def delete(self) -> None:
        """As `Client.delete`."""
        self._instance()
        self.client.delete(self.id)

    def vars(self, at: int | None = None, *, run: int | None = None) -> dict[str, Any]:
        """What the workflow has set by ``set_var``; or had, after an event or in another run:
        that is found as by `where`, and raises `NonDeterminismError` if the code does not
        follow the history up to there."""
        if at is None and run is None:
            return variables(self._instance(), self._caller.codec)
        with self.walk(run) as walk:
            return walk.vars(at)

    def history(self, run: int | None = None) -> list[Event]:
        """The events of a run (the present one, if None), decoded.

        Raises `UsageError` if there is no such run.
        """
        instance = self._instance()
        _, events = self._caller.events(instance.uid, _run_of(instance, run))
        return [decoded(event, self._caller.codec.decode) for event in events]

    def where(self, at: int | None = None, *, run: int | None = None) -> Where:
        """Where the workflow is: its stack of generators with lines and local variables, every
        coroutine, and what each waits for.

        Its history is replayed here: nothing is called or stored, whatever its status.  The
        code must be here: that of a workflow which this client has started, or that it was
        given (``Client(modules=[…])``).

        at: the seq of an event, to see what was after the step of it. run: an earlier one.
        Raises `UsageError` if there is no such run or event, or the code is not here.  What
        does not fit the history is told in ``Where.problem``.

        >>> print(client.get("order-1").where())
        """
        with self.walk(run) as walk:
            return walk.where(at)

    def walk(self, run: int | None = None) -> Walk:
        """To look at many moments of a run: a context manager. Raises as `where`."""
        instance, caller = self._instance(), self._caller
        run = _run_of(instance, run)
        notes, inbox = {}, list[bytes]()
        if run == instance.run and not instance.status.finished:
            tasks = caller.repeat(partial(caller.store.tasks, instance.uid))
            notes = {task.command: task_note(task) for task in tasks}
            # Before the history: what is applied meanwhile stands there already.
            waiting = caller.repeat(partial(caller.store.inbox, instance.uid))
            inbox = [message.event for message in waiting]
        _, events = caller.events(instance.uid, run)
        flow, started = None, events[0] if events else None
        if isinstance(started, WorkflowStarted):  # it may have been terminated before
            flow = self.client.known.workflow(started.workflow, started.version)
            if flow is None:
                raise _unknown(started, self.client.known)
        propagators = self.client.propagators
        return Walk(instance, run, events, flow, caller.codec, propagators, notes, inbox)

    def export(self) -> Export:
        """The instance with the histories of all its runs, as they are stored: to be replayed
        by `durable.testing.replay`, and taken into another store by `Client.take_in`."""
        self._instance()
        return export_of(self._caller, self.id)

    def children(self) -> list[Handle[Any]]:
        """The instances that it has started, in all of its runs, in the order of their start."""
        caller, rows = self._caller, list[Instance]()
        where = Filter(parent=self._instance().uid, limit=PAGE)
        while True:
            page = caller.repeat(partial(caller.store.instances, where))
            rows += page.rows
            if page.cursor is None:
                break
            where = replace(where, cursor=page.cursor)
        return [
            self.client._handle(row.id, Created(row.uid, row.run, False)) for row in reversed(rows)
        ]

    def describe(self) -> dict[str, Any]:
        """All that the store knows of it: see `durable.client.views.describe` for the keys."""
        instance = self._instance()
        return self._caller.repeat(lambda: self._describe(instance))

    def _describe(self, instance: Instance) -> dict[str, Any]:
        store = self._caller.store
        now = store.now()
        known = {n for w in store.workers() if w.expires_at > now for n in w.activities}
        unread = store.unread(instance.uid) if instance.status.finished else ()
        tasks = store.tasks(instance.uid)
        return describe(instance, tasks, unread, known, self._caller.codec)


def _run_of(instance: Instance, run: int | None) -> int:
    """The number of a run: the present one, if none is given."""
    if run is None:
        return instance.run
    if isinstance(run, bool) or not isinstance(run, int):
        raise TypeError(f"run= takes the number of a run, not {run!r}")
    if not 1 <= run <= instance.run:
        raise UsageError(f"instance {instance.id!r} has runs 1 to {instance.run}, and no run {run}")
    return run


def _unknown(started: WorkflowStarted, known: Registry) -> UsageError:
    versions = sorted(known.workflows.get(started.workflow, ()))
    there = f": there is version {', '.join(map(str, versions))}" if versions else ""
    return UsageError(
        f"the code of workflow {started.workflow} version {started.version} is not here{there}; "
        "give the module that defines it: Client(modules=[…]), or -m MODULE on the command line"
    )
