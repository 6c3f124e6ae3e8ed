"""Activities for the process executor, which must find them in a module."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

from durable import (
    ActivityError,
    Cancelled,
    Retry,
    Workflow,
    activity,
    current_activity,
    gather,
    workflow,
)
from durable.errors import RetryLater, UsageError


@activity
def child_pid() -> int:
    return os.getpid()


@activity(retry=Retry(max_attempts=2, first_delay=0), timeout=0.3)
def slow_once(folder: str) -> int:
    attempt = current_activity().attempt
    Path(folder, f"pid-{attempt}").write_text(str(os.getpid()))
    if attempt == 1:
        threading.Event().wait(60)
    return attempt


@activity(max_crashes=3)
def exits(times: int) -> list[int]:
    me = current_activity()
    if me.crashes < times:
        os._exit(3)
    return [me.attempt, me.crashes]


@workflow
def in_children(folder: str) -> Workflow[dict[str, Any]]:
    found: dict[str, Any] = {"pid": (yield child_pid.call())}
    found["slow"] = yield slow_once.call(folder)
    found["exits"] = yield exits.call(2)
    try:
        yield exits.call(1000)
    except ActivityError as error:
        found["crashed"] = [error.error.type, error.attempt]
    return found


SOON = Retry(max_attempts=2, first_delay=0, jitter=0)


@activity(retry=SOON)
async def tells() -> list[Any]:
    """Each attempt tells something, asks for a later time, and fails in the end."""
    me = current_activity()
    earlier = me.last_heartbeat
    await asyncio.sleep(0)
    await asyncio.to_thread(me.heartbeat, [me.attempt, os.getpid() != 0])
    if me.attempt == 1:
        raise RetryLater(delay=0.01)
    if me.attempt == 2:
        raise KeyError("counts")
    return [me.attempt, earlier]


@activity(retry=SOON, heartbeat_timeout=0.3)
def silent_once(folder: str) -> Any:
    me = current_activity()
    if me.attempt == 1:
        Path(folder, "silent").write_text(str(os.getpid()))
        me.heartbeat("before the silence")
        threading.Event().wait(60)
    return me.last_heartbeat


@activity
def asks(folder: str) -> None:
    me = current_activity()
    Path(folder, "token.new").write_text(me.token)
    Path(folder, "token.new").rename(Path(folder, "token"))
    raise me.complete_later()


@activity
def leaves_a_thread() -> bool:
    """A thread that goes on after its attempt has ended does not disturb the next one."""
    me = current_activity()

    def late() -> None:
        try:
            while True:
                me.heartbeat("late")
        except UsageError as error:
            LATE.append(str(error))

    threading.Thread(target=late, daemon=True).start()
    return not LATE


LATE: list[str] = []


@activity
def late_errors() -> list[str]:
    end = time.monotonic() + 10
    while not LATE and time.monotonic() < end:
        threading.Event().wait(0.01)
    return LATE


@activity(retry=None)
def keyed(folder: str) -> str:
    """Notes its key; fails until somebody has repaired it."""
    key = current_activity().idempotency_key
    with Path(folder, "keys").open("a") as file:
        file.write(f"{key}\n")
    if not Path(folder, "repaired").exists():
        raise ValueError("broken")
    return key


@workflow
def keeps_its_key(folder: str) -> Workflow[str]:
    return (yield from keyed.call(folder))


@workflow
def told_by_children(folder: str) -> Workflow[list[Any]]:
    told = yield tells.call()
    silent = yield silent_once.call(folder)
    left = yield leaves_a_thread.call()
    late = yield late_errors.call()
    return [told, silent, left, late, (yield asks.call(folder))]


@activity(on_cancel="request")
def until_told(folder: str, by_heartbeat: bool) -> str:
    me = current_activity()
    Path(folder, f"began-{by_heartbeat}").touch()
    try:
        while by_heartbeat or not me.cancelled:
            if by_heartbeat:
                me.heartbeat()
            threading.Event().wait(0.01)
    except Cancelled:
        return "raised"
    return "read"


@workflow
def stopped(folder: str) -> Workflow[list[str]]:
    return list((yield from gather(until_told.call(folder, True), until_told.call(folder, False))))
