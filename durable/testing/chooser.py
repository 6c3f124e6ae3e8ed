"""Who decides on what may happen in a test: in which order, and what goes wrong.

Rules
-----
* A plain test has the ordinary `Chooser`: nothing is asked of chance, and nothing recorded.
* What is decided elsewhere (a `Recorder`) is known by the number of its question, so that the
  same decisions give the same run; or by its `Key`, which other decisions do not shift.
* Only so many things go wrong in a run: each workflow gives up in the end if all does.
* How likely a fault is differs from seed to seed: where it is unlikely, it comes late in the run,
  where it is likely, several come together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

__all__ = [
    "Chooser", "Key", "KeyedChooser", "Question", "RandomChooser", "Recorder", "ScheduledChooser",
]  # fmt: skip

Key = tuple[str, tuple[str, ...], int]
"""What a question is about, its answers, and how often it was asked before."""


class Chooser:
    """All goes the ordinary way."""

    def order(self, names: Sequence[str]) -> int:
        """Which of these comes first."""
        return 0

    def fault(self, what: str, answers: Sequence[str], weight: float = 1) -> int:
        """What happens to something: 0 is that all goes well, n the nth of these answers.
        weight: how likely it is that something goes wrong, beside other faults."""
        return 0

    def may_be_late(self) -> bool:
        """Whether a call from outside may find that its instance has ended."""
        return False


class Question(NamedTuple):
    """What was asked. answers: what may come first; or, if it is about a fault, go wrong."""

    what: str
    answers: Sequence[str]
    is_fault: bool
    weight: float = 1

    @property
    def about(self) -> str:
        """What it is about, whatever may go wrong."""
        if self.is_fault:
            return f"whether {self.what} {self.answers[0]}"
        return f"what comes first of {', '.join(self.answers)}"

    @property
    def choices(self) -> int:
        return len(self.answers) + self.is_fault

    def told(self, choice: int) -> str:
        """A decision in words."""
        if self.is_fault:
            return f"{self.what} {self.answers[choice - 1]}"
        return f"{self.answers[choice]} comes first"


class Recorder(Chooser, ABC):
    """Knows what was asked and decided.

    asked: the questions so far. made: the decisions by their number that were not ordinary.
    late: how many calls from outside have found that their instance has ended; they are not
    taken for mistakes, as what they are for may end earlier than usual.
    """

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.made: dict[int, int] = {}
        self.late = 0

    def order(self, names: Sequence[str]) -> int:
        return self._decide(Question("", names, False)) if len(names) > 1 else 0

    def fault(self, what: str, answers: Sequence[str], weight: float = 1) -> int:
        return self._decide(Question(what, answers, True, weight))

    def may_be_late(self) -> bool:
        self.late += 1
        return True

    def _decide(self, question: Question) -> int:
        number = len(self.asked)
        self.asked.append(question)
        choice = self._choice(number, question)
        if choice:
            self.made[number] = choice
        return choice

    @abstractmethod
    def _choice(self, number: int, question: Question) -> int:
        """The answer to a question."""

    def keyed(self) -> dict[Key, int]:
        """The decisions that were not ordinary, by their keys."""
        keys = _Keys()
        found = [keys.next(question) for question in self.asked]
        return {found[number]: choice for number, choice in self.made.items()}

    def told(self) -> list[str]:
        """What was not ordinary, in words."""
        return [self.asked[number].told(choice) for number, choice in self.made.items()]

    def faults(self) -> list[str]:
        """What went wrong, in words."""
        made = ((self.asked[number], choice) for number, choice in self.made.items())
        return [question.told(choice) for question, choice in made if question.is_fault]


class ScheduledChooser(Recorder):
    """Answers with given decisions; what they say nothing of goes the ordinary way."""

    def __init__(self, decisions: Mapping[int, int]) -> None:
        super().__init__()
        self.decisions = decisions

    def _choice(self, number: int, question: Question) -> int:
        choice = self.decisions.get(number, 0)
        return choice if choice < question.choices else 0


class KeyedChooser(Recorder):
    """As `ScheduledChooser`, with decisions by their keys."""

    def __init__(self, decisions: Mapping[Key, int]) -> None:
        super().__init__()
        self._decisions = decisions
        self._keys = _Keys()

    def _choice(self, number: int, question: Question) -> int:
        choice = self._decisions.get(self._keys.next(question), 0)
        return choice if choice < question.choices else 0


class RandomChooser(Recorder):
    """Answers by chance. faults: how many things go wrong at most."""

    def __init__(self, seed: int, faults: int) -> None:
        super().__init__()
        self._random = Random(seed)
        self._odds = self._random.uniform(0.02, 0.6)
        self._left = faults

    def _choice(self, number: int, question: Question) -> int:
        if not question.is_fault:
            return self._random.randrange(question.choices)
        if not self._left or self._random.random() >= self._odds * question.weight:
            return 0
        self._left -= 1
        return self._random.randrange(1, question.choices)


class _Keys:
    """Of the questions of a run, in their order."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, tuple[str, ...]]] = Counter()

    def next(self, question: Question) -> Key:
        about = question.what, tuple(question.answers)
        self._counts[about] += 1
        return (*about, self._counts[about])
