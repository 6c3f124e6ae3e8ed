"""The smallest schedule that still breaks a workflow.

Rules
-----
* Decisions are taken back for as long as it breaks, in whichever way: many at once, one by one,
  one while another is answered otherwise.  Those that are left get the earliest answer that does.
* That costs runs, and so it has an end: what is found by then will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from durable.testing.chooser import Key

__all__ = ["Decisions", "smallest"]

Decisions = Mapping[Key, int]

MOST_TRIES = 400
"""Runs that are spent."""


def smallest(made: Decisions, breaks: Callable[[Decisions], Decisions | None]) -> Decisions:
    """The least decisions found that break it.

    made: some that do. breaks: runs with these; gives the decisions that were made in that run
    if it breaks, or else None.
    """
    best, left = made, MOST_TRIES
    again = True
    while again:
        again = False
        for candidate in _simpler(best):
            if not left:
                return best
            left -= 1
            found = breaks(candidate)
            if found is not None and _size(found) < _size(best):
                best, again = found, True
                break
    return best


def _size(made: Decisions) -> tuple[int, int]:
    return len(made), sum(made.values())


def _simpler(made: Decisions) -> Iterator[Decisions]:
    """What to try, the simplest first."""
    keys, chunk = list(made), len(made)
    while chunk:
        for start in reversed(range(0, len(keys), chunk)):
            dropped = set(keys[start : start + chunk])
            yield {key: choice for key, choice in made.items() if key not in dropped}
        chunk //= 2
    for dropped_key in reversed(keys):
        rest = {key: choice for key, choice in made.items() if key != dropped_key}
        for key, choice in rest.items():
            others = range(1, len(key[1]) + 1)
            yield from ({**rest, key: other} for other in others if other != choice)
    for key, choice in made.items():
        for earlier in range(1, choice):
            yield {**made, key: earlier}
