"""`explore`: a workflow under many orders of events, crashes and failures; and the smallest
schedule that breaks it.

Rules
-----
* Each seed is a run of its own, from the start.  What breaks it: a failed assertion, a workflow
  that is stuck or blocked, decides otherwise in replay, or leaves an invariant unkept.  That it
  fails or is cancelled does not: an invariant may say that it must not.
* A schedule that breaks it is made smaller for as long as it still breaks: one decision after
  the other is taken back.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from durable.errors import ExploreError, KitError, MockError, NonDeterminismError
from durable.testing.chooser import Chooser, RandomChooser, parsed, written
from durable.testing.env import WorkflowEnv
from durable.testing.mocks import name_of

__all__ = ["Explored", "crash_everywhere", "explore"]

DEFAULT_SEEDS = 200
DEFAULT_FAULTS = 3
MOST_TRIES = 400
"""Runs that are spent to make a schedule smaller."""

DEATH = "the worker dies"

Invariant = Callable[[WorkflowEnv], object]


@dataclass
class Explored:
    """What was tried and held. statuses: how the runs ended. faults: what went wrong in them."""

    runs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)


def explore(
    flow: Any,
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    setup: Callable[[WorkflowEnv], object] | None = None,
    invariants: Iterable[Invariant] = (),
    seeds: int | Iterable[int] = DEFAULT_SEEDS,
    faults: int = DEFAULT_FAULTS,
    schedule: str | None = None,
    **options: Any,
) -> Explored:
    """Run a workflow in many ways that could happen, and find the smallest that breaks it.

    args, kwargs: of the workflow. setup: called with the `WorkflowEnv` before each run: it mocks,
    says what comes when (``env.at``), and brings what activities write to back to its beginning.
    invariants: called with the env after each run; one that raises, or returns False, is not
    kept. seeds: how many, or which. faults: how many things go wrong in a run at most. schedule:
    runs this one alone, as an error has given it. options: of `WorkflowEnv` (activities,
    workflows, modules, …).
    Raises `ExploreError`, with what happened in words, and how to run it again; `MockError` for
    mocks that no run has called.

    >>> explore(process_order, "o-1", 500, activities=[charge], invariants=[charged_once])
    """
    trial = _Trial(flow, args, kwargs or {}, setup, tuple(invariants), options)
    found = Explored()
    if schedule is not None:
        trial.once(Chooser(parsed(schedule)), found, f"with schedule={schedule!r}", smaller=False)
        return found
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        trial.once(RandomChooser(seed, faults), found, f"with seed {seed}")
    trial.check_mocks(found.runs)
    return found


def crash_everywhere(
    flow: Any,
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    setup: Callable[[WorkflowEnv], object] | None = None,
    invariants: Iterable[Invariant] = (),
    **options: Any,
) -> Explored:
    """Run a workflow once for each of its commits, with a worker that dies before it, and once
    for each with one that dies after it. Takes and raises what `explore` does."""
    trial = _Trial(flow, args, kwargs or {}, setup, tuple(invariants), options)
    found, ordinary = Explored(), Chooser()
    trial.once(ordinary, found, "as it is", smaller=False)
    for number, question in enumerate(ordinary.asked):
        for choice in (1, 2) if question.startswith(DEATH) else ():
            crash = Chooser({number: choice})
            trial.once(crash, found, "with one crash", smaller=False)
    trial.check_mocks(found.runs)
    return found


@dataclass(frozen=True)
class _Trial:
    """What is run again and again."""

    flow: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    setup: Callable[[WorkflowEnv], object] | None
    invariants: Sequence[Invariant]
    options: Mapping[str, Any]
    unused: list[set[str]] = field(default_factory=list)
    """Of each run the mocks that it has not called."""

    def check_mocks(self, runs: int) -> None:
        """Raise `MockError` for mocks that no run has called: a crash may have kept one from
        being called in this run or that."""
        never = set.intersection(*self.unused) if self.unused else ()
        if never:
            raise MockError(f"in none of {runs} runs: {'; '.join(sorted(never))}")

    def once(self, chooser: Chooser, found: Explored, how: str, *, smaller: bool = True) -> None:
        """Run it. Raises `ExploreError` if it breaks."""
        status, error = self._run(chooser)
        found.runs += 1
        found.faults.update(chooser.told())
        if error is None:
            found.statuses[status] += 1
            return
        if smaller:
            chooser, error = self._smaller(chooser, error)
        raise ExploreError(self._report(chooser, error, how)) from error

    def _run(self, chooser: Chooser) -> tuple[str, BaseException | None]:
        before = random.getstate()
        random.seed(0)  # activities may ask for chance: the same schedule gives the same run
        env = WorkflowEnv(self.flow, chooser=chooser, **self.options)
        try:
            if self.setup is not None:
                self.setup(env)
            self._to_its_end(env)
            self.unused.append(env.unused())
            return str(env.status), self._unkept(env)
        except (AssertionError, NonDeterminismError) as error:
            return "", error
        finally:
            env.close()
            random.setstate(before)

    def _unkept(self, env: WorkflowEnv) -> Exception | None:
        """What the first invariant that is not kept says."""
        for invariant in self.invariants:
            try:
                kept = invariant(env)
            except Exception as error:
                return error
            if kept is False:
                name = getattr(invariant, "__name__", repr(invariant))
                return KitError(f"the invariant {name} is not kept")
        return None

    def _to_its_end(self, env: WorkflowEnv) -> None:
        env.start(*self.args, **self.kwargs)
        env.run_to_end()
        env.settle()

    def _smaller(self, chooser: Chooser, error: BaseException) -> tuple[Chooser, BaseException]:
        """The smallest schedule found that still breaks it."""
        best, tries = chooser, MOST_TRIES
        for keep in _shorter(len(best.made)):
            made = dict(list(chooser.made.items())[:keep])
            shorter = Chooser(made)
            failure = self._run(shorter)[1]
            tries -= 1
            if failure is not None:
                best, error = shorter, failure
                break
        again = True
        while again and tries > 0:
            again = False
            for number in reversed(best.made):
                made = {n: c for n, c in best.made.items() if n != number}
                shorter = Chooser(made)
                failure = self._run(shorter)[1]
                tries -= 1
                if failure is not None and len(shorter.made) < len(best.made):
                    best, error, again = shorter, failure, True
                    break
                if tries <= 0:
                    break
        return best, error

    def _report(self, chooser: Chooser, error: BaseException, how: str) -> str:
        name = name_of(getattr(self.flow, "definition", self.flow))
        told = [f"  {place}. {what}" for place, what in enumerate(chooser.told(), 1)]
        words = [name, *map(repr, self.args)]
        words += [f"kwargs={dict(self.kwargs)!r}"] if self.kwargs else []
        words += ["…", f"schedule={written(chooser.made)!r}"]
        return "\n".join(
            [
                f"{name} breaks, {how}:",
                *(told or ["  nothing unusual happens"]),
                f"  then {type(error).__name__}: {error}",
                f"again: explore({', '.join(words)})",
            ]
        )


def _shorter(length: int) -> list[int]:
    """Lengths to try, the smallest first, each about twice the one before."""
    found, size = [0], 1
    while size < length:
        found.append(size)
        size *= 2
    return found
