"""Applying events, one at a time.

Rules
-----
* ``apply`` takes one event, runs every coroutine that became ready until all wait, and
  leaves what was decided in ``decision``.  So the result does not depend on how messages
  were batched.
* ``now()`` is the moment of the event that is applied; it never goes back.
* Commands are numbered in the order in which they are issued.
* Replay is the same code: what it issues is compared with what is recorded, and what was
  recorded is used instead of being made again.  Markers of `patched` are passed over by
  whoever does not ask for them.
* When all wait, the predicates of `wait_until` are looked at, in order: the first that is
  true is run until all wait again.
* An error of `apply` leaves the interpreter unusable: its owner closes it at once.  One that
  a called verb meets inside user code is kept in ``broken``, so that nothing swallows it.
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from types import CodeType
from typing import Any, TypeVar

from durable import message_ids
from durable.codec import Codec
from durable.commands import COMBINATORS, Command, mistake
from durable.current import acting, running
from durable.definitions import WorkflowDefinition
from durable.errors import NonDeterminismError, PayloadError, UsageError
from durable.events import (
    Event,
    PatchMarked,
    PromiseCompleted,
    PromiseFailed,
    WorkflowStarted,
    dump,
)
from durable.interpreter import limits
from durable.interpreter.aborted import StepAborted
from durable.interpreter.copied import first_run, foreign
from durable.interpreter.coroutine import Coroutine, single
from durable.interpreter.decision import Decision, Ending
from durable.interpreter.forgotten import used
from durable.interpreter.handlers import HANDLERS
from durable.interpreter.mismatch import mismatch
from durable.interpreter.scopes import Scope, cancelled
from durable.interpreter.signals import Signals
from durable.interpreter.table import WAITS
from durable.interpreter.waits import Wait
from durable.model import EPOCH, micros
from durable.propagation import Propagators

logger = logging.getLogger("durable.workflow")

E = TypeVar("E", bound=Event)


class Interpreter:
    """One run of one instance, live in memory. Not thread-safe: it has one owner.

    definition: the workflow's code. instance_id, run: shown by ``info()``.
    token: gives the token of the promise with a number. propagators: what is carried along.
    limits: what the run may have.
    """

    __slots__ = (
        "_births", "_cursor", "_first_number", "_issuing", "_recorded", "_same_until",
        "_step_first", "any_cancelled", "at", "at_us", "broken", "cancel_reason",
        "cancel_requested", "children", "closing", "codec", "coroutines", "decision",
        "definition", "due_heap", "early", "effects", "ending", "event_seq", "failures", "handled",
        "in_predicate", "instance_id", "limits", "numbers", "origins", "outcome", "patches",
        "pending", "predicates", "propagators", "put_backs", "queue", "ready", "restored", "root",
        "run", "seed", "seq", "signals", "started", "timed_out", "timers", "token",
        "unstarted", "unused", "variables", "written",
    )  # fmt: skip

    def __init__(
        self,
        definition: WorkflowDefinition[..., Any],
        codec: Codec,
        instance_id: str = "",
        run: int = 1,
        token: Callable[[int], str] = str,
        propagators: Propagators | None = None,
        limits: limits.Limits = limits.DEFAULT_LIMITS,
    ) -> None:
        self.definition, self.limits = definition, limits
        self.codec = codec
        self.instance_id, self.run = instance_id, run
        self.variables: dict[str, bytes] = {}  # encoded, by name
        self.token = token
        self.propagators = propagators or None
        self.restored: ExitStack | None = None  # what the propagators have entered
        self.seq = 0  # the seq of the next event; so the length of the history
        self.event_seq = 0  # of the event that is applied
        self.written = 0  # bytes of that event, and of those that it has led to
        self.at_us, self.at = 0, EPOCH
        self.queue = definition.queue or ""
        self.seed = b""
        self.numbers = self.children = 0  # commands issued, children started, in this run
        self.pending: dict[int, Any] = {}  # unanswered; None: nobody waits
        # What side effects gave in steps that are not stored yet: they are not called again.
        self.effects: dict[int, tuple[Any, bytes | None, list[Any] | None]] = {}
        self.early: dict[int, PromiseCompleted | PromiseFailed] = {}
        self.origins: tuple[tuple[int, int], ...] = ()  # (numbers below this, are of this run)
        self.timers: dict[int, int] = {}
        self.due_heap: list[tuple[int, int]] = []
        self.signals = Signals()
        self.handled: dict[str, Coroutine] = {}  # who reads for `on_signal`, by name
        self.predicates: dict[Any, None] = {}
        self.in_predicate = False
        self.patches: dict[str, bool] = {}
        self.ready: deque[tuple[Coroutine, Any, BaseException | None]] = deque()
        self.put_backs: list[tuple[str, Any]] = []
        self.coroutines: dict[Coroutine, None] = {}
        self.failures: dict[Coroutine, None] = {}  # tasks that failed while nobody joined them
        self.unstarted: dict[Any, None] = {}  # generators that this step has spawned
        self.unused: dict[int, tuple[Any, CodeType, int, Coroutine]] = {}
        self.decision = Decision()
        self.started: WorkflowStarted | None = None
        self.root: Coroutine | None = None
        self.outcome: tuple[Any, BaseException | None] | None = None
        self.ending: Ending | None = None
        self.cancel_reason = ""
        self.cancel_requested = self.any_cancelled = self.timed_out = self.closing = False
        self.broken: BaseException | None = None
        self._births = 0
        self._recorded: Sequence[Event] | None = None
        self._cursor = self._step_first = 0
        self._same_until = 0  # before this, arguments are another instance's
        self._first_number = 0  # of the commands that this step issues
        self._issuing: Coroutine | None = None

    # -- the two ways in ----------------------------------------------------------------

    def apply(self, event: Event, at: int | None = None) -> None:
        """Apply the next event, which must have ``seq`` as its seq.

        at: its moment in microseconds, if known. Raises `NonDeterminismError`,
        `StepAborted`, or any error of the interpreter itself: then close it.
        """
        self._begin(event, micros(event.at) if at is None else at)
        self.written = 0
        self._record(event)
        self._step(event)

    def replay(self, events: Sequence[Event], copied: bool = False) -> None:
        """Apply a whole history from its start; nothing is decided anew.

        copied: all of it is a copy. Raises `NonDeterminismError` where the code issues
        anything else than the history has, with both sides and the line.
        """
        for _ in self.steps(events, copied):
            pass

    def steps(self, events: Sequence[Event], copied: bool = False) -> Iterator[int]:
        """As `replay`, step by step: gives the seq of the last event of each."""
        self._recorded = events
        self._cursor = 0
        self._same_until = foreign(events, self.run, copied)
        run, self.run = self.run, first_run(events, self.run, copied)
        total = len(events)
        while self._cursor < total:
            event = events[self._cursor]
            if event.issued:
                raise self.mismatch(event, None)
            self._cursor = self._step_first = self._cursor + 1
            self._begin(event, micros(event.at))
            self._step(event)
            if self._cursor < total and events[self._cursor].issued:
                left = self._next_recorded()  # after markers that nobody asked for
                if left is not None and left.issued:
                    raise self.mismatch(left, None)
            yield self._cursor - 1
        self._recorded = None
        self.decision, self.run = Decision(), run

    @property
    def replaying(self) -> bool:
        return self._recorded is not None

    @property
    def silent(self) -> bool:
        """Whether what the workflow says was said before, or will be said elsewhere."""
        return self.replaying or self.closing

    @property
    def from_elsewhere(self) -> bool:
        """Whether the event that was just matched was issued by another instance (before a
        fork)."""
        return self._recorded is not None and self.seq <= self._same_until

    def take(self) -> Decision:
        """What was decided since the last call."""
        decision, self.decision = self.decision, Decision()
        return decision

    def close(self) -> None:
        """Drop every generator without effect. The interpreter is of no use afterwards."""
        self.closing = True
        for coroutine in list(self.coroutines):
            coroutine.close()
        self.coroutines.clear()
        self.leave_context()
        self.pending.clear()
        if self.root is not None:
            self.root.unlink()
        self.root = self._issuing = None

    # -- what the runner asks -----------------------------------------------------------

    def expects(self, event: Event, message_id: str = "") -> bool:
        """Whether an event that would be applied next is for this run, and still awaited."""
        command = getattr(event, "command", None)
        if command is None:
            return True
        if isinstance(event, PromiseCompleted | PromiseFailed):
            state = self.pending.get(command)
            if state is None and (command < self.numbers or command in self.early):
                return False
            token = self.token(command) if state is None else getattr(state, "token", None)
            return token is not None and message_ids.is_promise_done(message_id, token)
        return command in self.pending

    def fired(self, number: int, seq: int, at: datetime) -> Event:
        """The event that a due timer is."""
        event: Event = self.pending[number].expired(seq, at)
        return event

    def next_due(self) -> int | None:
        """When the earliest timer falls due."""
        heap = self.due_heap
        while heap and self.timers.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: int) -> list[tuple[int, int]]:
        """(due, number) of the timers that are due, in order."""
        return sorted((due, number) for number, due in self.timers.items() if due <= now)

    def is_stuck(self) -> bool:
        """Whether no event that can be expected would wake it."""
        if self.ending or self.signals.count:
            return False
        for wait in self.pending.values():  # noqa: SIM110  # asked after each step: no generator
            if wait is not None and wait.wakes():
                return False
        return True

    def deadlock(self) -> str:
        """Why it is stuck, with the line of each coroutine."""
        lines = "; ".join(f"{c.name} at {c.line()}" for c in self.coroutines)
        return f"deadlock: every coroutine waits for what no event can change: {lines}"

    def run_of(self, number: int) -> int:
        """The run in which a command was issued: an earlier one, if it was copied from it."""
        for below, run in self.origins:
            if number < below:
                return run
        return self.run

    # -- one step -----------------------------------------------------------------------

    def _begin(self, event: Event, at: int) -> None:
        if event.seq != self.seq:
            raise PayloadError(f"the history has event {event.seq} where {self.seq} must be")
        if self.ending is not None:
            raise PayloadError(f"the history goes on after its end, with {event}")
        self.event_seq = event.seq
        self.seq += 1
        self.broken = None  # of a step that had just ended when it was stopped
        if at > self.at_us:
            self.at_us = at
            self.at = event.at
        self._first_number = self.numbers

    def _step(self, event: Event) -> None:
        handler = HANDLERS.get(type(event))
        if handler is None:
            raise PayloadError(f"the history has {type(event).__name__}, which nothing handles")
        try:
            handler(self, event)
            self._run_ready()
        except StepAborted:
            self.check_whole()
            raise

    def _run_ready(self) -> None:
        budget = limits.STEP_BUDGET
        ready = self.ready
        while True:
            while self.put_backs:
                name, signal = self.put_backs.pop(0)
                self.signals.arrive(name, signal)
            if not ready:
                if self.predicates and self._one_is_true():
                    continue
                if self.unstarted:
                    self.unstarted.clear()
                break
            budget -= 1
            if budget < 0:
                limits.too_long(ready[0][0])
            coroutine, value, error = ready.popleft()
            coroutine.resume(value, error)

    def _one_is_true(self) -> bool:
        return any(wait.look() for wait in list(self.predicates))

    # -- what waits ask -----------------------------------------------------------------

    def issue(self, coroutine: Coroutine, command: Any) -> None:
        """A coroutine has yielded this."""
        if self.broken is not None:
            raise self.broken
        self._issuing = coroutine
        if self.any_cancelled and coroutine.scope.is_cancelled():
            used(self, command)
            self.ready.append((coroutine, None, cancelled()))
            return
        try:
            if len(self.pending) >= self.limits.max_pending or isinstance(command, COMBINATORS):
                limits.check_room(self, command)
            wait = self.build(command, coroutine, 0)
        except StepAborted:
            raise
        except BaseException as error:  # a wrong command, or a propagator's
            used(self, command)
            self.ready.append((coroutine, None, error))
            return
        coroutine.waiting = wait
        wait.issue()

    def build(self, command: Any, parent: Any, index: int) -> Wait:
        cls = WAITS.get(type(command))
        if cls is None:
            raise TypeError(f"a workflow yielded {mistake(command)}")
        return cls(self, command, parent, index)

    def next_number(self, wait: Any) -> int:
        """The number of the command that is issued; its answer will go to ``wait``."""
        number = self.numbers
        self.numbers = number + 1
        if wait is not None:
            self.pending[number] = wait
        return number

    def _next_recorded(self) -> Event | None:
        """The recorded event that comes next, without the markers before it."""
        recorded = self._recorded
        if recorded is None:
            return None
        while self._cursor < len(recorded):
            event = recorded[self._cursor]
            if type(event) is not PatchMarked:
                return event
            self.pass_over(1)
        return None

    def pass_over(self, events: int) -> None:
        """In a replay: these have been matched, or nobody asks for them."""
        self._cursor += events
        self.seq += events

    def expect(self, cls: type[E], number: int | None, command: Any) -> E | None:
        """The recorded event that this command must match; None if it is issued now."""
        recorded = self._recorded
        if recorded is None:
            return None
        event = recorded[self._cursor] if self._cursor < len(recorded) else None
        if type(event) is PatchMarked:
            event = self._next_recorded()
        if type(event) is not cls or getattr(event, "command", None) != number:
            raise self.mismatch(event, command)
        self._cursor += 1
        self.seq += 1
        return event

    def recorded_step(self) -> tuple[Sequence[Event], int]:
        """In a replay: what this step has issued, and how much of it has been matched."""
        recorded, first = self._recorded or (), self._step_first
        end = first
        while end < len(recorded) and recorded[end].issued:
            end += 1
        return recorded[first:end], self._cursor - first

    def emit(self, event: Event) -> None:
        """Record an event that was issued."""
        self.seq += 1
        self._record(event)

    def _record(self, event: Event) -> None:
        data = dump(event, self.at_us)
        self.written += len(data)
        if self.written > self.limits.max_step_bytes:
            limits.too_large(self, self._issuing)
        self.decision.events.append(data)

    def note(self, cls: Callable[[int, datetime, int], Event], number: int, command: Any) -> None:
        """Record, or match, an event that has nothing but a command's number."""
        kind: Any = cls  # a class of events, called like its constructor
        if self.expect(kind, number, command) is None:
            self.emit(cls(self.seq, self.at, number))

    def is_new(self, number: int) -> bool:
        """Whether a command was issued in this very step, so that nothing of it is stored."""
        return number >= self._first_number

    def drop(self, number: int) -> None:
        """The answer to this command will be recorded, and nobody waits for it."""
        if number in self.pending:
            self.pending[number] = None

    def start_timer(self, number: int, due: int) -> None:
        self.timers[number] = due
        heapq.heappush(self.due_heap, (due, number))

    def stop_timer(self, number: int) -> None:
        self.timers.pop(number, None)
        self.pending.pop(number, None)

    @property
    def issuing(self) -> Coroutine:
        assert self._issuing is not None
        return self._issuing

    # -- what called verbs ask ----------------------------------------------------------

    @contextmanager
    def verb(self, of: str) -> Iterator[None]:
        """Around what a called verb records: user code cannot swallow a mismatch."""
        coroutine = running.get()
        if coroutine is None or coroutine.interpreter is not self:
            raise UsageError(f"{of} belongs to another instance")
        self._issuing = coroutine
        try:
            yield
        except NonDeterminismError as error:
            self.broken = self.broken or error
            raise StepAborted(str(error)) from None

    def check_whole(self) -> None:
        """Raise what a called verb has met, though user code may have swallowed it."""
        if self.broken is not None:
            raise self.broken

    # -- coroutines ---------------------------------------------------------------------

    def spawn(self, parent: Coroutine, work: Any, name: str | None) -> Coroutine:
        """A new coroutine; it starts when its creator next yields."""
        number, path = parent.spawns(name)
        coroutine = self.new_coroutine(path, name or str(number), parent.scope)
        if isinstance(work, Command):
            used(self, work)
            coroutine.gen = single(work)
        else:
            coroutine.gen = work
        self.ready.append((coroutine, None, None))
        return coroutine

    def new_coroutine(self, path: str, name: str, within: Scope | None) -> Coroutine:
        self._births += 1
        coroutine = Coroutine(self, path, name, self._births, within)
        self.coroutines[coroutine] = None
        return coroutine

    def cancel_task(self, coroutine: Coroutine) -> None:
        acting("Task.cancel")
        with self.verb(f"task {coroutine.name}"):
            if not coroutine.ended:
                coroutine.own.cancel()

    def leave_context(self) -> None:
        """Undo what the propagators have entered."""
        if self.restored is not None and self.root is not None:
            try:
                self.root.context.run(self.restored.close)
            except Exception as error:
                self.log(logging.ERROR, "a propagator failed: %r", error)

    def log(self, level: int, text: str, *args: Any) -> None:
        if not self.replaying:
            logger.log(level, "%s: " + text, self.instance_id, *args)

    # -- mismatch -----------------------------------------------------------------------

    def mismatch(self, event: Event | None, command: Any) -> NonDeterminismError:
        return mismatch(self, self._issuing, event, command)
