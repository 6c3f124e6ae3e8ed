"""Drives one interpreter by hand: the events are told, the decisions kept.

After each event the history so far is replayed by a fresh interpreter, which must come to
the same state (``replays=False`` for workflows that keep something outside).
"""

from __future__ import annotations

from typing import Any, ClassVar

from durable import Codec, Failure
from durable.events import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    CancelRequested,
    ChildCompleted,
    ChildFailed,
    Event,
    Forked,
    PromiseCompleted,
    PromiseFailed,
    Retried,
    SignalDelivered,
    SignalFailed,
    SignalReceived,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowStarted,
    load,
)
from durable.interpreter import Decision, Interpreter
from durable.model import moment

SECOND = 1_000_000


class Stepper:
    """One run of a workflow; each event comes a second after the one before.

    deadline: seconds after its start. options: of the interpreter.
    """

    made: ClassVar[list[Interpreter]] = []
    """All of one test: they are closed after it, or the garbage collector runs their code."""

    def __init__(
        self,
        flow: Any,
        *args: Any,
        replays: bool = True,
        deadline: int | None = None,
        parent: Any = None,
        context: bytes | None = None,
        **options: Any,
    ) -> None:
        self.flow = flow
        self.replays = replays
        self.options: dict[str, Any] = {"instance_id": "instance", **options}
        self.codec = Codec()
        self.clock = SECOND
        self.stored: list[bytes] = []
        self.decision_cancels: list[int] = []
        self.child_cancels: list[int] = []
        self.decision = Decision()
        self.interpreter = self.fresh(flow)
        self.made.append(self.interpreter)
        encoded = self.codec.encode(list(args))
        limit = None if deadline is None else moment(self.clock + deadline * SECOND)
        self.apply(
            WorkflowStarted(
                0, moment(self.clock), flow.name, 1, encoded, None, parent, [], None, "default",
                bytes(16), context, deadline_at=limit,
            )
        )  # fmt: skip

    def fresh(self, flow: Any) -> Interpreter:
        return Interpreter(flow, self.codec, **self.options)

    def apply(self, event: Event) -> None:
        self.interpreter.apply(event)
        self.decision = self.interpreter.take()
        self.stored += self.decision.events
        self.decision_cancels += self.decision.cancels
        self.child_cancels += [cancel.command for cancel in self.decision.child_cancels]
        if self.replays:
            replayed = self.replay(self.flow)
            assert state(replayed) == state(self.interpreter)
            replayed.close()
            self.made.remove(replayed)

    def _next(self) -> tuple[int, Any]:
        self.clock += SECOND
        return self.interpreter.seq, moment(self.clock)

    def _failure(self, error: Exception) -> Any:
        return Failure.of(error).to_data(self.codec.encode)

    # -- events ---------------------------------------------------------------------------

    def complete(self, command: int, value: Any = None) -> None:
        self.apply(ActivityCompleted(*self._next(), command, self.codec.encode(value), 1))

    def fail(self, command: int, error: Exception) -> None:
        self.apply(ActivityFailed(*self._next(), command, self._failure(error), 1))

    def stopped(self, command: int, error: Exception | None = None) -> None:
        """An activity that was asked to stop has no attempt any more."""
        data = None if error is None else self._failure(error)
        self.apply(ActivityCancelled(*self._next(), command, data))

    def fire(self, command: int) -> None:
        """A timer is due, or something has taken too long."""
        self.apply(self.interpreter.fired(command, *self._next()))

    def signal(self, name: str, value: Any = None) -> None:
        seq, at = self._next()
        self.apply(SignalReceived(seq, at, name, self.codec.encode(value), f"m{seq}"))

    def cancel(self, reason: str = "") -> None:
        self.apply(CancelRequested(*self._next(), reason))

    def child_completes(self, command: int, value: Any = None) -> None:
        self.apply(ChildCompleted(*self._next(), command, self.codec.encode(value)))

    def child_fails(self, command: int, error: Exception, started: bool = True) -> None:
        self.apply(ChildFailed(*self._next(), command, self._failure(error), started))

    def deliver(self, command: int) -> None:
        self.apply(SignalDelivered(*self._next(), command))

    def refuse(self, command: int, error: Exception) -> None:
        self.apply(SignalFailed(*self._next(), command, self._failure(error)))

    def keep(self, command: int, value: Any = None, message_id: str | None = None) -> bool:
        """A promise is kept; whether that was expected."""
        event = PromiseCompleted(*self._next(), command, self.codec.encode(value))
        return self._promise(event, message_id)

    def break_promise(self, command: int, error: Exception, message_id: str | None = None) -> bool:
        event = PromiseFailed(*self._next(), command, self._failure(error))
        return self._promise(event, message_id)

    def _promise(self, event: PromiseCompleted | PromiseFailed, message_id: str | None) -> bool:
        if not self.interpreter.expects(event, message_id or f"promise:{event.command}"):
            return False
        self.apply(event)
        return True

    def retry(self, from_run: int = 1) -> None:
        self.apply(Retried(*self._next(), from_run))

    def fork(self, seed: bytes = b"x" * 16) -> None:
        seq, at = self._next()
        self.apply(Forked(seq, at, "other", seq - 1, seed))

    # -- what came of them ----------------------------------------------------------------

    @property
    def ended(self) -> bool:
        return self.interpreter.ending is not None

    def events(self) -> list[Any]:
        return [load(data, seq) for seq, data in enumerate(self.stored)]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events()]

    def last(self) -> list[str]:
        """The kinds of the events of the last step."""
        return self.kinds()[-len(self.decision.events) :]

    def result(self) -> Any:
        last = self.events()[-1]
        assert isinstance(last, WorkflowCompleted), last
        return self.codec.decode(last.value)

    def failure(self) -> Failure:
        last = self.events()[-1]
        assert isinstance(last, WorkflowFailed), last
        return Failure.from_data(last.error, self.codec.decode)

    def var(self, name: str) -> Any:
        return self.codec.decode(self.interpreter.variables[name])

    def lines(self) -> list[str]:
        """The name of each coroutine and the function in which it waits."""
        return [f"{c.name}: {c.line().split()[-1]}" for c in self.interpreter.coroutines]

    def replay(self, flow: Any) -> Interpreter:
        """The same history, replayed by (other) code."""
        fresh = self.fresh(flow)
        self.made.append(fresh)
        fresh.replay(self.events())
        return fresh

    def drop(self) -> None:
        """Out of memory, which must have no effect."""
        self.interpreter.close()
        assert self.interpreter.take() == Decision()


def state(it: Interpreter) -> Any:
    """What a replay must come to."""
    return (
        (it.seq, it.event_seq, it.numbers, it.children, it.at_us, it.seed, it.timers),
        {number: type(wait).__name__ for number, wait in it.pending.items()},
        (
            it.signals.events(it.at),
            it.signals.count,
            len(it.predicates),
            list(it.handled),
            it.early,
        ),
        [(c.path, c.line(), c.turns, c.scope.is_cancelled()) for c in it.coroutines],
        (it.patches, it.origins, it.variables, it.cancel_requested, it.timed_out),
        (None if it.ending is None else type(it.ending.event), bool(it.ready), it.put_backs),
    )
