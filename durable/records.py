"""What goes into a store and comes out of it: the values of the contract in `durable.store`.

Whatever is an event or a message here is encoded (`durable.events.dump`); a store looks
into none of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import quote

from durable.errors import StoreError
from durable.model import Instance, Parent, Status, Task

TaskKey = tuple[bytes, int, int]  # (uid, run, command)

DEFAULT_MAX_INBOX = 100_000

# In ``blocked_by`` if no worker knew the workflow: no fingerprint, so whoever knows it wakes it.
UNKNOWN = "unknown"

MAX_REFUSED_BYTES = 1500
"""The longest ``blocked_by``: it is part of an indexed name (see `durable.stores.refusals`)."""

# The owner of paused instances: no worker has this id, so nobody claims them.  A client that
# takes in what was recorded elsewhere commits it by this name.
PARKED = "(paused)"


def refused(blocked_by: str, build: str) -> bool:
    """Whether this build is among those in an instance's ``blocked_by``."""
    return _word(build) in blocked_by.split()


def refused_also(blocked_by: str, build: str) -> str:
    """An instance's ``blocked_by`` when this build has refused it, too. It has room for dozens of
    builds; the oldest make place for others, and would try it once more if they came again."""
    builds = [] if blocked_by == UNKNOWN else blocked_by.split()
    builds = list(dict.fromkeys([*builds, _word(build)]))
    while len(" ".join(builds).encode()) > MAX_REFUSED_BYTES:
        del builds[0]
    return " ".join(builds)


def _word(build: str) -> str:
    """A build as one word, each as another one, and none as `UNKNOWN`."""
    if build in ("", UNKNOWN):
        return f"%{build}"
    return re.sub(r"[\s%]", lambda found: quote(found[0]), build)


class Unavailable(StoreError):
    """The store cannot be reached or cannot write now; nothing was changed. Try later."""


class Poison(StoreError):
    """The store refuses this data and always will; nothing was changed."""


class Verdict(Enum):
    """What became of a step."""

    COMMITTED = "committed"
    LOST = "lost"  # somebody else owns it, or a task's result came too late
    BUSY = "busy"  # its row is locked elsewhere: try again with the next batch
    UNSEEN = "unseen"  # it would end the instance, or delay it, and a message has come


class Sent(Enum):
    """What became of a message."""

    SENT = "sent"  # stored now, or by an earlier call with the same message id
    NOT_FOUND = "not found"
    FINISHED = "finished"
    FULL = "full"  # too many messages wait in that inbox
    REFUSED = "refused"  # its status does not allow it


@dataclass(frozen=True, slots=True)
class NewInstance:
    """An instance to create. ``token`` names the request: repeating it finds its own row.

    start_at: the first moment at which a worker may look at it. It is *pending* until its
    first step. parent: who starts it, if not a client.
    history: events that it begins with (a fork). messages: (message id, event) that wait in
    its inbox from the first; an instance that existed already gets none of them.
    """

    uid: bytes
    id: str
    token: bytes
    workflow: str
    version: int | None
    queue: str
    args: bytes
    kwargs: bytes | None
    start_at: int
    memo: bytes | None = None
    tags: tuple[str, ...] = ()
    parent: Parent | None = None
    header: bytes | None = None
    history: Sequence[bytes] = ()
    messages: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class Created:
    """uid and run of the instance; ``new`` is False if an existing one is used."""

    uid: bytes
    run: int
    new: bool


@dataclass(frozen=True, slots=True)
class Message:
    """What waits in an inbox: an encoded event that has not happened yet."""

    id: int
    message_id: str
    arrived_at: int
    event: bytes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to the instance with this id; ``urgent`` wakes one before its start, too.

    answers, in a step: the encoded event by which the sender learns the outcome.
    uid: addresses the instance instead of the id; that of one that may not be there yet is
    given nevertheless, as it tells where it will be. run: if not 0, the message is only for
    that run: FINISHED if it is over, and gone when it ends before it was read.
    """

    id: str
    message_id: str
    event: bytes
    urgent: bool = False
    answers: dict[Sent, bytes] | None = None
    uid: bytes | None = None
    run: int = 0


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a registered worker can take: at most ``instances`` and ``tasks`` of what it knows.

    workflows: names and ``name@version``; activities: names.
    """

    worker: str
    queues: tuple[str, ...]
    workflows: tuple[str, ...]
    activities: tuple[str, ...]
    instances: int
    tasks: int


