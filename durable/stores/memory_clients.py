"""What clients do with whole instances, in the memory store.

Rules
-----
* A receipt is looked at before anything else, so a repeated call is answered like the first.
* What changes under the hands of a worker gets a new epoch: what the worker writes is lost.
* The one who calls holds the store's lock. Nothing here raises half-way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from durable.errors import InstanceAlreadyExists
from durable.model import Instance, Status
from durable.store import PARKED, Close, Created, NewInstance, NextRun, Sent
from durable.stores.memory_family import Family
from durable.stores.memory_rows import Row, Rows

__all__ = ["Clients"]


class Clients:
    """The verbs of clients, on these rows."""

    def __init__(self, rows: Rows, family: Family) -> None:
        self._rows = rows
        self._family = family

    # -- how it begins ------------------------------------------------------------------

    def create(self, new: Sequence[NewInstance], if_exists: str, now: int) -> list[Created]:
        """Create instances, all or nothing."""
        self._refuse_existing(new, if_exists)
        return [self._create(one, if_exists, now) for one in new]

    def _refuse_existing(self, new: Sequence[NewInstance], if_exists: str) -> None:
        tokens: dict[str, bytes] = {}
        for one in new:
            row = self._rows.by_id.get(one.id)
            token = tokens.get(one.id, None if row is None else row.token)
            if token == one.token or if_exists == "use":
                continue
            free = row is None or (if_exists == "restart" and row.instance.status.finished)
            if one.id in tokens or not free:
                raise InstanceAlreadyExists(f"an instance with the id {one.id!r} exists")
            tokens[one.id] = one.token

    def _create(self, new: NewInstance, if_exists: str, now: int) -> Created:
        row = self._rows.by_id.get(new.id)
        if row is None:
            row = self._rows.add(new, now)
        elif row.token != new.token:
            if if_exists == "use":
                return Created(row.instance.uid, row.instance.run, new=False)
            self._rows.restart(row, new, now)
        return Created(row.instance.uid, row.instance.run, new=True)

    def rerun(self, id: str, message_id: str, run: int, next: NextRun, now: int) -> Sent:
        """Begin another run of what has ended; its open children go with it."""
        row = self._rows.by_id.get(id)
        if row is None:
            return Sent.NOT_FOUND
        if message_id in row.receipts:
            return Sent.SENT
        instance = row.instance
        if instance.run != run or not instance.status.finished:
            return Sent.REFUSED
        row.receipts.add(message_id)
        row.unread = ()
        self._rows.next_run(row, next, now, status=Status.PENDING, epoch=instance.epoch + 1)
        for child in self._rows.children(instance.uid, run):
            parent = child.instance.parent
            self._rows.update(child, parent=parent and replace(parent, run=run + 1))
        return Sent.SENT

    # -- how it is held up --------------------------------------------------------------

    def pause(self, id: str, message_id: str, event: bytes, now: int) -> Sent:
        """Let nobody look at an instance."""
        row = self._rows.target(self._rows.by_id.get(id), message_id)
        if isinstance(row, Sent):
            return row
        if row.instance.status is Status.PAUSED:
            return Sent.REFUSED
        wake_at = _paused(row.instance, now)
        self._happen(row, message_id, event, status=Status.PAUSED, owner=PARKED, wake_at=wake_at)
        return Sent.SENT

    def resume(self, id: str, message_id: str, event: bytes, now: int) -> Sent:
        """Undo a pause."""
        row = self._rows.target(self._rows.by_id.get(id), message_id)
        if isinstance(row, Sent):
            return row
        if row.instance.status is not Status.PAUSED:
            return Sent.REFUSED
        status, wake_at = self._resumed(row, now)
        self._happen(row, message_id, event, status=status, owner="", wake_at=wake_at)
        return Sent.SENT

    def _resumed(self, row: Row, now: int) -> tuple[Status, int | None]:
        """The status of a paused instance that goes on, and when to look at it."""
        instance = row.instance
        if instance.blocked_by:
            tried = self._rows.tried(instance, self._rows.live(now))
            return Status.BLOCKED, now if tried else None
        if instance.wake_at is not None:
            wake_at: int | None = instance.wake_at
        else:
            wake_at = now if row.inbox or not instance.history_length else None
        return Status.RUNNING if instance.history_length else Status.PENDING, wake_at

    def _happen(self, row: Row, message_id: str, event: bytes, **changes: Any) -> None:
        """A change that stands in the history, if that has begun, and fences the owner."""
        row.receipts.add(message_id)
        instance = row.instance
        history = row.histories[instance.run]
        if history:
            history.append(event)
        changes |= {"epoch": instance.epoch + 1, "history_length": len(history)}
        self._rows.update(row, **changes)

    def unblock(self, id: str, message_id: str, now: int) -> Sent:
        """Wake what is blocked, until its next step."""
        row = self._rows.target(self._rows.by_id.get(id), message_id)
        if isinstance(row, Sent):
            return row
        if row.instance.status is not Status.BLOCKED:
            return Sent.REFUSED
        row.receipts.add(message_id)
        self._rows.update(row, blocked_by="", wake_at=now)
        return Sent.SENT

    # -- how it ends --------------------------------------------------------------------

    def terminate(
        self,
        id: str,
        message_id: str,
        event: bytes,
        reason: str,
        reply: bytes | None,
        close: Close | None,
        now: int,
    ) -> Sent:
        """End an instance now, whoever owns it."""
        row = self._rows.target(self._rows.by_id.get(id), message_id)
        if isinstance(row, Sent):
            return row
        row.receipts.add(message_id)
        self._family.terminate(row, event, reason, now)
        self._family.reply(row, reply, now)
        self._family.close(row.instance.uid, row.instance.run, close, now)
        return Sent.SENT


def _paused(instance: Instance, now: int) -> int | None:
    """When to look at it again. What a worker has in its hands has no moment, and what the
    worker makes of it is lost; and only a look shows that a deadlock is one still."""
    lost = instance.owner or instance.status is Status.BLOCKED
    if lost and instance.wake_at is None and not instance.blocked_by:
        return now
    return instance.wake_at
