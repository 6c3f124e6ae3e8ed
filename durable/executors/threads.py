"""Attempts in threads of this process.

Threads are started as they are needed, at most twice as many every few milliseconds: quick
activities never have more than a few threads, however many slots there are.  A thread cannot
be killed: an attempt that overruns its timeout keeps its thread, and so its slot, until it
returns; its next heartbeat raises, so that one that sends some ends soon.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic

from durable.codec import Codec
from durable.propagation import Propagators
from durable.registry import Registry
from durable.runner import Attempt, Outcome, run_attempt

logger = logging.getLogger("durable.worker")

GROW_INTERVAL = 0.005
"""Seconds between looks at what waits for a thread."""
FAILED_INTERVAL = 0.5
"""The same, after no thread could be had."""


class ThreadExecutor:
    """Runs attempts in at most ``slots`` threads (daemons: they never keep a process).

    run: what runs one; defaults to `run_attempt`.
    """

    def __init__(
        self,
        slots: int,
        registry: Registry,
        codec: Codec,
        done: Callable[[Outcome], None],
        propagators: Propagators | None = None,
        run: Callable[..., Outcome] = run_attempt,
    ) -> None:
        self.slots = slots
        self._registry = registry
        self._codec = codec
        self._done = done
        self._propagators = propagators
        self._run = run
        self._queue: SimpleQueue[Attempt | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._submitted = 0
        self._seen = 0  # what had been submitted at the last look
        self._grown_at = 0.0
        self._overdue = 0

    @property
    def occupied(self) -> int:
        return self._overdue

    def submit(self, attempt: Attempt) -> None:
        self._submitted += 1
        self._queue.put(attempt)
        if not self._threads:
            self._add()

    def grow(self) -> bool:
        """Start threads for what has been waiting since the last call; True if something
        still waits, so that this should be called again soon."""
        taken = self._submitted - self._queue.qsize()
        now = monotonic()
        if now - self._grown_at >= GROW_INTERVAL:
            stale = self._seen - taken
            room = self.slots + self._overdue - self._threads
            for _ in range(min(stale, room, max(4, self._threads))):
                if not self._add():
                    now += FAILED_INTERVAL
                    break
            self._seen, self._grown_at = self._submitted, now
        return taken < self._submitted

    def overrun(self, attempt: Attempt) -> None:
        with self._lock:
            attempt.overdue = True
            if attempt.ended:
                return
            self._overdue += 1
        logger.warning(
            "%s of %s did not end in time: its thread is still busy",
            attempt.name,
            attempt.instance_id,
        )

    def stop(self) -> None:
        """Let the threads end when they have nothing more to do."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _add(self) -> bool:
        """Start a thread. If none can be had, what waits goes on waiting: `grow` tries again."""
        try:
            threading.Thread(target=self._work, name="durable-activity", daemon=True).start()
        except (RuntimeError, OSError) as error:
            logger.warning("no thread for activities can be started: %s", error)
            return False
        self._threads += 1
        return True

    def _work(self) -> None:
        activities = self._registry.activities
        while True:
            attempt = self._queue.get()
            if attempt is None:
                self._threads -= 1
                return
            if attempt.limited:
                attempt.begin()
            definition = activities[attempt.name]
            outcome = self._run(attempt, definition, self._codec, self._propagators)
            with self._lock:
                attempt.ended = True
                if attempt.overdue:
                    self._overdue -= 1
            self._done(outcome)
