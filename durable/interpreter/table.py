"""The table from command type to what waits for it: the way to add a command."""

from __future__ import annotations

from typing import Any

from durable.commands import (
    ActivityCall,
    ChannelReceive,
    ChannelSend,
    ChildCall,
    Command,
    Gather,
    Promise,
    Race,
    SendSignal,
    SideEffect,
    Sleep,
    SleepUntil,
    Task,
    WaitSignal,
    WaitUntil,
    WithTimeout,
)
from durable.interpreter import channels, signals
from durable.interpreter.combinators import GatherWait, RaceWait, TimedWait
from durable.interpreter.predicates import PredicateWait
from durable.interpreter.promises import PromiseWait
from durable.interpreter.remote import ActivityWait, ChildWait
from durable.interpreter.waits import JoinWait, SideEffectWait, TimerWait, UntilWait, Wait

WAITS: dict[type[Command[Any]], type[Wait]] = {
    ActivityCall: ActivityWait,
    ChannelReceive: channels.ChannelReceiveWait,
    ChannelSend: channels.ChannelSendWait,
    ChildCall: ChildWait,
    Gather: GatherWait,
    Promise: PromiseWait,
    Race: RaceWait,
    SendSignal: signals.SendWait,
    SideEffect: SideEffectWait,
    Sleep: TimerWait,
    SleepUntil: UntilWait,
    Task: JoinWait,
    WaitSignal: signals.SignalWait,
    WaitUntil: PredicateWait,
    WithTimeout: TimedWait,
}
