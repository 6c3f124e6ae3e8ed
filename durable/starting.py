"""What is written when an instance is started: its row, with its id, its uid and its header."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from durable.codec import Codec
from durable.commands import MISSING
from durable.definitions import (
    ConfiguredWorkflow,
    StartOptions,
    WorkflowDefinition,
    start_options,
)
from durable.errors import UsageError
from durable.header import Header
from durable.model import DEFAULT_QUEUE, checked_name, micros
from durable.retry import microseconds
from durable.store import NewInstance

Flow = WorkflowDefinition[..., Any]


def flow_of(flow: Any) -> tuple[str, StartOptions, Flow | None]:
    """Name, options and definition (if its code is here) of what is given to ``start``."""
    if isinstance(flow, str):
        return flow, start_options(), None
    if isinstance(flow, WorkflowDefinition):
        return flow.name, start_options(), flow
    if isinstance(flow, ConfiguredWorkflow):
        return flow.definition.name, flow.settings, flow.definition
    name = getattr(flow, "__name__", repr(flow))
    raise TypeError(f"start takes a workflow or its name, not {name}: decorate it with @workflow")


def new_instance(
    name: str,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    options: StartOptions,
    definition: Flow | None,
    *,
    codec: Codec,
    now: int,
    context: bytes | None = None,
    messages: Sequence[tuple[str, bytes]] = (),
) -> NewInstance:
    """The row of a new instance. context: what is carried to it (a payload). messages: what
    waits in its inbox from the first.

    Raises `UsageError` for names and ids that cannot be, `PayloadError` for values.
    """
    if options.parent_close is not None:
        raise UsageError("parent_close= is for a child: what a client starts has no parent")
    checked_name(name, "a workflow has a name")
    entropy = os.urandom(26)  # at once: each call costs as much as all the rest
    uid = new_uid(now, entropy[:10])
    return NewInstance(
        uid,
        uid.hex() if options.id is None else options.id,
        entropy[10:],
        name,
        options.version,
        options.queue or (definition and definition.queue) or DEFAULT_QUEUE,
        codec.encode(list(args), "args"),
        codec.encode(kwargs, "kwargs") if kwargs else None,
        start_at(options, now),
        None if options.memo is None else codec.encode(options.memo, "memo"),
        options.tags,
        header=header(options, context),
        messages=messages,
    )


def start_at(options: StartOptions, now: int) -> int:
    """The first moment at which a worker may look at it."""
    if options.delay is not None:
        return now + microseconds(options.delay, "delay=")
    return now if options.start_at is None else max(now, micros(options.start_at))


def header(options: StartOptions, context: bytes | None) -> bytes | None:
    """The stored header. context: what is carried to it (a payload)."""
    given = options.retry is not MISSING
    retry = options.retry if given else None
    return Header(retry, given, options.timeout, context, version=options.version).dump()


def new_uid(now: int, entropy: bytes) -> bytes:
    """16 bytes: milliseconds, then 10 random bytes, so that neighbours in time are
    neighbours in every index (as in a UUID of version 7, RFC 9562)."""
    return (now // 1000).to_bytes(6, "big") + entropy


def child_token(uid: bytes) -> bytes:
    """The token of the request that creates a child. It derives from the uid, so that a parent
    which asks again for one that is there finds its own."""
    return blake2b(uid, digest_size=16).digest()
