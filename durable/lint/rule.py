"""What a rule is, and what it finds."""

from __future__ import annotations

import ast
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from durable.lint.program import Body

Found = tuple[ast.AST, str]


@dataclass(frozen=True, order=True)
class Finding:
    """One place that breaks a rule. line and column count from 1, the column in characters."""

    line: int
    column: int
    code: str
    message: str


class Rule(ABC):
    """A rule about workflow code.

    Its docstring is its page: the first line is the title, and the blocks *Bad* and *Instead*
    are programs, but for their imports.
    """

    code: ClassVar[str]

    @property
    def title(self) -> str:
        """What is wrong, in a few words."""
        return self._text().partition("\n")[0]

    @property
    def page(self) -> str:
        """A section in reStructuredText."""
        _, _, text = self._text().partition("\n")
        heading = f"{self.code}: {self.title}"
        return f"{heading}\n{'~' * len(heading)}\n{text.rstrip()}\n"

    def _text(self) -> str:
        return inspect.cleandoc(type(self).__doc__ or "")

    @abstractmethod
    def find(self, body: Body) -> Iterator[Found]:
        """The nodes that break the rule, each with what to do instead."""
