"""The pages of ``docs/``: they can be read without warnings, every Python block runs, in the
order of its page and in one module, and prints what the ``text`` block after it says; the
commands in console blocks exist, and so do their options."""

from __future__ import annotations

import io
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click
import docutils.nodes
import pytest
from docutils.core import publish_doctree

from durable.cli.app import app

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.rst"))
EXPECTED = [
    "architecture.rst",
    "cancellation.rst",
    "changing.rst",
    "children.rst",
    "cli.rst",
    "debugging.rst",
    "errors.rst",
    "glossary.rst",
    "index.rst",
    "lint.rst",
    "reliability.rst",
    "replay.rst",
    "stores.rst",
    "testing.rst",
    "transactions.rst",
    "workers.rst",
    "workflows.rst",
]


@dataclass
class Block:
    language: str
    line: int
    text: str


def doctree(page: Path) -> docutils.nodes.document:
    warnings = io.StringIO()
    settings = {"warning_stream": warnings, "report_level": 1, "halt_level": 5}
    tree = publish_doctree(page.read_text("utf-8"), str(page), settings_overrides=settings)
    assert warnings.getvalue() == ""
    return tree


def blocks(page: Path) -> Iterator[Block]:
    """The code blocks of a page, in order."""
    for node in doctree(page).findall(docutils.nodes.literal_block):
        languages = [name for name in node["classes"] if name != "code"]
        text = node.astext()
        yield Block(languages[0] if languages else "", line_of(page, text), text)


def line_of(page: Path, text: str) -> int:
    """The line on which a block begins, so that a failure points to it."""
    lines, wanted = page.read_text("utf-8").splitlines(), text.splitlines()
    stripped = [line.strip() for line in lines]
    for start in range(len(lines)):
        if stripped[start : start + len(wanted)] == [line.strip() for line in wanted]:
            return start + 1
    raise AssertionError(f"not found in {page.name}: {wanted[0]}")


def links(page: Path) -> list[str]:
    """Where a page leads to, but for places of its own."""
    found = doctree(page).findall(docutils.nodes.reference)
    return [node["refuri"] for node in found if "refuri" in node]


def test_the_index_lists_every_example() -> None:
    named = re.findall(r"``examples/(\w+\.py)``", (DOCS / "index.rst").read_text())
    there = sorted(path.name for path in (DOCS.parent / "examples").glob("*.py"))
    assert sorted(named) == there


def test_every_page_is_expected() -> None:
    assert [page.name for page in PAGES] == EXPECTED


def test_the_index_leads_to_every_page() -> None:
    assert sorted(links(DOCS / "index.rst")) == [n for n in EXPECTED if n != "index.rst"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    inside = [link for link in links(page) if "://" not in link]
    assert [link for link in inside if not (DOCS / link).exists()] == []


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.usefixtures("directory")
def test_python_blocks(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"docs_{page.stem}"
    module = ModuleType(name)
    module.__file__ = str(page)
    monkeypatch.setitem(sys.modules, name, module)
    printed: str | None = None
    for block in blocks(page):
        if block.language == "python":
            # Blank lines before it, so that tracebacks have the lines of the page.
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            with redirect_stdout(io.StringIO()) as out:
                exec(code, module.__dict__)
            assert not printed, f"line {block.line}: what is before this prints {printed!r}"
            printed = out.getvalue().rstrip("\n")
        elif block.language == "text" and printed is not None:
            assert printed == block.text, f"line {block.line}"
            printed = None
    assert not printed, f"the last block prints {printed!r}"


COMMANDS = [
    pytest.param(words, id=f"{page.name}: {line[:60]}")
    for page in PAGES
    for line in re.findall(r"^    \$ (durable .*?)(?:  #.*)?$", page.read_text("utf-8"), re.M)
    for words in [shlex.split(line)[1:]]
]


@pytest.mark.parametrize("words", COMMANDS)
def test_console_commands_can_be_parsed(words: list[str]) -> None:
    """Names of commands and options; what they do is tested with the command line."""
    command: click.Command = app
    context = click.Context(app, info_name="durable")
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, words
        command, words = found, words[1:]
    with command.make_context("durable", list(words), parent=context):
        pass


def test_every_command_has_its_place() -> None:
    text = (DOCS / "cli.rst").read_text("utf-8")
    names = app.list_commands(click.Context(app))
    assert [name for name in names if not re.search(rf"``{name}[ `]", text)] == []
