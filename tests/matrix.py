"""The conformance suite on each store, one after the other, as a matrix: tests × stores.

    tests/run --matrix                       the parts of the suite, and what did not pass
    tests/run --matrix --tests               each test
    tests/run --matrix --store postgresql    only this store; may be repeated

The matrix goes to stdout, what pytest says to stderr.  Exits with 1 unless every test has
passed on every store: a test that was skipped, or is not there, has not.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from store_table import STORES

ROOT = Path(__file__).resolve().parent.parent

PASSED = "passed"
ABSENT = "–"

Test = tuple[str, str]
"""The part of the suite, and the name of a test in it."""


@dataclass(frozen=True)
class Column:
    """What one store did. clean: pytest itself ended well."""

    states: Mapping[Test, str]
    seconds: float
    clean: bool = True

    @property
    def passed(self) -> bool:
        return self.clean and set(self.states.values()) == {PASSED}


# -- running ----------------------------------------------------------------------------


def contracts() -> dict[str, str]:
    """For each store of the table that has one: where its subclass of the suite is."""
    found = {}
    for file in sorted((ROOT / "tests" / "stores").glob("test_*.py")):
        for name in re.findall(r"^class Test(\w+)\(StoreContract\)", file.read_text(), re.M):
            found[name.lower()] = f"{file}::Test{name}"
    squeezed = {store: store.replace("-", "") for store in STORES}
    return {store: found[name] for store, name in squeezed.items() if name in found}


def run(node: str) -> Column:
    """Run what stands there; a server that is missing fails the tests."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.xml"
        words = ["-n", "2", "-q", "--timeout", "300", "-p", "no:cacheprovider"]
        words += ["-o", "junit_family=xunit1", f"--junitxml={file}", node]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            cwd=ROOT,
            env={**os.environ, "DURABLE_TEST_ALL": "1"},
            stdout=sys.stderr.fileno(),
        )
        seconds = time.monotonic() - began
        states = read(file.read_text()) if file.exists() else {}
    return Column(states, seconds, done.returncode == 0)


def read(xml: str) -> dict[Test, str]:
    """The state of each test of the suite in a report of pytest."""
    states: dict[Test, str] = {}
    for case in ElementTree.fromstring(xml).iter("testcase"):
        file = Path(case.get("file", ""))
        test = file.stem, case.get("name", "")
        told = {"failure": "failed", "error": "failed", "skipped": "skipped"}
        bad = [told[child.tag] for child in case if child.tag in told]
        # A test that passed and whose fixtures then failed may be told of twice.
        if file.parent.name == "store_contract" and states.get(test, PASSED) == PASSED:
            states[test] = bad[0] if bad else PASSED
    return states


# -- printing ---------------------------------------------------------------------------


def matrix(columns: Mapping[str, Column], *, every_test: bool = False) -> Iterator[str]:
    """The lines; below each part what has not passed everywhere, or each test."""
    tests = sorted({test for column in columns.values() for test in column.states})
    rows = [("", list(columns))]
    for part in sorted({part for part, _ in tests}):
        of_part = [test for test in tests if test[0] == part]
        rows.append((part, [count(column, of_part) for column in columns.values()]))
        for test in of_part:
            states = [column.states.get(test, ABSENT) for column in columns.values()]
            told = [
                state
                for state, column in zip(states, columns.values(), strict=True)
                if column.states
            ]
            if every_test or set(told) != {PASSED}:
                rows.append((f"  {test[1]}", states))
    rows.append(("total", [count(column, tests) for column in columns.values()]))
    rows.append(("seconds", [f"{column.seconds:.0f}" for column in columns.values()]))
    return aligned(rows)


def count(column: Column, tests: Sequence[Test]) -> str:
    """How many passed; of how many, if not all did."""
    if not column.states:
        return ABSENT
    passed = sum(column.states.get(test) == PASSED for test in tests)
    return str(passed) if passed == len(tests) else f"{passed}/{len(tests)}"


def aligned(rows: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
    title = max(len(name) for name, _ in rows)
    widths = [max(map(len, cells)) for cells in zip(*(cells for _, cells in rows), strict=True)]
    for name, cells in rows:
        shown = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        yield "  ".join([name.ljust(title), *shown])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="tests/run --matrix",
        description="Run the conformance suite on each store; print a matrix of tests × stores.",
    )
    parser.add_argument("--store", action="append", choices=STORES, help="only this one")
    parser.add_argument("--tests", action="store_true", help="a row for each test")
    asked = parser.parse_args(arguments)
    nodes = contracts()
    columns = {}
    for store in asked.store or STORES:
        print(f"== {store}", file=sys.stderr, flush=True)
        columns[store] = run(nodes[store]) if store in nodes else Column({}, 0)
    for line in matrix(columns, every_test=asked.tests):
        print(line)
    tests = {test for column in columns.values() for test in column.states}
    whole = all(column.passed and column.states.keys() == tests for column in columns.values())
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
