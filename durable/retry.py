"""When a failed activity is tried again: a value, and the arithmetic on it."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from durable.errors import UsageError

Duration = float | int | timedelta

MICROSECOND = 1_000_000
MAX_SECONDS = 100 * 366 * 86400.0


def seconds(value: Duration, what: str) -> float:
    """A duration as seconds; refuses what is no finite duration of at least 0 s."""
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    else:
        raise TypeError(f"{what} takes seconds (a number) or a timedelta, not {value!r}")
    if math.isnan(number) or number < 0:
        raise ValueError(f"{what} cannot be {value!r}: a duration is 0 or more seconds")
    if number > MAX_SECONDS:
        raise ValueError(f"{what} cannot be {value!r}: the longest duration is 100 years")
    return number


def microseconds(value: Duration, what: str) -> int:
    """A duration as whole microseconds, rounded up: nothing is ever early."""
    return math.ceil(seconds(value, what) * MICROSECOND)


@dataclass(frozen=True)
class Retry:
    """How often and how soon a failed activity is tried again.

    The delay before retry n (from 1) is ``first_delay * backoff ** (n - 1)``, at most
    ``max_delay``, changed at random by up to ``jitter`` (a fraction, 0.1 is ±10 %).

    max_attempts: attempts in all; None means no limit. Defaults to 3.
    first_delay, max_delay: seconds. Default to 1 and 60.
    total_timeout: seconds from scheduling after which no new attempt starts, by the
        store's clock. Defaults to None (no limit).
    non_retryable: exception classes, or qualified names of classes, that end it at once;
        subclasses count.

    Raises `UsageError` for values that make no sense, `TypeError` for wrong types.
    """

    max_attempts: int | None = 3
    first_delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.1
    total_timeout: float | None = None
    non_retryable: Sequence[type[BaseException] | str] = ()

    def __post_init__(self) -> None:
        attempts = self.max_attempts
        if attempts is not None:
            if isinstance(attempts, bool) or not isinstance(attempts, int):
                raise TypeError(
                    f"Retry(max_attempts=) takes a whole number, or None, not {attempts!r}"
                )
            if attempts < 1:
                raise UsageError(f"Retry(max_attempts={attempts}) must be at least 1")
        for name in ("first_delay", "max_delay", "total_timeout"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, seconds(value, f"Retry({name}=)"))
        if not 1 <= _number(self.backoff, "backoff") < math.inf:
            raise UsageError(f"Retry(backoff={self.backoff}) must be at least 1, and finite")
        if not 0 <= _number(self.jitter, "jitter") <= 1:
            raise UsageError(f"Retry(jitter={self.jitter}) must be between 0 and 1")
        object.__setattr__(self, "non_retryable", _names(self.non_retryable))

    def delay(self, attempt: int, types: Sequence[str], unit: float) -> float | None:
        """Seconds to wait after the failure of an attempt, or None when it was the last.

        attempt: the number of the attempt that failed, from 1.
        types: qualified names of the failure's class and its bases.
        unit: a random number in [0, 1) for the jitter.
        """
        if self.max_attempts is not None and attempt >= self.max_attempts:
            return None
        if any(name in types for name in self.non_retryable):
            return None
        exponent = min(attempt - 1, 1000)
        try:
            plain = self.first_delay * self.backoff**exponent
        except OverflowError:
            plain = self.max_delay
        plain = min(plain, self.max_delay)
        return plain * (1 + self.jitter * (2 * unit - 1))

    def to_data(self) -> list[Any]:
        """Plain values for the store; `from_data` reads them back."""
        return [
            self.max_attempts,
            self.first_delay,
            self.backoff,
            self.max_delay,
            self.jitter,
            self.total_timeout,
            list(self.non_retryable),
        ]

    @classmethod
    def from_data(cls, data: Sequence[Any]) -> Retry:
        return cls(*data)


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"Retry({name}=) takes a number, not {value!r}")
    return value


def _names(given: object) -> tuple[str, ...]:
    """The names of the classes in ``non_retryable``."""
    if isinstance(given, (str, type)):
        one = repr(given) if isinstance(given, str) else given.__name__
        raise TypeError(f"Retry(non_retryable=) takes several: write non_retryable=({one},)")
    if not isinstance(given, (Sequence, Set)):
        raise TypeError(
            "Retry(non_retryable=) takes a tuple, such as non_retryable=(ValueError,), "
            f"not {given!r}"
        )
    return tuple(n if isinstance(n, str) and n else _class_name(n) for n in given)


def _class_name(item: object) -> str:
    if isinstance(item, type) and issubclass(item, BaseException):
        return type_name(item)
    raise TypeError(
        "Retry(non_retryable=) takes exception classes, or their names, such as "
        f"non_retryable=(ValueError,); {item!r} is neither"
    )


ONCE = Retry(max_attempts=1)


def type_name(cls: type) -> str:
    """The name under which a class of exceptions is known in stored failures."""
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )
