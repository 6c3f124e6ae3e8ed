"""What the interpreter answers: plain values, for the runner to store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from durable.events import Event


@dataclass(slots=True)
class ScheduledTask:
    """An activity that was issued, for the store."""

    command: int
    call: Any
    queue: str
    args: bytes
    kwargs: bytes | None
    context: bytes | None = None


@dataclass(slots=True)
class StartedChild:
    """A child that was started, for the store. at: the moment of its event."""

    command: int
    call: Any
    instance_id: str
    queue: str
    args: bytes
    kwargs: bytes | None
    context: bytes | None
    memo: bytes | None
    at: int


@dataclass(slots=True)
class ChildCancel:
    """A child that is to be cancelled; with ``at`` it is told from others of its id."""

    command: int
    instance_id: str
    at: int


@dataclass(slots=True)
class SentSignal:
    """A signal that was sent, for the store."""

    command: int
    instance_id: str
    name: str
    value: bytes


@dataclass(slots=True)
class Ending:
    """How the run ended; ``event`` is the last event.

    carried: encoded events for the run that follows. types: qualified names of the classes
    of the failure, if it is one. cancelled: a cancel was requested.
    """

    event: Event
    unread: tuple[str, ...]
    carried: tuple[bytes, ...] = ()
    types: tuple[str, ...] = ()
    cancelled: bool = False


@dataclass(slots=True)
class Decision:
    """What events led to: the encoded events (they and those that were issued), activities
    to run, activities to stop, signals to send, children to start and to cancel, children
    of an earlier run that may have ended unheard (numbers, ids), and whether vars have
    changed."""

    events: list[bytes] = field(default_factory=list)
    tasks: dict[int, ScheduledTask] = field(default_factory=dict)
    cancels: list[int] = field(default_factory=list)
    sends: list[SentSignal] = field(default_factory=list)
    starts: dict[int, StartedChild] = field(default_factory=dict)
    child_cancels: list[ChildCancel] = field(default_factory=list)
    lookups: list[tuple[int, str]] = field(default_factory=list)
    vars_changed: bool = False
