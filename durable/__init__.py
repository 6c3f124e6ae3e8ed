"""Durable workflows as plain Python generators.

See the README for a whole program; `durable.errors` and `durable.events` have the rest of
the names.

A name is imported when it is first used (PEP 562): the command line, and shell completion at
each Tab, must not pay for what they do not use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durable.client import Client
    from durable.codec import Codec
    from durable.commands import Command, Task, Winner
    from durable.definitions import Workflow, activity, workflow
    from durable.errors import (
        ActivityError,
        Cancelled,
        ForgottenYield,
        PermanentError,
        SideEffectError,
        TaskCancelled,
        TimeoutExpired,
    )
    from durable.failure import Failure
    from durable.handle import Handle
    from durable.model import Status
    from durable.orchestrator import Orchestrator
    from durable.retry import Retry
    from durable.runner import current_activity
    from durable.verbs import (
        Info,
        gather,
        info,
        logger,
        now,
        race,
        random,
        send_signal,
        set_var,
        side_effect,
        sleep,
        sleep_until,
        spawn,
        uuid4,
        wait_signal,
    )
    from durable.worker import Worker

__version__ = "0.1.0"

__all__ = [
    "ActivityError",
    "Cancelled",
    "Client",
    "Codec",
    "Command",
    "Failure",
    "ForgottenYield",
    "Handle",
    "Info",
    "Orchestrator",
    "PermanentError",
    "Retry",
    "SideEffectError",
    "Status",
    "Task",
    "TaskCancelled",
    "TimeoutExpired",
    "Winner",
    "Worker",
    "Workflow",
    "activity",
    "current_activity",
    "gather",
    "info",
    "logger",
    "now",
    "race",
    "random",
    "send_signal",
    "set_var",
    "side_effect",
    "sleep",
    "sleep_until",
    "spawn",
    "uuid4",
    "wait_signal",
    "workflow",
]

_HOMES = {
    "durable.client": ("Client",),
    "durable.codec": ("Codec",),
    "durable.commands": (
        "Command",
        "Task",
        "Winner",
    ),
    "durable.definitions": (
        "Workflow",
        "activity",
        "workflow",
    ),
    "durable.errors": (
        "ActivityError",
        "Cancelled",
        "ForgottenYield",
        "PermanentError",
        "SideEffectError",
        "TaskCancelled",
        "TimeoutExpired",
    ),
    "durable.failure": ("Failure",),
    "durable.handle": ("Handle",),
    "durable.model": ("Status",),
    "durable.orchestrator": ("Orchestrator",),
    "durable.retry": ("Retry",),
    "durable.runner": ("current_activity",),
    "durable.verbs": (
        "Info",
        "gather",
        "info",
        "logger",
        "now",
        "race",
        "random",
        "send_signal",
        "set_var",
        "side_effect",
        "sleep",
        "sleep_until",
        "spawn",
        "uuid4",
        "wait_signal",
    ),
    "durable.worker": ("Worker",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'durable' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
