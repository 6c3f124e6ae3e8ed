"""Values as short text, for people who look at a workflow.

Rules
-----
* The text is bounded, however large or deep the value is, and stands on one line.
* It never raises: a ``repr`` of the user that does is named in its place.
* Dictionaries keep their order.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from itertools import islice
from typing import Any

MAX_WIDTH = 200
MAX_ITEMS = 10
MAX_DEPTH = 4
MAX_BITS = 2000
"""Of a number in decimal digits: Python prints that many of them, however it is set."""


def bounded(value: object, width: int = MAX_WIDTH) -> str:
    """The ``repr`` of a value, in at most ``width`` characters."""
    return one_line(_REPR.repr(value), width)


def one_line(text: str, width: int = MAX_WIDTH) -> str:
    """A text without control characters, in at most ``width`` characters."""
    text = escape(text)
    return text if len(text) <= width else text[: width - 1] + "…"


def escape(text: str, keep: str = "") -> str:
    """The text without control characters: what is stored can neither move the cursor nor
    look like a line of ours. keep: those that are meant."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


def call_text(name: str, args: Iterable[object], kwargs: Mapping[str, object]) -> str:
    """``charge('o-1', cents=500)``."""
    some = dict(islice(kwargs.items(), MAX_ITEMS))
    return f"{name}({one_line(arguments_text(islice(args, MAX_ITEMS), some, bounded))})"


def arguments_text(
    args: Iterable[object], kwargs: Mapping[str, object], show: Callable[[object], str] = repr
) -> str:
    """``'o-1', cents=500``, as long as it is."""
    return ", ".join([*map(show, args), *(f"{key}={show(v)}" for key, v in kwargs.items())])


class _Repr(reprlib.Repr):
    """The standard library's, where that looks at values whole or may raise."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = MAX_DEPTH
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = MAX_ITEMS
        self.maxstring = self.maxother = self.maxlong = MAX_WIDTH

    def repr1(self, x: Any, level: int) -> str:
        try:
            if type(x) in (dict, bytes) or not _has_own_repr(x):
                return self._made_here(x, level)
            return super().repr1(x, level)
        except BaseException as error:  # SystemExit, too: it is only looked at
            if isinstance(error, KeyboardInterrupt):
                raise
            return f"<{type(x).__name__}: its repr raised {type(error).__name__}>"

    def repr_instance(self, x: Any, level: int) -> str:
        return repr(x)

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() <= MAX_BITS:
            return super().repr_int(x, level)
        text = hex(x)
        half = self.maxlong // 2
        return f"{text[: half - 3]}...{text[-half:]}"

    def _made_here(self, x: Any, level: int) -> str:
        if isinstance(x, bytes):
            more = "…" if len(x) > self.maxstring else ""
            return repr(x[: self.maxstring]) + more
        if isinstance(x, dict):
            pairs = islice(x.items(), MAX_ITEMS) if level > 0 else ()
            inner = [f"{self._sub(k, level)}: {self._sub(v, level)}" for k, v in pairs]
            return f"{{{self._joined(inner, len(x))}}}"
        own = [f for f in fields(x) if f.repr]
        shown = own[:MAX_ITEMS] if level > 0 else []
        inner = [f"{f.name}={self._sub(getattr(x, f.name), level)}" for f in shown]
        return f"{type(x).__qualname__}({self._joined(inner, len(own))})"

    def _sub(self, x: Any, level: int) -> str:
        return self.repr1(x, level - 1)

    @staticmethod
    def _joined(inner: list[str], total: int) -> str:
        return ", ".join([*inner, *(["..."] if len(inner) < total else [])])

    def repr_set(self, x: Any, level: int) -> str:
        return self._set(x, level, "{", "}", "set()")

    def repr_frozenset(self, x: Any, level: int) -> str:
        return self._set(x, level, "frozenset({", "})", "frozenset()")

    def _set(self, x: Any, level: int, left: str, right: str, empty: str) -> str:
        """Sorted if it is small: to sort a large one takes long."""
        if not x:
            return empty
        few = x if len(x) <= MAX_ITEMS else islice(x, MAX_ITEMS)
        inner = sorted(self._sub(each, level) for each in few) if level > 0 else []
        return f"{left}{self._joined(inner, len(x))}{right}"


def _has_own_repr(x: object) -> bool:
    """Whether it is no dataclass with the repr that was made for it, which is not bounded."""
    if isinstance(x, type) or not is_dataclass(x):
        return True
    return getattr(type(x).__repr__, "__code__", None) is not _GENERATED


@dataclass
class _Any:
    """Any dataclass: their reprs share one code."""


_GENERATED = _Any.__repr__.__code__
_REPR = _Repr()
