"""The workflows of the campaigns. Every execution of an activity leaves a line in a ledger
that is outside of the store: ``instance command attempt pid``."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from durable import (
    Retry,
    Workflow,
    activity,
    current_activity,
    gather,
    sleep,
    wait_signal,
    workflow,
)

LEDGER = "CAMPAIGN_LEDGER"
GATES = "CAMPAIGN_GATES"


def note(path: str) -> None:
    """One line, in one write to a file opened for appending: lines never mix."""
    me = current_activity()
    command = me.idempotency_key.rsplit(":", 1)[1]
    line = f"{me.instance_id} {command} {me.attempt} {os.getpid()}\n"
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


def pause(seconds: float) -> None:
    """Be busy for a while: this is what is killed half-way."""
    threading.Event().wait(seconds)


@activity(max_crashes=1000)
def work(number: int, seconds: float = 0.02) -> int:
    note(os.environ[LEDGER])
    pause(seconds)
    return number * number


@workflow
def three(number: int) -> Workflow[int]:
    """Three activities, one after the other."""
    total = 0
    for place in range(3):
        total += yield from work.call(number + place, 0.1)
    return total


@workflow
def main_job(count: int) -> Workflow[int]:
    """Some one after the other, some side by side."""
    total = 0
    for number in range(count):
        total += yield from work.call(number)
        total += sum((yield from gather(*[work.call(number + i) for i in (1, 2)])))
    return total


@activity(max_crashes=1000, retry=Retry(max_attempts=None, first_delay=0.01))
def hold(gate: str) -> int:
    """Run until a file appears; gives the process in which it ran."""
    note(os.environ[LEDGER])
    file = Path(os.environ[GATES]) / gate
    while not file.exists():
        pause(0.01)
    note(os.environ[LEDGER] + ".ended")
    return os.getpid()


@workflow
def held(gate: str) -> Workflow[list[int]]:
    first = yield from hold.call(gate)
    second = yield from work.call(2)
    return [first, second]


@workflow
def deadly() -> Workflow[None]:
    """Takes its worker down in its first step."""
    os._exit(9)
    yield sleep(0)


@workflow
def innocent() -> Workflow[str]:
    """Waits beside it."""
    yield wait_signal("go")
    return "unharmed"


@activity(max_crashes=1000)
def climb() -> list[float]:
    """Tell the time again and again; when it is repeated, give the last that is known."""
    me = current_activity()
    if me.last_heartbeat is not None:
        return [me.last_heartbeat, me.attempt, me.crashes]
    while True:
        me.heartbeat(time.time())
        pause(0.005)


@workflow
def climbed() -> Workflow[list[float]]:
    return (yield from climb.call())
