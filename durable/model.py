"""The nouns that every part shares: an instance, its status, a task, a worker.

Moments are integers here: microseconds since 1970 by the store's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from durable.errors import UsageError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

DEFAULT_QUEUE = "default"


def moment(at: int) -> datetime:
    """Microseconds since 1970 as an aware UTC datetime."""
    return EPOCH + timedelta(microseconds=at)


def micros(at: datetime) -> int:
    """An aware datetime as microseconds since 1970."""
    return (at - EPOCH) // _MICROSECOND


MAX_ID_BYTES = 255
"""The longest id of an instance, in UTF-8."""

MAX_NAME_BYTES = 128
"""The longest name (of a workflow, an activity, a queue, a signal …), in UTF-8."""

SEPARATOR = "\x1f"
"""In a store, between the name of a workflow and the builds that have refused it: in no name."""

MAX_REASON_BYTES = 10_000
"""The longest reason that is given for a cancel or an end, in UTF-8."""


def checked_id(id: str) -> str:
    """The id, if it can be one."""
    if not isinstance(id, str):
        raise TypeError(f"an id is text, not {id!r}")
    try:
        size = len(id.encode())
    except UnicodeEncodeError as error:
        raise UsageError(f"id {id!r} is no valid text: {error.reason}") from None
    if not 0 < size <= MAX_ID_BYTES or "\0" in id:
        raise UsageError(
            f"an id has 1 to {MAX_ID_BYTES} bytes and no NUL; {id[:40]!r} has {size} bytes"
        )
    return id


def checked_text(value: str, what: str, most: int = MAX_NAME_BYTES) -> str:
    """The text, if it can stand in a row or an event: not empty, no NUL, valid in UTF-8, of
    at most so many bytes there.

    what: begins the message of the error: "wait_signal takes a name".
    """
    if not isinstance(value, str):
        raise TypeError(f"{what}, not {value!r}")
    if not value:
        raise UsageError(f"{what} that is not empty, not ''")
    if "\0" in value:
        raise UsageError(f"{what} without a NUL, not {value!r}")
    size = len(value)
    if not value.isascii():
        try:
            size = len(value.encode())
        except UnicodeEncodeError as error:
            raise UsageError(f"{what} that is valid text, not {value!r}: {error.reason}") from None
    if size > most:
        raise UsageError(f"{what} of at most {most:,} bytes; {value[:40]!r}… has {size:,}")
    return value


def checked_name(value: str, what: str) -> str:
    """The name of a workflow or an activity, if it can be one."""
    if SEPARATOR in checked_text(value, what):
        raise UsageError(f"{what} without the sign {SEPARATOR!r}, not {value!r}")
    return value


class Status(StrEnum):
    """Where an instance is in its life."""

    PENDING = "pending"
    RUNNING = "running"
    BLOCKED = "blocked"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"

    @property
    def finished(self) -> bool:
        return self in FINISHED


FINISHED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TERMINATED})


class ParentClose(StrEnum):
    """What becomes of a child when its parent's run ends."""

    CANCEL = "cancel"
    TERMINATE = "terminate"
    ABANDON = "abandon"


@dataclass(frozen=True, slots=True)
class Parent:
    """Who started a child: uid, id and run of the parent, the number of its command there, and
    what becomes of the child when that run ends."""

    uid: bytes
    id: str
    run: int
    command: int
    close: ParentClose = ParentClose.CANCEL


@dataclass(frozen=True, slots=True)
class Instance:
    """One started workflow, as the store has it.

    uid: 16 bytes, the identity; ``id`` is the user's name for it.
    version: None until the first worker chooses it.
    wake_at: when somebody must look at it, or None.
    blocked_by: the builds of the code that has refused it since its last step, in order, with
    a space between them (see `durable.records.refused`); or empty.
    crashes: takeovers since the last commit. args, kwargs, vars, result, memo: payloads;
    failure: stored failure data. parent: who started it, or None for a client.
    header: what its present run begins with, for the engine alone (see `durable.header`).
    """

    uid: bytes
    id: str
    workflow: str
    version: int | None
    queue: str
    run: int
    status: Status
    owner: str
    epoch: int
    wake_at: int | None
    history_length: int
    crashes: int
    blocked_by: str
    reason: str
    args: bytes
    kwargs: bytes | None
    vars: bytes | None
    result: bytes | None
    failure: bytes | None
    memo: bytes | None
    tags: tuple[str, ...]
    created_at: int
    started_at: int | None
    finished_at: int | None
    parent: Parent | None = None
    header: bytes | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A scheduled activity, as the store has it.

    epoch: + 1 at each claim, the fence of an attempt. attempt: from 1.
    crashes: workers lost while they held it. deadline: no attempt starts after it.
    last_error: encoded event of the last attempt's failure, or None.
    context: what is propagated to it (a payload), or None.
    details: of the last heartbeat (a payload), or None.
    deferrals: attempts that asked for a later one, which do not count.
    awaits: no attempt runs; the result comes from outside, and it is due when time is up.
    """

    uid: bytes
    run: int
    command: int
    instance_id: str
    name: str
    queue: str
    args: bytes
    kwargs: bytes | None
    options: bytes
    owner: str
    epoch: int
    wake_at: int
    attempt: int
    crashes: int
    cancel_requested: bool
    deadline: int | None
    last_error: bytes | None
    scheduled_at: int
    context: bytes | None = None
    details: bytes | None = None
    deferrals: int = 0
    awaits: bool = False


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker incarnation: a process from one registration to the next.

    machine: names the host and its process space, so that a dead pid can be told;
    build: fingerprint of its code; workflows: names and ``name@version`` it knows.
    """

    id: str
    host: str
    machine: str
    pid: int
    build: str
    queues: tuple[str, ...]
    slots: int
    workflows: tuple[str, ...]
    activities: tuple[str, ...]
    started_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts: instances by status, tasks by state, messages not yet taken, workers."""

    instances: dict[str, int]
    tasks_waiting: int
    tasks_running: int
    messages: int
    workers: int
    oldest_wake_at: int | None
