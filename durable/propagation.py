"""Context propagation: what is carried from a caller through workflows to activities.

A propagator is a `contextvars.ContextVar`, or an object with ``inject() -> dict`` and
``restore(dict) -> context manager``.  What they carry is stored as one payload, by their
names; a name that nobody knows at the other end is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from durable.codec import Codec
from durable.errors import PropagatorError, UsageError

_UNSET: Any = object()


class Propagators:
    """All that is carried, by name.

    Raises `UsageError` for two of one name, `TypeError` for what is no propagator.
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self.items = tuple(items)
        self._named: dict[str, Any] = {}
        for item in self.items:
            name = _name(item)
            if name in self._named:
                raise UsageError(f"two propagators are called {name!r}")
            self._named[name] = item

    def __bool__(self) -> bool:
        return bool(self.items)

    def capture(self, codec: Codec) -> bytes | None:
        """What is to be carried from here, as a payload; None if it is nothing.

        Raises `PayloadError` for the value of a variable that cannot be stored, and
        `PropagatorError` if it is the fault of an object.
        """
        carried = self._variables()
        if carried:
            self.check(codec)
        try:
            for name, item in self._named.items():
                found = None if isinstance(item, ContextVar) else item.inject()
                if found:
                    carried[name] = dict(found)
            return codec.encode(carried, "context") if carried else None
        except Exception as error:
            raise PropagatorError(
                f"a propagator failed: {type(error).__name__}: {error}"
            ) from error

    def check(self, codec: Codec) -> None:
        """Raise `PayloadError` for the value of a variable that cannot be stored: a replay
        must find the same, though it carries nothing on."""
        codec.pack(self._variables(), "context")

    def _variables(self) -> dict[str, Any]:
        variables = [(n, item) for n, item in self._named.items() if isinstance(item, ContextVar)]
        values = [(name, item.get(_UNSET)) for name, item in variables]
        return {name: value for name, value in values if value is not _UNSET}

    def enter(self, stack: ExitStack, codec: Codec, payload: bytes | None) -> None:
        """Restore what was carried, until the stack is closed (in the same context)."""
        if payload is None or not self.items:
            return
        for name, value in codec.decode(payload).items():
            item = self._named.get(name)
            if isinstance(item, ContextVar):
                stack.callback(item.reset, item.set(value))
            elif item is not None:
                stack.enter_context(item.restore(value))

    @contextmanager
    def restored(self, codec: Codec, payload: bytes | None) -> Iterator[None]:
        """A context manager within which what was carried is restored."""
        with ExitStack() as stack:
            self.enter(stack, codec, payload)
            yield


def _name(item: Any) -> str:
    if isinstance(item, ContextVar):
        return item.name
    if callable(getattr(item, "inject", None)) and callable(getattr(item, "restore", None)):
        return str(getattr(item, "name", type(item).__qualname__))
    raise TypeError(
        f"{item!r} is no propagator: give a ContextVar, or an object with inject() and restore()"
    )
