"""The files of the package and what they import, for the tests that read its source."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "durable"


@dataclass(frozen=True)
class Import:
    """One import in a file of the package.

    target: the whole dotted name of the module; name: what is taken from it, or None.
    kind: "module", "function" or "types".
    """

    line: int
    target: str
    name: str | None
    kind: str


class Imports(ast.NodeVisitor):
    """Collects every import of a file."""

    def __init__(self, package: str) -> None:
        self.package = package  # that relative imports start from
        self.kind = "module"
        self.found: list[Import] = []

    def _add(self, node: ast.AST, target: str, name: str | None = None) -> None:
        self.found.append(Import(getattr(node, "lineno", 0), target, name, self.kind))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        target = node.module or ""
        if node.level:
            base = self.package.split(".")
            base = base[: len(base) - (node.level - 1)]
            target = ".".join([*base, *([target] if target else [])])
        for alias in node.names:
            self._add(node, target, alias.name)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else None
        called = node.func.id if isinstance(node.func, ast.Name) else called
        if called in ("import_module", "__import__") and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                self._add(node, first.value)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) not in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            self.generic_visit(node)
            return
        self._within("types", node.body)
        for child in node.orelse:
            self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for outside in (*node.decorator_list, node.args):
            self.visit(outside)
        self._within("function", node.body)

    visit_AsyncFunctionDef = visit_FunctionDef  # the name that ast calls

    def _within(self, kind: str, body: Iterable[ast.AST]) -> None:
        before = self.kind
        if before != "types":
            self.kind = kind
        for child in body:
            self.visit(child)
        self.kind = before


@dataclass(frozen=True)
class Source:
    """A file: ``name`` is dotted and without "durable.", a package ends in __init__."""

    name: str
    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return _parse(self.text, self.path)

    @property
    def imports(self) -> list[Import]:
        parts = ["durable", *self.name.split(".")]
        visitor = Imports(".".join(parts[:-1]))
        visitor.visit(self.tree)
        return visitor.found


@cache
def _parse(text: str, path: str) -> ast.Module:
    return ast.parse(text, path)


@cache
def sources() -> tuple[Source, ...]:
    return tuple(
        Source(
            ".".join(path.relative_to(PACKAGE).with_suffix("").parts),
            str(path.relative_to(ROOT)),
            path.read_text("utf-8"),
        )
        for path in sorted(PACKAGE.rglob("*.py"))
    )


def source(name: str, text: str) -> Source:
    """A file that exists only in a test."""
    return Source(name, f"durable/{name.replace('.', '/')}.py", text)
