"""Who decides on what may happen in a test: in which order, and what goes wrong.

Rules
-----
* A schedule is the list of decisions that are not the ordinary one: ``12=2,17=1`` is that the
  12th question was answered with 2, and the 17th with 1.  The same schedule gives the same run.
* Only so many things go wrong in a run: each workflow gives up in the end if all does.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from durable.errors import KitError

__all__ = ["Chooser", "RandomChooser", "parsed", "written"]


class Chooser:
    """Answers with what a schedule says; what it says nothing of goes the ordinary way.

    asked: the questions so far. made: the decisions by their number that were not ordinary.
    """

    def __init__(self, schedule: Mapping[int, int] | None = None) -> None:
        self._schedule = schedule or {}
        self.asked: list[str] = []
        self.made: dict[int, int] = {}

    def order(self, count: int, what: str) -> int:
        """Which of so many comes first."""
        return self._decide(count, what, fault=False) if count > 1 else 0

    def fault(self, count: int, what: str) -> int:
        """What happens: 0 is that all goes well."""
        return self._decide(count, what, fault=True)

    def _decide(self, count: int, what: str, *, fault: bool) -> int:
        number = len(self.asked)
        self.asked.append(what)
        choice = self._choice(number, count, fault)
        if choice:
            self.made[number] = choice
        return choice

    def _choice(self, number: int, count: int, fault: bool) -> int:
        return min(self._schedule.get(number, 0), count - 1)

    def told(self) -> list[str]:
        """What was not ordinary, in words."""
        return [_told(self.asked[number], choice) for number, choice in self.made.items()]


class RandomChooser(Chooser):
    """Answers by chance. faults: how many things go wrong at most."""

    def __init__(self, seed: int, faults: int) -> None:
        super().__init__()
        self._random = Random(seed)
        self._odds = self._random.choice((0.02, 0.1, 0.3))
        self._left = faults

    def _choice(self, number: int, count: int, fault: bool) -> int:
        if not fault:
            return self._random.randrange(count)
        if not self._left or self._random.random() >= self._odds:
            return 0
        self._left -= 1
        return self._random.randrange(1, count)


def _told(what: str, choice: int) -> str:
    subject, *answers = (part.strip() for part in what.split("|"))
    if not answers:
        return f"{subject}: number {choice + 1}" if "first" in subject else subject
    end = answers[-1] if answers[-1].startswith("a ") else ""
    return " ".join(filter(None, (subject, answers[choice - 1], end)))


def written(schedule: Mapping[int, int]) -> str:
    """A schedule as text."""
    return ",".join(f"{number}={choice}" for number, choice in sorted(schedule.items()))


def parsed(text: str) -> dict[int, int]:
    """What `written` gave. Raises `KitError` for anything else."""
    try:
        pairs = [part.split("=") for part in text.split(",") if part]
        return {int(number): int(choice) for number, choice in pairs}
    except ValueError:
        raise KitError(f"{text!r} is not a schedule: it looks like '12=2,17=1'") from None
