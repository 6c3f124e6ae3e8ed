"""Client processes: the real client, doing random things to a few instances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from durable import Client
from durable.errors import (
    InstanceAlreadyExists,
    InstanceFinished,
    InstanceNotFound,
    OutcomeUnknown,
    UsageError,
    WrongStatus,
)
from durable.store import Store, Unavailable
from simulation import programs
from simulation.baton import SECOND, Baton, Crash
from simulation.programs import IDS, SIGNALS

DEADLINE = 4.0
ACTIONS = (
    ("start",) * 5 + ("signal",) * 10 + ("complete",) * 5 + ("signal_or_start",) * 2
    + ("cancel", "cancel", "terminate", "pause", "pause", "resume", "retry", "retry", "restart")
)  # fmt: skip
REFUSALS = (InstanceAlreadyExists, InstanceFinished, InstanceNotFound, WrongStatus)


@dataclass
class Log:
    """What clients were told. signals: (sender, number, value, id, when the call began)
    of those acknowledged, in order; cancels: (reason, id, when the
    call began); unknown: how many calls ended without an answer; denied: values of calls that
    were told to have changed nothing."""

    starts: list[str] = field(default_factory=list)
    cancels: list[tuple[str, str, int]] = field(default_factory=list)
    signals: list[tuple[str, int, str, str, int]] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    unknown: int = 0
    refused: int = 0
    actions: int = 0


class Actor:
    """One client. If its process dies, what it was doing remains unknown to it."""

    def __init__(self, name: str, baton: Baton, seed: str, log: Log, actions: int) -> None:
        self.name = name
        self.baton = baton
        self.random = Random(f"{seed}:{name}")
        self.log = log
        self.left = actions
        self.sent = 0

    def work(self, store: Store) -> None:
        """Go on with what is left to do."""
        client = Client(store, deadline=DEADLINE)
        while self.left:
            self.left -= 1
            self.baton.pause(int(self.random.random() ** 2 * 3 * SECOND))
            action = self.random.choice(ACTIONS)
            id = self.random.choice(IDS)
            self.log.actions += 1
            sent = self.sent
            try:
                getattr(self, f"_{action}")(client, id)
            except REFUSALS:
                self.log.refused += 1
            except Unavailable:
                self.log.denied += [self._named(number + 1) for number in range(sent, self.sent)]
            except OutcomeUnknown:
                self.log.unknown += 1
            except Crash:
                self.log.unknown += 1
                raise

    def _code(self) -> programs.Code:
        return programs.program(self.random)

    def _start(self, client: Client, id: str, if_exists: Any = None) -> None:
        if_exists = if_exists or self.random.choice(("raise", "use"))
        delay = self.random.choice((None, None, 1.0))
        flow = programs.run.options(id=id, if_exists=if_exists, delay=delay)
        client.start(flow, self._code(), [])
        self.log.starts.append(id)

    def _restart(self, client: Client, id: str) -> None:
        self._start(client, id, "restart")

    def _value(self) -> str:
        self.sent += 1
        return self._named(self.sent)

    def _named(self, number: int) -> str:
        return f"{self.name}:{number}"

    def _signal(self, client: Client, id: str) -> None:
        value, began_at = self._value(), self.baton.now
        client.signal(id, self.random.choice(SIGNALS), value)
        self.log.signals.append((self.name, self.sent, value, id, began_at))

    def _signal_or_start(self, client: Client, id: str) -> None:
        value, code, began_at = self._value(), self._code(), self.baton.now
        flow = programs.run.options(id=id)
        client.signal_or_start(flow, code, [], signal=self.random.choice(SIGNALS), value=value)
        self.log.starts.append(id)
        self.log.signals.append((self.name, self.sent, value, id, began_at))

    def _complete(self, client: Client, id: str) -> None:
        if not programs.outside:
            return
        token = self.random.choice(programs.outside)
        if self.random.random() < 0.8:
            client.complete(token, self._value())
        else:
            client.fail(token, "no")

    def _cancel(self, client: Client, id: str) -> None:
        reason, began_at = self._value(), self.baton.now
        client.cancel(id, reason)
        self.log.cancels.append((reason, id, began_at))

    def _terminate(self, client: Client, id: str) -> None:
        client.terminate(id)

    def _pause(self, client: Client, id: str) -> None:
        client.pause(id)

    def _resume(self, client: Client, id: str) -> None:
        client.resume(id)

    def _retry(self, client: Client, id: str) -> None:
        client.retry(id)


def persistently(baton: Baton, call: Callable[[], object]) -> None:
    """For who cleans up: repeat until it is known what became of it."""
    while True:
        try:
            call()
            return
        except (*REFUSALS, UsageError):
            return
        except (OutcomeUnknown, Unavailable):
            baton.pause(SECOND)


__all__ = ["Actor", "Log", "persistently"]
