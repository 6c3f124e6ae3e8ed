"""Drives one interpreter by hand: the events are told, the decisions kept."""

from __future__ import annotations

from typing import Any

from durable import Codec, Failure
from durable.events import (
    ActivityCompleted,
    ActivityFailed,
    CancelRequested,
    Event,
    SignalReceived,
    TimerFired,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowStarted,
    load,
)
from durable.interpreter import Decision, Interpreter
from durable.model import moment


class Stepper:
    """One run of a workflow; each event comes a second after the one before."""

    def __init__(self, flow: Any, *args: Any) -> None:
        self.codec = Codec()
        self.clock = 1_000_000
        self.stored: list[bytes] = []
        self.decision_cancels: list[int] = []
        self.decision = Decision()
        self.interpreter = Interpreter(flow, self.codec, "instance")
        encoded = self.codec.encode(list(args))
        self.apply(
            WorkflowStarted(
                0, moment(self.clock), flow.name, 1, encoded, None, None, [], None, "default",
                bytes(16),
            )
        )  # fmt: skip

    def apply(self, event: Event) -> None:
        self.interpreter.apply(event)
        self.decision = self.interpreter.take()
        self.stored += self.decision.events
        self.decision_cancels += self.decision.cancels

    def _next(self) -> tuple[int, Any]:
        self.clock += 1_000_000
        return self.interpreter.seq, moment(self.clock)

    def complete(self, command: int, value: Any) -> None:
        self.apply(ActivityCompleted(*self._next(), command, self.codec.encode(value), 1))

    def fail(self, command: int, error: Exception) -> None:
        data = Failure.of(error).to_data(self.codec.encode)
        self.apply(ActivityFailed(*self._next(), command, data, 1))

    def fire(self, command: int) -> None:
        self.apply(TimerFired(*self._next(), command))

    def signal(self, name: str, value: Any = None) -> None:
        seq, at = self._next()
        self.apply(SignalReceived(seq, at, name, self.codec.encode(value), str(seq)))

    def cancel(self, reason: str) -> None:
        self.apply(CancelRequested(*self._next(), reason))

    @property
    def ended(self) -> bool:
        return self.interpreter.ending is not None

    def events(self) -> list[Any]:
        return [load(data, seq) for seq, data in enumerate(self.stored)]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events()]

    def result(self) -> Any:
        last = self.events()[-1]
        assert isinstance(last, WorkflowCompleted), last
        return self.codec.decode(last.value)

    def failure(self) -> Failure:
        last = self.events()[-1]
        assert isinstance(last, WorkflowFailed), last
        return Failure.from_data(last.error, self.codec.decode)

    def replay(self, flow: Any) -> Interpreter:
        """The same history, replayed by (other) code."""
        fresh = Interpreter(flow, self.codec, "instance")
        try:
            fresh.replay(self.events())
        except BaseException:
            fresh.close()
            raise
        return fresh
