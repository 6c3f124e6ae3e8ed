"""Children of an earlier run that have ended while nobody listened.

A run that was retried goes on with the children of the run before.  The store makes those
that have not ended its own; the ends of the others were told to a run that was over.  So
when such a run begins, each of its open children is looked up, and the end of one that has
ended is put into the inbox: once for each run, whoever does it.  One that is not there is
started again; if it is, that changes nothing.
"""

from __future__ import annotations

from durable import message_ids
from durable.closing import reply
from durable.codec import Codec
from durable.model import Instance
from durable.store import Outgoing, Store

Lookup = tuple[Instance, int, str]
"""(parent, number of the command, id of the child)."""


def look_up(store: Store, codec: Codec, lookup: Lookup) -> None:
    """Tell a parent how its child has ended, if it has."""
    parent, command, id = lookup
    child, now = store.instance(id), store.now()
    mine = (
        child is not None
        and child.parent is not None
        and (child.parent.uid, child.parent.command) == (parent.uid, command)
    )
    if child is None or not mine or not child.status.finished:
        return  # it is started again, or tells its end itself
    event = reply(id, command, child, codec, now)
    message_id = message_ids.child_looked_up(parent.run, command)
    store.send([Outgoing(parent.id, message_id, event, uid=parent.uid, run=parent.run)])
