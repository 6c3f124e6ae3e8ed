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


@dataclass(slots=True)
class SentSignal:
    """A signal that was sent, for the store."""

    command: int
    instance_id: str
    name: str
    value: bytes


@dataclass(slots=True)
class Ending:
    """How the workflow ended; ``event`` is the last event."""

    event: Event
    unread: tuple[str, ...]


@dataclass(slots=True)
class Decision:
    """What events led to: the encoded events (they and those that were issued), activities
    to run, activities to stop, signals to send, and whether vars have changed."""

    events: list[bytes] = field(default_factory=list)
    tasks: dict[int, ScheduledTask] = field(default_factory=dict)
    cancels: list[int] = field(default_factory=list)
    sends: list[SentSignal] = field(default_factory=list)
    vars_changed: bool = False
