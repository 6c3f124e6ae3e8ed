"""The page of the rules is what the rules say of themselves, and their examples are right."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from durable.lint.checking import check_source
from durable.lint.rules import RULES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "lint.rst").read_text("utf-8")
HEAD, RULES_OF_PAGE = PAGE.split("\nRules\n-----\n")


def block(text: str, start: str) -> str:
    """The program after a line."""
    found = re.search(rf"^{re.escape(start)}\n\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    assert found, start
    return "\n".join(line.removeprefix("    ") for line in found[1].rstrip().splitlines()) + "\n"


PRELUDE = block(RULES_OF_PAGE, ".. code-block:: python")


def test_the_page_has_what_the_rules_say() -> None:
    """If this fails: replace the sections by what `durable lint --explain DUR1` prints."""
    assert PAGE.endswith("\n\n" + "\n".join(rule.page for rule in RULES.values()))


@pytest.mark.parametrize("code", RULES)
def test_the_bad_example_breaks_this_rule_only(code: str) -> None:
    found = check_source((PRELUDE + block(RULES[code].page, "Bad::")).encode())
    assert [each.code for each in found] in ([code], [code] * 2)


@pytest.mark.parametrize("code", RULES)
def test_the_good_example_breaks_none_and_can_be_defined(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = PRELUDE + block(RULES[code].page, "Instead::")
    assert check_source(program.encode()) == []
    module = ModuleType(f"instead_of_{code}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(program, module.__name__, "exec"), module.__dict__)


def test_the_example_of_a_comment_excuses_all_of_its_lines() -> None:
    program = block(HEAD, ".. code-block:: python")
    assert check_source(program.encode()) == []
    assert len(check_source(program.replace("noqa", "no").encode())) == 3


@pytest.mark.parametrize("code", RULES)
def test_codes_are_in_order_and_titles_are_short(code: str) -> None:
    assert list(RULES) == sorted(RULES)
    assert len(RULES[code].page.splitlines()[0]) <= 80
    assert not RULES[code].title.endswith(".")
