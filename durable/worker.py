"""The worker: one loop around the runner, an executor, and a lease.

    while running:
        take the outcomes of activities     from the executor's queue
        claim what there is room for        when something may be due
        turn                                decide, commit; nothing starts before the commit
        start what the commit made real
        if nothing happened: wait           until woken, or something falls due

Rules
-----
* The loop has one thread; the executor, the lease and signal handlers only set flags and
  put outcomes into a queue, and then wake it.
* An error of the store stops nothing: the loop backs off and tries again.
* Stopping: no more claims; what runs may finish within ``grace``; the rest is released.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from queue import SimpleQueue
from types import ModuleType
from typing import TYPE_CHECKING, Any

from durable.beats import Beats
from durable.codec import Codec
from durable.errors import DurableError, OutcomeUnknown, StoreError, UsageError
from durable.events import Event, load
from durable.executors.threads import GROW_INTERVAL
from durable.interpreter import (
    MAX_HISTORY,
    MAX_PENDING,
    MAX_STEP_BYTES,
    Limits,
    StepAborted,
)
from durable.lease import Lease, fingerprint, machine
from durable.model import DEFAULT_QUEUE, Instance, Status, WorkerInfo
from durable.propagation import Propagators
from durable.registry import Registry
from durable.retention import Retention, checked_retain
from durable.retry import Duration
from durable.runner import Outcome, Runner, Transactions
from durable.runner.attempt import timed_out
from durable.runner.cache import Cache
from durable.store import Store, Unavailable
from durable.watchdog import Watchdog
from durable.worker_options import (
    DEFAULT_CACHE,
    DEFAULT_GRACE,
    DEFAULT_IN_FLIGHT,
    DEFAULT_LEASE,
    DEFAULT_STEP_TIMEOUT,
    DEFAULT_UNKNOWN_AFTER,
    EXECUTORS,
    check_options,
    check_transactional,
    modules_of,
    opened,
    slots_of,
)

if TYPE_CHECKING:
    from peewee import Database

logger = logging.getLogger("durable.worker")

FIRST_PAUSE = 0.05
"""Seconds to wait after a first error of the store; then twice as long, and so on."""
BUSY_CLAIM_INTERVAL = 0.005
"""Seconds between claims while there is other work."""
NO_MARK = -1
MAX_WAIT = 5.0
"""Seconds after which an idle loop looks even if nothing woke it."""


class Worker:
    """Runs workflows and activities.

    store: a URL or a `Store`. modules: scanned for definitions; or give lists.
    queues: which to serve. Defaults to ("default",).
    activity_slots: activities at one time. Defaults to 16 (processes: the CPUs).
    max_in_flight: instances held at one time. Defaults to 1,000.
    instance_cache: live generators kept of instances that wait. Defaults to 10,000.
    executor: "thread", or "process" for activities that use the CPU.
    lease: seconds after which others take over from a worker that is silent. Defaults to 30.
    grace: seconds that running activities have to finish at a stop. Defaults to 30.
    step_timeout: seconds that one step of a workflow may take. Defaults to 10.
    unknown_after: seconds until an instance that no worker knows is blocked. Defaults to 5.
    build: names the version of the code; defaults to a digest of the modules' sources.
    burst: stop when nothing is due any more.
    propagators: what is carried from callers through workflows to activities: context
    variables, or objects (see `durable.propagation`). Defaults to none.
    max_history: events that the history of a run may have; at more it is blocked, at 10,000
    it is warned of. Defaults to 50,000.
    max_pending: commands of a run that may wait at one time. A replay must meet the limit
    where the run did: a change of it is like one of the code. Defaults to 100,000.
    max_step_bytes: bytes of events that a workflow may write in answer to one event; at more
    it is blocked. Defaults to 64 MiB.
    retain: how long finished instances are kept, by status, like ``{"completed":
    timedelta(days=7)}``; then they are purged. Defaults to None (for ever).
    on_event: called with (instance id, event, decoded not) after each commit, in the loop.

    Raises `UsageError` for options that make no sense.
    """

    def __init__(
        self,
        store: Store | Database | str,
        modules: Iterable[ModuleType] = (),
        *,
        workflows: Iterable[Any] = (),
        activities: Iterable[Any] = (),
        queues: Sequence[str] = (DEFAULT_QUEUE,),
        activity_slots: int | None = None,
        max_in_flight: int = DEFAULT_IN_FLIGHT,
        instance_cache: int = DEFAULT_CACHE,
        executor: str = "thread",
        lease: float = DEFAULT_LEASE,
        grace: float = DEFAULT_GRACE,
        step_timeout: float = DEFAULT_STEP_TIMEOUT,
        unknown_after: float = DEFAULT_UNKNOWN_AFTER,
        build: str | None = None,
        burst: bool = False,
        codec: Codec | None = None,
        propagators: Iterable[Any] = (),
        max_history: int = MAX_HISTORY,
        max_pending: int = MAX_PENDING,
        max_step_bytes: int = MAX_STEP_BYTES,
        retain: Mapping[Status | str, Duration] | None = None,
        on_event: Callable[[str, Event], None] | None = None,
    ) -> None:
        slots = slots_of(activity_slots, executor)
        check_options(queues, build, slots, max_in_flight, lease, step_timeout)
        self._limits = Limits(max_history, max_pending, max_step_bytes)
        kept, modules = checked_retain(retain), list(modules)
        self.store = opened(store)
        self._retention = Retention(self.store, kept)
        self.codec = codec or Codec()
        self.propagators = Propagators(propagators)
        workflows, activities = list(workflows), list(activities)
        self.registry = Registry(modules, workflows, activities)
        check_transactional(self.registry.transactional, self.store, executor)
        self.slots = slots
        self.grace, self.burst = grace, burst
        self._executor_class = EXECUTORS[executor]
        self._on_event = on_event
        self._done: SimpleQueue[Outcome] = SimpleQueue()
        self._idle = False
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._crashed = False
        self._reconcile = False
        self._claimed_at = 0.0
        self._claimed_mark = NO_MARK
        self._next_wake_at: int | None = None
        self._more = False
        self._thread: threading.Thread | None = None
        self._grace_ends = 0.0
        self._beats = Beats(self.store, lambda: self.runner.attempts)
        build = build or fingerprint([*modules, *modules_of(workflows + activities)])
        self._lease = self._make_lease(self._template(queues, slots, build), lease, unknown_after)
        self._max_in_flight = max_in_flight
        self._cache_size = instance_cache
        self.runner = self._make_runner(self._lease.info)
        self._watchdog = Watchdog(self._stepping, step_timeout, self._give_up)

    def _make_lease(self, template: WorkerInfo, lease: float, unknown_after: float) -> Lease:
        return Lease(
            self.store,
            template,
            lease,
            unknown_after=unknown_after,
            beats=self._beats,
            on_beat=self._beaten,
            watch=self._watch,
        )

    def _make_runner(self, info: WorkerInfo) -> Runner:
        return Runner(
            self.store,
            self.registry,
            self.codec,
            info,
            slots=self.slots,
            max_held=self._max_in_flight,
            cache=Cache(self._cache_size),
            on_step=self._report if self._on_event else None,
            propagators=self.propagators,
            limits=self._limits,
        )

    def _template(self, queues: Sequence[str], slots: int, build: str) -> WorkerInfo:
        return WorkerInfo(
            "",
            socket.gethostname(),
            machine(),
            os.getpid(),
            build,
            tuple(queues),
            slots,
            self.registry.needs(),
            tuple(self.registry.activities),
            0,
            0,
        )

    # -- running ------------------------------------------------------------------------

    def run(self) -> int:
        """Run until SIGTERM or SIGINT (the second one stops at once), or, with ``burst``,
        until nothing is due. Gives 0, or 1 if it had to give up."""
        previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                previous[number] = signal.signal(number, self._on_signal)
        try:
            self.start()
            while not self._stopped.wait(0.5):
                pass
            return self._ended()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def start(self) -> None:
        """Run in a background thread; see `stop`."""
        if self._thread is not None:
            raise UsageError("this worker runs already")
        self._crashed = False
        self._stopped.clear()  # not what asks to stop: a signal may have come already
        options: dict[str, Any] = {}
        if self.registry.transactional:
            options["run"] = Transactions(self.store, lambda: self.runner.worker.id).run
        self._executor = self._executor_class(
            self.slots, self.registry, self.codec, self._put, self.propagators, **options
        )
        self.runner = self._make_runner(self._lease.register())
        self._lease.start()
        self._retention.start()
        self._thread = threading.Thread(target=self._loop, name="durable-worker", daemon=True)
        self._thread.start()

    def stop(self, grace: float | None = None) -> None:
        """Stop gracefully: nothing more is claimed, what runs may finish within ``grace``
        seconds (defaults to the worker's), the rest is released to other workers."""
        if self._thread is None:
            return
        self.request_stop(grace)
        self._stopped.wait()
        self._ended()

    def request_stop(self, grace: float | None = None) -> None:
        """As `stop`, without waiting for it."""
        self._grace_ends = time.monotonic() + (self.grace if grace is None else grace)
        self._stopping.set()
        self.store.wake()

    @property
    def running(self) -> bool:
        """Whether its loop runs; False before the start, after the end, and if it gave up."""
        return self._thread is not None and not self._stopped.is_set()

    @property
    def build(self) -> str:
        """The fingerprint of its code."""
        return self._lease.info.build

    def stats(self) -> dict[str, int]:
        """What this worker does just now."""
        return {
            "instances_held": len(self.runner.held),
            "instances_cached": len(self.runner.cache),
            "activities_running": len(self.runner.attempts),
            "activities_overdue": self._executor.occupied if self._thread else 0,
            "slots": self.slots,
        }

    def _ended(self) -> int:
        thread, self._thread = self._thread, None
        if thread is not None and not self._lease.given_up:
            thread.join()
        self._stopping.clear()
        return 1 if self._lease.given_up or self._crashed else 0

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._stopping.is_set():
            os._exit(1)
        logger.info("%s: stopping", signal.Signals(number).name)
        self.request_stop()

    # -- the loop -----------------------------------------------------------------------

    def _loop(self) -> None:
        self._watchdog.thread_id = threading.get_ident()
        pause = FIRST_PAUSE
        try:
            while not self._finished():
                try:
                    self._turn()
                    pause = FIRST_PAUSE
                except StepAborted:  # the step had just ended when it was interrupted
                    continue
                except (Unavailable, OutcomeUnknown) as error:
                    logger.warning("the store does not answer: %s", error)
                    self._stopping.wait(pause * (0.5 + random.random()))
                    pause = min(pause * 2, 5.0)
                except StoreError:
                    logger.exception("the store failed")
                    self._stopping.wait(pause)
                    pause = min(pause * 2, 5.0)
        except BaseException:
            self._crashed = True
            logger.exception("the worker's loop failed: this is a bug")
        finally:
            self._end()

    def _turn(self) -> None:
        runner = self.runner
        if self._lease.expired and not self._lease.given_up:
            logger.warning("this worker has expired: it drops all and registers anew")
            runner.drop_all()
            runner.become(self._lease.register())
        self._drain()
        self._time_out()
        if self._reconcile:
            self._reconcile = False
            runner.must_reconcile = True
        if runner.busy:
            if self._claim_is_worth_it():
                self._claim()
            self._advance()
            return
        mark = self.store.mark()  # before looking, so that nothing is missed
        if self._may_be_due(mark):
            self._claim(mark)
        if runner.busy:
            self._advance()
            return
        if self.burst and not runner.attempts and self._nothing_due():
            self._stopping.set()
        self._wait(mark)

    def _advance(self) -> None:
        self._claimed_mark = NO_MARK  # what is committed now may be due now
        for attempt in self.runner.turn():
            self._executor.submit(attempt)
        if self.runner.stalled:
            self._rest(self.store.mark(), BUSY_CLAIM_INTERVAL)

    def _drain(self) -> None:
        while not self._done.empty():
            outcome = self._done.get()
            try:
                self.runner.finish(outcome)
            except DurableError:  # the store does not tell the time
                self._done.put(outcome)
                raise

    def _claim_is_worth_it(self) -> bool:
        """When busy: if there is room for more that is known to be due, and every few
        milliseconds."""
        runner = self.runner
        room = self._more and len(runner.held) * 10 < runner.max_held * 9
        return room or self._since_claim() >= BUSY_CLAIM_INTERVAL

    def _may_be_due(self, mark: int) -> bool:
        """When there is nothing to commit: if the store has changed, or a moment has come.
        While activities run here the store changes by every step; that is busy, too."""
        if mark != self._claimed_mark:
            return not self.runner.attempts or self._claim_is_worth_it()
        if self._since_claim() >= MAX_WAIT:
            return True
        return self._next_wake_at is not None and self._next_wake_at <= self.store.now()

    def _since_claim(self) -> float:
        return time.monotonic() - self._claimed_at

    def _claim(self, mark: int = NO_MARK) -> None:
        stopping = self._stopping.is_set()
        self.runner.slots = 0 if stopping else self.slots - self._executor.occupied
        if stopping:
            return
        claimed = self.runner.claim()
        self._claimed_mark, self._claimed_at = mark, time.monotonic()
        self._next_wake_at, self._more = claimed.next_wake_at, claimed.more

    def _wait(self, mark: int) -> None:
        """Until the store changes, an activity ends, or something falls due."""
        timeout = MAX_WAIT
        if self._stopping.is_set():  # nothing is claimed any more, so nothing falls due
            timeout = min(timeout, max(0.0, self._grace_ends - time.monotonic()))
        else:
            timeout = min(timeout, self._until_claim(mark))
        if self._executor.grow():
            timeout = min(timeout, GROW_INTERVAL)
        limit = self._beats.pause()
        if limit is not None:
            timeout = min(timeout, limit)
        self._rest(mark, timeout)

    def _rest(self, mark: int, timeout: float) -> None:
        """Until the store changes or an activity ends, for some seconds at most."""
        self._idle = True
        try:
            if self._done.empty():
                self.store.wait(mark, timeout)
        finally:
            self._idle = False

    def _until_claim(self, mark: int) -> float:
        """Seconds until something may have to be claimed."""
        timeout = MAX_WAIT
        if mark != self._claimed_mark:  # not looked since: soon
            timeout = max(0.0, BUSY_CLAIM_INTERVAL - self._since_claim())
        if self._next_wake_at is None:
            return timeout
        return max(0.0, min(timeout, (self._next_wake_at - self.store.now()) / 1_000_000))

    def _put(self, outcome: Outcome) -> None:
        """An attempt has ended (called by the executor's threads)."""
        self._done.put(outcome)
        if self._idle:
            self.store.wake()

    def _time_out(self) -> None:
        """Give up attempts whose time is up."""
        for attempt, kind in self._beats.late():
            self.runner.finish(timed_out(attempt, kind, self.codec))
            self._executor.overrun(attempt)

    def _nothing_due(self) -> bool:
        claimed = self.runner.claim()
        return not claimed.instances and not claimed.tasks and self._done.empty()

    def _finished(self) -> bool:
        if self._lease.given_up:
            return True
        if not self._stopping.is_set():
            return False
        if time.monotonic() >= self._grace_ends:
            return True
        return not self.runner.attempts and not self.runner.busy and self._done.empty()

    def _end(self) -> None:
        """Release everything, whatever happened."""
        self._retention.stop()
        try:
            if not self._lease.given_up:
                self._beats.send(self._lease.info.id)  # what is given back keeps its details
                self._lease.stop()
        except DurableError as error:  # also when it is not known whether it was
            logger.warning("perhaps not released (then the lease will expire): %s", error)
        self.runner.drop_all()
        self.runner.cache.clear()
        self._executor.stop()
        self._stopped.set()

    # -- called by other threads --------------------------------------------------------

    def _beaten(self) -> None:
        self._reconcile = True
        self.store.wake()

    def _watch(self) -> None:
        self._watchdog.look()

    def _stepping(self) -> tuple[Any, int]:
        return self.runner.stepping, self.runner.steps

    def _give_up(self) -> None:
        self._lease.give_up()
        self._stopped.set()

    def _report(self, instance: Instance, seq: int, events: list[bytes]) -> None:
        assert self._on_event is not None
        for place, data in enumerate(events):
            try:
                self._on_event(instance.id, load(data, seq + place))
            except Exception:
                logger.exception("on_event failed")
