"""The plugin of flake8: it is given trees, and knows nothing of flake8 itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from durable import __version__
from durable.lint.checking import TOO_DEEP, check_tree
from durable.lint.rule import Finding
from durable.lint.rules import RULES, UNREADABLE


class Plugin:
    """Found by flake8 through the entry point ``flake8.extension`` of setup.cfg.

    Comments (``# noqa``), ``--select`` and ``--ignore`` are flake8's own business.
    """

    name = "durable"
    version = __version__

    def __init__(self, tree: ast.Module, lines: list[str]) -> None:
        self.tree = tree
        self.lines = lines

    def run(self) -> Iterator[tuple[int, int, str, type[Plugin]]]:
        """(line, column from 0, code and text, this class) of each finding."""
        try:
            found = check_tree(self.tree, self.lines, RULES)
        except RecursionError:
            found = [Finding(1, 1, UNREADABLE, TOO_DEEP)]
        for each in found:
            yield each.line, each.column - 1, f"{each.code} {each.message}", type(self)
