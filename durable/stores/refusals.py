"""What code has refused: the name under which it is found, and who may try it.

Rules
-----
* What is free is found by what it needs.  What code has refused stands under a name of its
  own, made of the need and the refusing builds.  So a worker whose build is among them passes
  over all of these at once, and what nobody has refused is found as if there were none.
* It is due only while a live worker may try it; so builds that all refuse it try once each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from durable.model import SEPARATOR, WorkerInfo
from durable.records import UNKNOWN, refused

__all__ = ["SEPARATOR", "able", "fits", "place_name", "suffix"]


def suffix(blocked_by: str) -> str:
    """What follows the need in the name under which it is found."""
    return "" if blocked_by in ("", UNKNOWN) else SEPARATOR + blocked_by


def place_name(need: str, blocked_by: str) -> str:
    """The name under which an instance is found."""
    return need + suffix(blocked_by) if blocked_by else need


def fits(name: str, known: Collection[str], build: str) -> bool:
    """Whether a worker that knows these workflows may take what stands under this name."""
    if name in known or SEPARATOR not in name:
        return name in known
    need, _, blocked_by = name.rpartition(SEPARATOR)
    return need in known and not refused(blocked_by, build)


def able(workers: Iterable[WorkerInfo], queue: str, name: str) -> bool:
    """Whether one of these workers may take what stands in this queue under this name."""
    return any(queue in info.queues and fits(name, info.workflows, info.build) for info in workers)
