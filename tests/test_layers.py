"""The layers of the package, as data, and what is refused because of them.

A file imports only from the rows above its own, and in an ordered row from what stands
before it.  How imports are counted:

* at module level and inside functions alike, for layers and for cycles: an import that was
  moved into a function is still an edge.  Exceptions stand in `LATE`.  The same holds for
  ``importlib.import_module("durable.…")`` with a literal name;
* under ``if TYPE_CHECKING:`` they do not exist at run time: they close no cycle, and may
  name what stands later in the same ordered row.  A lower row is refused to them, too:
  exceptions stand in `TYPES`;
* inside a package (``stores/`` …) files import each other freely, without cycles;
* importing ``durable.stores.x`` also runs ``durable/stores/__init__.py``, as every import
  runs ``durable/__init__.py``: only what is written down counts.

That the first rows are pure is the business of `test_purity`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from package_sources import PACKAGE, ROOT, Import, Source, source, sources

# -- the table --------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """Files of one layer; a name that ends in / is a package.

    ordered: a file may import what stands before it in the row; otherwise the files stand
    side by side and cannot see each other.
    """

    what: str
    files: tuple[str, ...]
    ordered: bool = True


ROWS = (
    Row(
        "values without dependencies",
        ("moments", "reprs", "errors", "retry", "model", "message_ids", "failure", "plain"),
    ),
    Row(
        "what a workflow may ask, what has happened",
        ("current", "commands", "events", "hints", "codec"),
    ),
    Row("definitions", ("propagation", "decorated", "definitions", "registry")),
    Row("the pure core", ("interpreter/", "scopes", "verbs", "calls")),
    Row(
        "the contract",
        (
            "collector",
            "tokens",
            "header",
            "records",
            "closing",
            "store",
            "purging",
            "starting",
            "exports/",
        ),
    ),
    Row(
        "shells that see only the contract",
        ("runner/", "client/", "stores/", "spans"),
        ordered=False,
    ),
    Row(
        "what runs",
        (
            "executors/",
            "beats",
            "lease",
            "watchdog",
            "retention",
            "replay",
            "worker_options",
            "worker",
            "orchestrator",
            "supervisor",
            "testing/",
        ),
    ),
    Row("what people start", ("__init__", "loading", "lint/", "bench/", "cli/", "__main__")),
)

CORE = 4  # the first rows, which are pure

SIDEWAYS = {
    ("client", "stores"): "Client(url) takes an address; by one function, see DOORS",
}

# All that an entry sees of the others: the linter reads code, and runs none of ours or yours.
APART = {"lint": ("__init__",)}

# From outside, a package with a door is reached by `from durable.<package> import <name>`
# with one of these names, and in no other way.
DOORS = {
    "stores": ("open_store",),
}

# (importer, imported): reason. Imports that pass a door.
PAST: dict[tuple[str, str], str] = {
    ("testing.driver", "stores.memory"): "its store has a clock of its own, and dies on demand",
}

# (importer, imported): reason. Imports inside functions that are no edges.
LATE: dict[tuple[str, str], str] = {}

# (importer, imported): reason. Type-only imports from a lower row.
TYPES: dict[tuple[str, str], str] = {}

# Nothing in the package reads objects by the name of a class found in data.
NEVER = frozenset({"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"})

MAX_FILE = 500
MAX_FUNCTION = 60

# "path" or "path:function", from the top of the repository: the reason why it is larger.
LARGE: dict[str, str] = {}

# In two halves, so that a search for them does not find this file.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
NOT_WRITTEN = "NotImplemented" + "Error"

# -- the rules --------------------------------------------------------------------------


def entry(name: str) -> str:
    """The entry of the table that a file belongs to: its first part."""
    return name.split(".")[0]


PLACES = {
    file.rstrip("/"): (number, place)
    for number, row in enumerate(ROWS)
    for place, file in enumerate(row.files)
}
PACKAGES = {file.rstrip("/") for row in ROWS for file in row.files if file.endswith("/")}


def listed(name: str) -> bool:
    """Whether the table has this file, as a file or as part of a package."""
    first = entry(name)
    return first in PLACES and (first in PACKAGES) == ("." in name)


def in_core(name: str) -> bool:
    return entry(name) in PLACES and PLACES[entry(name)][0] < CORE


def resolve(found: Import, files: set[str]) -> str | None:
    """The file of the package that an import reaches, or None for another package."""
    parts = found.target.split(".")
    if parts[0] != "durable":
        return None
    rest = parts[1:]
    candidates = [[*rest, "__init__"], rest]
    if found.name is not None:
        candidates = [[*rest, found.name], [*rest, found.name, "__init__"], *candidates]
    for candidate in candidates:
        if ".".join(candidate) in files:
            return ".".join(candidate)
    return ".".join(rest) or "__init__"  # a file that is not there yet


def refused(importer: str, imported: str, found: Import) -> str | None:
    """Why a file may not import another, or None if it may."""
    here, there = entry(importer), entry(imported)
    if here == there:
        return None
    if here not in PLACES or there not in PLACES:
        return "the table does not list both"
    if there not in APART.get(here, (there,)):
        return f"{here} stands apart"
    (layer, place), (below, position) = PLACES[here], PLACES[there]
    if below > layer:
        excused = found.kind == "types" and (importer, imported) in TYPES
        return None if excused else f"row {layer} cannot see row {below}"
    if below == layer and (here, there) not in SIDEWAYS:
        if not ROWS[layer].ordered:
            return f"{here} and {there} stand side by side"
        if position > place and found.kind != "types":
            return f"{there} stands after {here} in row {layer}"
    if there in DOORS and found.kind != "types" and (importer, imported) not in PAST:
        return _past_the_door(there, found)
    return None


def _past_the_door(package: str, found: Import) -> str | None:
    names = DOORS[package]
    if found.target == f"durable.{package}" and found.name in names:
        return None
    return f"write `from durable.{package} import {' or '.join(names)}`"


def all_edges(files: Iterable[Source]) -> Iterator[tuple[Source, str, Import]]:
    """(file, what it imports of this package, the import)."""
    files = list(files)
    names = {file.name for file in files}
    for file in files:
        for found in file.imports:
            imported = resolve(found, names)
            if imported is not None and imported != file.name:
                yield file, imported, found


def edges(files: Iterable[Source]) -> Iterator[tuple[Source, str, Import]]:
    """As `all_edges`, without those that `LATE` excuses."""
    for file, imported, found in all_edges(files):
        if found.kind != "function" or (file.name, imported) not in LATE:
            yield file, imported, found


def wrong_edges(files: Iterable[Source]) -> list[str]:
    return [
        f"{file.path}:{found.line} imports {imported}: {why}"
        for file, imported, found in edges(files)
        if (why := refused(file.name, imported, found))
    ]


def cycles(files: Iterable[Source]) -> list[str]:
    """Each group of files that import each other at run time."""
    graph: dict[str, set[str]] = {}
    for file, imported, found in edges(files):
        if found.kind != "types":
            graph.setdefault(file.name, set()).add(imported)
    reach = {name: _reachable(graph, name) for name in graph}
    groups = {
        frozenset(other for other in reach[name] if name in reach.get(other, ())) for name in graph
    }
    return sorted(" <-> ".join(sorted(group)) for group in groups if group)


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph.get(waiting.pop(), ()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen


def too_large(files: Iterable[Source]) -> dict[str, int]:
    """Files and functions over the limits, with their lines."""
    found = {}
    for file in files:
        lines = file.text.count("\n")
        if lines > MAX_FILE:
            found[file.path] = lines
        for node in ast.walk(file.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION:
                    found[f"{file.path}:{node.name}"] = length
    return found


# -- the package keeps them -------------------------------------------------------------


def test_every_file_is_in_the_table() -> None:
    assert [file.path for file in sources() if not listed(file.name)] == []


def test_every_folder_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    missing = [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").exists()]
    assert sorted(missing) == []


def test_a_file_imports_only_from_above() -> None:
    assert wrong_edges(sources()) == []


def test_no_cycles() -> None:
    assert cycles(sources()) == []


def test_nothing_unpickles() -> None:
    assert [
        f"{file.path}:{found.line} imports {found.target}"
        for file in sources()
        for found in file.imports
        if found.target.split(".")[0] in NEVER
    ] == []


def test_files_and_functions_are_small() -> None:
    assert {what: n for what, n in too_large(sources()).items() if what not in LARGE} == {}


def test_nothing_is_unfinished() -> None:
    assert [
        f"{file.path}:{number}: {line.strip()}"
        for file in sources()
        for number, line in enumerate(file.text.splitlines(), 1)
        if UNFINISHED.search(line) or NOT_WRITTEN in line
    ] == []


def test_no_exception_has_outlived_its_use() -> None:
    used = {(found.kind, file.name, imported) for file, imported, found in all_edges(sources())}
    unused: list[object] = [pair for pair in LATE if ("function", *pair) not in used]
    unused += [pair for pair in TYPES if ("types", *pair) not in used]
    unused += [pair for pair in PAST if not any(pair == use[1:] for use in used)]
    unused += [what for what in LARGE if what not in too_large(sources())]
    assert unused == []


# -- and the rules bite -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("retry", "from durable.errors import UsageError"),
        ("failure", "from durable import retry"),
        ("errors", "if TYPE_CHECKING:\n    from durable.failure import Failure"),
        ("codec", "from durable.hints import convert"),
        ("stores.sql", "from .schema import TABLES"),
        ("stores.sql", "from ..store import Store"),
        ("client.client", "from durable.stores import open_store"),
        ("cli.run", "def main():\n    from durable.stores import open_store"),
        ("cli.run", "from durable import __version__"),
        ("lint.plugin", "from durable import __version__"),
        ("cli.__init__", "import durable.worker"),
        ("__main__", "from durable.cli import main"),
    ],
)
def test_allowed_imports(name: str, text: str) -> None:
    assert wrong_edges([source(name, text), *_others(name)]) == []


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("errors", "from durable.failure import Failure", "failure stands after errors"),
        ("errors", "from durable import failure", "failure stands after errors"),
        ("hints", "from durable.codec import encode", "codec stands after hints"),
        ("errors", "if TYPE_CHECKING:\n    import durable.client", "row 0 cannot see row 5"),
        ("errors", "def f():\n    from durable.codec import x", "row 0 cannot see row 1"),
        ("interpreter.scopes", "from ..store import Store", "row 3 cannot see row 4"),
        ("registry", "importlib.import_module('durable.cli')", "row 2 cannot see row 7"),
        ("client.client", "from durable.runner.loop import Runner", "side by side"),
        ("stores.sql", "if TYPE_CHECKING:\n    import durable.client", "side by side"),
        ("client.client", "from durable.stores import memory", "import open_store"),
        ("client.client", "from durable.stores.memory import MemoryStore", "import open_store"),
        ("worker", "import durable.stores", "import open_store"),
        ("client.client", "from durable import Worker", "row 5 cannot see row 7"),
        ("lint.names", "from durable.errors import UsageError", "lint stands apart"),
        ("elsewhere", "from durable.errors import UsageError", "does not list both"),
    ],
)
def test_refused_imports(name: str, text: str, why: str) -> None:
    wrong = wrong_edges([source(name, text), *_others(name)])
    assert len(wrong) == 1
    assert why in wrong[0]


def _others(name: str) -> list[Source]:
    """Empty files, so that the names of modules are known, whatever is there today."""
    names = ["failure", "retry", "codec", "stores.memory", "runner.loop", "__init__"]
    return [source(other, "") for other in names if other != name]


def test_cycles_are_found() -> None:
    files = [
        source("stores.a", "from durable.stores import b"),
        source("stores.b", "def f():\n    from durable.stores.c import x"),
        source("stores.c", "from .a import y"),
        source("stores.d", "from . import a\nif TYPE_CHECKING:\n    from . import e"),
        source("stores.e", "from . import d"),
    ]
    assert cycles(files) == ["stores.a <-> stores.b <-> stores.c"]


def _long(lines: int) -> str:
    return "def f():\n" + "    x = 1\n" * (lines - 1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (_long(MAX_FUNCTION), []),
        (_long(MAX_FUNCTION + 1), ["durable/x.py:f"]),
        ("x = 1\n" * MAX_FILE, []),
        ("x = 1\n" * (MAX_FILE + 1), ["durable/x.py"]),
    ],
)
def test_sizes(text: str, found: list[str]) -> None:
    assert list(too_large([source("x", text)])) == found


def test_late_imports_can_be_excused(monkeypatch: pytest.MonkeyPatch) -> None:
    file = source("errors", "def f():\n    from durable.codec import x")
    monkeypatch.setitem(LATE, ("errors", "codec"), "an example")
    assert wrong_edges([file, source("codec", "")]) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("errors", True),
        ("stores.sql", True),
        ("stores.dialects.mysql", True),
        ("stores", False),
        ("errors.more", False),
        ("elsewhere", False),
    ],
)
def test_listed(name: str, expected: bool) -> None:
    assert listed(name) is expected
