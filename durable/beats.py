"""What the attempts that run here need besides being run: limits of time, heartbeats, cancels.

Rules
-----
* Limits are looked at by the worker's loop, heartbeats are sent by the lease's thread, and
  cancels come from both.  Nothing is done for attempts without limits that send no details
  and are not told of cancels.
* Details are sent at every tick (`durable.lease.TICK`, a second), only the latest, and only
  if they are new.  The answer names the tasks whose cancel was requested; while an attempt
  runs that is to be told, the question is asked even if there is nothing to send.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from durable.errors import DurableError
from durable.runner import Attempt
from durable.store import Beat, Store, TaskKey

logger = logging.getLogger("durable.worker")

NOT_STARTED = 0.05
"""Seconds between looks at attempts that have not got a thread yet."""


class Beats:
    """Of one worker. attempts: gives those that run here, by key."""

    def __init__(self, store: Store, attempts: Callable[[], dict[TaskKey, Attempt]]) -> None:
        self._store = store
        self._attempts = attempts

    def late(self) -> list[tuple[Attempt, str]]:
        """Attempts whose time is up, and what they exceeded: "attempt" or "heartbeat"."""
        now = time.monotonic()
        return [
            (attempt, "attempt" if attempt.ends_at <= now else "heartbeat")
            for attempt in self._attempts().values()
            if attempt.expires_at is not None and attempt.expires_at <= now
        ]

    def pause(self) -> float | None:
        """Seconds until the time of an attempt may be up; None if there is no limit."""
        limits = [a.expires_at for a in self._attempts().values() if a.limited]
        if not limits:
            return None
        now = time.monotonic()
        return max(0.0, min(NOT_STARTED if at is None else at - now for at in limits))

    def cancel(self, keys: Iterable[TaskKey]) -> None:
        """A cancel of these tasks was requested."""
        attempts = self._attempts()
        for key in keys:
            attempt = attempts.get(key)
            if attempt is not None:
                attempt.stopping = True

    def send(self, worker: str) -> None:
        """Send what is new to the store; learn of cancels. It never raises: a heartbeat that
        was not kept is sent with the next one."""
        running = list(self._attempts().values())
        news = [attempt for attempt in running if attempt.unsent]
        asks = any(a.options.on_cancel == "request" and not a.stopping for a in running)
        if not news and not asks:
            return
        beats = [_beat(attempt) for attempt in news]
        try:
            self.cancel(self._store.beat(worker, beats))
        except DurableError as error:
            logger.warning("the store does not take the heartbeats of activities: %s", error)
            for attempt in news:
                attempt.unsent = True


def _beat(attempt: Attempt) -> Beat:
    attempt.unsent = False  # before the details are read: a new one is not lost
    return Beat(*attempt.key, attempt.epoch, attempt.details)
