"""Retention: a worker purges what ended long enough ago, by status.

Rules
-----
* Every worker that is told to may do it, all at the same time: what one has deleted the others
  do not find.  They look at random moments, so that they seldom meet.
* It has a thread of its own, and rests between batches: workflows go on meanwhile.
* The age is that of the end, by the store's clock.
* A call whose outcome its caller does not know is repeated, and must find what the first call
  has left: nothing is purged sooner than `SHORTEST` after its end.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Mapping
from functools import partial

from durable.errors import DurableError, UsageError
from durable.model import FINISHED, Status
from durable.purging import DEFAULT_BATCH, purge
from durable.retry import Duration, microseconds
from durable.store import Store

__all__ = ["Retention", "checked_retain"]

logger = logging.getLogger("durable.worker")

INTERVAL = 60.0
"""Seconds between two looks, on average."""

SHORTEST = 60.0
"""Seconds for which everything is kept."""


def checked_retain(retain: Mapping[Status | str, Duration] | None) -> dict[Status, int]:
    """Microseconds by status."""
    kept: dict[Status, int] = {}
    for name, age in (retain or {}).items():
        if name not in set(FINISHED):
            known = ", ".join(status for status in Status if status.finished)
            raise UsageError(f"retain= takes finished statuses ({known}), not {str(name)!r}")
        kept[Status(name)] = microseconds(age, f"retain={{{str(name)!r}: …}}")
        if kept[Status(name)] < SHORTEST * 1_000_000:
            raise UsageError(
                f"retain= keeps {name} for {age}: at least {SHORTEST:g} seconds, so that a call "
                "that is repeated finds what it has done"
            )
    return kept


class Retention:
    """Purges a store now and then. retain: microseconds by status; of no others."""

    def __init__(self, store: Store, retain: Mapping[Status, int]) -> None:
        self._store = store
        self._retain = retain
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._retain:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="durable-retention", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop after the batch that is under way."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def sweep(self) -> int:
        """Purge what is old enough now; gives how many."""
        total, now = 0, self._store.now()
        for status, age in self._retain.items():
            if not self._stop.is_set():
                batch = partial(self._store.purge, now - age, [status], DEFAULT_BATCH)
                total += purge(batch, self._stop.wait)
        if total:
            logger.info("purged %s instances", total)
        return total

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL * random.uniform(0.5, 1.5)):
            try:
                self.sweep()
            except DurableError as error:
                logger.warning("nothing could be purged: %s", error)
            except Exception:
                logger.exception("the purge failed")
