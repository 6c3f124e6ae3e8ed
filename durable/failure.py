"""An exception as data.

A failure is stored as names and text: no class is ever looked up from stored data.
`Failure.exception` gives a readable stand-in, so that a traceback shows both sides.
"""

from __future__ import annotations

import builtins
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import indent
from types import FrameType
from typing import Any

from durable.retry import type_name

PACKAGE = __file__.rpartition("/")[0] + "/"
"""Where this library is: its own frames are left out of what users are shown."""

MAX_MESSAGE = 10_000
MAX_TRACEBACK = 20_000
MAX_CAUSES = 10
MAX_MEMBERS = 10


@dataclass(frozen=True)
class Failure:
    """What went wrong, somewhere else.

    type: qualified name of the exception's class; types: those of its bases, too.
    message: ``str(exception)``. traceback: the remote traceback as text.
    cause: the failure that it was raised from, or None.
    details: the storable value that the exception carried as ``.details``, or None.
    """

    type: str
    message: str
    types: tuple[str, ...] = ()
    traceback: str = ""
    cause: Failure | None = None
    details: Any = None

    def is_a(self, cls: builtins.type[BaseException] | str) -> bool:
        """Whether the exception was of this class, or of a subclass of it."""
        name = cls if isinstance(cls, str) else type_name(cls)
        return name == self.type or name in self.types

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type

    def find(self, cls: builtins.type[BaseException] | str) -> Failure | None:
        """The first failure of this class among this one and its causes; None if there is
        none."""
        failure: Failure | None = self
        while failure is not None and not failure.is_a(cls):
            failure = failure.cause
        return failure

    def exception(self) -> RemoteError:
        """A stand-in to raise from: its text is the remote traceback, its cause stands for
        the cause."""
        error = RemoteError(self)
        if self.cause is not None:
            error.__cause__ = self.cause.exception()
        return error

    @classmethod
    def of(cls, error: BaseException, depth: int = 0) -> Failure:
        """The failure that an exception is."""
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if isinstance(cause, RemoteError):
            inner: Failure | None = cause.failure
        elif cause is None or depth >= MAX_CAUSES:
            inner = None
        else:
            inner = cls.of(cause, depth + 1)
        return cls(
            type=type_name(type(error)),
            message=_text(error)[:MAX_MESSAGE],
            types=tuple(type_name(t) for t in type(error).__mro__ if t is not object),
            traceback=clean(_traceback(error))[-MAX_TRACEBACK:],
            cause=inner,
            details=_details(error),
        )

    def to_data(self, encode: Callable[[Any], bytes]) -> list[Any]:
        """Plain values for the store; ``encode`` makes the details a payload."""
        return [
            self.type,
            self.message,
            list(self.types),
            self.traceback,
            None if self.cause is None else self.cause.to_data(encode),
            None if self.details is None else encode(self.details),
        ]

    @classmethod
    def from_data(cls, data: Sequence[Any], decode: Callable[[bytes], Any]) -> Failure:
        kind, message, types, trace, cause, details = data
        return cls(
            kind,
            message,
            tuple(types),
            trace,
            None if cause is None else cls.from_data(cause, decode),
            None if details is None else decode(details),
        )


class RemoteError(Exception):
    """Stands for an exception that was raised elsewhere."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return f"{self.failure}\n{self.failure.traceback}".rstrip()


def users_frames(error: BaseException) -> list[tuple[FrameType, int]]:
    """Where an exception was raised: the frames of its traceback with their lines, outermost
    first, without this library's own."""
    walked = traceback.walk_tb(error.__traceback__)
    return [(f, line) for f, line in walked if not f.f_code.co_filename.startswith(PACKAGE)]


def _traceback(error: BaseException) -> str:
    """The traceback as text, without this library's own frames; notes that were added to the
    exception and the members of a group follow."""
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if not frame.filename.startswith(PACKAGE)]
    text = "".join(traceback.format_list(users))
    text += "".join(f"{note}\n" for note in getattr(error, "__notes__", ()))
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for number, member in enumerate(members[:MAX_MEMBERS], 1):
        inner = f"{type_name(type(member))}: {_text(member)}\n{_traceback(member)}"
        text += f"  member {number} of the group: {indent(inner, '    ').lstrip()}"
    return text


def _details(error: BaseException) -> Any:
    """What it carries as ``details``, if that can be had and is no method."""
    try:
        details = getattr(error, "details", None)
        return None if callable(details) else details
    except Exception:
        return None


def _text(error: BaseException) -> str:
    """The message of an exception, even if its ``__str__`` fails."""
    try:
        return clean(str(error))
    except Exception as wrong:
        return f"<no message: its __str__ raised {type(wrong).__name__}>"


def clean(text: str) -> str:
    """Text that every store can hold: lone surrogates, and NUL (PostgreSQL), become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
