"""No Python makes the linter crash: every function of a sample of the standard library is taken
for a workflow, so that each rule sees what people write."""

from __future__ import annotations

import ast
import random
import sys
import sysconfig
import threading
import warnings
from pathlib import Path

import pytest

from durable.lint.checking import check_source, check_tree
from durable.lint.names import Names
from durable.lint.rules import RULES

STDLIB = Path(sysconfig.get_path("stdlib"))
# Those with much syntax, and a sample that is the same each time.
SYNTAX = ("ast.py", "dataclasses.py", "typing.py", "contextlib.py", "asyncio/tasks.py", "turtle.py")
EVERY = sorted(STDLIB.glob("*.py")) + sorted(STDLIB.glob("asyncio/*.py"))
SAMPLE = sorted({*(STDLIB / name for name in SYNTAX), *random.Random(7).sample(EVERY, 30)})


class Decorating(ast.NodeTransformer):
    """Makes a workflow of each function."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        decorator = ast.Name("a workflow", ast.Load(), lineno=node.lineno, col_offset=0)
        node.decorator_list.append(decorator)
        return node


def as_workflows(source: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = Decorating().visit(ast.parse(source))
    name = ast.alias("workflow", "a workflow", lineno=1, col_offset=0)
    tree.body.insert(0, ast.ImportFrom("durable", [name], 0, lineno=1, col_offset=0))
    assert isinstance(tree, ast.Module)
    return tree


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.name)
def test_every_function_may_be_a_workflow(path: Path) -> None:
    source = path.read_bytes()
    lines = source.decode("utf-8", "replace").splitlines(keepends=True)
    tree = as_workflows(source)
    found = check_tree(tree, ["durable", *lines], RULES)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert not functions or all(1 <= each.line <= len(lines) + 1 for each in found)


def test_the_sample_is_looked_at_in_earnest() -> None:
    codes = set[str]()
    for path in SAMPLE:
        tree = as_workflows(path.read_bytes())
        codes |= {
            each.code
            for each in check_tree(tree, ["durable", *path.read_text("utf-8").split("\n")], RULES)
        }
    assert {"DUR101", "DUR104", "DUR105", "DUR107", "DUR109", "DUR111", "DUR141"} <= codes


@pytest.mark.parametrize("path", SAMPLE[::6], ids=lambda path: path.name)
def test_every_node_has_a_scope(path: Path) -> None:
    tree = ast.parse(path.read_bytes())
    names = Names(tree)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.expr | ast.stmt)]
    assert [ast.dump(node) for node in nodes if node not in names.scopes] == []
    assert [ast.dump(node) for node in nodes if node not in names.parents] == []


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"\xef\xbb\xbf",
        b"# coding: latin-1\n'\xe9'\n",
        '"""\x0c\u2028\x85ünïcode"""\r\n'.encode(),
        b"x = 1\r",
    ],
    ids=["plain", "mark", "latin-1", "line-signs", "carriage-return"],
)
def test_lines_and_columns_are_those_of_an_editor(before: bytes) -> None:
    program = (
        b"from durable import sleep, workflow\n@workflow\ndef flow():\n"
        b"    print(1); print(2)\n    yield sleep(1)\n"
    )
    line = len(before.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n").split("\n")) + 3
    found = check_source(before + program)
    assert [(each.line, each.column) for each in found] == [(line, 5), (line, 15)]


@pytest.mark.parametrize(
    "line",
    [
        "x = x.parent",
        "x = x | y",
        "x = x or y",
        "x = y; y = x",
        "x = y.a; y = x.b",
        "x = x.options(1)",
        "x = [x for x in x]",
        "x = (x := x)",
        "x = [*x, sleep(1)]; yield gather(x)",
        "x = list(x); x.append(x); x += x; yield x",
        "x.a = x.b; x.b = x.a; yield from x.a.b.c()",
        "x = x().a.b",
    ],
)
def test_names_that_are_bound_by_themselves_take_no_time(line: str) -> None:
    """Each line of 60 refers to all of the others."""
    head = "from durable import sleep, workflow\n@workflow\ndef flow():\n    x = sleep(1)\n"
    uses = "    for z in x:\n        yield x.call(x)\n    return x\n"
    once = f"from durable import *\n{line}\n@workflow\ndef f():\n    yield x.call(x.y())\n"
    field = f"{head}    x.m()\nclass X(X):\n  def m(self, x: 'X'):\n    self.x = x\n    {line}\n"
    for program in (head + f"    {line}\n" * 60 + uses, once, field):
        assert all(found.code != "DUR100" for found in check_source(program.encode()))


@pytest.mark.parametrize(
    "deep",
    [
        "y = 'a'" + " + 'a'" * 1500,
        "y = x" + ".filter(a=1)" * 300,
        "y = x" + " | set(x)" * 1500,
        "if x == 0: pass" + "".join(f"\n    elif x == {n}: pass" for n in range(1, 1000)),
        "y = " + "[" * 90 + "x" + "]" * 90,
    ],
    ids=["sum", "chain", "sets", "elif", "lists"],
)
def test_what_python_compiles_is_checked_however_deeply_it_is_nested(deep: str) -> None:
    head = "from durable import sleep, workflow\n@workflow\ndef flow(x):\n"
    program = f"{head}    {deep}\n    print(y)\n    yield sleep(1)\n"
    before = sys.getrecursionlimit(), threading.stack_size()
    assert [found.code for found in check_source(program.encode())] == ["DUR105"]
    assert (sys.getrecursionlimit(), threading.stack_size()) == before


def test_nothing_is_found_where_nothing_of_ours_is_imported() -> None:
    assert [found for path in SAMPLE for found in check_source(path.read_bytes())] == []
