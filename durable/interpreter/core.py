"""Applying events, one at a time.

Rules
-----
* ``apply`` takes one event, runs every coroutine that became ready until all wait, and
  leaves what was decided in ``decision``.  So the result does not depend on how messages
  were batched.
* ``now()`` is the moment of the event that is applied; it never goes back.
* Commands are numbered in the order in which they are issued.
* Replay is the same code: what it issues is compared with what is recorded, and what was
  recorded is used instead of being made again.
* An error of `apply` leaves the interpreter unusable: its owner closes it at once.
* When the root has ended, tasks that still run are cancelled and awaited; then the end is
  recorded.
"""

from __future__ import annotations

import heapq
import inspect
import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from types import CodeType
from typing import Any, TypeVar

from durable.codec import Codec
from durable.commands import Command, mistake
from durable.definitions import WorkflowDefinition
from durable.errors import Cancelled, DurableError, NonDeterminismError, PayloadError
from durable.events import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    CancelRequested,
    Event,
    SignalDelivered,
    SignalFailed,
    SignalReceived,
    TimerFired,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowStarted,
    dump,
)
from durable.failure import Failure
from durable.interpreter.coroutine import Coroutine, StepAborted, warn_forgotten
from durable.interpreter.decision import Decision, Ending, ScheduledTask, SentSignal
from durable.interpreter.mismatch import mismatch
from durable.interpreter.table import WAITS
from durable.interpreter.waits import Signals, Wait
from durable.model import EPOCH, micros

logger = logging.getLogger("durable.workflow")

STEP_BUDGET = 100_000

E = TypeVar("E", bound=Event)


