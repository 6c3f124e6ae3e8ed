"""Parents and children, in the memory store: how one starts, tells of its end and is closed.

Rules
-----
* A child has in its row who started it; what a run has started is found by that alone, so
  a parent that is deleted leaves its children as they are.
* What is for a run of the parent is dropped if that run is over.
* The one who calls holds the store's lock. Nothing here raises half-way.
"""

from __future__ import annotations

from durable import message_ids
from durable.events import begins_again
from durable.model import ParentClose, Status
from durable.store import Close, Start
from durable.stores.memory_rows import Row, Rows

__all__ = ["Family"]


class Family:
    """What happens between instances on these rows."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def start(self, starter: Row, run: int, child: Start, now: int) -> None:
        """Create a child, or tell the run that starts it that the id is in use."""
        row = self._rows.by_id.get(child.new.id)
        if row is None:
            self._rows.add(child.new, now)
        elif row.token != child.new.token:
            self._rows.deliver(starter, child.message_id, child.taken, now, run=run)

    def reply(self, row: Row, event: bytes | None, now: int) -> None:
        """Tell the parent, if there is one, how the present run has ended."""
        instance = row.instance
        parent = None if instance.parent is None else self._rows.by_uid.get(instance.parent.uid)
        if event is None or instance.parent is None or parent is None:
            return
        message_id = message_ids.child_done(instance.uid, instance.run)
        self._rows.deliver(parent, message_id, event, now, run=instance.parent.run)

    def close(self, uid: bytes, run: int, close: Close | None, now: int) -> None:
        """Deal with the open children of a run that has ended, and with theirs."""
        runs = [(uid, run)] if close is not None else []
        while close is not None and runs:
            for row in self._rows.children(*runs.pop()):
                if _policy(row) is ParentClose.CANCEL:
                    self._rows.deliver(row, close.message_id, close.cancelled, now, urgent=True)
                elif _policy(row) is ParentClose.TERMINATE:
                    self.terminate(row, close.terminated, close.reason, now)
                    runs.append((row.instance.uid, row.instance.run))

    def terminate(self, row: Row, event: bytes, reason: str, now: int) -> None:
        """End an instance, whoever owns it."""
        instance = row.instance
        history = row.histories[instance.run]
        waiting = [message.event for message in row.inbox.values()]
        if begins_again(waiting):
            history.append(waiting[0])
        history.append(event)
        self._rows.finish(
            row,
            Status.TERMINATED,
            now,
            epoch=instance.epoch + 1,
            history_length=len(history),
            reason=reason,
        )


def _policy(row: Row) -> ParentClose | None:
    return None if row.instance.parent is None else row.instance.parent.close
