"""What a type checker makes of users' programs: those of tests/typing, by mypy.

pyright is asked by ``tox -e typing``, or by ``python tests/typing/check.py``: it needs node.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from durable.commands import ActivityOptions, ActivityOverrides
from durable.definitions import StartOptions, StartOverrides

FOLDER = Path(__file__).resolve().parent / "typing"
sys.path.append(str(FOLDER))  # it cannot be a package: the standard library has the name

import check  # noqa: E402

WRONG = """\
charge.call(5)  # E: mypy[arg-type, unused-awaitable] pyright[reportArgumentType]
# E: mypy[arg-type]
charge.call(5)
charge.call("o-1")
"""


def test_mypy_finds_what_it_should() -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed: tests/run installs it, or pip install '.[dev]'")
    assert check.check("mypy") == []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("good_*.py")), ids=lambda path: path.stem)
def test_good_programs_run(path: Path) -> None:
    """The definitions in them are accepted by the library, too."""
    assert runpy.run_path(str(path))


@pytest.mark.parametrize(
    ("options", "types", "inner"),
    [(ActivityOptions, ActivityOverrides, {"origin"}), (StartOptions, StartOverrides, set())],
)
def test_the_types_of_the_options_name_them_all(options: Any, types: Any, inner: Any) -> None:
    names = {field.name for field in dataclasses.fields(options)}
    assert set(types.__annotations__) == names - inner


def test_marks_are_read() -> None:
    assert check.expected("bad_x.py", WRONG, "mypy") == {
        ("bad_x.py", 1): {"arg-type", "unused-awaitable"},
        ("bad_x.py", 3): {"arg-type"},
    }
    assert check.expected("bad_x.py", WRONG, "pyright") == {("bad_x.py", 1): {"reportArgumentType"}}


@pytest.mark.parametrize("mark", ["arg-type", "mypy", "mypy[]", "mypi[arg-type]", "mypy[a] b"])
def test_marks_that_cannot_be_read(mark: str) -> None:
    with pytest.raises(ValueError, match=r"bad_x\.py:1: "):
        check.expected("bad_x.py", f"sleep()  # E: {mark}", "mypy")


def test_a_difference_is_told() -> None:
    wanted = {("bad_x.py", 1): {"arg-type"}, ("bad_x.py", 2): {"misc"}}
    found = {("bad_x.py", 2): {"call-arg"}, ("good_x.py", 3): {"misc"}}
    assert check.differences(wanted, found) == [
        "bad_x.py:1: arg-type was not found",
        "bad_x.py:2: misc was not found",
        "bad_x.py:2: call-arg was found",
        "good_x.py:3: misc was found",
    ]


def test_what_only_follows_need_not_be_marked() -> None:
    place = ("bad_x.py", 1)
    both = {place: {"reportCallIssue", "reportUnknownMemberType"}}
    assert check.differences({place: {"reportCallIssue"}}, both) == []
    alone = {place: {"reportUnknownMemberType"}}
    assert check.differences({}, alone) == ["bad_x.py:1: reportUnknownMemberType was found"]
