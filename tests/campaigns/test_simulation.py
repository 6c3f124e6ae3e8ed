"""The simulation campaign: thousands of seeds, and mutants that must be noticed.

``CAMPAIGN_SEED=17`` runs one seed alone, ``tests/run --long`` 200,000.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from simulation.faults import FAULTS
from simulation.mutants import MUTANTS, UNNOTICED, mutated
from simulation.world import Report, simulate
from store_table import EVERYTHING

QUICK = 3_000
"""Seeds of each run of the tests."""
SEEDS = 200_000 if EVERYTHING else QUICK
PART = 2_000 if EVERYTHING else 200
MUTANT_SEEDS = QUICK
"""A mutant that lives longer than so many seeds has survived."""

ONE = os.environ.get("CAMPAIGN_SEED")


def _explained(report: Report) -> str:
    return (
        f"{report.error}\n"
        f"again: CAMPAIGN_SEED={report.seed} tests/run tests/campaigns/test_simulation.py -k seeds"
    )


def _parts() -> list[range]:
    if ONE:
        return [range(int(ONE), int(ONE) + 1)]
    return [range(first, first + PART) for first in range(0, SEEDS, PART)]


@pytest.mark.timeout(3600 if EVERYTHING else 300)
@pytest.mark.parametrize("seeds", _parts(), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_seeds(seeds: range) -> None:
    faults: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    calls = 0
    for seed in seeds:
        report = simulate(seed)
        assert report.error is None, _explained(report)
        faults += report.faults
        statuses += report.statuses
        calls += report.calls
    assert ONE or set(faults) == set(FAULTS), "some faults never happened"
    assert ONE or statuses["completed"] > len(seeds), "hardly anything was run"
    print(
        f"simulation memory seeds={seeds[0]}-{seeds[-1]} calls={calls} "
        f"faults={faults.total()} violations=0"
    )


@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in UNNOTICED])
def test_mutants_are_killed(name: str) -> None:
    for seed in range(MUTANT_SEEDS):
        with mutated(name):
            report = simulate(seed)
        if report.error is not None:
            sound = simulate(seed)
            assert sound.error is None, _explained(sound)
            return
    pytest.fail(f"{name}: survived {MUTANT_SEEDS} seeds")


def test_a_seed_gives_the_same_run_again() -> None:
    first, again = simulate(11), simulate(11)
    assert first.calls > 50
    assert first.digest == again.digest
    assert first.digest != simulate(12).digest


def test_a_seed_gives_the_same_run_in_another_process() -> None:
    code = "from simulation.world import simulate; print(simulate(11).digest)"
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1])])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7"}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == simulate(11).digest
