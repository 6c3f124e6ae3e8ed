"""The workflows of the campaigns. Every execution of an activity leaves a line in a ledger
that is outside of the store: ``instance command attempt pid moment``."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from durable import (
    Retry,
    Workflow,
    activity,
    current_activity,
    gather,
    info,
    send_signal,
    shield,
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
    line = f"{me.instance_id} {command} {me.attempt} {os.getpid()} {time.time()}\n"
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


# -- what the load is made of -------------------------------------------------------------

NEWS, TELL = "news", "tell"

ENOUGH = -1
"""The value of the last signal that an order is told."""


@workflow
def errand(whose: str, number: int) -> Workflow[int]:
    """A child; its parent learns of it twice, by a signal and by its end."""
    square = yield from work.call(number)
    yield send_signal(whose, NEWS, square)
    return square


@workflow
def order(number: int) -> Workflow[list[int]]:
    """Activities, a timer, a child, a signal of the child, and then signals until enough."""
    found = [(yield from work.call(number))]
    yield sleep(0.03)
    found += yield from gather(work.call(number + 1), work.call(number + 2))
    found.append((yield from errand.call(info().instance_id, number + 3)))
    found.append((yield from wait_signal(NEWS, int)))
    while (told := (yield from wait_signal(TELL, int))) != ENOUGH:
        found.append(told)
    return found


def order_found(number: int) -> list[int]:
    """What an order gives, before what it is told."""
    return [(number + n) ** 2 for n in (0, 1, 2, 3, 3)]


@workflow
def patient(number: int) -> Workflow[None]:
    """Waits until it is cancelled, and then cleans up."""
    try:
        yield sleep(3600)
    finally:
        with shield():
            yield work.call(number)


# -- what has all that a worker's protocol knows ------------------------------------------


@activity(max_crashes=1000, retry=Retry(max_attempts=None, first_delay=0.001))
def second_time(number: int) -> int:
    """Fails at first, so that the store keeps it for later."""
    note(os.environ[LEDGER])
    if current_activity().attempt == 1:
        raise ValueError("once")
    return number


@activity(max_crashes=1000)
def handed_out(number: int) -> int:
    """Somebody might have its token: its result goes through the inbox."""
    note(os.environ[LEDGER])
    assert current_activity().token
    return number


@activity(max_crashes=1000)
def lively(seconds: float) -> str:
    """Send heartbeats for a while."""
    note(os.environ[LEDGER])
    me = current_activity()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        me.heartbeat(time.time())
        pause(0.01)
    return "alive"


@workflow
def journey(number: int, seconds: float) -> Workflow[list[object]]:
    """Reaches every verb that a worker calls; seconds: so long that it must send heartbeats."""
    first = yield from second_time.call(number)
    second = yield from handed_out.call(number)
    yield sleep(0.01)
    third = yield from errand.call(info().instance_id, number)
    news = yield from wait_signal(NEWS, int)
    alive = yield from lively.call(seconds)
    return [first, second, third, news, alive]


def journey_found(number: int) -> list[object]:
    return [number, number, number**2, number**2, "alive"]


# -- what clients can do something about ----------------------------------------------------


@workflow
def failing() -> Workflow[None]:
    """Fails in its first step."""
    raise ValueError("as it should")
    yield sleep(0)


@activity(timeout=3600)
def post(file: str) -> int:
    """Leave a token, by which somebody else gives the result."""
    me = current_activity()
    (Path(os.environ[GATES]) / file).write_text(me.token)
    raise me.complete_later()


@workflow
def mailed(file: str) -> Workflow[int]:
    return (yield from post.call(file))


# -- what stops -----------------------------------------------------------------------------


def halt() -> None:
    """Stop this process; a worker of a campaign has a better one."""
    os.kill(os.getpid(), signal.SIGSTOP)


@activity(max_crashes=1000)
def stopping(file: str) -> int:
    """Stop this process, with the activity in it; the second one that comes here goes on."""
    note(os.environ[LEDGER])
    mark = Path(os.environ[GATES]) / file
    if not mark.exists():
        mark.touch()
        halt()
    note(os.environ[LEDGER] + ".ended")
    return 1


@workflow
def stopped(file: str) -> Workflow[list[int]]:
    first = yield from stopping.call(file)
    second = yield from work.call(2)
    return [first, second]


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
