"""What drives workflows in a test: the runner of production, on a store in memory, in virtual
time.

Rules
-----
* Nothing happens by itself.  `settle` does all that is due; `advance` moves the clock to the
  next moment at which something is, and only when everything waits.
* What goes on for ever is an error: a call of the test has so many turns, through all time.
* Attempts run here, one after the other, when their time has passed.
* After each commit the history is replayed: code that decides otherwise the second time fails
  the test at once (see `replays`).
* Whatever could happen in another order, take longer or go wrong, is asked of a `Chooser`: by
  default nothing does.  A worker that dies leaves its attempts behind: they may have been done.
* The same test gives the same run: uids, seeds and the delays of retries are not left to chance.
* An `AssertionError` of a workflow or an activity is the test's own: it is raised as it is.  So
  is what ends a test or a program (`KeyboardInterrupt`, pytest's own exceptions).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from unittest import SkipTest

from durable.codec import Codec
from durable.current import observer
from durable.errors import (
    Cancelled,
    DurableError,
    InstanceFinished,
    KitError,
    MockError,
    StuckError,
    TimeoutExpired,
)
from durable.events import SignalReceived, dump, load
from durable.interpreter import Interpreter, StepAborted
from durable.model import Instance, Status, WorkerInfo, moment
from durable.propagation import Propagators
from durable.records import Outgoing, Sent
from durable.registry import Registry
from durable.retry import microseconds
from durable.runner import Attempt, Runner
from durable.runner.attempt import CompleteLater, failed
from durable.runner.cache import Cache
from durable.runner.decide import Proposal
from durable.starting import new_uid
from durable.store import Created, End, NewInstance, Step, Verdict
from durable.stores.memory import MemoryStore
from durable.testing.agenda import Agenda, Item
from durable.testing.attempts import Attempts
from durable.testing.chooser import Chooser
from durable.testing.faults import (
    DEATHS,
    DIES,
    FAILS,
    FAILS_FOR_GOOD,
    LEFT_BEHIND,
    LONGER,
    LOSES_ANSWER_FOR_GOOD,
    RARELY,
    REPEATS,
    REPEATS_AFTER,
    SLOWLY,
    WORKER,
    ends_of,
)
from durable.testing.guards import guarded, unguarded
from durable.testing.mocks import Call, Mocks
from durable.testing.replays import Replays

__all__ = ["MAX_TURNS", "Driver", "ends_the_test"]

FOREVER = 1 << 60
SECRET = bytes(32)

FAR = microseconds(timedelta(days=50 * 365), "far")
"""What is that far away never comes: without a time limit a result from outside is waited for
for 100 years."""

MAX_TURNS = 10_000
"""Of a call of a test, after which it is taken for one that never ends."""


class Driver:
    """A worker without threads.

    registry: what it can run. now: where the clock begins, in microseconds since 1970.
    mocks, strict: what answers instead of activities, and whether those that have none are
    refused. began: called when an instance has made its first step. guards: whether calls that
    a workflow must not make are errors, but for those in allow (see `guards`). chooser: decides
    on what may happen. signals_twice: whether clients may send signals again. max_turns: of a
    call of the test. checks: whether histories are replayed. where: shows where an instance is.
    """

    def __init__(
        self,
        registry: Registry,
        codec: Codec,
        propagators: Propagators,
        now: int,
        *,
        mocks: Mocks,
        strict: bool,
        began: Callable[[Instance], None],
        guards: bool,
        allow: Collection[str],
        chooser: Chooser,
        signals_twice: bool,
        max_turns: int,
        checks: bool,
        where: Callable[[str], str],
    ) -> None:
        self.now = self._start_at = now
        self.registry = registry
        self.codec = codec
        self.propagators = propagators
        self.agenda = Agenda()
        self.store = _Store(self)
        self.failure: BaseException | None = None
        self._attempts = Attempts(
            mocks, registry, codec, propagators,
            strict=strict, tell=self.raised, now=lambda: moment(self.now),
        )  # fmt: skip
        self._began = began
        self._watching: Callable[[], AbstractContextManager[None]] = (
            partial(guarded, self.fail, frozenset(allow)) if guards else unguarded
        )
        self._chooser = chooser
        self._workers = 0
        self._queues: tuple[str, ...] = ()
        self._signals_twice = signals_twice
        self._max_turns = max_turns
        self._checks = checks
        self._where = where
        self._turns = 0
        self._happened: Counter[str] = Counter()
        self._stepped: Counter[str] = Counter()
        self._waits = False
        self._next_wake_at: int | None = None
        self.replays = Replays(self.store, registry, codec, propagators)
        self.runner = self._make_runner()

    def _make_runner(self) -> _Runner:
        registry = self.registry
        self._workers += 1
        info = WorkerInfo(
            f"kit-{self._workers}", "here", "here", 1, "kit", self._queues, 1, registry.needs(),
            tuple(registry.activities), self.now, FOREVER,
        )  # fmt: skip
        self.store.register(info)
        made = _Runner(
            self.store, registry, self.codec, info, slots=1_000_000, max_held=1_000_000,
            cache=Cache(1_000_000), propagators=self.propagators,
        )  # fmt: skip
        made.driver = self
        return made

    def _die(self) -> None:
        """The worker is gone, and another one takes over."""
        dead = self.runner
        self.close()
        self.runner = self._make_runner()
        self.store.take_over([dead.worker.id])

    def close(self) -> None:
        """Drop all generators."""
        self.runner.drop_all()
        self.runner.cache.clear()

    # -- time ---------------------------------------------------------------------------

    def begin(self) -> None:
        """A call of the test begins: its turns are counted from here."""
        self._turns = 0
        self._happened.clear()
        self._stepped.clear()

    def settle(self) -> None:
        """Do all that is due now. Raises what went wrong."""
        __tracebackhide__ = True
        before = observer.set(self)
        try:
            while self._act():
                self._turns += 1
                if self._turns > self._max_turns:
                    raise StuckError(self._endless())
        finally:
            observer.reset(before)

    def _endless(self) -> str:
        """What goes on for ever."""
        steps = {f"a step of {id}": count for id, count in self._stepped.items()}
        often = (self._happened + Counter(steps)).most_common(3)
        words = ", ".join(f"{what} ({count} times)" for what, count in often)
        lines = [f"after {self._max_turns} turns (max_turns=) it still goes on: {words}"]
        lines += [self._where(id) for id, _ in self._stepped.most_common(1)]
        return "\n".join(lines)

    def advance(self, limit: int | None = None) -> bool:
        """Move the clock to the next moment at which something is due, at most to the limit;
        False if there is none (before it)."""
        moments = [self.agenda.next, self._next_wake_at]
        first = min((at for at in moments if at is not None and at < self.now + FAR), default=None)
        if first is None or (limit is not None and first > limit):
            if limit is not None:
                self.now = max(self.now, limit)
            return False
        self.now = max(self.now, first)
        return True

    def _act(self) -> bool:
        """Do one thing, if one is due."""
        __tracebackhide__ = True
        self.check()
        due = self.agenda.due(self.now)
        if due and not self._worker_first():
            first = due.pop(self._chooser.order([item.what for item in due]))
            self.agenda.put_back(self.now, due)
            self._do(first)
            return True
        self.agenda.put_back(self.now, due)
        try:
            self._next_wake_at = self.runner.claim().next_wake_at
            self._waits = not self.runner.busy
            if self._waits:
                return bool(due)
            # Nowhere else does code of workflows run, and to be watched takes half of the time.
            with self._watching():
                starting = self.runner.turn()
        except _Died:
            self._die()
            return True
        for attempt in starting:
            self._start(attempt)
        return True

    def _worker_first(self) -> bool:
        """Whether the worker goes on before what else is due."""
        is_due = self._next_wake_at is not None and self._next_wake_at <= self.now
        if self._waits and not is_due:
            return False
        return bool(self._chooser.order(("what is due", "the worker")))

    def _do(self, item: Item) -> None:
        self._waits = False  # the worker may have something to do now
        self._happened[item.what] += 1
        try:
            item.do()
        except InstanceFinished:
            if not self._chooser.may_be_late():
                raise

    def _start(self, attempt: Attempt) -> None:
        attempt.clock = self._seconds
        attempt.begin()
        name = _named(attempt)
        longer = LONGER[self._chooser.fault(name, SLOWLY, RARELY)]
        at = self.now + self._attempts.begin(attempt, longer)
        self.agenda.add(at, f"the end of {name}", partial(self._run, self.runner, attempt))

    def _seconds(self) -> float:
        """The clock of attempts: since the test began, so that no digit is lost."""
        return (self.now - self._start_at) / 1_000_000

    def _run(self, runner: Runner, attempt: Attempt) -> None:
        """An attempt ends: of a worker that has died, it may have been done."""
        name = _named(attempt)
        if runner is not self.runner:
            if self._chooser.fault(name, LEFT_BEHIND, RARELY):
                self._attempts.perform(attempt)
            self._attempts.forget(attempt)
            return
        happens = self._chooser.fault(name, ends_of(attempt))
        done = happens not in (FAILS, FAILS_FOR_GOOD)
        outcome = self._attempts.perform(attempt) if done else None
        if happens == DIES:
            self._die()
            return
        self._attempts.end(attempt, delivered=not happens)
        if outcome is None:
            error: Exception = ConnectionError("not done")
            runner.finish(failed(attempt, error, self.codec, happens == FAILS_FOR_GOOD))
        elif happens:
            error = TimeoutExpired("the answer is lost")
            runner.finish(failed(attempt, error, self.codec, happens == LOSES_ANSWER_FOR_GOOD))
        else:
            runner.finish(outcome)

    def fail(self, error: BaseException) -> None:
        """Remember what went wrong first: it is raised when the turn is over."""
        self.failure = self.failure or error

    def check(self) -> None:
        """Raise what went wrong, once."""
        __tracebackhide__ = True
        failure, self.failure = self.failure, None
        if isinstance(failure, MockError):  # of the test: how the kit met it tells nothing
            raise failure.with_traceback(None)
        if failure is not None:
            raise failure

    # -- what workflow code tells (an `Observer`) ---------------------------------------

    def raised(self, error: BaseException) -> None:
        """It is told here whoever catches it: one who joins, or a step that is not stored."""
        if ends_the_test(error):
            self.fail(error)

    def forgot(self, text: str, filename: str, line: int) -> None:
        """A command that is forgotten is an error here."""
        hint = "what may be done later is kept as a function: `undo.append(lambda: x.call(…))`"
        self.fail(KitError(f"{filename}:{line}: {text}; {hint}"))

    # -- what the runner and the store tell ---------------------------------------------

    def interpreter(self, uid: bytes) -> Interpreter | None:
        """Of an instance that is known here, to look at."""
        held = self.runner.held.get(uid)
        return self.runner.cache.peek(uid) if held is None else held.interpreter

    def serve(self, queue: str) -> None:
        """Take what is in this queue, too."""
        if queue not in self._queues:
            self._queues = (*self._queues, queue)
            self.runner.worker = replace(self.runner.worker, queues=self._queues)

    def under_way(self, name: str) -> list[Call]:
        """The calls of an activity that have begun and not ended."""
        return self._attempts.under_way(name)

    def known(self) -> None:
        """The registry has changed."""
        names = tuple(self.registry.activities)
        needs = self.registry.needs()
        self.runner.worker = replace(self.runner.worker, workflows=needs, activities=names)
        self.store.register(self.runner.worker)

    def dies(self, steps: Sequence[Step]) -> int:
        """Whether the worker dies with a commit: 1 before, 2 after it."""
        if not steps:
            return 0
        return self._chooser.fault(WORKER, DEATHS, RARELY)

    def sent(self, message: Outgoing) -> None:
        """A client has sent something: who does not learn that it has arrived sends it again."""
        event = load(message.event, 0)
        if not self._signals_twice or not isinstance(event, SignalReceived):
            return
        what = f"signal {event.name} to {message.id}"
        happens = self._chooser.fault(what, REPEATS, RARELY)
        if happens:
            id = f"{message.message_id}:again"
            again = replace(message, message_id=id, event=dump(replace(event, message_id=id)))
            send = partial(MemoryStore.send, self.store, [again])
            self.agenda.add(self.now + REPEATS_AFTER[happens], f"{what}, again,", send)

    def _check_code(self, instance: Instance, step: Step) -> None:
        """What nobody here can run must not look as if it took its time."""
        registry = self.registry
        missing = {task.name for task in step.tasks} - registry.activities.keys()
        missing |= {start.new.workflow for start in step.starts} - registry.workflows.keys()
        for name in sorted(missing):
            text = "has no code here, and no mock: activities=[…], workflows=[…] or env.mock(…)"
            self.fail(MockError(f"{name}, which {instance.id} calls, {text}"))

    def left_behind(self, steps: Sequence[Step], verdicts: Sequence[Verdict]) -> None:
        """What a worker has stored that does not live to learn of it."""
        for step, verdict in zip(steps, verdicts, strict=True):
            held = self.runner.held.get(step.uid)
            if held is not None and verdict is Verdict.COMMITTED:
                self.committed(held.instance, step)

    def committed(self, instance: Instance, step: Step) -> None:
        """A step was stored."""
        self._stepped[instance.id] += 1
        if step.history_length == 0 and step.events and step.run == 1:
            self._began(instance)
        self._check_code(instance, step)
        if self.failure is not None:
            return
        if step.end is not None and step.end.status is Status.BLOCKED:
            self.fail(self._blocked(instance.id, step.end))
        elif self._checks:
            try:
                self.replays.check(instance, step)
            except DurableError as error:
                self.fail(error)

    def _blocked(self, id: str, end: End) -> KitError:
        """Why an instance does not go on: this code has refused it, or nothing will wake it."""
        text = f"{id} is blocked: {end.reason}"
        return KitError(text) if end.blocked_by else StuckError(f"{text}\n{self._where(id)}")


class _Store(MemoryStore):
    """It tells which queues are used, and what was sent."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(lambda: driver.now)
        self._driver = driver
        self._created = 0

    def secret(self) -> bytes:
        """Tokens are the same in each run of a test, as all else is."""
        return SECRET

    def create(self, rows: Sequence[NewInstance], if_exists: str) -> list[Created]:
        for row in rows:
            self._driver.serve(row.queue)
        named = [replace(row, uid=self._uid(row.id)) for row in rows]
        return super().create(named, if_exists)

    def _uid(self, id: str) -> bytes:
        """The same in each run of the test, and another one each time."""
        self._created += 1
        name = f"{self._created} {id}".encode()
        return new_uid(self._driver.now, blake2b(name, digest_size=10).digest())

    def send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        sent = super().send(messages)
        for message, answer in zip(messages, sent, strict=True):
            if answer is Sent.SENT:
                self._driver.sent(message)
        return sent

    def commit(self, worker: str, steps: Sequence[Step]) -> list[Verdict]:
        for step in steps:
            for task in step.tasks:
                self._driver.serve(task.queue)
            for start in step.starts:
                self._driver.serve(start.new.queue)
        happens = self._driver.dies(steps)
        if happens == 1:
            raise _Died
        verdicts = super().commit(worker, steps)
        if happens == 2:
            self._driver.left_behind(steps, verdicts)
            raise _Died
        return verdicts


class _Died(BaseException):
    """The worker is gone."""


class _Runner(Runner):
    """It tells of what was stored."""

    driver: Driver

    def become(self, worker: WorkerInfo) -> None:
        super().become(worker)
        self._decider.secret = worker.id.encode()
        self._decider.chance = self._outbox.chance = lambda: 0.5  # neither early nor late

    def answered(self, proposal: Proposal, verdict: Verdict) -> None:
        super().answered(proposal, verdict)
        if verdict is Verdict.COMMITTED:
            self.driver.committed(proposal.held.instance, proposal.step)


def ends_the_test(error: BaseException) -> bool:
    """Whether it is no failure of a workflow or an activity, but of the test itself."""
    ordinary = (Exception, Cancelled, CompleteLater, GeneratorExit, StepAborted, SystemExit)
    return isinstance(error, (AssertionError, SkipTest)) or not isinstance(error, ordinary)


def _named(attempt: Attempt) -> str:
    return f"{attempt.name} of {attempt.instance_id}"
