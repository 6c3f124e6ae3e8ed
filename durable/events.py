"""Events: immutable facts in a history, and how they are stored.

Stored form: msgpack ``[1, kind, at, fields]`` where 1 is the format version, ``kind`` the
number in `KINDS`, ``at`` microseconds since 1970 and ``fields`` the event's own fields in
the order of its class.  Names, numbers and orders are for ever; a new field goes to the
end, with a default.

Fields that users filled hold payloads (bytes, see `durable.codec`) and errors hold stored
failure data, in the store and in the interpreter; ``history()`` gives them decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, ClassVar

import msgpack

from durable.errors import PayloadError
from durable.failure import Failure
from durable.model import micros, moment

__all__ = [
    "ActivityCancelRequested",
    "ActivityCancelled",
    "ActivityCompleted",
    "ActivityFailed",
    "ActivityScheduled",
    "CancelRequested",
    "ChildCancelRequested",
    "ChildCompleted",
    "ChildFailed",
    "ChildStarted",
    "ContinuedAsNew",
    "Event",
    "Forked",
    "PatchMarked",
    "Paused",
    "PromiseCompleted",
    "PromiseCreated",
    "PromiseFailed",
    "Resumed",
    "Retried",
    "SideEffectRecorded",
    "SignalDelivered",
    "SignalFailed",
    "SignalReceived",
    "SignalSent",
    "TimerCancelled",
    "TimerFired",
    "TimerStarted",
    "WorkflowCancelled",
    "WorkflowCompleted",
    "WorkflowFailed",
    "WorkflowStarted",
    "WorkflowTerminated",
]

FORMAT = 1

RUN_DEADLINE = -1
"""The command of the `TimerFired` by which the time of a whole run is up."""


@dataclass(frozen=True, slots=True)
class Event:
    """A fact. ``seq`` is its place in the history (from 0), ``at`` an aware UTC moment."""

    seq: int
    at: datetime

    issued: ClassVar[bool] = False  # asked for by the workflow; else it happened to it
    payloads: ClassVar[tuple[str, ...]] = ()


# -- issued by the workflow -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ActivityScheduled(Event):
    command: int
    name: str
    args: Any
    kwargs: Any
    queue: str
    context: Any = None
    issued = True
    payloads = ("args", "kwargs")


@dataclass(frozen=True, slots=True)
class ActivityCancelRequested(Event):
    command: int
    issued = True


@dataclass(frozen=True, slots=True)
class TimerStarted(Event):
    command: int
    due_at: datetime
    issued = True


@dataclass(frozen=True, slots=True)
class TimerCancelled(Event):
    command: int
    issued = True


@dataclass(frozen=True, slots=True)
class SignalSent(Event):
    command: int
    instance_id: str
    name: str
    value: Any
    issued = True
    payloads = ("value",)


@dataclass(frozen=True, slots=True)
class SideEffectRecorded(Event):
    """``value``, or ``error`` if the function raised."""

    command: int
    value: Any
    error: Any = None
    issued = True
    payloads = ("value",)


@dataclass(frozen=True, slots=True)
class ChildStarted(Event):
    command: int
    workflow: str
    instance_id: str
    args: Any
    kwargs: Any
    context: Any = None
    issued = True
    payloads = ("args", "kwargs")


@dataclass(frozen=True, slots=True)
class ChildCancelRequested(Event):
    command: int
    issued = True


@dataclass(frozen=True, slots=True)
class PromiseCreated(Event):
    command: int
    token: str
    name: str = ""
    issued = True


@dataclass(frozen=True, slots=True)
class PatchMarked(Event):
    change_id: str
    issued = True


@dataclass(frozen=True, slots=True)
class WorkflowCompleted(Event):
    value: Any
    issued = True
    payloads = ("value",)


@dataclass(frozen=True, slots=True)
class WorkflowFailed(Event):
    error: Any
    issued = True


@dataclass(frozen=True, slots=True)
class WorkflowCancelled(Event):
    reason: str
    issued = True


@dataclass(frozen=True, slots=True)
class ContinuedAsNew(Event):
    """The end of a run; the next one begins with these arguments."""

    args: Any
    kwargs: Any
    issued = True
    payloads = ("args", "kwargs")


# -- happened to the workflow -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkflowStarted(Event):
    """The first event of a run, written by the first worker.

    seed: 16 random bytes from which ``uuid4()`` and ``random()`` derive.
    python: version of the Python that ran the first step.
    attempt: from 1, of the workflow under its retry policy.
    deadline_at: when its time is up; None if it has no timeout.
    vars: those that earlier runs have set (by name), or None.
    parent: [id, run, command] of who started it, or None.
    """

    workflow: str
    version: int
    args: Any
    kwargs: Any
    parent: Any
    tags: Any
    memo: Any
    queue: str
    seed: bytes
    context: Any = None
    python: str = ""
    attempt: int = 1
    deadline_at: datetime | None = None
    vars: Any = None
    payloads = ("args", "kwargs", "memo")


@dataclass(frozen=True, slots=True)
class ActivityCompleted(Event):
    command: int
    value: Any
    attempt: int
    payloads = ("value",)


@dataclass(frozen=True, slots=True)
class ActivityFailed(Event):
    command: int
    error: Any
    attempt: int


@dataclass(frozen=True, slots=True)
class ActivityCancelled(Event):
    """``error``: of the last attempt, if it had failed before."""

    command: int
    error: Any = None


@dataclass(frozen=True, slots=True)
class TimerFired(Event):
    command: int


@dataclass(frozen=True, slots=True)
class SignalReceived(Event):
    name: str
    value: Any
    message_id: str
    payloads = ("value",)


@dataclass(frozen=True, slots=True)
class SignalDelivered(Event):
    command: int


@dataclass(frozen=True, slots=True)
class SignalFailed(Event):
    command: int
    error: Any


@dataclass(frozen=True, slots=True)
class ChildCompleted(Event):
    command: int
    value: Any
    payloads = ("value",)


@dataclass(frozen=True, slots=True)
class ChildFailed(Event):
    """``started`` is False if there is an instance with its id, so that it never began."""

    command: int
    error: Any
    started: bool = True


@dataclass(frozen=True, slots=True)
class PromiseCompleted(Event):
    command: int
    value: Any
    payloads = ("value",)


@dataclass(frozen=True, slots=True)
class PromiseFailed(Event):
    command: int
    error: Any


@dataclass(frozen=True, slots=True)
class CancelRequested(Event):
    reason: str


@dataclass(frozen=True, slots=True)
class Paused(Event):
    pass


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    pass


@dataclass(frozen=True, slots=True)
class Retried(Event):
    """The events before this one are copied from an earlier run that went wrong."""

    from_run: int


@dataclass(frozen=True, slots=True)
class Forked(Event):
    """The events before this one are copied from another instance, up to ``from_seq``.

    seed: from which ``uuid4()`` and ``random()`` derive from here on.
    """

    from_id: str
    from_seq: int
    seed: bytes


@dataclass(frozen=True, slots=True)
class WorkflowTerminated(Event):
    reason: str


KINDS: dict[int, type[Event]] = {
    1: WorkflowStarted,
    2: ActivityScheduled,
    3: ActivityCompleted,
    4: ActivityFailed,
    5: ActivityCancelRequested,
    6: ActivityCancelled,
    7: TimerStarted,
    8: TimerFired,
    9: TimerCancelled,
    10: SignalReceived,
    11: SignalSent,
    12: SignalDelivered,
    13: SignalFailed,
    14: SideEffectRecorded,
    15: CancelRequested,
    16: WorkflowCompleted,
    17: WorkflowFailed,
    18: WorkflowCancelled,
    19: WorkflowTerminated,
    20: ChildStarted,
    21: ChildCancelRequested,
    22: ChildCompleted,
    23: ChildFailed,
    24: PromiseCreated,
    25: PromiseCompleted,
    26: PromiseFailed,
    27: PatchMarked,
    28: ContinuedAsNew,
    29: Paused,
    30: Resumed,
    31: Retried,
    32: Forked,
}


_MOMENTS: dict[type[Event], int] = {  # the place of the one field that is a moment
    cls: [f.name for f in fields(cls)].index(name) - 2
    for cls, name in ((TimerStarted, "due_at"), (WorkflowStarted, "deadline_at"))
}


def _getter(cls: type[Event]) -> Callable[[Event], Any]:
    names = [f.name for f in fields(cls)][2:]
    if not names:
        return lambda event: ()
    if len(names) == 1:
        only = attrgetter(names[0])
        return lambda event: (only(event),)
    every, place = attrgetter(*names), _MOMENTS.get(cls)
    return every if place is None else lambda event: _with_moment(every(event), place)


def _with_moment(values: tuple[Any, ...], place: int) -> tuple[Any, ...]:
    """Values with the moment that stands at a place as a number."""
    at = values[place]
    return values if at is None else (*values[:place], micros(at), *values[place + 1 :])


BEGIN_AGAIN = frozenset({Retried, Forked})
"""The events that end what was copied from an earlier run, or from another instance."""


def kind_of(data: bytes) -> type[Event] | None:
    """The class of an encoded event, without decoding it: its number is the third byte."""
    return KINDS.get(data[2]) if len(data) > 2 else None


def begins_again(messages: Iterable[bytes]) -> bool:
    """Whether all of a history is a copy, which has not gone on yet: then the event that ends
    the copy is the first of the encoded ones that wait in the inbox."""
    return kind_of(next(iter(messages), b"")) in BEGIN_AGAIN


_NUMBERS = {cls: number for number, cls in KINDS.items()}
_GETTERS = {cls: _getter(cls) for cls in KINDS.values()}


# As in `codec`: a Packer must not be shared while it packs, and costs more than what it packs.
_idle: list[msgpack.Packer] = []
_BUFFER = 4096


def dump(event: Event, at: int | None = None) -> bytes:
    """The stored form of an event; ``at`` saves the conversion of its moment."""
    kind = type(event)
    if at is None:
        at = micros(event.at)
    try:
        packer = _idle.pop()
    except IndexError:
        packer = msgpack.Packer(buf_size=_BUFFER)
    data: bytes = packer.pack([FORMAT, _NUMBERS[kind], at, _GETTERS[kind](event)])
    if len(data) <= _BUFFER:  # a buffer that has grown is not kept
        _idle.append(packer)
    return data


def load(data: bytes, seq: int, at: datetime | None = None) -> Event:
    """The event that was stored. ``at`` overrides its moment: a message becomes an event
    when it is taken, not when it was sent.

    Raises `PayloadError` for what this version cannot read.
    """
    try:
        version, number, stored_at, own = msgpack.unpackb(data, strict_map_key=False)
        cls = KINDS[number] if version == FORMAT else None
    except Exception as error:
        raise PayloadError(f"event {seq} cannot be read: {error!r}") from error
    if cls is None:
        raise PayloadError(f"event {seq} has format {version}; this version reads {FORMAT}")
    try:
        place = _MOMENTS.get(cls)
        if place is not None and place < len(own) and own[place] is not None:
            own[place] = moment(own[place])
        return cls(seq, at or moment(stored_at), *own)
    except Exception as error:
        raise PayloadError(f"event {seq} ({cls.__name__}) cannot be read: {error!r}") from error


def decoded(event: Event, decode: Callable[[bytes], Any]) -> Event:
    """The event with plain values and `Failure` objects, for people to read."""
    changes: dict[str, Any] = {}
    for name in event.payloads:
        value = getattr(event, name)
        if isinstance(value, bytes):
            changes[name] = decode(value)
    if "kwargs" in event.payloads:
        changes["args"] = tuple(changes.get("args") or ())
        changes["kwargs"] = changes.get("kwargs") or {}
    if isinstance(event, WorkflowStarted):
        changes["vars"] = {name: decode(value) for name, value in (event.vars or {}).items()}
    error = getattr(event, "error", None)
    if isinstance(error, list):
        changes["error"] = Failure.from_data(error, decode)
    return replace(event, **changes) if changes else event


def encoded(event: Event, encode: Callable[[Any], bytes]) -> Event:
    """The inverse of `decoded`: the event as it is stored."""
    changes: dict[str, Any] = {}
    for name in event.payloads:
        value = getattr(event, name)
        if name == "args":
            changes[name] = encode(list(value))
        elif (name == "kwargs" and not value) or (name == "memo" and value is None):
            changes[name] = None
        elif not (isinstance(event, SideEffectRecorded) and event.error is not None):
            changes[name] = encode(value)
    if isinstance(event, WorkflowStarted):
        changes["vars"] = {name: encode(value) for name, value in event.vars.items()} or None
    error = getattr(event, "error", None)
    if isinstance(error, Failure):
        changes["error"] = error.to_data(encode)
    return replace(event, **changes) if changes else event
