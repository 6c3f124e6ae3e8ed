"""An instance that this worker holds, and what waits to be applied to it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from durable.codec import Codec
from durable.definitions import WorkflowDefinition
from durable.errors import PayloadError
from durable.events import (
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    Event,
    WorkflowStarted,
    begins_again,
    load,
)
from durable.header import Header
from durable.interpreter import DEFAULT_LIMITS, Interpreter, Limits
from durable.model import Instance, moment
from durable.propagation import Propagators
from durable.retry import microseconds
from durable.runner.attempt import Outcome
from durable.runner.steps import unpack_vars
from durable.store import Message
from durable.tokens import PROMISE, Token

PYTHON = platform.python_version()

Flow = WorkflowDefinition[..., Any]


@dataclass(slots=True, eq=False)
class Held:
    """One owned instance.

    instance: as it was claimed. epoch: of the last claim. length, version: of its run, by
    now. messages: its whole inbox.
    interpreter: None until its history is read. outcomes: of local attempts, with the
    moment when they came. running: commands that run here.
    messages_first: apply the inbox before anything else, because its end had not seen it.
    crashes: workers lost with it since its last commit. effects: what side effects gave in
    steps that were not committed, so that they are not called again.
    """

    instance: Instance
    epoch: int
    length: int
    version: int | None
    messages: list[Message]
    interpreter: Interpreter | None = None
    outcomes: list[tuple[int, Outcome]] = field(default_factory=list)
    running: set[int] = field(default_factory=set)
    messages_first: bool = False
    crashes: int = 0
    effects: dict[int, Any] = field(default_factory=dict)
    uid: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.uid = self.instance.uid

    @property
    def begins_again(self) -> bool:
        """Whether all of its history is a copy, after which it has not gone on yet."""
        return begins_again(message.event for message in self.messages)

    def evict(self) -> None:
        """Drop the interpreter, whose last step was not committed."""
        if self.interpreter is not None:
            self.effects = self.interpreter.effects
            self.interpreter.close()
            self.interpreter = None

    def due(self, now: int) -> list[Message | Outcome | int]:
        """What is to be applied, in order: by the moment when it came or fell due; at the
        same moment messages first, then timers (their numbers) in order."""
        assert self.interpreter is not None
        timers = self.interpreter.timers
        if not self.messages and not timers:
            return [outcome for _, outcome in self.outcomes]
        early = 0 if self.messages_first else 1
        rows: list[tuple[int, int, int, Any]] = [
            (m.arrived_at * early, 0, m.id, m) for m in self.messages
        ]
        rows += [(at, 1, i, outcome) for i, (at, outcome) in enumerate(self.outcomes)]
        if timers:
            rows += [(at, 2, number, number) for at, number in self.interpreter.due(now)]
        rows.sort(key=lambda row: row[:3])
        return [row[3] for row in rows]


def outcome_event(outcome: Outcome, seq: int, at: datetime) -> Event:
    """The event that the outcome of an attempt becomes."""
    attempt = outcome.attempt
    command = attempt.key[2]
    if outcome.value is not None:
        return ActivityCompleted(seq, at, command, outcome.value, attempt.number)
    if outcome.cancelled:
        return ActivityCancelled(seq, at, command, outcome.failure)
    return ActivityFailed(seq, at, command, outcome.failure, attempt.number)


def started(
    instance: Instance, header: Header, definition: Flow, now: int, seed: bytes
) -> WorkflowStarted:
    """The first event of a run. seed: 16 random bytes."""
    parent = instance.parent
    timeout = definition.timeout if header.timeout is None else header.timeout
    return WorkflowStarted(
        0,
        moment(now),
        instance.workflow,
        definition.version,
        instance.args,
        instance.kwargs,
        None if parent is None else [parent.id, parent.run, parent.command],
        list(instance.tags),
        instance.memo,
        instance.queue,
        seed,
        header.context,
        PYTHON,
        header.attempt,
        None if timeout is None else moment(now + microseconds(timeout, "timeout")),
        unpack_vars(instance.vars) or None,
    )


def revive(
    instance: Instance,
    length: int,
    definition: Flow,
    history: list[tuple[int, bytes]],
    codec: Codec,
    secret: Callable[[], bytes],
    propagators: Propagators | None = None,
    limits: Limits = DEFAULT_LIMITS,
    *,
    copied: bool = False,
) -> Interpreter:
    """A live interpreter from a stored history (which may be empty).

    length: events that it must have. secret: gives the store's key of tokens. copied: whether
    all of it is a copy.
    Raises `PayloadError` for a history that is damaged, `NonDeterminismError` for code
    that does not match it.
    """
    if len(history) != length:
        raise PayloadError(f"the history has {len(history)} events where {length} must be")
    events = []
    for place, (seq, data) in enumerate(history):
        if seq != place:
            raise PayloadError(f"the history has event {seq} where {place} must be")
        events.append(load(data, seq))
    uid, run = instance.uid, instance.run
    interpreter = Interpreter(
        definition,
        codec,
        instance.id,
        run,
        lambda number: Token(PROMISE, uid, run, number).text(secret()),
        propagators,
        limits,
    )
    try:
        interpreter.replay(events, copied=copied)
    except BaseException:
        interpreter.close()
        raise
    return interpreter
