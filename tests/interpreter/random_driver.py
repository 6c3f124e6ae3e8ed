"""Drives random programs with random events, one at a time, as a runner would."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from random_programs import HANDLED, SIGNALS, Env, run
from scope_model import Model

from durable import Codec
from durable.errors import InstanceAlreadyExists, InstanceNotFound, WorkflowCancelledError
from durable.events import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    CancelRequested,
    ChildCompleted,
    ChildFailed,
    ChildStarted,
    Event,
    Forked,
    Paused,
    PromiseCompleted,
    PromiseCreated,
    PromiseFailed,
    Resumed,
    Retried,
    SignalDelivered,
    SignalFailed,
    SignalReceived,
    WorkflowStarted,
    load,
)
from durable.failure import Failure
from durable.interpreter import Interpreter
from durable.interpreter.remote import ActivityWait
from durable.model import moment


class Watched(Interpreter):
    """An interpreter with the model of its scopes, which is told of every event."""

    env: Env

    def __init__(self, codec: Codec) -> None:
        super().__init__(run, codec, "program")
        self.model = Model()

    def _begin(self, event: Event, at: int) -> None:
        super()._begin(event, at)
        self.model.happened(event)


class Driver:
    """Feeds one program; ``asked`` are commands that were told to stop."""

    def __init__(self, code: Any, random: Random) -> None:
        self.random = random
        self.codec = Codec()
        self.clock = 1_000_000
        self.history: list[Event] = []
        self.issued: dict[int, Event] = {}
        self.asked: set[int] = set()
        self.interpreter = self.fresh()
        deadline = random.randint(5, 60) * 1_000_000 if random.random() < 0.15 else None
        start = WorkflowStarted(
            0, moment(self.clock), "run", 1, self.codec.encode([code]), None, None, [], None,
            "default", bytes(16), deadline_at=None if deadline is None else moment(deadline),
        )  # fmt: skip
        self.apply(start)

    def fresh(self) -> Watched:
        return Watched(self.codec)

    def apply(self, event: Event) -> None:
        interpreter = self.interpreter
        interpreter.apply(event)
        decision = interpreter.take()
        first = len(self.history)
        for seq, data in enumerate(decision.events, first):
            self.history.append(load(data, seq))
            if isinstance(self.history[-1], ActivityScheduled | ChildStarted | PromiseCreated):
                self.issued[self.history[-1].command] = self.history[-1]
        self.asked.update(decision.cancels, (one.command for one in decision.child_cancels))
        self.check_scheduled(self.history[first:])
        if isinstance(event, Retried | Forked):
            open_ones = [n for n, w in interpreter.pending.items() if isinstance(w, ActivityWait)]
            assert set(open_ones) <= set(decision.tasks), "not asked for again"

    def check_scheduled(self, events: list[Event]) -> None:
        """Nothing that was yielded in a cancelled scope is ever scheduled."""
        for event in events:
            if isinstance(event, ActivityScheduled | ChildStarted):
                label = self.codec.decode(event.args)[0]
                assert label not in self.interpreter.env.forbidden, label

    def steps(self, limit: int = 60) -> Iterator[None]:
        """Apply events until it has ended or nothing can come."""
        while self.interpreter.ending is None and limit:
            limit -= 1
            event = self.next_event()
            if event is None:
                return
            self.apply(event)
            yield

    # -- what happens next --------------------------------------------------------------

    def next_event(self) -> Event | None:
        self.clock += self.random.randint(0, 3_000_000)
        interpreter = self.interpreter
        seq, at, chance = interpreter.seq, moment(self.clock), self.random.random()
        if chance < 0.02:
            return CancelRequested(seq, at, "test")
        if chance < 0.03:
            return self.random.choice((Paused, Resumed))(seq, at)
        if chance < 0.045:
            fork = Forked(seq, at, "other", seq - 1, bytes([seq]) * 16)
            return self.random.choice((fork, Retried(seq, at, 1)))
        if chance < 0.09 and (early := self.promise_event(seq, at)):
            return early
        if not interpreter.pending and not interpreter.signals.count:
            assert interpreter.is_stuck()
            return CancelRequested(seq, at, "stuck") if chance < 0.5 else None
        if chance < 0.28 or not interpreter.pending:
            name = self.random.choice(SIGNALS + HANDLED)
            return SignalReceived(seq, at, name, self.codec.encode(f"<{seq}>"), str(seq))
        number = self.random.choice(sorted(interpreter.pending))
        due = interpreter.timers.get(number)
        if due is not None and (number not in self.issued or self.random.random() < 0.5):
            self.clock = max(self.clock, due)
            return interpreter.fired(number, seq, moment(self.clock))
        return self.answer(seq, at, number)

    def promise_event(self, seq: int, at: Any) -> Event | None:
        """The end of a promise that may be not made yet, or kept already, or none at all."""
        number = self.random.randint(0, self.interpreter.numbers + 3)
        kept = PromiseCompleted(seq, at, number, self.codec.encode(f"p{seq}"))
        return kept if self.interpreter.expects(kept, f"promise:{number}") else None

    def answer(self, seq: int, at: Any, number: int) -> Event:
        issued, chance = self.issued.get(number), self.random.random()
        value = self.codec.encode(f"r{number}")
        if isinstance(issued, ActivityScheduled):
            if number in self.asked and chance < 0.5:
                return ActivityCancelled(seq, at, number)
            if chance < 0.25:
                return ActivityFailed(seq, at, number, self.failure(ValueError("no")), 1)
            return ActivityCompleted(seq, at, number, value, 1)
        if isinstance(issued, ChildStarted):
            if chance < (0.6 if number in self.asked else 0.1):
                error = self.failure(WorkflowCancelledError("cancelled"))
                return ChildFailed(seq, at, number, error)
            if chance < 0.25:
                return ChildFailed(seq, at, number, self.failure(ValueError("no")))
            if chance < 0.3:
                error = self.failure(InstanceAlreadyExists("in use"))
                return ChildFailed(seq, at, number, error, started=False)
            return ChildCompleted(seq, at, number, value)
        if isinstance(issued, PromiseCreated):
            if chance < 0.3:
                return PromiseFailed(seq, at, number, self.failure(ValueError("no")))
            return PromiseCompleted(seq, at, number, value)
        if chance < 0.2:
            return SignalFailed(seq, at, number, self.failure(InstanceNotFound("none")))
        return SignalDelivered(seq, at, number)

    def failure(self, error: Exception) -> Any:
        return Failure.of(error).to_data(self.codec.encode)


# -- what must be equal -----------------------------------------------------------------


def fingerprint(it: Watched) -> Any:
    """Everything that must be equal in a live interpreter and a replayed one."""
    return (
        (it.seq, it.event_seq, it.at_us, it.numbers, it.children, it.next_due()),
        {number: wait_print(wait) for number, wait in it.pending.items()},
        it.timers,
        (it.early, it.origins, it.seed, list(it.handled), it.patches, it.variables),
        (it.any_cancelled, it.cancel_requested, it.cancel_reason, it.timed_out, it.in_predicate),
        (it.signals.events(it.at), it.signals.count, it.put_backs, list(it.ready)),
        [wait.command.predicate.__code__.co_firstlineno for wait in it.predicates],
        len(it.unused),
        [coroutine_print(coroutine) for coroutine in it.coroutines],
        [(c.path, repr(c.error), c.joined) for c in it.failures],
        tree_print(it.root.own) if it.root else None,
        env_print(it.env),
        it.is_stuck(),
        it.ending,
    )


def wait_print(wait: Any) -> Any:
    told, draining = getattr(wait, "told", None), getattr(wait, "draining", None)
    return type(wait).__name__, told, draining


def coroutine_print(c: Any) -> Any:
    scope, chain = c.scope, []
    while scope is not None:
        chain.append((scope.shield, scope.cancelled, scope.is_open))
        scope = scope.parent
    waiting = (type(c.waiting).__name__, getattr(c.waiting, "left", 0))
    return c.path, c.name, c.line(), c.turns, c.spawned, c.vital, waiting, chain


def tree_print(scope: Any) -> Any:
    inner = [tree_print(child) for child in scope.children or ()]
    return scope.shield, scope.cancelled, scope.is_open, inner


def env_print(env: Env) -> Any:
    channels = [
        (list(c._buffer), c.closed, c._closed_at, ends(c._senders), ends(c._receivers))
        for c in env.channels
    ]
    promises = [(p.token, p.done, p._state.ended_at, len(p._state.waiters)) for p in env.promises]
    tasks = [(task.name, task.done, len(task._coroutine.joiners or ())) for task, _ in env.tasks]
    return env.seen, channels, promises, tasks, env.flags, env.labels


def ends(waits: Any) -> list[int]:
    return [wait.since for wait in waits]


__all__ = ["Driver", "Watched", "fingerprint"]
