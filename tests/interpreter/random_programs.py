"""Random workflows, and a way to drive them: for the properties of the interpreter.

A program is plain data (nested tuples), so that a failure can be read; `run` is the workflow
that carries one out.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from durable import (
    ActivityError,
    Cancelled,
    Codec,
    Workflow,
    activity,
    gather,
    now,
    race,
    send_signal,
    set_var,
    side_effect,
    sleep,
    spawn,
    uuid4,
    wait_signal,
    workflow,
)
from durable.errors import DurableError
from durable.events import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    CancelRequested,
    Event,
    SignalDelivered,
    SignalReceived,
    TimerFired,
    WorkflowStarted,
    load,
)
from durable.failure import Failure
from durable.interpreter import Interpreter
from durable.interpreter.waits import ActivityWait, SendWait
from durable.model import moment

SIGNALS = ("a", "b", "c")
LEAVES = ("activity", "sleep", "signal", "side_effect", "send")


@activity
def work(name: str) -> str:
    """Never run here: results come from the driver."""
    return name


def expression(random: Random, depth: int) -> Any:
    """A command, as data."""
    if depth and random.random() < 0.5:
        kind = random.choice(("race", "gather", "race"))
        children = tuple(expression(random, depth - 1) for _ in range(random.randint(1, 3)))
        return (kind, random.random() < 0.3, children)
    kind = random.choice(LEAVES)
    return (kind, random.choice(SIGNALS), random.randint(0, 50))


def program(random: Random, depth: int = 3) -> Any:
    """A list of statements, as data."""
    kinds = ("yield", "yield", "yield", "try", "spawn", "join", "cancel", "loop", "derive")
    statements: list[Any] = []
    for _ in range(random.randint(1, 4)):
        kind = random.choice(kinds) if depth else "yield"
        if kind in ("try", "spawn", "loop"):
            statements.append((kind, program(random, depth - 1)))
        elif kind in ("join", "cancel"):
            statements.append((kind, random.randint(0, 3)))
        elif kind == "derive":
            statements.append((kind,))
        else:
            statements.append((kind, expression(random, 2)))
    return tuple(statements)


@workflow
def run(code: Any) -> Workflow[Any]:
    """Carry out a program; the result is everything that it saw."""
    seen: list[str] = []
    tasks: list[Any] = []
    yield from _body(code, seen, tasks)
    return seen


def _body(code: Any, seen: list[str], tasks: list[Any]) -> Workflow[None]:
    for statement in code:
        match statement:
            case ("yield", tree):
                value = yield _command(tree)
                seen.append(f"{value} {now()}")
            case ("try", inner):
                try:
                    yield from _body(inner, seen, tasks)
                except Exception as error:
                    seen.append(f"caught {type(error).__name__}")
                except Cancelled:
                    seen.append("cancelled")
                    yield work.call("clean-up")
                    raise
                finally:
                    seen.append("finally")
            case ("spawn", inner):
                tasks.append(spawn(_body(inner, seen, [])))
            case ("join", place) if tasks:
                seen.append(str((yield tasks[place % len(tasks)])))
            case ("cancel", place) if tasks:
                tasks[place % len(tasks)].cancel()
            case ("loop", inner):
                for _ in range(2):
                    yield from _body(inner, seen, tasks)
            case ("derive",):
                seen.append(str(uuid4()))
                set_var("n", len(seen))
            case _:
                pass


def _command(tree: Any) -> Any:
    match tree:
        case ("race", exceptions, children):
            return race(*map(_command, children), return_exceptions=exceptions)
        case ("gather", exceptions, children):
            return gather(*map(_command, children), return_exceptions=exceptions)
        case ("activity", name, number):
            return work.call(f"{name}{number}")
        case ("sleep", _, number):
            return sleep(number)
        case ("signal", name, _):
            return wait_signal(name)
        case ("side_effect", name, number):
            return side_effect(lambda: f"{name}{number}")
        case ("send", name, _):
            return send_signal("other", name)
    raise AssertionError(tree)


class Driver:
    """Feeds a program with random events, one at a time, as a runner would."""

    def __init__(self, code: Any, random: Random) -> None:
        self.random = random
        self.codec = Codec()
        self.clock = 1_000_000
        self.stored: list[bytes] = []
        self.cancels: set[int] = set()
        self.interpreter = self.fresh()
        start = WorkflowStarted(
            0, moment(self.clock), "run", 1, self.codec.encode([code]), None, None, [], None,
            "default", bytes(16),
        )  # fmt: skip
        self.apply(start)

    def fresh(self) -> Interpreter:
        return Interpreter(run, self.codec, "program")

    def apply(self, event: Event) -> None:
        self.interpreter.apply(event)
        decision = self.interpreter.take()
        self.stored += decision.events
        self.cancels |= set(decision.cancels)

    def events(self) -> list[Event]:
        return [load(data, seq) for seq, data in enumerate(self.stored)]

    def steps(self, limit: int = 60) -> Iterator[None]:
        """Apply events until it has ended or nothing can come."""
        while self.interpreter.ending is None and limit:
            limit -= 1
            event = self.next_event()
            if event is None:
                return
            self.apply(event)
            yield

    def next_event(self) -> Event | None:
        self.clock += self.random.randint(0, 5_000_000)
        interpreter, random = self.interpreter, self.random
        seq, at = interpreter.seq, moment(self.clock)
        if random.random() < 0.25 or not interpreter.pending:
            if not interpreter.signals.count and not interpreter.pending:
                return None
            name = random.choice(SIGNALS)
            return SignalReceived(seq, at, name, self.codec.encode(f"<{seq}>"), str(seq))
        if random.random() < 0.03:
            return CancelRequested(seq, at, "test")
        number = random.choice(sorted(interpreter.pending))
        if number in interpreter.timers:
            return TimerFired(seq, moment(max(self.clock, interpreter.timers[number])), number)
        wait = interpreter.pending[number]
        if isinstance(wait, SendWait):
            return SignalDelivered(seq, at, number)
        if wait is None and not self.was_activity(number):
            return SignalDelivered(seq, at, number)
        assert wait is None or isinstance(wait, ActivityWait)
        return self.activity_event(seq, at, number)

    def was_activity(self, number: int) -> bool:
        return any(
            type(e).__name__ == "ActivityScheduled" and getattr(e, "command", None) == number
            for e in self.events()
        )

    def activity_event(self, seq: int, at: Any, number: int) -> Event:
        kind = self.random.random()
        if number in self.cancels and kind < 0.5:
            return ActivityCancelled(seq, at, number)
        if kind < 0.25:
            data = Failure.of(ValueError("no")).to_data(self.codec.encode)
            return ActivityFailed(seq, at, number, data, 1)
        return ActivityCompleted(seq, at, number, self.codec.encode(f"r{number}"), 1)


def fingerprint(interpreter: Interpreter) -> Any:
    """Everything that must be equal in a live interpreter and a replayed one."""
    return (
        interpreter.seq,
        interpreter.at_us,
        interpreter.numbers,
        interpreter.next_due(),
        {number: type(wait).__name__ for number, wait in interpreter.pending.items()},
        interpreter.signals.unread(),
        interpreter.signals.count,
        interpreter.variables,
        [(c.path, c.line(), c.turns, c.cancelled, c.cancel_due) for c in interpreter.coroutines],
        interpreter.ending,
    )


__all__ = ["ActivityError", "Driver", "DurableError", "fingerprint", "program", "run"]
