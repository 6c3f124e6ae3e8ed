"""Carrying what is in the outboxes of partitions to where it belongs.

Rules
-----
* Whoever has written to an outbox carries it at once; its call has succeeded already, so
  nothing that fails here is the caller's concern.  What is left over by one who has died is
  shown by the next claim or heartbeat, and carried by whoever made that.
* A lane is carried from its first effect on, as the source has shown it.  The target takes
  each effect once, so it does no harm if several carry it, or one again (``accept.lua``).
* Only what the target has answered for is removed from the outbox.
* What a target writes to its own outbox meanwhile (answers, and what follows for a family) is
  carried next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from durable.errors import DurableError
from durable.store import Unavailable

__all__ = ["Answer", "Lane", "carry"]

logger = logging.getLogger("durable.store")

Lane = tuple[int, list[bytes], int]
"""As a script shows it: (target, [member, effect, member, effect, …], 1 if there is more)."""

Answer = tuple[Any, list[Lane]]
"""What a script answers, and the lanes that are to be carried."""

Run = Callable[[str, Mapping[int, tuple[Any, ...]]], Mapping[int, Answer | DurableError]]
"""Runs a script in partitions, with arguments for each."""


def carry(run: Run, shown: Mapping[int, Iterable[Lane]]) -> None:
    """Carry these lanes, by source, and whatever follows from that."""
    lanes = _by_ends(shown)
    while lanes:
        accepted = _run(run, "accept", _deliveries(lanes))
        cleared = _run(run, "clear", _clearances(lanes, accepted))
        lanes = _by_ends(accepted) | _by_ends(cleared)


def _by_ends(shown: Mapping[int, Iterable[Lane]]) -> dict[tuple[int, int], Lane]:
    """By (source, target)."""
    return {(source, lane[0]): lane for source, lanes in shown.items() for lane in lanes}


def _deliveries(lanes: Mapping[tuple[int, int], Lane]) -> dict[int, tuple[Any, ...]]:
    """For each target: what comes from each source."""
    found: dict[int, list[Any]] = {}
    for (source, target), (_, effects, _) in lanes.items():
        found.setdefault(target, []).append((source, effects))
    return {target: (some,) for target, some in found.items()}


def _clearances(
    lanes: Mapping[tuple[int, int], Lane], accepted: Mapping[int, Any]
) -> dict[int, tuple[Any, ...]]:
    """For each source: up to where its lanes were taken."""
    found: dict[int, list[Any]] = {}
    for (source, target), (_, effects, more) in lanes.items():
        if target in accepted:
            found.setdefault(source, []).append((effects[-2], bool(more)))
    return {source: (some,) for source, some in found.items()}


def _run(run: Run, name: str, requests: Mapping[int, tuple[Any, ...]]) -> dict[int, list[Lane]]:
    """The lanes that are shown by the partitions that have answered."""
    found: dict[int, list[Lane]] = {}
    for partition, answer in run(name, requests).items() if requests else ():
        if isinstance(answer, DurableError):
            away = isinstance(answer, Unavailable)
            logger.log(
                logging.INFO if away else logging.WARNING,
                "effects on other instances wait in an outbox: %s",
                answer,
            )
        else:
            found[partition] = answer[1]
    return found
