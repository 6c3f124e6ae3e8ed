"""Starting: rows are made here, and stored all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durable.client.caller import Sender, check_sent
from durable.definitions import StartOptions
from durable.errors import InstanceAlreadyExists
from durable.propagation import Propagators
from durable.starting import Flow, new_instance
from durable.store import Created, NewInstance, Outgoing, Sent


class Starter:
    """Makes and stores the rows of new instances.

    propagators: what is carried from the caller into the workflows.
    """

    def __init__(self, sender: Sender, propagators: Propagators) -> None:
        self._sender = sender
        self._propagators = propagators

    def new(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        options: StartOptions,
        definition: Flow | None,
        messages: Sequence[tuple[str, bytes]] = (),
    ) -> NewInstance:
        """The row of one; nothing is stored yet."""
        sender, propagators = self._sender, self._propagators
        if definition is not None:
            definition.check_call(args, kwargs)
        return new_instance(
            name,
            args,
            kwargs,
            options,
            definition,
            codec=sender.codec,
            now=sender.repeat(sender.intake.now),
            context=propagators.capture(sender.codec) if propagators else None,
            messages=messages,
        )

    def create(self, rows: Sequence[NewInstance], if_exists: str) -> Sequence[Created]:
        """Store them; raises `InstanceAlreadyExists`."""
        try:
            return self._sender.repeat(lambda: self._sender.intake.create(rows, if_exists))
        except InstanceAlreadyExists as error:
            if if_exists != "restart":
                raise
            raise InstanceAlreadyExists(
                f"{error}, and has not ended: only one that has can be restarted"
            ) from None

    def signal_or_create(self, row: NewInstance, restart: bool) -> Created:
        """Store a row with a message in its inbox; if its id is taken, send the message there.

        restart: one that has ended is begun anew instead.
        """
        ((message_id, event),) = row.messages
        while True:
            (made,) = self.create([row], "use")
            if made.new:
                return made
            sent = self._sender.send(Outgoing(row.id, message_id, event, uid=made.uid))
            if sent is Sent.FINISHED and restart:
                try:
                    (made,) = self.create([row], "restart")
                except InstanceAlreadyExists:  # somebody else was quicker: it can be signalled
                    continue
                return made
            if sent is not Sent.NOT_FOUND:  # that is, deleted just now
                check_sent(sent, row.id)
                return made
