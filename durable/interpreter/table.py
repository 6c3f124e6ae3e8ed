"""The table from command type to what waits for it: the way to add a command."""

from __future__ import annotations

from durable.commands import (
    ActivityCall,
    Command,
    Gather,
    Race,
    SendSignal,
    SideEffect,
    Sleep,
    SleepUntil,
    Task,
    WaitSignal,
)
from durable.interpreter.combinators import GatherWait, RaceWait
from durable.interpreter.waits import (
    ActivityWait,
    JoinWait,
    SendWait,
    SideEffectWait,
    SignalWait,
    TimerWait,
    UntilWait,
    Wait,
)

WAITS: dict[type[Command], type[Wait]] = {  # type: ignore[type-arg]
    ActivityCall: ActivityWait,
    Gather: GatherWait,
    Race: RaceWait,
    SendSignal: SendWait,
    SideEffect: SideEffectWait,
    Sleep: TimerWait,
    SleepUntil: UntilWait,
    Task: JoinWait,
    WaitSignal: SignalWait,
}
