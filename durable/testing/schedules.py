"""Schedules as text: the decisions that make a run what it was.

Rules
-----
* ``12=2,17=1@4f1c``: question 12 was answered with 2, question 17 with 1, and all else went the
  ordinary way.  What follows ``@`` is a digest of what these questions were about.
* A schedule that does not fit the run is refused: the code has changed since, and that the run
  holds says nothing about what was found.  One that somebody writes by hand needs no digest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from durable.errors import KitError
from durable.testing.chooser import Question, Recorder

__all__ = ["Schedule"]

DECISION = r"\d{1,9}=[1-9]\d{0,5}"
TEXT = re.compile(rf"(?:{DECISION}(?:,{DECISION})*)?(?:@([0-9a-f]{{4}}))?", re.ASCII)


@dataclass(frozen=True)
class Schedule:
    """decisions: by the numbers of their questions. digest: of what these are about, if known."""

    decisions: Mapping[int, int]
    digest: str = ""

    @classmethod
    def of(cls, run: Recorder) -> Schedule:
        """That gives this run again."""
        return cls(dict(run.made), _digest(run.asked, run.made) if run.made else "")

    @classmethod
    def parsed(cls, text: str) -> Schedule:
        """What `str` gave. Raises `KitError` for anything else."""
        found = TEXT.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise KitError(f"{text!r} is not a schedule: it looks like '12=2,17=1@4f1c'")
        pairs = [part.split("=") for part in text.partition("@")[0].split(",") if part]
        decisions = {int(number): int(choice) for number, choice in pairs}
        if len(decisions) < len(pairs):
            raise KitError(f"{text!r} is not a schedule: it decides a question twice")
        return cls(decisions, found[1] or "")

    def __str__(self) -> str:
        text = ",".join(f"{number}={choice}" for number, choice in sorted(self.decisions.items()))
        return f"{text}@{self.digest}" if self.digest else text

    def check(self, asked: Sequence[Question]) -> None:
        """Raise `KitError` unless it fits a run in which this was asked."""
        why = ""
        for number, choice in self.decisions.items():
            if number >= len(asked):
                why = f"it decides question {number}, and only {len(asked)} were asked"
            elif choice >= asked[number].choices:
                question = asked[number]
                why = f"question {number} ({question.about}) has no answer {choice}"
        if not why and self.digest and self.digest != _digest(asked, self.decisions):
            subjects = ", ".join(asked[number].about for number in self.decisions)
            why = f"its questions were other ones; now they are about: {subjects}"
        if why:
            text = "the workflow, or what it is run with, is not what it was made for"
            raise KitError(f"the schedule {str(self)!r} does not fit: {why}: {text}")


def _digest(asked: Sequence[Question], numbers: Mapping[int, int]) -> str:
    text = "\n".join(asked[number].about for number in sorted(numbers))
    return blake2b(text.encode(), digest_size=2).hexdigest()
