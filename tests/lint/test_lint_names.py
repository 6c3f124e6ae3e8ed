"""What names resolve to."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from durable.lint.names import Names

ROOT = Path(__file__).resolve().parents[2]


def resolve(source: str) -> str:
    """The name of what the last line of a program is, or does."""
    tree = ast.parse(source)
    names = Names(tree)
    last: ast.AST = tree
    while isinstance(last, ast.Module | ast.FunctionDef | ast.ClassDef | ast.If):
        last = last.body[-1]
    assert isinstance(last, ast.Expr)
    return names.resolve(last.value)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import time\ntime.time", "time.time"),
        ("import time as t\nt.time", "time.time"),
        ("import os.path\nos.path.join", "os.path.join"),
        ("import os.path as p\np.join", "os.path.join"),
        ("from datetime import datetime as dt\ndt.now", "datetime.datetime.now"),
        ("from . import activities\nactivities.charge", ".activities.charge"),
        ("from ..shop import charge\ncharge", "..shop.charge"),
        ("open", "builtins.open"),
        ("nothing", ""),
        ("from os import *\nremove", "os.remove"),
        ("from os import *\nfrom time import *\nremove", ""),
        ("import logging\nlog = logging.getLogger(1)\nlog.info", "logging.getLogger().info"),
        ("from pathlib import Path\n(Path('a') / 'b').stat", "pathlib.Path().stat"),
        ("from pathlib import Path\nx = Path()\nx /= 'a'\nx.stat", "pathlib.Path().stat"),
        ("from durable import Channel\nc = Channel[str](2)\nc.send", "durable.Channel().send"),
        ("from durable.verbs import sleep\nsleep", "durable.sleep"),
        ("import durable.scopes as s\ns.shield()", "durable.shield()"),
        ("import time\nclock = time.time\nnow = clock\nnow()", "time.time()"),
        ("try:\n    import redis\nexcept ImportError:\n    redis = None\nredis", "redis"),
        ("import json\nimport ujson as json\njson.loads", ""),
        ("x = y\ny = x\nx.z", ""),
        ("x = x.parent\nx.stat", ""),
    ],
)
def test_resolved(source: str, name: str) -> None:
    assert resolve(source) == name


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("time.time", "time.time"),
        ("time = 1\ntime.time", ""),
        ("for time in []: pass\ntime.time", ""),
        ("with x as time: pass\ntime.time", ""),
        ("[time for time in []]\ntime.time", "time.time"),
        ("[(time := 1) for x in []]\ntime.time", ""),
        ("try: pass\nexcept E as time: pass\ntime.time", ""),
        ("match x:\n  case {'a': time}: pass\ntime.time", ""),
        ("match x:\n  case [*time]: pass\ntime.time", ""),
        ("match x:\n  case {**time}: pass\ntime.time", ""),
        ("def time(): pass\ntime.time", ""),
        ("class time: pass\ntime.time", ""),
        ("import json as time\ntime.loads", "json.loads"),
        ("lambda time: 1\ntime.time", "time.time"),
        ("global time\ntime.time", "time.time"),
        ("path.stat", "pathlib.Path().stat"),
        ("paths.stat", ""),
        ("made: Path = make()\nmade.stat", "pathlib.Path().stat"),
        ("class C:\n  time = 1\n  def m(self):\n    time.time", "time.time"),
        ("def inner():\n  nonlocal path\n  path.stat", "pathlib.Path().stat"),
        ("def inner(time):\n  time.time", ""),
    ],
)
def test_resolved_in_a_function(body: str, name: str) -> None:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    head = "import time\nfrom pathlib import Path\ndef flow(path: Path, *paths: Path):\n"
    assert resolve(head + lines) == name


def test_the_linter_loads_nothing_but_itself() -> None:
    code = (
        "import sys, durable.lint.plugin\n"
        "print(*[m for m in sys.modules if m.startswith('durable') and '.lint' not in m])\n"
        "print(*[m for m in ('click', 'flake8', 'msgpack', 'peewee') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "durable\n\n"