class Interpreter:
    """One run of one instance, live in memory. Not thread-safe: it has one owner.

    definition: the workflow's code. instance_id, run: shown by ``info()``.
    variables: the vars that earlier runs have set (encoded, by name).
    """

    __slots__ = (
        "_cursor", "_first_number", "_issuing", "_recorded", "at", "at_us", "cancel_reason",
        "closing", "codec", "coroutines", "decision", "definition", "due_heap", "ending",
        "failures", "instance_id", "numbers", "outcome", "pending", "put_backs", "queue",
        "ready", "root", "run", "seed", "seq", "signals", "started", "timers", "unused",
        "variables",
    )  # fmt: skip

    def __init__(
        self,
        definition: WorkflowDefinition[..., Any],
        codec: Codec,
        instance_id: str = "",
        run: int = 1,
        variables: dict[str, bytes] | None = None,
    ) -> None:
        self.definition = definition
        self.codec = codec
        self.instance_id = instance_id
        self.run = run
        self.variables = dict(variables or {})
        self.seq = 0  # the seq of the next event; so the length of the history
        self.at_us = 0
        self.at: datetime = EPOCH
        self.queue = definition.queue
        self.seed = b""
        self.numbers = 0
        self.pending: dict[int, Wait | None] = {}  # unanswered; None: nobody waits
        self.timers: dict[int, int] = {}
        self.due_heap: list[tuple[int, int]] = []
        self.signals = Signals()
        self.ready: deque[tuple[Coroutine, Any, BaseException | None]] = deque()
        self.put_backs: list[tuple[str, tuple[int, Any]]] = []
        self.coroutines: dict[Coroutine, None] = {}
        self.failures: list[Coroutine] = []  # tasks that failed while nobody joined them
        self.unused: dict[int, tuple[Any, CodeType, int, Coroutine]] = {}
        self.decision = Decision()
        self.started: WorkflowStarted | None = None
        self.root: Coroutine | None = None
        self.outcome: tuple[Any, BaseException | None] | None = None
        self.ending: Ending | None = None
        self.cancel_reason = ""
        self.closing = False
        self._recorded: Sequence[Event] | None = None
        self._cursor = 0
        self._first_number = 0  # of the commands that this step issues
        self._issuing: Coroutine | None = None

    # -- the two ways in ----------------------------------------------------------------

    def apply(self, event: Event, at: int | None = None) -> None:
        """Apply the next event, which must have ``seq`` as its seq.

        at: its moment in microseconds, if known. Raises `NonDeterminismError`,
        `StepAborted`, or any error of the interpreter itself: then close it.
        """
        self._begin(event, micros(event.at) if at is None else at)
        self.decision.events.append(dump(event, self.at_us))
        self._step(event)

    def replay(self, events: Sequence[Event]) -> None:
        """Apply a whole history from its start; nothing is decided anew.

        Raises `NonDeterminismError` where the code issues anything else than the history
        has, with both sides and the source line.
        """
        self._recorded = events
        self._cursor = 0
        total = len(events)
        while self._cursor < total:
            event = events[self._cursor]
            if event.issued:
                raise self.mismatch(event, None)
            self._cursor += 1
            self._begin(event, micros(event.at))
            self._step(event)
            if self._cursor < total and events[self._cursor].issued:
                raise self.mismatch(events[self._cursor], None)
        self._recorded = None
        self.decision = Decision()

    @property
    def replaying(self) -> bool:
        return self._recorded is not None

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

    # -- what the runner asks -----------------------------------------------------------

    def expects(self, command: int) -> bool:
        """Whether an answer to this command would be taken."""
        return command in self.pending

    def next_due(self) -> int | None:
        """When the earliest timer falls due."""
        heap = self.due_heap
        while heap and self.timers.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: int) -> list[tuple[int, int]]:
        """(due, number) of the timers that are due, in order."""
        return sorted((due, number) for number, due in self.timers.items() if due <= now)

    def deadlock(self) -> str:
        """Why no event could ever wake it, with the line of each coroutine; or nothing."""
        if self.ending or self.signals.count or self.pending:
            return ""
        lines = "; ".join(f"{c.name} at {c.line()}" for c in self.coroutines)
        return f"deadlock: every coroutine waits for what no event can change: {lines}"

    # -- one step -----------------------------------------------------------------------

    def _begin(self, event: Event, at: int) -> None:
        if event.seq != self.seq:
            raise PayloadError(f"the history has event {event.seq} where {self.seq} must be")
        if self.ending is not None:
            raise PayloadError(f"the history goes on after its end, with {event}")
        self.seq += 1
        if at > self.at_us:
            self.at_us = at
            self.at = event.at
        self._first_number = self.numbers

    def _step(self, event: Event) -> None:
        handler = HANDLERS.get(type(event))
        if handler is None:
            raise PayloadError(f"the history has {type(event).__name__}, which nothing handles")
        handler(self, event)
        budget = STEP_BUDGET
        ready = self.ready
        while True:
            while self.put_backs:
                name, signal = self.put_backs.pop(0)
                self.signals.arrive(name, signal)
            if not ready:
                break
            budget -= 1
            if not budget:
                line = ready[0][0].line()
                raise StepAborted(f"{STEP_BUDGET:,} yields in one step without waiting, at {line}")
            coroutine, value, error = ready.popleft()
            coroutine.resume(value, error)

    def _start(self, event: WorkflowStarted) -> None:
        self.started = event
        self.queue = event.queue
        self.seed = event.seed
        self.root = root = self._coroutine("0", "root")
        try:
            args, kwargs = self.definition.unpack_call(self.codec, event.args, event.kwargs)
            result = root.context.run(self.definition.fn, *args, **kwargs)
        except StepAborted:
            raise
        except BaseException as error:
            root.end(None, error)
            return
        if inspect.isgenerator(result):
            root.gen = result
            self.ready.append((root, None, None))
        else:  # a function without a yield has completed at once
            root.end(result, None)

    def _activity_completed(self, event: ActivityCompleted) -> None:
        wait = self._answered(event, event.command)
        if wait is not None:
            wait.completed(event.value)

    def _activity_failed(self, event: ActivityFailed) -> None:
        wait = self._answered(event, event.command)
        if wait is not None:
            wait.failed(event.error, event.attempt)

    def _activity_cancelled(self, event: ActivityCancelled) -> None:
        wait = self._answered(event, event.command)
        if wait is not None:
            wait.answer(None, Cancelled())

    def _timer_fired(self, event: TimerFired) -> None:
        self.timers.pop(event.command, None)
        wait = self._answered(event, event.command)
        if wait is not None:
            wait.settle(None, None)

    def _signal_received(self, event: SignalReceived) -> None:
        self.signals.arrive(event.name, (event.seq, event.value))

    def _signal_delivered(self, event: SignalDelivered) -> None:
        wait = self._answered(event, event.command)
        if wait is not None:
            wait.delivered()

    def _signal_failed(self, event: SignalFailed) -> None:
        wait = self._answered(event, event.command)
        if wait is not None:
            wait.failed(event.error)

    def _cancel_requested(self, event: CancelRequested) -> None:
        self.cancel_reason = self.cancel_reason or event.reason
        for coroutine in list(self.coroutines):
            coroutine.cancel()

    def _answered(self, event: Event, command: int) -> Any:
        """The wait that an answer is for; None if nobody waits any more."""
        if command not in self.pending:
            raise NonDeterminismError(
                f"the history has {type(event).__name__} for command {command} at event "
                f"{event.seq}, which the code of {self.definition.name} has not issued"
            )
        return self.pending.pop(command)

    # -- what waits ask -----------------------------------------------------------------

    def issue(self, coroutine: Coroutine, command: Any) -> None:
        """A coroutine has yielded this."""
        self._issuing = coroutine
        if coroutine.cancel_due:
            coroutine.cancel_due = False
            self.unused.pop(id(command), None)
            self.ready.append((coroutine, None, Cancelled()))
            return
        try:
            wait = self.build(command, coroutine, 0)
        except (TypeError, ValueError, DurableError) as error:
            self.ready.append((coroutine, None, error))
            return
        coroutine.waiting = wait
        wait.issue()

    def build(self, command: Any, parent: Any, index: int) -> Wait:
        cls = WAITS.get(type(command))
        if cls is None:
            raise TypeError(f"a workflow yielded {mistake(command)}")
        return cls(self, command, parent, index)

    def next_number(self, wait: Wait | None) -> int:
        """The number of the command that is issued; its answer will go to ``wait``."""
        number = self.numbers
        self.numbers = number + 1
        if wait is not None:
            self.pending[number] = wait
        return number

    def expect(self, cls: type[E], number: int | None, command: Any) -> E | None:
        """The recorded event that this command must match; None if it is issued now."""
        recorded = self._recorded
        if recorded is None:
            return None
        event = recorded[self._cursor] if self._cursor < len(recorded) else None
        if type(event) is not cls or getattr(event, "command", None) != number:
            raise self.mismatch(event, command)
        self._cursor += 1
        self.seq += 1
        return event

    def emit(self, event: Event) -> None:
        """Record an event that was issued."""
        self.seq += 1
        self.decision.events.append(dump(event, self.at_us))

    def note(self, cls: Callable[[int, datetime, int], Event], number: int, command: Any) -> None:
        """Record, or match, an event that has nothing but a command's number."""
        if self.expect(cls, number, command) is None:  # type: ignore[arg-type]
            self.emit(cls(self.seq, self.at, number))

    def schedule(
        self, number: int, call: Any, queue: str, args: bytes, kwargs: bytes | None
    ) -> None:
        self.decision.tasks[number] = ScheduledTask(number, call, queue, args, kwargs)

    def unschedule(self, number: int) -> bool:
        """Ask an activity to stop; True if it was issued in this very step, so that it
        never starts and nobody answers."""
        if number >= self._first_number:
            self.decision.tasks.pop(number, None)
            self.pending.pop(number, None)
            return True
        if not self.replaying:
            self.decision.cancels.append(number)
        return False

    def drop(self, number: int) -> None:
        """The answer to this command will be recorded, and nobody waits for it."""
        if number in self.pending:
            self.pending[number] = None

    def send(self, number: int, instance_id: str, name: str, value: bytes) -> None:
        self.decision.sends.append(SentSignal(number, instance_id, name, value))

    def start_timer(self, number: int, due: int) -> None:
        self.timers[number] = due
        heapq.heappush(self.due_heap, (due, number))

    def stop_timer(self, number: int) -> None:
        self.timers.pop(number, None)
        self.pending.pop(number, None)

    # -- coroutines ---------------------------------------------------------------------

    def spawn(self, parent: Coroutine, work: Any, name: str | None) -> Coroutine:
        """A new coroutine; it starts when its creator next yields."""
        number = parent.spawned
        parent.spawned = number + 1
        coroutine = self._coroutine(f"{parent.path}/{name or number}", name or str(number))
        if isinstance(work, Command):
            self.unused.pop(id(work), None)
            coroutine.gen = _single(work)
        else:
            coroutine.gen = work
        self.ready.append((coroutine, None, None))
        return coroutine

    def _coroutine(self, path: str, name: str) -> Coroutine:
        coroutine = Coroutine(self, path, name)
        self.coroutines[coroutine] = None
        return coroutine

    def coroutine_ended(self, coroutine: Coroutine) -> None:
        del self.coroutines[coroutine]
        if coroutine is self.root:
            self.outcome = (coroutine.value, coroutine.error)
            if self.coroutines:
                names = ", ".join(c.name for c in self.coroutines)
                self.log(
                    logging.INFO, "has returned; tasks that still run are cancelled: %s", names
                )
            for other in list(self.coroutines):
                other.cancel()
        elif coroutine.failed and not coroutine.joiners:
            self.log(logging.WARNING, "task %s failed: %r", coroutine.name, coroutine.error)
            self.failures.append(coroutine)
        if self.outcome is not None and not self.coroutines:
            self._finish(*self.outcome)

    def _finish(self, value: Any, error: BaseException | None) -> None:
        """Every coroutine has ended: the end is the last event."""
        payload = b""
        if error is None:
            error = next((c.error for c in self.failures if not c.joined), None)
        if error is None:
            try:
                if isinstance(value, Command) or inspect.isgenerator(value):
                    raise TypeError(
                        f"{self.definition.name} ({self.definition.where}) returned a command or "
                        f"generator: write `return (yield …)`, not {mistake(value)}"
                    )
                payload = self.codec.encode(value, "result")
            except (DurableError, TypeError) as wrong:
                error = wrong
        event: Event
        if error is None:
            event = WorkflowCompleted(self.seq, self.at, payload)
        elif isinstance(error, Cancelled):
            event = WorkflowCancelled(self.seq, self.at, self.cancel_reason)
        else:
            data = Failure.of(error).to_data(self._encode_details)
            event = WorkflowFailed(self.seq, self.at, data)
        self.ending = Ending(event, self.signals.unread())
        recorded = self.expect(type(event), None, event)
        if recorded is None:
            self.emit(event)

    def _encode_details(self, details: Any) -> bytes:
        try:
            return self.codec.encode(details)
        except PayloadError as error:
            return self.codec.encode(f"{details!r} ({error})")

    def log(self, level: int, text: str, *args: Any) -> None:
        if not self.replaying:
            logger.log(level, "%s: " + text, self.instance_id, *args)

    def report_forgotten(self, coroutine: Coroutine) -> None:
        if not self.unused:
            return
        for key, (command, code, line, owner) in list(self.unused.items()):
            if owner is coroutine:
                del self.unused[key]
                if not self.replaying:
                    warn_forgotten(command, code, line)

    # -- mismatch -----------------------------------------------------------------------

    def mismatch(self, event: Event | None, command: Any) -> NonDeterminismError:
        """The error that shows both sides: what the history has, what the code issued."""
        return mismatch(self, self._issuing, event, command)


def _single(command: Any) -> Any:
    return (yield command)


HANDLERS: dict[type[Event], Callable[[Interpreter, Any], None]] = {
    WorkflowStarted: Interpreter._start,
    ActivityCompleted: Interpreter._activity_completed,
    ActivityFailed: Interpreter._activity_failed,
    ActivityCancelled: Interpreter._activity_cancelled,
    TimerFired: Interpreter._timer_fired,
    SignalReceived: Interpreter._signal_received,
    SignalDelivered: Interpreter._signal_delivered,
    SignalFailed: Interpreter._signal_failed,
    CancelRequested: Interpreter._cancel_requested,
}
