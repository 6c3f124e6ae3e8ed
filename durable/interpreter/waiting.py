"""What a coroutine waits for, as a value that can be shown: a table from wait to description.

It only looks: nothing of the interpreter changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from durable.commands import ActivityCall, ChildCall
from durable.interpreter import channels, signals
from durable.interpreter.combinators import Combinator, GatherWait, RaceWait, TimedWait
from durable.interpreter.predicates import PredicateWait
from durable.interpreter.promises import PromiseWait
from durable.interpreter.remote import ActivityWait, ChildWait
from durable.interpreter.waits import JoinWait, SideEffectWait, TimerWait, UntilWait, Wait
from durable.model import moment
from durable.reprs import bounded, call_text


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that is waited for.

    kind: activity, child, timer, signal, send_signal, promise, task, channel, condition,
    side_effect; gather, race or with_timeout, which have ``parts``.
    what: in words. name: in a race or gather with names, else "". command: its number, if it
    has one. due_at: when it is due, or fails for being late. done: as a part, it has ended.
    asked_to_stop: it was cancelled, and is waited for all the same.
    note: what is known of it just now, beside the history, like the attempt of an activity.
    """

    kind: str
    what: str
    name: str = ""
    command: int | None = None
    due_at: datetime | None = None
    done: bool = False
    asked_to_stop: bool = False
    note: str = ""
    parts: tuple[Waiting, ...] = ()


def describe(wait: Wait, name: str = "") -> Waiting:
    """What a wait of an interpreter is."""
    kind, in_words = DESCRIPTIONS[type(wait)]
    number = wait.number if wait.number >= 0 else None
    state = wait.command._state if isinstance(wait, PromiseWait) else None
    if state is not None:
        number = state.number
    due = None if number is None else wait.interpreter.timers.get(number)
    return Waiting(
        kind,
        in_words(wait),
        name,
        number,
        None if due is None else moment(due),
        wait.settled,
        getattr(wait, "told", False),
        parts=_parts(wait) if isinstance(wait, Combinator) else (),
    )


def as_code(command: Any) -> str:
    """A command as it would be written, in a bounded text: ``charge.call('o-1')``."""
    if isinstance(command, ActivityCall | ChildCall):
        return call_text(f"{command.name}.call", command.args, command.kwargs)
    return bounded(command)


def _parts(wait: Combinator) -> tuple[Waiting, ...]:
    names = getattr(wait.command, "names", None) or [None] * len(wait.children)
    return tuple(
        describe(child, name or "") for child, name in zip(wait.children, names, strict=True)
    )


def _called(wait: Any) -> str:
    return call_text(wait.command.name, wait.command.args, wait.command.kwargs)


def _child(wait: Any) -> str:
    id = getattr(wait, "instance_id", "")  # it has none until it is issued
    return f"{_called(wait)}, the instance {id}" if id else _called(wait)


def _of_all(wait: Any) -> str:
    ended = sum(child.settled for child in wait.children)
    failed = "; it has failed, and waits for those" if wait.failure is not None else ""
    return f"{len(wait.children) - ended} of {len(wait.children)}{failed}"


def _condition(wait: Any) -> str:
    code = getattr(wait.command.predicate, "__code__", None)
    if code is None:
        return bounded(wait.command.predicate)
    return f"{code.co_name}, line {code.co_firstlineno}"


def _side_effect(wait: Any) -> str:
    fn = wait.command.fn
    return f"side_effect({getattr(fn, '__qualname__', None) or bounded(fn)})"


DESCRIPTIONS: dict[type[Wait], tuple[str, Callable[[Any], str]]] = {
    ActivityWait: ("activity", _called),
    ChildWait: ("child", _child),
    TimerWait: ("timer", lambda wait: str(wait.command)),
    UntilWait: ("timer", lambda wait: "sleep_until"),
    signals.SignalWait: ("signal", lambda wait: wait.command.name),
    signals.SendWait: (
        "send_signal",
        lambda wait: f"{wait.command.name} to {wait.command.instance_id}",
    ),
    PromiseWait: ("promise", lambda wait: wait.command._state.name),
    JoinWait: ("task", lambda wait: wait.command.name),
    channels.ChannelSendWait: ("channel", lambda wait: f"room in {wait.command.channel}"),
    channels.ChannelReceiveWait: ("channel", lambda wait: f"a value from {wait.command.channel}"),
    PredicateWait: ("condition", _condition),
    SideEffectWait: ("side_effect", _side_effect),
    GatherWait: ("gather", _of_all),
    RaceWait: ("race", lambda wait: f"the first of {len(wait.children)}"),
    TimedWait: ("with_timeout", lambda wait: f"{wait.command.microseconds / 1_000_000:g} s"),
}
"""From what waits, to its kind and its words."""

__all__ = ["DESCRIPTIONS", "Waiting", "as_code", "describe"]
