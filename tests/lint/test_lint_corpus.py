"""Precision and recall on a corpus: ``bad_*.py`` say on each line what is to be found there, by
``# expect: CODE words of the message``; in ``good_*.py`` nothing is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from durable.lint.checking import check_source
from durable.lint.files import check_files
from durable.lint.rules import RULES, UNREADABLE

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).with_name("corpus")
BAD = sorted(CORPUS.glob("bad_*.py"))
GOOD = sorted(CORPUS.glob("good_*.py"))
EXPECT = re.compile(r"# expect: (DUR\d+) (.*?)(?=\s*# expect:|$)")


def expected(path: Path) -> list[tuple[int, str, str]]:
    """(line, code, words of the message)."""
    return [
        (number, code, words)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        for code, words in EXPECT.findall(line)
    ]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_what_is_expected_is_found_and_nothing_else(path: Path) -> None:
    found = check_source(path.read_bytes())
    wanted = expected(path)
    assert wanted
    assert Counter((f.line, f.code) for f in found) == Counter((n, code) for n, code, _ in wanted)
    for number, code, words in wanted:
        texts = [f.message for f in found if (f.line, f.code) == (number, code)]
        assert any(words in text for text in texts), (number, words, texts)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_nothing_is_found_in_what_is_right(path: Path) -> None:
    assert check_source(path.read_bytes()) == []


def test_the_corpus_is_large_and_has_each_rule() -> None:
    assert len(BAD) >= 40
    assert len(GOOD) >= 40
    assert {code for path in BAD for _, code, _ in expected(path)} == set(RULES) - {UNREADABLE}


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_what_is_right_is_python(path: Path) -> None:
    compile(path.read_bytes(), str(path), "exec")


def test_nothing_is_found_in_our_own_workflows() -> None:
    ours = [str(ROOT / "examples"), str(ROOT / "durable")]
    assert list(check_files(ours, RULES)) == []


def test_nothing_is_found_in_the_readme() -> None:
    text = (ROOT / "README.rst").read_text("utf-8")
    programs = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", text, re.MULTILINE)
    assert len(programs) == 2
    for program in programs:
        lines = [line.removeprefix("    ") for line in program.splitlines()]
        assert check_source("\n".join(lines).encode()) == []
