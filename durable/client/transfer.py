"""An instance out of a store, and into another.

Rules of what is taken in
-------------------------
* It is created with a start that never comes and is paused before it has any history; then
  what is recorded is committed as by the owner of what is paused, whom no worker has for an
  id.  So at no moment can a worker run it.
* One that had ended has ended here, too.  Another one stays paused, and the run that it was
  in is copied to another one, as a retry does it: a `Retried` waits in the inbox, by which
  the engine asks again for what was under way, once somebody resumes it.
* It keeps its uid, and so the idempotency keys of its activities, and its parent finds it.
* When it was created, has begun and has ended, is told by its history: the row has the moments
  of the store that took it in, which are what its listings and its purge go by.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from durable import message_ids
from durable.client.caller import Caller, check_sent
from durable.errors import DurableError, InstanceAlreadyExists, StoreError, UsageError
from durable.events import Paused, Retried, WorkflowStarted, dump, load
from durable.exports import Export
from durable.header import Header
from durable.model import EPOCH, Instance, Parent, Status, checked_id, checked_text
from durable.records import (
    PARKED,
    Created,
    End,
    NewInstance,
    NextRun,
    Outgoing,
    Step,
    Unavailable,
    Verdict,
)
from durable.starting import child_token

__all__ = ["export_of", "take_in_all"]

NEVER = 2**52
"""A start in the year 2112, which every store can hold: nobody looks at it before."""

IMPORTED = "imported"
"""The reason of what was taken in and has not ended."""

TRIES = 5


def export_of(caller: Caller, id: str) -> Export:
    """All that the store has of an instance.

    One that goes on meanwhile is read again; if it never rests for as long as that takes, it
    is as it was at some moment before, but for messages that have come or gone since.
    """
    before = caller.instance(id)
    for _ in range(TRIES):
        found = _read(caller, before)
        after = caller.instance(id)
        if _stands(before) == _stands(after):
            break
        before = after
    return found


def _stands(instance: Instance) -> tuple[object, ...]:
    return instance.uid, instance.run, instance.epoch, instance.history_length, instance.status


def _read(caller: Caller, instance: Instance) -> Export:
    uid, store = instance.uid, caller.store
    waiting = caller.repeat(partial(store.inbox, uid))
    keys = [(uid, run) for run in range(1, instance.run + 1)]
    histories = caller.repeat(partial(store.history, keys))
    histories[-1] = histories[-1][: instance.history_length]
    return Export(
        instance,
        tuple(tuple(data for _, data in rows) for rows in histories),
        tuple((m.message_id, m.arrived_at, m.event) for m in waiting),
        caller.repeat(partial(store.unread, uid)) if instance.status.finished else (),
    )


# -- into a store -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plan:
    """How an instance is taken in. new: the row to create. next: what the runs after the first
    begin with."""

    export: Export
    new: NewInstance
    next: Sequence[NextRun]

    @property
    def runs(self) -> list[tuple[bytes, ...]]:
        """The history of each run that it gets."""
        runs = list(self.export.runs)
        return [*runs, runs[-1]] if _goes_on(self.export) else runs


def take_in_all(caller: Caller, exports: Sequence[Export]) -> list[tuple[str, Created]]:
    """Create instances with what is recorded of them: see `Client.take_in`.

    All of them are looked at before the first is created.
    """
    _check_runs(exports)
    going_on = {(one.instance.uid, len(one.runs)) for one in exports if _goes_on(one)}
    plans = [_plan(one, going_on) for one in exports]
    _check_free(caller, exports)
    made: list[tuple[str, Created]] = []
    for plan in plans:
        id = plan.export.instance.id
        try:
            made.append((id, _take_in(caller, plan)))
        except DurableError as error:
            before = ", ".join(one for one, _ in made) or "nothing"
            error.add_note(
                f"taken in before: {before}; of {id} a part may be there: terminate and delete it"
            )
            raise
    return made


def _check_runs(exports: Sequence[Export]) -> None:
    for export in exports:
        if not export.runs:
            raise UsageError(f"instance {export.instance.id!r} has no run")


def _check_free(caller: Caller, exports: Sequence[Export]) -> None:
    """Raise `InstanceAlreadyExists` if an id or a uid is in use, here or twice in the exports."""
    seen: dict[str | bytes, str] = {}
    for instance in (export.instance for export in exports):
        for key in (instance.id, instance.uid):
            if key in seen:
                raise InstanceAlreadyExists(
                    f"instances {seen[key]!r} and {instance.id!r} are the same one, twice"
                )
            seen[key] = instance.id
        if caller.repeat(partial(caller.store.instance, instance.id)) is not None:
            raise InstanceAlreadyExists(f"an instance with the id {instance.id!r} exists")
        (there,) = caller.repeat(partial(caller.store.history, [(instance.uid, 1)]))
        if there:
            raise InstanceAlreadyExists(f"instance {instance.id!r} exists under another id")


def _goes_on(export: Export) -> bool:
    """Whether another run follows here, in which it goes on."""
    unfinished = not export.instance.status.finished
    return unfinished and bool(export.runs[-1]) and not export.begins_again


def _plan(export: Export, going_on: Collection[tuple[bytes, int]]) -> _Plan:
    """going_on: (uid, run) of those for which another run follows: their children are then
    that run's."""
    parent, last = export.instance.parent, len(export.runs) - 1
    if parent is not None and (parent.uid, parent.run) in going_on:
        parent = replace(parent, run=parent.run + 1)
    new = _new(export, os.urandom(16), parent)
    following = range(1, len(export.runs) + _goes_on(export))
    return _Plan(export, new, [_begun(export, min(run, last)) for run in following])


