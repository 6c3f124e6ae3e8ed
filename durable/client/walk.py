"""A walk through the history of one run, with the workflow's code: what it was doing, when.

Rules
-----
* It is the replay that workers do, one step at a time: what was recorded is used, nothing is
  decided, called or stored, loggers and spans are silent.  User code between the yields runs,
  as in every replay.
* A moment is the end of a step: only there all coroutines wait.  An event within a step is
  asked for by that step, and belongs to its end.
* Forwards each step is made once; to go back, the replay begins again.
* Where the code does not follow the history, the walk ends: all that comes after is answered
  with what was seen there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from durable.client.rewind import ENDS
from durable.client.whereabouts import (
    CoroutinePlace,
    Frame,
    Notes,
    Where,
    arrived,
    is_whole,
    places,
    raised,
)
from durable.codec import Codec
from durable.collector import paused
from durable.errors import DurableError, NonDeterminismError, UsageError
from durable.events import (
    ContinuedAsNew,
    Event,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    begins_again,
    decoded,
)
from durable.interpreter import Interpreter, StepAborted, StepInterrupted
from durable.interpreter.ending import lost_failure
from durable.model import Instance
from durable.propagation import Propagators
from durable.reprs import bounded, call_text
from durable.starting import Flow

Stopped = tuple[int, NonDeterminismError, tuple[CoroutinePlace, ...], tuple[Frame, ...]]
"""The last moment that fits the history (-1 for none), why the next does not, where the
coroutines were when that was seen, and the stack that raised if the code failed there."""


class Walk:
    """The moments of one run; a context manager, which drops what it holds of the workflow.

    instance: as the store has it. run: of it. events: of the run, not decoded. flow: its code;
    None for a run that has not begun. notes: on what is under way now. inbox: encoded events that
    wait for it now.
    """

    def __init__(
        self,
        instance: Instance,
        run: int,
        events: Sequence[Event],
        flow: Flow | None,
        codec: Codec,
        propagators: Propagators,
        notes: Notes,
        inbox: Sequence[bytes],
    ) -> None:
        self._instance, self._run = instance, run
        self._events = events
        self._flow = flow
        self._codec = codec
        self._propagators = propagators
        self._notes = notes
        self._inbox = inbox
        self.moments: list[int] = [
            event.seq
            for event in events
            if event.seq + 1 == len(events) or not events[event.seq + 1].issued
        ]
        """The seqs at which one can look, in order: of the last event of each step."""
        self._interpreter: Interpreter | None = None
        self._steps: Iterator[int] = iter(())
        self._reached = -1
        self._stopped: Stopped | None = None

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the generators; it can be used again."""
        interpreter, self._interpreter = self._interpreter, None
        self._reached, self._steps = -1, iter(())
        if interpreter is not None:
            with paused():
                interpreter.close()

    def where(self, at: int | None = None) -> Where:
        """Where the workflow was after the step of the event ``at``, or is after the last.

        Raises `UsageError` if there is no such event.
        """
        place = self._place(at)
        if place is None:
            return self._made(None, arrived=arrived(self._inbox))
        seq = self.moments[place]
        return self._end(place) if isinstance(self._events[seq], ENDS) else self._look(seq)

    def vars(self, at: int | None = None) -> dict[str, Any]:
        """What the workflow had set by ``set_var`` after the step of the event ``at``.

        Raises `UsageError` if there is no such event, and `NonDeterminismError` if the code
        does not follow the history up to there.
        """
        place = self._place(at)
        if place is None or self._flow is None:
            return {}
        interpreter = self._go(self.moments[place])
        if interpreter is None:
            raise self._why_stopped[1]
        decode = self._codec.decode
        return {name: decode(value) for name, value in interpreter.variables.items()}

    def _place(self, at: int | None) -> int | None:
        """Which of the moments is meant; None if there is none at all."""
        last = len(self._events) - 1
        if at is None:
            return len(self.moments) - 1 if self.moments else None
        if isinstance(at, bool) or not isinstance(at, int):
            raise TypeError(f"at= takes the seq of an event, not {at!r}")
        if not 0 <= at <= last:
            has = f"has events 0 to {last}" if self._events else "has no events yet"
            raise UsageError(f"run {self._run} of {self._instance.id!r} {has}, and no event {at}")
        return bisect_left(self.moments, at)

    # -- replaying ----------------------------------------------------------------------

    def _look(self, moment: int, notes: Notes | None = None) -> Where:
        """Where it was at a moment."""
        interpreter = self._go(moment)
        if interpreter is None:
            reached, error, found, stack = self._why_stopped
            seq = reached if reached >= 0 else None
            return self._made(seq, found, problem=str(error), raised=stack)
        now = notes is None and moment == len(self._events) - 1
        if notes is None:
            notes = self._notes if now else {}
        cancel = interpreter.cancel_reason if interpreter.cancel_requested else None
        found, unread = places(interpreter, notes), interpreter.signals.unread()
        waiting = arrived(self._inbox) if now else ()
        return self._made(moment, found, unread=unread, arrived=waiting, cancel=cancel)

    def _end(self, place: int) -> Where:
        """How it ended, and where it was just before."""
        moment = self.moments[place]
        before = self._look(self.moments[place - 1], {}) if place else self._made(None)
        if before.problem is not None:
            return before
        event = self._events[moment]
        before = replace(before, seq=moment, at=event.at, ended=self._ended(event))
        if self._flow is None:
            return before
        after = self._look(moment)
        if after.problem is not None:
            return after
        interpreter = self._interpreter
        assert interpreter is not None
        stack = _stack(interpreter) if isinstance(event, WorkflowFailed) else ()
        return replace(before, cancel=after.cancel, raised=stack)

    def _go(self, moment: int) -> Interpreter | None:
        """The interpreter, brought to a moment; None if the code does not get there."""
        if self._stopped is not None and moment > self._stopped[0]:
            return None
        if self._interpreter is None or self._reached > moment:
            self._begin()
        try:
            with paused():
                while self._reached < moment:
                    self._reached = next(self._steps)
        except StepInterrupted:
            raise
        except (Exception, StepAborted) as error:
            self._stop(error)
            return None
        return self._interpreter

    def _begin(self) -> None:
        self.close()
        assert self._flow is not None
        instance, codec = self._instance, self._codec
        self._interpreter = Interpreter(
            self._flow, codec, instance.id, self._run, propagators=self._propagators
        )
        self._steps = self._interpreter.steps(self._events, begins_again(self._inbox))

    def _stop(self, error: BaseException) -> None:
        """The code does not follow the history: keep where it is, or if the error has thrown
        that away, where it was before."""
        interpreter, reached = self._interpreter, self._reached
        assert interpreter is not None
        if isinstance(error, NonDeterminismError):
            problem = error.with_traceback(None)  # which holds the generators
        elif isinstance(error, StepAborted):
            problem = NonDeterminismError(str(error))
        else:
            problem = NonDeterminismError(f"{type(error).__name__}: {error}")
        found = places(interpreter, {}) if is_whole(interpreter) else ()
        stack = () if interpreter.ending is None else _stack(interpreter)
        self.close()
        self._stopped = reached, problem, found, stack
        if not found and reached >= 0 and (before := self._go(reached)) is not None:
            self._stopped = reached, problem, places(before, {}), stack

    @property
    def _why_stopped(self) -> Stopped:
        assert self._stopped is not None
        return self._stopped

    # -- answering ----------------------------------------------------------------------

    def _made(
        self,
        seq: int | None,
        found: tuple[CoroutinePlace, ...] = (),
        **more: Any,
    ) -> Where:
        instance = self._instance
        return Where(
            instance.id,
            instance.workflow,
            instance.version if self._flow is None else self._flow.version,
            self._run,
            instance.status,
            instance.reason,
            len(self._events),
            seq,
            None if seq is None else self._events[seq].at,
            found,
            **more,
        )

    def _ended(self, event: Event) -> str:
        """How the run ended, in words."""
        try:
            event = decoded(event, self._codec.decode)
        except DurableError as error:
            return f"{type(event).__name__} ({error})"
        if isinstance(event, WorkflowCompleted):
            return f"completed → {bounded(event.value)}"
        if isinstance(event, WorkflowFailed):
            return f"failed: {event.error}"
        if isinstance(event, ContinuedAsNew):
            return f"went on as run {self._run + 1}, with {call_text('', event.args, event.kwargs)}"
        how = "cancelled" if isinstance(event, WorkflowCancelled) else "terminated"
        reason = getattr(event, "reason", "")
        return f"{how}: {reason}" if reason else how


def _stack(interpreter: Interpreter) -> tuple[Frame, ...]:
    """The stack that raised what the code ended with; none if it returned."""
    error = None
    if interpreter.outcome is not None:
        error = interpreter.outcome[1] or lost_failure(interpreter)
    return raised(error)
