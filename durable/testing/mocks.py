"""Mocks of activities and children, and what was called.

Rules
-----
* A mock answers instead of the real thing, with values that go through the codec as real ones.
* Several mocks of one thing serve one after the other: each as often as its ``times``, the last
  one without ``times`` for ever.  Then the real one is called, if there is one.
* A mock that nobody called, or not as often as it says, is a mistake of the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeGuard

from durable.decorated import Definition
from durable.errors import MockError
from durable.retry import seconds

__all__ = ["Call", "Mock", "Mocks", "name_of"]

UNSET: Any = object()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an activity, or one child that was started.

    args, kwargs: as the callee got them. at: by the virtual clock. attempt: from 1.
    instance: the id of the instance that called, or of the child.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    at: datetime | None = field(default=None, compare=False)
    attempt: int = field(default=1, compare=False)
    instance: str = field(default="", compare=False)


class Mock:
    """What answers instead of an activity or a child; made by `WorkflowEnv.mock`.

    calls: how many it has been given to answer.
    """

    def __init__(
        self,
        name: str,
        *,
        returns: Any = None,
        raises: BaseException | type[BaseException] | None = None,
        side_effect: Any = UNSET,
        times: int | None = None,
        takes: timedelta | float = 0,
    ) -> None:
        if times is not None and times < 1:
            raise MockError(f"times={times} of the mock of {name}: at least 1")
        if sum((returns is not None, raises is not None, side_effect is not UNSET)) > 1:
            raise MockError(f"the mock of {name} takes one of returns=, raises=, side_effect=")
        if raises is not None and not _is_error(raises):
            raise MockError(f"raises={raises!r} of the mock of {name} is no exception")
        self.name = name
        self.times = times
        self.takes = seconds(takes, "takes")
        self.calls = 0
        self._raises = raises
        self._returns = returns
        self._function: Callable[..., Any] | None = None
        self._answers: Iterator[Any] | None = None
        if side_effect is not UNSET:
            self._take(side_effect)

    def _take(self, side_effect: Any) -> None:
        if _is_error(side_effect):
            self._raises = side_effect
        elif callable(side_effect):
            self._function = side_effect
        elif isinstance(side_effect, Iterable) and (answers := list(side_effect)):
            self._answers = iter(answers)
            self.times = len(answers) if self.times is None else min(self.times, len(answers))
        else:
            raise MockError(
                f"side_effect={side_effect!r} of the mock of {self.name}: it is a function, an"
                " exception, or a list of answers"
            )

    @property
    def exhausted(self) -> bool:
        """Whether it answers no more."""
        return self.times is not None and self.calls >= self.times

    def answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the call gives; or raises what it is to raise."""
        if self._function is not None:
            return self._function(*args, **kwargs)
        value = self._returns if self._answers is None else next(self._answers)
        error = self._raises if self._answers is None else value
        if _is_error(error):
            raise error
        return value

    def complaint(self) -> str | None:
        """Why the test is not as it says, or None."""
        if not self.calls:
            return f"the mock of {self.name} was never called"
        if self.times is not None and self.calls < self.times:
            return f"the mock of {self.name} was called {_times(self.calls)}, not {self.times}"
        return None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _is_error(value: Any) -> TypeGuard[BaseException | type[BaseException]]:
    return isinstance(value, BaseException) or (
        isinstance(value, type) and issubclass(value, BaseException)
    )


class Mocks:
    """All mocks of a test, by name, and the calls of everything."""

    def __init__(self) -> None:
        self._mocks: dict[str, list[Mock]] = {}
        self._calls: dict[str, list[Call]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._mocks

    def add(self, mock: Mock) -> None:
        self._mocks.setdefault(mock.name, []).append(mock)

    def next(self, name: str) -> Mock | None:
        """Who answers the call that begins now, if a mock does."""
        for mock in self._mocks.get(name, ()):
            if not mock.exhausted:
                mock.calls += 1
                return mock
        return None

    def record(self, name: str, call: Call) -> None:
        self._calls.setdefault(name, []).append(call)

    def calls(self, name: str) -> list[Call]:
        return list(self._calls.get(name, ()))

    def names(self) -> list[str]:
        """Of everything that was called."""
        return sorted(self._calls)

    def check(self) -> None:
        """Raise `MockError` for mocks that were not used."""
        complaints = [c for mocks in self._mocks.values() for m in mocks if (c := m.complaint())]
        if complaints:
            called = ", ".join(self.names()) or "nothing"
            raise MockError("; ".join(complaints) + f" (called were: {called})")


def name_of(target: Any) -> str:
    """The name of an activity or a workflow, which is given as such or by name."""
    if isinstance(target, str):
        return target
    if isinstance(target, Definition):
        return target.name
    raise MockError(f"a mock is for an activity, a workflow, or a name, not for {target!r}")
