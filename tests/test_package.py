"""What is published: the metadata, and the texts at the top of the repository."""

from __future__ import annotations

import ast
import importlib
import io
import subprocess
from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path

import pytest
from docutils.core import publish_string

ROOT = Path(__file__).resolve().parent.parent

TOP = [
    ".ci",
    ".gitignore",
    "CHANGELOG.rst",
    "CONTRIBUTING.rst",
    "LICENSE",
    "README.rst",
    "SECURITY.rst",
    "docs",
    "durable",
    "examples",
    "pyproject.toml",
    "setup.cfg",
    "tests",
    "tox.ini",
]


def git_files() -> list[str]:
    """Every file that is in git, or would be with the next commit."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git repository: an unpacked archive has other files at its top")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


def setup() -> ConfigParser:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    return config


def test_the_top_level_is_what_a_newcomer_expects() -> None:
    assert sorted({name.split("/")[0] for name in git_files()}) == TOP


def test_every_file_of_the_package_is_published() -> None:
    patterns = setup()["options.package_data"]["durable"].replace(",", " ").split()
    inside = [n.removeprefix("durable/") for n in git_files() if n.startswith("durable/")]
    others = [name for name in inside if not name.endswith(".py")]
    assert "py.typed" in others
    assert [n for n in others if not any(fnmatch(n, pattern) for pattern in patterns)] == []


def test_the_version_is_a_literal() -> None:
    """setup.cfg reads it without importing the package, whose libraries may be missing."""
    tree = ast.parse((ROOT / "durable" / "__init__.py").read_text("utf-8"))
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    ]
    assert len(values) == 1
    version = ast.literal_eval(values[0])
    assert version == importlib.import_module("durable").__version__
    assert all(part.isdigit() for part in version.split("."))


def test_the_metadata() -> None:
    metadata = setup()["metadata"]
    assert metadata["name"] == "durable-yield"
    assert metadata["version"] == "attr: durable.__version__"
    assert metadata["license_expression"] == "MIT"
    assert metadata["license_files"] == "LICENSE"
    assert (ROOT / "LICENSE").read_text("utf-8").startswith("MIT License\n")
    assert metadata["long_description"] == "file: README.rst"


def test_the_plugin_of_pytest_exists() -> None:
    line = setup()["options.entry_points"]["pytest11"].strip()
    name, _, module = line.partition(" = ")
    assert name == "durable"
    assert callable(importlib.import_module(module).pytest_addoption)


def test_the_entry_point_exists() -> None:
    line = setup()["options.entry_points"]["console_scripts"].strip()
    command, _, target = line.partition(" = ")
    module, _, function = target.partition(":")
    assert command == "durable"
    assert callable(getattr(importlib.import_module(module), function))


def test_the_build_system_is_three_lines() -> None:
    """Everything else stands in setup.cfg, once."""
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
    assert [line.split(" = ")[0] for line in lines] == [
        "[build-system]",
        "requires",
        "build-backend",
    ]


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.rst")), ids=lambda path: path.name)
def test_texts_render_without_warnings(path: Path) -> None:
    """As an index of packages renders them: nothing raw, nothing included."""
    warnings = io.StringIO()
    settings = {
        "warning_stream": warnings,
        "report_level": 1,
        "halt_level": 5,
        "raw_enabled": False,
        "file_insertion_enabled": False,
    }
    publish_string(path.read_text("utf-8"), str(path), writer="html5", settings_overrides=settings)
    assert warnings.getvalue() == ""
