"""flake8 finds the plugin by its entry point, and reports as ``durable lint`` does."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

import pytest

from durable.lint.checking import check_source
from durable.lint.plugin import Plugin
from durable.lint.room import DEPTH

ROOT = Path(__file__).resolve().parents[2]
BAD = Path(__file__).with_name("corpus") / "bad_many_lines.py"

Flake8 = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def flake8(tmp_path: Path) -> Flake8:
    """Runs it where this repository is installed, as far as setup.cfg says so."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    installed = tmp_path / "site" / "durable_yield-9.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.4\nName: durable-yield\nVersion: 9\n")
    points = setup["options.entry_points"]["flake8.extension"].strip()
    (installed / "entry_points.txt").write_text(f"[flake8.extension]\n{points}\n")
    path = [str(installed.parent), str(ROOT), os.environ.get("PYTHONPATH", "")]

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flake8", "--isolated", *args],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
            capture_output=True,
            text=True,
        )

    return run


def test_it_is_known(flake8: Flake8) -> None:
    done = flake8("--version")
    assert re.search(r"durable-yield: 9\b", done.stdout), done


def test_it_reports_the_same(flake8: Flake8) -> None:
    done = flake8("--select", "DUR", str(BAD))
    found = [
        f"{BAD}:{each.line}:{each.column}: {each.code} {each.message}"
        for each in check_source(BAD.read_bytes())
    ]
    assert len(found) == 2
    assert (done.stdout.splitlines(), done.returncode) == (found, 1), done


def test_it_is_on_without_being_selected(flake8: Flake8) -> None:
    assert " DUR101 time.time() " in flake8(str(BAD)).stdout


def test_comments_are_flake8s_own_business(flake8: Flake8, tmp_path: Path) -> None:
    text = BAD.read_text("utf-8").replace("# expect: DUR101", "# noqa: DUR101 #")
    (tmp_path / "flows.py").write_text(text, "utf-8")
    assert "DUR101" not in flake8("--select", "DUR", "flows.py").stdout
    assert "DUR101" in flake8("--select", "DUR", "--disable-noqa", "flows.py").stdout


def test_a_comment_counts_for_its_own_line_there(flake8: Flake8, tmp_path: Path) -> None:
    head = "import time\nfrom durable import sleep, workflow\n@workflow\ndef flow():\n"
    text = f"{head}    x = (\n        time.time(),%s\n    )%s\n    yield sleep(x)\n"
    (tmp_path / "inner.py").write_text(text % ("  # noqa: DUR101", ""))
    (tmp_path / "last.py").write_text(text % ("", "  # noqa: DUR101"))
    done = flake8("--select", "DUR", "inner.py", "last.py")
    assert [line.partition(": ")[0] for line in done.stdout.splitlines()] == ["last.py:6:9"]
    assert check_source((tmp_path / "last.py").read_bytes()) == []


def test_nothing_is_found_in_what_is_right(flake8: Flake8) -> None:
    done = flake8("--select", "DUR", str(ROOT / "examples"))
    assert (done.stdout, done.returncode) == ("", 0), done


def test_what_is_nested_too_deeply_is_reported() -> None:
    """Not through flake8, whose own plugins may give up on such a file."""
    deep: ast.expr = ast.Constant(0)
    for _ in range(DEPTH):
        deep = ast.UnaryOp(ast.USub(), deep)
    tree = ast.Module([ast.Expr(deep)], [])
    found = list(Plugin(tree, ["from durable import workflow"]).run())
    assert found == [(1, 0, "DUR100 is nested too deeply to be checked", Plugin)]
