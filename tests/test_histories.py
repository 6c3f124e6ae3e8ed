"""Golden histories: what the examples did when they were recorded, replayed for ever.

A change that breaks one of these would block the instances that people have running: see
``tests/histories/record.py`` for how to add one.  None is ever changed or deleted.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from examples_kit import EXAMPLES

from durable import Codec
from durable.exports import Export, lines_of, read_exports
from durable.registry import Registry
from durable.testing import replay

HISTORIES = Path(__file__).resolve().parent / "histories"
FILES = sorted(HISTORIES.glob("*.jsonl"))


def example_of(file: Path) -> str:
    """The example that a history is of: ``saga`` for ``saga.jsonl`` and ``saga-2.jsonl``."""
    return re.sub(r"-\d+$", "", file.stem)


@pytest.fixture
def module(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The module of an example, under a name that hides no other."""
    example = request.param
    name = f"example_{example}"
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{example}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    yield made
    del sys.modules[name]


def exports(file: Path) -> list[Export]:
    return list(read_exports(file.read_bytes().splitlines(keepends=True), file.name))


def test_each_example_has_its_histories() -> None:
    """Record one with ``python tests/histories/record.py NAME``."""
    examples = {path.stem for path in EXAMPLES.glob("*.py")}
    assert {example_of(file) for file in FILES} == examples


@pytest.mark.parametrize(
    ("file", "module"),
    [(file, example_of(file)) for file in FILES],
    indirect=["module"],
    ids=[file.stem for file in FILES],
)
def test_histories_are_replayed(file: Path, module: ModuleType) -> None:
    replayed = replay(module, file)
    recorded = exports(file)
    assert [run.id for run in replayed] == [e.instance.id for e in recorded for _ in e.runs]
    last = {run.id: run for run in replayed}
    for export in recorded:
        ended = export.instance.status in ("completed", "failed", "cancelled")
        assert (last[export.instance.id].ending is not None) == ended
        if export.instance.result is not None:
            result = Codec().decode(export.instance.result)
            assert Codec().encode(last[export.instance.id].result) == Codec().encode(result)


@pytest.mark.parametrize(
    "module", sorted({example_of(file) for file in FILES}), indirect=["module"]
)
def test_every_workflow_of_an_example_is_recorded(module: ModuleType) -> None:
    example = module.__name__.removeprefix("example_")
    recorded = {e.instance.workflow for f in FILES if example_of(f) == example for e in exports(f)}
    assert set(Registry([module]).workflows) == recorded


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_read_is_written_again(file: Path) -> None:
    """Nothing of a history is lost in a file. A later version may have more to say."""
    written = [json.loads(line) for export in exports(file) for line in lines_of(export, Codec())]
    for row, line in zip(written, file.read_text("utf-8").splitlines(), strict=True):
        golden = json.loads(line)
        assert {name: row[name] for name in golden} == golden