def _take_in(caller: Caller, plan: _Plan) -> Created:
    """Create an instance with what is recorded of it.

    Raises `InstanceAlreadyExists`; `StoreError` if somebody else changed it meanwhile.
    """
    export, runs = plan.export, plan.runs
    instance = export.instance
    (made,) = caller.repeat(partial(caller.store.create, [plan.new], "raise"))
    for run, following in enumerate(plan.next, 1):
        _commit(caller, instance, run, Step(made.uid, run, 0, 0, [*runs[run - 1]], next=following))
    _commit(caller, instance, len(runs), _last(export, len(runs), runs[-1]))
    if not instance.status.finished:
        _deliver(caller, export, os.urandom(16).hex(), len(runs))
    return replace(made, run=len(runs))


def _new(export: Export, token: bytes, parent: Parent | None) -> NewInstance:
    instance, first = export.instance, _begun(export, 0)
    return NewInstance(
        instance.uid,
        checked_id(instance.id),
        token if parent is None else child_token(instance.uid),
        checked_text(instance.workflow, "a workflow has a name"),
        first.version,
        checked_text(instance.queue, "queue= takes a name"),
        first.args,
        first.kwargs,
        first.start_at,
        instance.memo,
        instance.tags,
        parent,
        first.header,
    )


def _begun(export: Export, place: int) -> NextRun:
    """What a run has begun with: the row has that of the last, the histories the others'."""
    instance, events = export.instance, export.runs[place]
    started = load(events[0], 0) if events else None
    if place + 1 == len(export.runs) or not isinstance(started, WorkflowStarted):
        return NextRun(instance.args, instance.kwargs, NEVER, instance.version, instance.header)
    header = Header(context=started.context, attempt=started.attempt).dump()
    return NextRun(started.args, started.kwargs, NEVER, started.version, header)


def _last(export: Export, run: int, events: tuple[bytes, ...]) -> Step:
    """The step after which it is as it was."""
    instance = export.instance
    end = End(
        instance.status, instance.reason, "", instance.result, instance.failure, export.unread
    )
    if not instance.status.finished:
        end = End(Status.PAUSED, IMPORTED)
    return Step(
        instance.uid,
        run,
        0,
        0,
        [*events],
        version=instance.version,
        vars=instance.vars,
        end=end,
    )


def _commit(caller: Caller, instance: Instance, run: int, step: Step) -> None:
    """Store a whole run, as the owner of what is paused."""
    event = dump(Paused(0, EPOCH), caller.repeat(caller.store.now))
    pause = partial(caller.store.pause, instance.id, os.urandom(16).hex(), event)
    check_sent(caller.repeat(pause), instance.id)
    step.epoch = caller.instance(instance.id).epoch
    verdict = caller.repeat(partial(_once, caller, step))
    if verdict is not Verdict.COMMITTED and not _is_stored(caller, instance.id, step):
        raise StoreError(
            f"instance {instance.id!r} was changed while it was taken in (run {run}): "
            "terminate and delete it, and try again"
        )


def _once(caller: Caller, step: Step) -> Verdict:
    (verdict,) = caller.store.commit(PARKED, [step])
    if verdict is Verdict.BUSY:
        raise Unavailable("the row of the instance is locked by somebody else")
    return verdict


def _is_stored(caller: Caller, id: str, step: Step) -> bool:
    """Whether a step that is lost was stored by an earlier call, whose outcome was unknown."""
    found = caller.instance(id)
    if step.next is not None:
        return found.run == step.run + 1
    assert step.end is not None
    stands = (found.run, found.status, found.history_length)
    return stands == (step.run, step.end.status, len(step.events)) and bool(step.events)


def _deliver(caller: Caller, export: Export, token: str, run: int) -> None:
    for message in _messages(export, token, run, caller.repeat(caller.store.now)):
        check_sent(caller.send(message), export.instance.id)


def _messages(export: Export, token: str, run: int, now: int) -> Iterator[Outgoing]:
    """What waits for it: by what it goes on, and then what waited before."""
    id, uid = export.instance.id, export.instance.uid
    if run > len(export.runs):
        again = dump(Retried(0, EPOCH, run - 1), now)
        yield Outgoing(id, message_ids.retried(token), again, uid=uid, run=run)
    for message_id, _, data in export.messages:
        yield Outgoing(id, message_id, data, uid=uid)
