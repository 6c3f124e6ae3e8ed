"""Activities for the process executor, which must find them in a module."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from durable import ActivityError, Retry, Workflow, activity, current_activity, workflow


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