@dataclass(frozen=True, slots=True)
class ClaimedInstance:
    """An instance that the worker owns, with every message in its inbox, in order."""

    instance: Instance
    messages: list[Message]


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim gave. ``next_wake_at``: when something more falls due, or None.
    ``more``: something due was left behind because the limits were reached.
    """

    instances: list[ClaimedInstance]
    tasks: list[Task]
    next_wake_at: int | None = None
    more: bool = False


@dataclass(frozen=True, slots=True)
class Owned:
    """All that a worker owns in the store, with the epochs."""

    instances: dict[bytes, int]
    tasks: dict[TaskKey, int]


@dataclass(frozen=True, slots=True)
class NewTask:
    """An activity to schedule. ``owner`` is the committing worker (it starts the task at
    once; epoch 1) or empty (anybody claims it; epoch 0)."""

    command: int
    name: str
    queue: str
    args: bytes
    kwargs: bytes | None
    options: bytes
    owner: str
    wake_at: int
    deadline: int | None
    context: bytes | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """A child that a step starts. If its id is in use nothing is created, and ``taken`` (an
    encoded event) is put in the inbox of who starts it."""

    new: NewInstance
    message_id: str
    taken: bytes


@dataclass(frozen=True, slots=True)
class NextRun:
    """The run that follows in the same instance: history and inbox begin anew.

    What was for the run before goes (its tasks, its messages for that run); what waits for
    any run stays (but the step must have taken all if ``start_at`` is later).  version: None
    lets the next worker choose. history: events that the run begins with. messages:
    (message id, event) for this run, put in its inbox.
    """

    args: bytes
    kwargs: bytes | None
    start_at: int
    version: int | None
    header: bytes | None = None
    history: Sequence[bytes] = ()
    messages: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class Close:
    """What becomes of the children that are open when a run ends, each by its own
    ``parent.close``: ``cancelled`` (an encoded event) goes into the inbox of those to be
    cancelled (urgent); ``terminated`` is the last event of those to be terminated, whose own
    children are closed likewise."""

    message_id: str
    cancelled: bytes
    terminated: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask an activity to stop. If nobody runs it, its task is deleted and ``answer`` (an
    encoded event) is put in the instance's inbox; otherwise its row is marked."""

    command: int
    message_id: str
    answer: bytes


@dataclass(frozen=True, slots=True)
class End:
    """A change of status that a step makes: an end, a block, or a first start.
    For a block, ``blocked_by`` is the fingerprint of the code that refused, which is added to
    those in the row and gives the instance back; or empty if messages may still wake it.
    reply: the encoded event for the parent, if there is one; it goes to the parent's run that
    the child has in its row, under the message id ``child:<uid, in hex>:<run>`` of the child.
    header: replaces that of the instance, if not None.
    """

    status: Status
    reason: str = ""
    blocked_by: str = ""
    result: bytes | None = None
    failure: bytes | None = None
    unread: tuple[str, ...] = ()
    reply: bytes | None = None
    header: bytes | None = None


@dataclass(slots=True)
class Step:
    """One decision about one instance, to be stored whole or not at all.

    history_length: the length that it was computed from; ``events`` are the next ones.
    messages: ids of the inbox messages that are among the events (deleted by this step).
    done: (command, epoch) of own tasks whose results are among the events (deleted).
    release: give the instance back; ``wake_at`` is when somebody must look at it again.
    version, vars: set if not None. end: a change of status; an end deletes the tasks.
    starts: children, created before anything is sent. next: the run ends with these events
    and another one begins (then there is no ``end``). close: with an end or a next run.
    A step without ``end`` makes a pending or blocked instance running, and whatever is not
    refused by code clears ``blocked_by``.  The first step that
    is not a block sets ``started_at``; a next run keeps it.

    Of a batch all steps are applied first.  Then what they start is created, what they send
    is delivered, and last the parents are told and the children closed.
    """

    uid: bytes
    run: int
    epoch: int
    history_length: int
    events: list[bytes]
    messages: list[int] = field(default_factory=list)
    done: list[tuple[int, int]] = field(default_factory=list)
    tasks: list[NewTask] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    sends: list[Outgoing] = field(default_factory=list)
    wake_at: int | None = None
    release: bool = False
    version: int | None = None
    vars: bytes | None = None
    end: End | None = None
    starts: list[Start] = field(default_factory=list)
    next: NextRun | None = None
    close: Close | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """The result of a task, for the inbox of its instance."""

    uid: bytes
    run: int
    command: int
    epoch: int
    message_id: str
    event: bytes


@dataclass(frozen=True, slots=True)
class Postponed:
    """A task to be tried again at ``wake_at``. If its cancel was requested meanwhile, the
    task is deleted and ``answer`` put in the inbox instead. ``crashed``: the process that
    ran it died, so its crashes + 1. last_error: None leaves the one before.
    details: None leaves those before, too. awaits: this attempt goes on elsewhere, so
    ``attempt`` stays as it is; the result comes from outside, and ``wake_at`` is when its
    time is up."""

    uid: bytes
    run: int
    command: int
    epoch: int
    wake_at: int
    attempt: int
    last_error: bytes | None
    message_id: str
    answer: bytes
    crashed: bool = False
    details: bytes | None = None
    deferrals: int = 0
    awaits: bool = False


@dataclass(frozen=True, slots=True)
class Beat:
    """The heartbeat of a running task; ``details`` is a payload, or None for no change."""

    uid: bytes
    run: int
    command: int
    epoch: int
    details: bytes | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which instances to list. ``prefix`` is of the id, ``parent`` the uid of who started
    them; since/until are of creation."""

    workflow: str | None = None
    statuses: tuple[Status, ...] = ()
    queue: str | None = None
    tag: str | None = None
    since: int | None = None
    until: int | None = None
    prefix: str | None = None
    limit: int = 100
    cursor: str | None = None
    parent: bytes | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Instances, newest first; ``cursor`` gives the next page and is None at the end."""

    rows: list[Instance]
    cursor: str | None
