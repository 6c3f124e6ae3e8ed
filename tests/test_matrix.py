"""The matrix of tests × stores: what is read, how it is shown, and when it is good."""

from __future__ import annotations

import matrix
import pytest
from matrix import Column
from store_table import STORES

WAITS, CLAIM, OTHER = ("waits", "test_wake"), ("claims", "test_one[0]"), ("claims", "test_two")
GOOD = Column({WAITS: "passed", CLAIM: "passed", OTHER: "passed"}, 1.6)
BAD = Column({WAITS: "skipped", CLAIM: "failed", OTHER: "passed"}, 12.3, clean=False)
GONE = Column({}, 0)

REPORT = """<testsuites><testsuite>
<testcase file="durable/testing/store_contract/waits.py" name="test_wake"/>
<testcase file="durable/testing/store_contract/claims.py" name="test_one[0]">
  <failure message="no"/></testcase>
<testcase file="durable/testing/store_contract/claims.py" name="test_two"/>
<testcase file="durable/testing/store_contract/claims.py" name="test_two"><error/></testcase>
<testcase file="durable/testing/store_contract/reads.py" name="test_read"><skipped/></testcase>
<testcase file="tests/stores/test_x.py" name="test_of_its_own"/>
</testsuite></testsuites>"""


def lines(*, every_test: bool = False, **columns: Column) -> list[str]:
    return list(matrix.matrix(columns, every_test=every_test))


def test_a_report_of_pytest_is_read() -> None:
    assert matrix.read(REPORT) == {
        ("waits", "test_wake"): "passed",
        ("claims", "test_one[0]"): "failed",
        ("claims", "test_two"): "failed",
        ("reads", "test_read"): "skipped",
    }


def test_what_passed_is_counted_and_what_did_not_is_named() -> None:
    assert lines(memory=GOOD, postgresql=BAD, mysql=GONE) == [
        "               memory  postgresql  mysql",
        "claims              2         1/2      –",
        "  test_one[0]  passed      failed      –",
        "waits               1         0/1      –",
        "  test_wake    passed     skipped      –",
        "total               3         1/3      –",
        "seconds             2          12      0",
    ]


def test_what_passed_everywhere_needs_no_line() -> None:
    assert lines(memory=GOOD) == [
        "         memory",
        "claims        2",
        "waits         1",
        "total         3",
        "seconds       2",
    ]


def test_each_test_may_have_a_line() -> None:
    assert lines(memory=GOOD, every_test=True)[1:4] == [
        "claims              2",
        "  test_one[0]  passed",
        "  test_two     passed",
    ]


def test_a_test_that_a_store_lacks_is_named() -> None:
    less = Column({WAITS: "passed", OTHER: "passed"}, 1)
    assert lines(memory=GOOD, sqlite=less)[1:3] == [
        "claims              2     1/2",
        "  test_one[0]  passed       –",
    ]


@pytest.mark.parametrize(
    ("column", "code"),
    [
        (GOOD, 0),
        (BAD, 1),
        (GONE, 1),
        (Column({**GOOD.states, OTHER: "skipped"}, 1), 1),
        (Column({WAITS: "passed", CLAIM: "passed"}, 1), 1),
        (Column(GOOD.states, 1, clean=False), 1),
    ],
)
def test_it_is_good_if_all_passed_everywhere(
    column: Column, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(matrix, "contracts", lambda: {"memory": "good", "sqlite": "other"})
    monkeypatch.setattr(matrix, "run", {"good": GOOD, "other": column}.__getitem__)
    assert matrix.main(["--store", "memory", "--store", "sqlite"]) == code
    assert capsys.readouterr().out.split()[:2] == ["memory", "sqlite"]


def test_a_store_without_the_suite_is_not_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "contracts", dict)
    assert matrix.main(["--store", "memory"]) == 1


def test_every_store_has_the_suite() -> None:
    assert list(matrix.contracts()) == list(STORES)


def test_a_run() -> None:
    column = matrix.run(matrix.contracts()["memory"] + "::test_a_wait_ends_with_wake")
    assert column.states == {("waits", "test_a_wait_ends_with_wake"): "passed"}
    assert column.passed
