"""What may be asked for within a transaction as well as without: starts, signals, cancels.

Each request carries a token, so that it is harmless when it is repeated.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from durable.client.caller import Sender, check_sent
from durable.client.handle import Handle
from durable.client.starter import Starter
from durable.definitions import (
    ConfiguredWorkflow,
    StartOptions,
    StartOverrides,
    WorkflowDefinition,
    start_options,
)
from durable.errors import UsageError
from durable.events import CancelRequested, Event, SignalReceived, dump
from durable.model import EPOCH, MAX_REASON_BYTES, checked_text
from durable.propagation import Propagators
from durable.starting import Flow, flow_of
from durable.store import Created, Outgoing

P = ParamSpec("P")
T = TypeVar("T")


class Requests(ABC):
    """What `Client` and `TransactionClient` have in common."""

    def __init__(self, sender: Sender, propagators: Propagators) -> None:
        self.codec = sender.codec
        self._sender = sender
        self.propagators = propagators
        self._starter = Starter(sender, propagators)

    @abstractmethod
    def _handle(self, id: str, created: Created, definition: Flow | None = None) -> Handle[Any]:
        """A handle of an instance."""

    # -- starting -----------------------------------------------------------------------

    @overload
    def start(
        self,
        flow: WorkflowDefinition[P, T] | ConfiguredWorkflow[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Handle[T]: ...
    @overload
    def start(self, flow: str, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    def start(self, flow: Any, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Start a workflow.

        flow: the workflow, ``workflow.options(id=…)``, or a name (for one with options see
        `start_named`). args, kwargs: its own.
        Raises `TypeError` if they do not fit, `PayloadError` for what cannot be stored,
        `PropagatorError` if a propagator fails,
        `InstanceAlreadyExists` for an id that is taken (see ``if_exists``).
        """
        name, options, definition = flow_of(flow)
        return self._start(name, args, kwargs, options, definition)

    def start_named(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        **options: Unpack[StartOverrides],
    ) -> Handle[Any]:
        """Start a workflow by name, with what ``workflow.options`` takes; its code need not
        be here. Raises as `start`.

        >>> client.start_named("process_order", ["o-1", 500], id="order-1")
        """
        return self._start(name, args, kwargs or {}, start_options(**options), None)

    def start_many(self, starts: Iterable[Sequence[Any]]) -> list[Handle[Any]]:
        """Start many, all or nothing: each ``(flow, *args)``.

        All must have one ``if_exists``; on a Redis Cluster ``"use"``, if they have ids of their
        own. Raises as `start`; then nothing was started.
        """
        rows, policies, definitions = [], set(), []
        for flow, *args in starts:
            name, options, definition = flow_of(flow)
            rows.append(self._starter.new(name, args, {}, options, definition))
            definitions.append(definition)
            policies.add(options.if_exists)
        if not rows:
            return []
        if len(policies) > 1:
            raise UsageError(f"start_many takes one if_exists for all, not {sorted(policies)}")
        (policy,) = policies
        created = self._starter.create(rows, policy)
        return [
            self._handle(row.id, made, definition)
            for row, made, definition in zip(rows, created, definitions, strict=True)
        ]

    @overload
    def signal_or_start(
        self,
        flow: WorkflowDefinition[..., T] | ConfiguredWorkflow[..., T],
        *args: Any,
        signal: str,
        value: Any = None,
        **kwargs: Any,
    ) -> Handle[T]: ...
    @overload
    def signal_or_start(
        self,
        flow: str,
        *args: Any,
        signal: str,
        value: Any = None,
        options: StartOverrides,
        **kwargs: Any,
    ) -> Handle[Any]: ...
    def signal_or_start(
        self,
        flow: Any,
        *args: Any,
        signal: str,
        value: Any = None,
        options: StartOverrides | None = None,
        **kwargs: Any,
    ) -> Handle[Any]:
        """Signal an instance; if there is none with this id, start it with the signal in its
        inbox.  It is one or the other, however many callers there are.

        flow: the workflow with an id, ``workflow.options(id=…)``; or a name, with
        ``options={"id": …}``. signal, value: as in
        `signal`. args, kwargs: of the workflow, if it is started. With
        ``if_exists="restart"`` one that has ended is started again, with the signal.
        Raises `InstanceFinished` if it has ended otherwise, and as `start` and `signal` do.

        >>> client.signal_or_start(cart.options(id="cart-7"), "7", signal="add", value="tea")
        """
        name, chosen, definition = flow_of(flow)
        if options is not None and definition is not None:
            raise UsageError("options= is for a name: give workflow.options(…) instead")
        if options is not None:
            chosen = start_options(**options)
        if chosen.id is None:
            raise UsageError(
                "signal_or_start needs an id: give workflow.options(id=…), or with a name "
                'options={"id": …}'
            )
        message = self._signal(signal, value)
        row = self._starter.new(name, args, kwargs, chosen, definition, [message])
        made = self._starter.signal_or_create(row, restart=chosen.if_exists == "restart")
        return self._handle(row.id, made, definition)

    def _start(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        options: StartOptions,
        definition: Flow | None,
    ) -> Handle[Any]:
        row = self._starter.new(name, args, kwargs, options, definition)
        (made,) = self._starter.create([row], options.if_exists)
        return self._handle(row.id, made, definition)

    # -- acting -------------------------------------------------------------------------

    def signal(self, id: str, name: str, value: Any = None) -> None:
        """Send a signal; it is kept until the workflow reads it.

        Raises `InstanceNotFound`, `InstanceFinished`, `PayloadError`, or `UsageError` if
        too many messages wait already.
        """
        message_id, event = self._signal(name, value)
        check_sent(self._sender.send(Outgoing(id, message_id, event)), id)

    def _signal(self, name: str, value: Any) -> tuple[str, bytes]:
        """The id and the event of a new signal."""
        checked_text(name, "a signal has a name")
        message_id = new_token()
        payload = self.codec.encode(value, "value")
        return message_id, self._dump(SignalReceived(0, EPOCH, name, payload, message_id))

    def cancel(self, id: str, reason: str = "") -> None:
        """Ask an instance to stop: `Cancelled` is raised at its waiting yield.

        Raises `InstanceNotFound` or `InstanceFinished`.
        """
        event = self._dump(CancelRequested(0, EPOCH, reason_text(reason)))
        check_sent(self._sender.send(Outgoing(id, new_token(), event, urgent=True)), id)

    def _dump(self, event: Event) -> bytes:
        return dump(event, self._sender.repeat(self._sender.intake.now))


def reason_text(reason: str) -> str:
    """The reason of a cancel or a termination."""
    return "" if reason == "" else checked_text(reason, "reason= takes text", MAX_REASON_BYTES)


def new_token() -> str:
    """What makes a repeated call harmless."""
    return os.urandom(16).hex()
