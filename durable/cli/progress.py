"""What ``durable run`` says on stderr while an instance advances."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from durable.cli.errors import say
from durable.cli.event_text import EventText
from durable.events import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    ChildCompleted,
    ChildFailed,
    ChildStarted,
    Event,
    TimerCancelled,
    TimerFired,
    TimerStarted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowStarted,
    WorkflowTerminated,
    decoded,
)

QUIET_TIME = 1.0
SOON = timedelta(seconds=10)
ENDS = (WorkflowCompleted, WorkflowFailed, WorkflowCancelled, WorkflowTerminated)
ASKED = (ActivityScheduled, ChildStarted)
ANSWERS = (ActivityCompleted, ActivityFailed, ActivityCancelled, ChildCompleted, ChildFailed)


class Progress:
    """Prints the events of one instance as they are committed, with the time since the
    command began. Called by the worker's loop; ``ended`` is set at the end of a run, after
    which there may be another.

    decode: gives the value of a payload.
    """

    def __init__(self, id: str, decode: Callable[[bytes], Any], quiet: bool = False) -> None:
        self.ended = threading.Event()
        self.running: set[int] = set()
        self.timers: dict[int, datetime] = {}
        self.last = time.monotonic()
        self._id = id
        self._decode = decode
        self._quiet = quiet
        self._text = EventText()
        self._since = time.monotonic()

    def learn(self, history: Iterable[Event]) -> None:
        """Take notice of what happened before, without a word."""
        for event in history:
            self._text.line(event)
            self._count(event)

    def __call__(self, id: str, event: Event) -> None:
        if id != self._id:
            return
        self.last = time.monotonic()
        line = self._text.line(decoded(event, self._decode))
        self._count(event)
        self.note(line)
        if isinstance(event, ENDS):
            self.ended.set()

    def note(self, line: str) -> None:
        """A line with the time."""
        if not self._quiet:
            say(f"{time.monotonic() - self._since:8.3f}s  {line}")

    def _count(self, event: Event) -> None:
        if isinstance(event, ASKED):
            self.running.add(event.command)
        elif isinstance(event, ANSWERS):
            self.running.discard(event.command)
        elif isinstance(event, WorkflowStarted):  # what was of an earlier run is over
            self.running.clear()
            self.timers.clear()
        elif isinstance(event, TimerStarted):
            self.timers[event.command] = event.due_at
        elif isinstance(event, TimerFired | TimerCancelled):
            self.timers.pop(event.command, None)

    def waits_long(self) -> bool:
        """Whether nothing has happened for a while, nothing runs, and no timer is near."""
        soon = datetime.now(UTC) + SOON
        quiet = time.monotonic() - self.last > QUIET_TIME
        return quiet and not self.running and all(due > soon for due in self.timers.values())
