"""Worker processes: the real worker with its loop and its lease, whose activities take time."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from durable import Worker
from durable.codec import Codec
from durable.errors import DurableError
from durable.propagation import Propagators
from durable.registry import Registry
from durable.runner import Attempt, Outcome, run_attempt
from durable.store import Store, TaskKey
from simulation import programs
from simulation.baton import SECOND, Baton, Process

LEASE = 6.0


@dataclass(frozen=True, slots=True)
class Execution:
    """An attempt that began."""

    key: TaskKey
    number: int
    crashes: int
    epoch: int
    at: int
    worker: str


class Executor:
    """Runs attempts: each takes some virtual time, and its body is called at the end."""

    def __init__(
        self,
        baton: Baton,
        process: Process,
        random: Random,
        ledger: Callable[[Execution], None],
        registry: Registry,
        codec: Codec,
        done: Callable[[Outcome], None],
    ) -> None:
        self._baton = baton
        self._process = process
        self._random = random
        self._ledger = ledger
        self._registry = registry
        self._codec = codec
        self._done = done
        self.occupied = 0

    def submit(self, attempt: Attempt) -> None:
        if attempt.limited:
            attempt.begin()
        baton = self._baton
        name = self._process.name
        self._ledger(
            Execution(attempt.key, attempt.number, attempt.crashes, attempt.epoch, baton.now, name)
        )
        takes = int(self._random.random() ** 4 * 5 * SECOND)
        if self._random.random() < 0.03:
            takes += 20 * SECOND
        baton.after(takes, partial(self._finish, attempt))

    def _finish(self, attempt: Attempt) -> None:
        process, baton = self._process, self._baton
        if process.dead:
            return
        if process.stopped_until > baton.now:
            baton.after(process.stopped_until - baton.now, partial(self._finish, attempt))
            return
        definition = self._registry.activities[attempt.name]
        baton.on_behalf = process
        try:
            outcome = Context().run(run_attempt, attempt, definition, self._codec)
            attempt.ended = True
            self.occupied -= attempt.overdue
            self._done(outcome)
        finally:
            baton.on_behalf = None

    def grow(self) -> bool:
        return False

    def overrun(self, attempt: Attempt) -> None:
        attempt.overdue = True
        self.occupied += not attempt.ended

    def stop(self) -> None:
        """Whatever runs goes on, as in threads that nobody waits for."""


def start_worker(
    baton: Baton,
    process: Process,
    store: Store,
    random: Random,
    ledger: Callable[[Execution], None],
) -> Worker:
    """Start a worker in this process, from one of its threads. Raises what the store raises."""
    worker = Worker(
        store,
        workflows=[programs.run],
        activities=programs.ACTIVITIES,
        activity_slots=random.choice((1, 2, 4)),
        max_in_flight=random.choice((2, 10)),
        instance_cache=random.choice((0, 1, 10)),
        lease=LEASE,
        build="simulated",
    )

    def executor(
        slots: int, registry: Registry, codec: Codec, done: Any, carried: Propagators
    ) -> Executor:
        return Executor(baton, process, random, ledger, registry, codec, done)

    worker._executor_class = executor

    def bury() -> None:
        """Generators are dropped in order, not by the collector of garbage."""
        worker.runner.drop_all()
        worker.runner.cache.clear()

    process.at_death.append(bury)
    try:
        worker.start()
    except DurableError:
        bury()
        raise
    return worker
