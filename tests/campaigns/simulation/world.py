"""One simulation: a seed in, a report out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from random import Random
from typing import Any

from durable import Client, Worker
from durable.errors import DurableError
from durable.model import Status
from durable.stores.memory import MemoryStore
from durable.stores.memory_rows import Row
from simulation import programs
from simulation.baton import SECOND, Baton, Process, Thread
from simulation.clients import Actor, Log, persistently
from simulation.faults import Faults
from simulation.final import Final, is_at_rest
from simulation.invariants import Violation
from simulation.monitor import Monitor
from simulation.network import Network
from simulation.replaced import replaced
from simulation.workers import Execution, start_worker

PATIENCE = 300 * SECOND
"""How long it may take to come to rest, when there are no more faults."""

TICK = SECOND
"""Between looks at whether all is at rest."""

HEARD = 4 * SECOND
"""After so long an owner has learnt of what waits for it: two of its heartbeats."""


@dataclass
class Report:
    """What came of a seed. error: the violation, or what else went wrong."""

    seed: int
    digest: str
    error: BaseException | None
    faults: Counter[str]
    calls: int
    switches: int
    instances: int
    events: int
    executions: int
    statuses: Counter[str]
    trace: list[str] = field(default_factory=list)


class World:
    """Workers, clients and a store.

    without: kinds of faults that are off. keep: whether the trace is kept.
    """

    def __init__(self, seed: int, without: Collection[str] = (), keep: bool = False) -> None:
        self.seed = seed
        self.name = f"simulation:{seed}"
        self.keep = keep
        self.trace: list[str] = []
        self.digest = blake2b(digest_size=16)
        self.baton = Baton()
        self.random = Random(f"{self.name}:world")
        self.faults = Faults(Random(f"{self.name}:faults"), without)
        self.log = Log()
        self.ledger: list[Execution] = []
        self.workers: dict[Process, Worker] = {}
        self.actors: list[Actor] = []
        self.clients: list[Thread] = []
        self.wanted = 0
        self.phase = 0
        self.phase_began = 0
        self.quiet_since = 0
        self.at_end: dict[bytes, Row] = {}  # before the purge
        self.janitor: Thread | None = None
        self._processes = 0

    def run(self) -> Report:
        """Run it to its end."""
        programs.outside.clear()
        error: BaseException | None = None
        with replaced(self.baton, self.name), listening(self.baton):
            baton = self.baton
            self.store = MemoryStore(lambda: baton.now)
            self.monitor = Monitor(self.store)
            self.network = Network(baton, self.store, self.faults, self._applied, self._note)
            self.wanted = self.random.choice((1, 2, 2, 3))
            for number in range(self.wanted):
                self._start_worker(number)
            for name in ("c1", "c2"):
                actor = Actor(name, baton, self.name, self.log, self.random.randint(4, 12))
                self.actors.append(actor)
                self._start_client(actor)
            baton.after(TICK, self._tick)
            baton.run()
        error = baton.errors[0] if baton.errors else None
        return self._report(error)

    # -- processes ----------------------------------------------------------------------

    def _process(self, name: str) -> Process:
        self._processes += 1
        offset, rate = self.random.uniform(-40, 40), self.random.uniform(0.9, 1.1)
        if not self.faults.happens("skew", 1.0):
            offset, rate = 0.0, 1.0
        return Process(f"{name}.{self._processes}", 1000 + offset, rate)

    def _start_worker(self, number: int) -> None:
        process = self._process(f"w{number}")

        def body() -> None:
            store = self.network.store(process)
            try:
                worker = start_worker(self.baton, process, store, self.random, self.ledger.append)
            except DurableError:
                return
            self.workers[process] = worker
            if self.phase == 0 and self.random.random() < 0.2:
                self.baton.pause(self.random.randrange(1, 20 * SECOND))
                worker.stop(self.random.choice((0.0, 0.5, 3.0)))
                self.baton.kill(process)

        def again() -> None:
            self.workers.pop(process, None)
            if not self.baton.over:
                delay = self.random.randrange(5 * SECOND)
                self.baton.after(delay, partial(self._start_worker, number))

        Thread(self.baton, process, body).start()
        process.at_death.append(again)

    def _start_client(self, actor: Actor) -> None:
        process = self._process(actor.name)

        def again() -> None:
            if actor.left and not self.baton.over:
                self.baton.after(SECOND, partial(self._start_client, actor))

        process.at_death.append(again)
        body = partial(actor.work, self.network.store(process))
        self.clients.append(Thread(self.baton, process, body))
        self.clients[-1].start()

    def _all_done(self) -> bool:
        return not any(actor.left for actor in self.actors)

    # -- how it ends --------------------------------------------------------------------

    def _tick(self) -> None:
        """Faults stop when the clients have done all; then paused instances are resumed, and
        when all is at rest what is left is cancelled, and comes to rest again."""
        baton, rows = self.baton, self.monitor.rows.by_uid
        self.monitor.look()
        if not self._is_quiet():
            self.quiet_since = baton.now
        elif baton.now - self.quiet_since > HEARD:
            self.monitor.look_for_unheard(baton.now - HEARD)
        if self.phase == 0:
            if all(thread.ended for thread in self.clients) and self._all_done():
                self.faults.active = False
                self._next_phase()
        elif self._is_quiet() and is_at_rest(rows.values()):
            disturbed = self.faults.disturbed() + self.monitor.stops
            final = Final(self.monitor, self.log, self.ledger, disturbed)
            final.check()
            if self.phase == 2:
                self.at_end = dict(rows)
                final.purge()
                baton.over = True
                return
            self._next_phase()
        elif baton.now - self.phase_began > PATIENCE:
            raise Violation("I11", f"no rest after {PATIENCE // SECOND} s: {self._restless()}")
        baton.after(TICK, self._tick)

    def _is_quiet(self) -> bool:
        """Whether all workers are there and registered, no dead one is still (a heartbeat that
        comes late keeps it so for another lease), and nobody disturbs them."""
        tidied = self.janitor is not None and self.janitor.ended
        ready = {worker.runner.worker.id for worker in self.workers.values()}
        return tidied and len(ready) == self.wanted and ready == self.monitor.rows.workers.keys()

    def _next_phase(self) -> None:
        self.phase += 1
        self.phase_began = self.baton.now
        process = self._process("janitor")
        self.janitor = Thread(self.baton, process, partial(self._tidy, process))
        self.janitor.start()

    def _tidy(self, process: Process) -> None:
        left = self.network.busy_until - self.baton.now
        self.baton.pause(max(left, 0) + SECOND)  # what is still under way arrives first
        client = Client(self.network.store(process), deadline=1.0)
        for row in list(self.monitor.rows.by_uid.values()):
            id = row.instance.id
            if self.phase == 1:
                act = partial(client.resume, id)
            else:
                act = partial(client.cancel, id, f"{id} is left")
            if not row.instance.status.finished:
                persistently(self.baton, act)

    def _restless(self) -> list[Any]:
        return [
            (i.id, i.status.value, i.owner, i.wake_at, i.reason, len(row.tasks), len(row.inbox))
            for row in self.monitor.rows.by_uid.values()
            for i in [row.instance]
            if not is_at_rest([row])
        ]

    # -- what is told -------------------------------------------------------------------

    def _applied(self, verb: str, args: tuple[Any, ...], process: Process) -> Any:
        try:
            return self.monitor.apply(verb, args)
        except Violation as violation:
            self.baton.failed(violation)
            raise

    def _note(self, line: str) -> None:
        self.digest.update(line.encode())
        if self.keep:
            self.trace.append(line)

    def _report(self, error: BaseException | None) -> Report:
        rows = self.at_end or self.monitor.rows.by_uid
        for row in rows.values():
            self.digest.update(repr(row.instance).encode())
            for stored in row.histories.values():
                self.digest.update(b"".join(stored))
        return Report(
            self.seed,
            self.digest.hexdigest(),
            error,
            self.faults.counts,
            self.network.calls,
            self.baton.switches,
            len(rows),
            sum(len(story.stored) for story in self.monitor.stories.values()),
            len(self.ledger),
            Counter(Status(row.instance.status).value for row in rows.values()),
            self.trace,
        )


class _Listener(logging.Handler):
    """What the product calls an error of its own ends the simulation."""

    def __init__(self, baton: Baton) -> None:
        super().__init__(logging.ERROR)
        self._baton = baton

    def emit(self, record: logging.LogRecord) -> None:
        if self._baton.current is None or not self._baton.process.dead:
            cause = record.exc_info[1] if record.exc_info else None
            self._baton.failed(cause or RuntimeError(record.getMessage()))


@contextmanager
def listening(baton: Baton) -> Iterator[None]:
    """Messages of the product: errors count, nothing is printed."""
    logger, listener = logging.getLogger("durable"), _Listener(baton)
    before = logger.level, logger.propagate
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)
        logger.level, logger.propagate = before


def simulate(seed: int, without: Collection[str] = (), keep: bool = False) -> Report:
    """Run the simulation of a seed."""
    return World(seed, without, keep).run()
