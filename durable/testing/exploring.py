"""`explore`: a workflow under many orders of events, crashes and failures; and the smallest
schedule that breaks it.

Rules
-----
* Each seed is a run of its own, from the start (see `trials` for what breaks it), and depends on
  nothing but the seed.
* What breaks it is run once more with the smallest schedule that was found, so that what is told
  is what happens again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from durable.errors import ExploreError, KitError
from durable.testing.chooser import KeyedChooser, RandomChooser, Recorder, ScheduledChooser
from durable.testing.env import WorkflowEnv
from durable.testing.faults import WORKER
from durable.testing.reports import report
from durable.testing.schedules import Schedule
from durable.testing.shrinking import Decisions, smallest
from durable.testing.trials import Invariant, Trial

__all__ = ["Explored", "crash_everywhere", "explore"]

DEFAULT_SEEDS = 200
DEFAULT_FAULTS = 3

ITERABLES = ("activities", "workflows", "modules", "propagators", "allow")


@dataclass
class Explored:
    """What was tried and held. statuses: how the runs ended. faults: what went wrong in them.
    late: calls from outside that came when their instance had ended."""

    runs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    late: int = 0


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
    workflows, modules, …); with ``signals_twice=True`` who signals may do it again, as who does
    not learn that a signal has arrived does.
    Raises `ExploreError`, with what happened in words, and how to run it again; `KitError` for a
    schedule that does not fit; `MockError` for mocks that no run has called.

    >>> explore(process_order, "o-1", 500, activities=[charge], invariants=[charged_once])
    """
    __tracebackhide__ = True
    trial = _trial(flow, args, kwargs, setup, invariants, options)
    found = Explored()
    if schedule is not None:
        given = Schedule.parsed(schedule)
        chooser = ScheduledChooser(given.decisions)
        _once(trial, chooser, found, f"with schedule={schedule!r}")
        given.check(chooser.asked)
        return found
    if isinstance(faults, bool) or not isinstance(faults, int) or faults < 0:
        raise KitError(f"faults={faults!r} is no whole number of at least 0")
    for seed in _seeds(seeds):
        _once(trial, RandomChooser(seed, faults), found, f"with seed {seed}", shrink=True)
    if not found.runs:
        raise KitError("seeds= is empty: nothing was run")
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
    __tracebackhide__ = True
    trial = _trial(flow, args, kwargs, setup, invariants, options)
    found, ordinary = Explored(), ScheduledChooser({})
    _once(trial, ordinary, found, "as it is")
    for number, question in enumerate(ordinary.asked):
        for choice in (1, 2) if question.what == WORKER else ():
            _once(trial, ScheduledChooser({number: choice}), found, "with one crash")
    trial.check_mocks(found.runs)
    return found


def _trial(
    flow: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None,
    setup: Callable[[WorkflowEnv], object] | None,
    invariants: Iterable[Invariant],
    options: Mapping[str, Any],
) -> Trial:
    """What is run. Iterables are read once: of a generator the second run would get nothing."""
    if callable(invariants):
        raise TypeError("invariants= takes a list of functions")
    kept = {
        name: list(one) if name in ITERABLES and not isinstance(one, str) else one
        for name, one in options.items()
    }
    return Trial(flow, args, kwargs or {}, setup, tuple(invariants), kept)


def _seeds(given: int | Iterable[int]) -> Iterator[int]:
    """The seeds, each looked at when its turn comes: there may be no end to them."""
    if isinstance(given, int) and (isinstance(given, bool) or given < 1):
        raise KitError(f"seeds={given!r}: how many, at least 1, or which")
    for seed in range(given) if isinstance(given, int) else given:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise KitError(f"{seed!r} is no seed: these are whole numbers of at least 0")
        yield seed


def _once(
    trial: Trial, chooser: Recorder, found: Explored, how: str, *, shrink: bool = False
) -> None:
    """Run it. Raises `ExploreError` if it breaks."""
    __tracebackhide__ = True
    run = trial.run(chooser)
    found.runs += 1
    found.late += chooser.late
    found.faults.update(chooser.faults())
    if run.error is None:
        found.statuses[run.status] += 1
        return

    last = ScheduledChooser(_smallest(trial, chooser) if shrink else chooser.made)
    error = trial.run(last).error
    if error is None:
        raise ExploreError(report(trial, chooser, run.error, how, False)) from run.error
    raise ExploreError(report(trial, last, error, how, True)) from error


def _smallest(trial: Trial, chooser: Recorder) -> dict[int, int]:
    """The decisions of the smallest schedule found that breaks it, as this one does."""

    def breaks(decisions: Decisions) -> Decisions | None:
        tried = KeyedChooser(decisions)
        return None if trial.run(tried).error is None else tried.keyed()

    last = KeyedChooser(smallest(chooser.keyed(), breaks))
    trial.run(last)
    return last.made
