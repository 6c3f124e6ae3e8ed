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
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from durable import message_ids
from durable.client.caller import Caller, check_sent
from durable.errors import InstanceAlreadyExists, StoreError
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


def take_in_all(caller: Caller, exports: Sequence[Export]) -> list[tuple[str, Created]]:
    """Create instances with what is recorded of them: see `Client.take_in`."""
    for export in exports:
        id = export.instance.id
        if caller.repeat(partial(caller.store.instance, id)) is not None:
            raise InstanceAlreadyExists(f"an instance with the id {id!r} exists")
    going_on = {(one.instance.uid, len(one.runs)) for one in exports if _goes_on(one)}
    made = []
    for export in exports:
        parent = export.instance.parent
        if parent is not None and (parent.uid, parent.run) in going_on:
            parent = replace(parent, run=parent.run + 1)
        made.append((export.instance.id, _take_in(caller, export, parent)))
    return made


def _goes_on(export: Export) -> bool:
    """Whether another run follows here, in which it goes on."""
    unfinished = not export.instance.status.finished
    return unfinished and bool(export.runs[-1]) and not export.begins_again


def _take_in(caller: Caller, export: Export, parent: Parent | None) -> Created:
    """Create an instance with what is recorded of it.

    parent: who started it, and the run there that waits for it.
    Raises `InstanceAlreadyExists`; `StoreError` if somebody else changed it meanwhile.
    """
    instance, token = export.instance, os.urandom(16)
    (made,) = caller.repeat(partial(caller.store.create, [_new(export, token, parent)], "raise"))
    runs = list(export.runs)
    if _goes_on(export):
        runs.append(runs[-1])
    for run in range(1, len(runs)):
        following = _begun(export, min(run, len(export.runs) - 1))
        _commit(caller, instance, run, Step(made.uid, run, 0, 0, [*runs[run - 1]], next=following))
    _commit(caller, instance, len(runs), _last(export, len(runs), runs[-1]))
    if not instance.status.finished:
        _deliver(caller, export, token.hex(), len(runs))
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
