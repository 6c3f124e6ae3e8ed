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
    from durable.calls import (
        Info,
        continue_as_new,
        external,
        info,
        logger,
        now,
        on_signal,
        patched,
        random,
        set_var,
        set_vars,
        spawn,
        uuid4,
    )
    from durable.client import Client, Handle
    from durable.codec import Codec
    from durable.commands import Command, Promise, Task, Winner
    from durable.definitions import Workflow, activity, workflow
    from durable.errors import (
        ActivityError,
        Cancelled,
        ChannelClosed,
        ChildWorkflowError,
        ForgottenYield,
        InstanceAlreadyExists,
        InstanceFinished,
        InstanceNotFound,
        PermanentError,
        PromiseError,
        RetryLater,
        SideEffectError,
        TaskCancelled,
        TimeoutExpired,
    )
    from durable.failure import Failure
    from durable.interpreter.channels import Channel
    from durable.model import Status
    from durable.orchestrator import Orchestrator
    from durable.retry import Retry
    from durable.runner import current_activity
    from durable.scopes import CancelScope, shield, timeout
    from durable.spans import span
    from durable.verbs import (
        gather,
        race,
        send_signal,
        side_effect,
        sleep,
        sleep_until,
        wait_signal,
        wait_until,
        with_timeout,
    )
    from durable.worker import Worker

__version__ = "0.1.0"

__all__ = [
    "ActivityError",
    "CancelScope",
    "Cancelled",
    "Channel",
    "ChannelClosed",
    "ChildWorkflowError",
    "Client",
    "Codec",
    "Command",
    "Failure",
    "ForgottenYield",
    "Handle",
    "Info",
    "InstanceAlreadyExists",
    "InstanceFinished",
    "InstanceNotFound",
    "Orchestrator",
    "PermanentError",
    "Promise",
    "PromiseError",
    "Retry",
    "RetryLater",
    "SideEffectError",
    "Status",
    "Task",
    "TaskCancelled",
    "TimeoutExpired",
    "Winner",
    "Worker",
    "Workflow",
    "activity",
    "continue_as_new",
    "current_activity",
    "external",
    "gather",
    "info",
    "logger",
    "now",
    "on_signal",
    "patched",
    "race",
    "random",
    "send_signal",
    "set_var",
    "set_vars",
    "shield",
    "side_effect",
    "sleep",
    "sleep_until",
    "span",
    "spawn",
    "timeout",
    "uuid4",
    "wait_signal",
    "wait_until",
    "with_timeout",
    "workflow",
]

_HOMES = {
    "durable.calls": (
        "Info",
        "continue_as_new",
        "external",
        "info",
        "logger",
        "now",
        "on_signal",
        "patched",
        "random",
        "set_var",
        "set_vars",
        "spawn",
        "uuid4",
    ),
    "durable.client": ("Client", "Handle"),
    "durable.codec": ("Codec",),
    "durable.commands": ("Command", "Promise", "Task", "Winner"),
    "durable.definitions": ("Workflow", "activity", "workflow"),
    "durable.errors": (
        "ActivityError",
        "Cancelled",
        "ChannelClosed",
        "ChildWorkflowError",
        "ForgottenYield",
        "InstanceAlreadyExists",
        "InstanceFinished",
        "InstanceNotFound",
        "PermanentError",
        "PromiseError",
        "RetryLater",
        "SideEffectError",
        "TaskCancelled",
        "TimeoutExpired",
    ),
    "durable.failure": ("Failure",),
    "durable.interpreter.channels": ("Channel",),
    "durable.model": ("Status",),
    "durable.orchestrator": ("Orchestrator",),
    "durable.retry": ("Retry",),
    "durable.runner": ("current_activity",),
    "durable.scopes": ("CancelScope", "shield", "timeout"),
    "durable.spans": ("span",),
    "durable.verbs": (
        "gather",
        "race",
        "send_signal",
        "side_effect",
        "sleep",
        "sleep_until",
        "wait_signal",
        "wait_until",
        "with_timeout",
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
