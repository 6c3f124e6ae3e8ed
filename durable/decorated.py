"""What every decorated function shares: its name, its signature, its type hints."""

from __future__ import annotations

import difflib
import inspect
import logging
import sys
import typing
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, update_wrapper
from types import SimpleNamespace
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar

from durable.codec import Codec
from durable.errors import PayloadError
from durable.hints import rebuild
from durable.model import checked_name

logger = logging.getLogger("durable.worker")

P = ParamSpec("P")
T = TypeVar("T")


class Definition(Generic[P, T]):
    """What a decorated function becomes. Calling it calls the plain function."""

    __durable_definition__: ClassVar[bool] = True
    kind: ClassVar[str]

    def __init__(self, fn: Callable[P, Any], name: str | None) -> None:
        if not callable(fn):
            raise TypeError(f"@{self.kind} decorates a function, not {fn!r}")
        self.fn = fn
        name = default_name(fn) if name is None else name
        self.name = checked_name(name, f"@{self.kind}(name=) takes a name")
        update_wrapper(self, fn)  # type: ignore[arg-type]  # its __call__ is the subclass's
        try:
            self.signature = inspect.signature(fn)
        except (TypeError, ValueError) as error:
            raise TypeError(f"@{self.kind} cannot read the signature of {fn!r}") from error
        parameters = self.signature.parameters.values()
        self._least, self._most = positional(parameters)

    def check_call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """Raise `TypeError` unless the function can be called like this."""
        if not kwargs and self._least <= len(args) <= self._most:
            return  # the common case, without the cost of binding
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            takes = self.signature.replace(return_annotation=inspect.Signature.empty)
            raise TypeError(f"{self.name}{takes}: {error}") from None

    @cached_property
    def hints(self) -> dict[str, Any]:
        """The type hints of the function; those that cannot be resolved (a name that is
        imported for type checkers only) are left out, and named in the log."""
        return resolved_hints(self.fn)

    def unpack_call(
        self, codec: Codec, args: bytes, kwargs: bytes | None
    ) -> tuple[list[Any], dict[str, Any]]:
        """The arguments from their payloads, rebuilt by the type hints of the function."""
        values: list[Any] = codec.decode(args)
        named: dict[str, Any] = {} if kwargs is None else codec.decode(kwargs)
        hints = self.hints
        if hints:
            names, rest, keywords = self._places
            for index, value in enumerate(values):
                name = names[index] if index < len(names) else rest
                if name in hints:
                    values[index] = _rebuilt(value, hints[name], f"args[{index}]")
            for name, value in named.items():
                hint = hints.get(name, hints.get(keywords))
                if hint is not None:
                    named[name] = _rebuilt(value, hint, name)
        return values, named

    @cached_property
    def _places(self) -> tuple[list[str], str, str]:
        """Names of the positional parameters, of ``*args`` and of ``**kwargs``."""
        parameters = self.signature.parameters.values()
        names = [p.name for p in parameters if p.kind in POSITIONAL]
        rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "")
        keywords = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), "")
        return names, rest, keywords

    @property
    def where(self) -> str:
        """file:line of the function."""
        code = getattr(inspect.unwrap(self.fn), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(self.fn)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"


def _rebuilt(value: Any, hint: Any, place: str) -> Any:
    try:
        return rebuild(value, hint)
    except PayloadError as error:
        raise PayloadError(f"{place}: {error}") from error


def resolved_hints(fn: Callable[..., Any]) -> dict[str, Any]:
    """The type hints of a function that can be resolved."""
    try:
        return typing.get_type_hints(fn, include_extras=True)
    except Exception:
        pass  # one of them is wrong: each for itself
    plain = inspect.unwrap(fn)
    names = getattr(plain, "__globals__", {})
    found: dict[str, Any] = {}
    for name, hint in getattr(plain, "__annotations__", {}).items():
        one = SimpleNamespace(__annotations__={name: hint})
        try:
            found |= typing.get_type_hints(one, names, include_extras=True)
        except Exception as error:
            logger.warning(
                "%s: the type hint of %s cannot be resolved (%r): its values stay plain",
                default_name(fn), name, error,
            )  # fmt: skip
    return found


def check_names(given: Iterable[str], known: Sequence[str], what: str) -> None:
    """Raise `TypeError` with a suggestion for a name that is not known."""
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
            raise TypeError(f"{what}: there is no {name!r}; {hint}")


def default_name(fn: Any) -> str:
    """The qualified name, without what encloses a local function."""
    name = getattr(fn, "__qualname__", type(fn).__name__)
    return sys.intern(name.rsplit("<locals>.", 1)[-1])


POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_REST = inspect.Parameter.VAR_POSITIONAL


def positional(parameters: Iterable[inspect.Parameter]) -> tuple[int, int]:
    """The least and the most positional arguments of a call without keywords."""
    least = most = 0
    for p in parameters:
        if p.kind in POSITIONAL:
            most += 1
            least += p.default is p.empty
        elif p.kind is _REST:
            most = sys.maxsize
        elif p.kind is p.KEYWORD_ONLY and p.default is p.empty:
            least = sys.maxsize
    return least, most
