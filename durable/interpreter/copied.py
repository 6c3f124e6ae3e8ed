"""Histories that begin with what was copied: by a retry, or by a fork.

Rules
-----
* A retry copies from the run before its own, and then `Retried` happens; a fork copies from
  another instance into a run 1, and then `Forked` happens.  Before that event has happened
  the whole history is a copy.
* While copied events are replayed, ``info().run`` is the run in which they happened: code
  that looks at it does what it did then.
* A fork has another id than its source, so arguments before it are not compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from durable.events import Event, Forked, Retried


def first_run(events: Sequence[Event], run: int, copied: bool) -> int:
    """The run in which the first of these events happened. run: of the history. copied:
    whether all of it is a copy."""
    for event in events:
        if type(event) is Retried:
            return event.from_run
    return max(run - copied, 1)


def foreign(events: Sequence[Event], run: int, copied: bool) -> int:
    """How many of these events another instance has issued."""
    if copied and run == 1:
        return len(events)
    return max((event.seq for event in events if type(event) is Forked), default=0)
