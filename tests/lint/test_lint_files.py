"""Which files are checked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from durable.lint.files import python_files

TREE = (
    "a.py",
    "b/c.py",
    "b/d.txt",
    "b/.hidden.py",
    ".git/e.py",
    "build/f.py",
    "b/__pycache__/g.py",
    "env/pyvenv.cfg",
    "env/lib/h.py",
    "shop.egg-info/i.py",
    "script",
)


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in TREE:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["."], ["a.py", "b/c.py"]),
        (["b", "a.py"], ["b/c.py", "a.py"]),
        (["b/d.txt", "script", "b/.hidden.py"], ["b/d.txt", "script", "b/.hidden.py"]),
        (["build", ".git", "env"], ["build/f.py", ".git/e.py", "env/lib/h.py"]),
        (["a.py", ".", "./a.py", "b"], ["a.py", "b/c.py"]),
        ([], []),
    ],
    ids=["walked", "in-order", "named-files", "named-folders", "once", "none"],
)
def test_files(top: Path, paths: list[str], found: list[str]) -> None:
    assert list(python_files(paths)) == found


def test_a_pipe_is_not_waited_for(top: Path) -> None:
    os.mkfifo("b/pipe.py")
    assert list(python_files(["."])) == ["a.py", "b/c.py"]


def test_a_link_that_leads_up_does_not_go_on_for_ever(top: Path) -> None:
    (top / "b" / "up").symlink_to(top, target_is_directory=True)
    assert list(python_files(["."])) == ["a.py", "b/c.py"]
