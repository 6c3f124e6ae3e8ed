"""Durable workflows as plain Python generators.

See the README for a whole program; `durable.errors` and `durable.events` have the rest of
the names.
"""

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
