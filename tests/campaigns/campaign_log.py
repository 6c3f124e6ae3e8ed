"""What the clients of a campaign have asked for, and what they were told of it.

An operation that was *acknowledged* has happened, once.  One that *failed* has not.  Of one
whose outcome is *unknown* either may be true, but not both halves of it, and not twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from durable.errors import OutcomeUnknown
from durable.store import Unavailable


class Outcome(Enum):
    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    UNKNOWN = "unknown"


def outcome_of(call: Callable[[], object]) -> Outcome:
    """Call a client; what it was told. Anything else that it raises is a failure of the test."""
    try:
        call()
    except OutcomeUnknown:
        return Outcome.UNKNOWN
    except Unavailable:
        return Outcome.FAILED
    return Outcome.ACKNOWLEDGED


@dataclass
class Story:
    """One instance. result: what it gives before what it is told; None if it is cancelled.
    told: the values that it was told by one sender, one after the other, the last one last.
    has_child: whether it has one, and hears of it by a signal."""

    id: str
    result: Sequence[object] | None
    starts: list[Outcome] = field(default_factory=list)
    told: list[tuple[int, Outcome]] = field(default_factory=list)
    cancels: list[Outcome] = field(default_factory=list)
    has_child: bool = True

    def outcomes(self) -> list[Outcome]:
        return [*self.starts, *(outcome for _, outcome in self.told), *self.cancels]


class Log:
    """The stories of all clients."""

    def __init__(self) -> None:
        self._stories: list[Story] = []
        self._lock = threading.Lock()

    def add(self, story: Story) -> Story:
        with self._lock:
            self._stories.append(story)
        return story

    @property
    def stories(self) -> list[Story]:
        with self._lock:
            return list(self._stories)

    def count(self, outcome: Outcome | None = None) -> int:
        """How many operations there were, or of how many this is the outcome."""
        found = [one for story in self.stories for one in story.outcomes()]
        return len(found) if outcome is None else found.count(outcome)
