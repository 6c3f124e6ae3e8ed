"""Attempts of activities in a test: which mock answers, how long it takes, what comes out.

Rules
-----
* An attempt takes its turn of a mock when it begins, and is run at the end of its time.
* A turn counts if the attempt's answer was delivered, and when the mock itself takes longer than
  the attempt may.  When something else goes wrong, it is given back.
* A turn is of an attempt, by its number: when the worker dies, and another one begins the same
  attempt, it gets the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from durable.codec import Codec
from durable.definitions import ActivityDefinition
from durable.errors import MockError, PayloadError
from durable.propagation import Propagators
from durable.registry import Registry
from durable.retry import microseconds
from durable.runner import Attempt, Outcome, run_attempt
from durable.runner.attempt import timed_out
from durable.store import TaskKey
from durable.testing.doubles import performed
from durable.testing.mocks import Call, Mocks, Turn

__all__ = ["Attempts"]


@dataclass
class _Plan:
    """What will happen to an attempt that began at a moment. exceeds: the limit that its time is
    over, or "". delayed: its time is over by what was added to that of the mock. is_recorded:
    whether its call was."""

    turn: Turn | None
    at: datetime
    exceeds: str = ""
    delayed: bool = False
    is_recorded: bool = False


class Attempts:
    """Those that are under way, and how they are run.

    strict: activities that are not mocked are refused. tell: is told of errors that are the
    test's own, or that end it. now: the virtual clock.
    """

    def __init__(
        self,
        mocks: Mocks,
        registry: Registry,
        codec: Codec,
        propagators: Propagators,
        *,
        strict: bool,
        tell: Callable[[BaseException], None],
        now: Callable[[], datetime],
    ) -> None:
        self._mocks = mocks
        self._registry = registry
        self._codec = codec
        self._propagators = propagators
        self._strict = strict
        self._tell = tell
        self._now = now
        self._real = frozenset(registry.activities)
        self._plans: dict[Attempt, _Plan] = {}
        self._turns: dict[tuple[TaskKey, int], Turn | None] = {}

    def begin(self, attempt: Attempt, longer: int) -> int:
        """How many microseconds an attempt that begins will take, at most as long as it may.
        longer: how many are added to those of its mock."""
        which = (attempt.key, attempt.number)
        if which not in self._turns:
            self._turns[which] = self._mocks.next(attempt.name)
        plan = self._plans[attempt] = _Plan(self._turns[which], self._now())
        own = 0 if plan.turn is None else microseconds(plan.turn.takes, "takes")
        options = attempt.options
        limits = {"attempt": options.timeout, "heartbeat": options.heartbeat_timeout}
        limited = [(microseconds(s, kind), kind) for kind, s in limits.items() if s is not None]
        limit, kind = min(limited, default=(own + longer, ""))
        if own + longer > limit:
            plan.exceeds, plan.delayed = kind, own <= limit
        return min(own + longer, limit)

    def perform(self, attempt: Attempt) -> Outcome:
        """Run it: the mock, or the activity itself."""
        plan = self._plans[attempt]
        definition = self._registry.activities[attempt.name]
        if plan.turn is None:
            self._check_real(attempt, definition)

        # It began when it was started, and is called at its end: a cancel in between has not met
        # one that never began.
        stopping, attempt.stopping = attempt.stopping, False

        def record(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            attempt.stopping = stopping
            plan.is_recorded = True
            self._mocks.record(attempt.name, self._call(attempt, plan, args, kwargs))

        made = performed(definition, plan.turn, record, self._tell, self._codec)
        outcome = run_attempt(attempt, made, self._codec, self._propagators)
        attempt.stopping = stopping
        return timed_out(attempt, plan.exceeds, self._codec) if plan.exceeds else outcome

    def _call(
        self, attempt: Attempt, plan: _Plan, args: Iterable[Any], kwargs: dict[str, Any]
    ) -> Call:
        return Call(tuple(args), kwargs, plan.at, attempt.number, attempt.instance_id)

    def under_way(self, name: str) -> list[Call]:
        """Calls that have begun and not ended."""
        calls = []
        for attempt, plan in self._plans.items():
            if attempt.name != name or plan.is_recorded:
                continue
            definition = self._registry.activities[name]
            with suppress(PayloadError):  # it will fail, and has not been called with anything
                args, kwargs = definition.unpack_call(self._codec, attempt.args, attempt.kwargs)
                calls.append(self._call(attempt, plan, args, kwargs))
        return calls

    def forget(self, attempt: Attempt) -> None:
        """Of a worker that has died: its turn is had by who begins it again."""
        self._plans.pop(attempt, None)

    def end(self, attempt: Attempt, *, delivered: bool) -> None:
        """It is over. delivered: whether the worker has its answer."""
        plan = self._plans.pop(attempt)
        if plan.turn is not None:
            plan.turn.over(answered=delivered and not plan.delayed)

    def _check_real(self, attempt: Attempt, definition: ActivityDefinition[..., Any]) -> None:
        """Whether the activity itself may be called."""
        called = f"{attempt.name} was called by {attempt.instance_id}"
        is_mocked_only = attempt.name in self._mocks and attempt.name not in self._real
        if self._strict or is_mocked_only:
            given = self._mocks.answers(attempt.name)
            why = f"its mocks have answered {given} before" if given else "no mock answers"
            self._tell(MockError(f"{called}, and {why}"))
        elif definition.transactional:
            self._tell(MockError(f"{called}: it is transactional, which needs a mock here"))
