"""Mocks of activities and children, and what was called.

Rules
-----
* A mock answers instead of the real thing, with values that go through the codec as real ones.
* Several mocks of one thing serve one after the other, each as often as its ``times``; then the one
  without ``times``, for ever, of which a later one takes the place of an earlier.  Then the real
  one is called, if there is one.
* A call takes its turn when it begins, and has had it when it is answered.  A turn whose answer
  nobody gets (the worker has died) is given back: the next call gets the same answer.
* A mock that nobody called, or not as often as it says, is a mistake of the test.
"""

from __future__ import annotations

import difflib
import heapq
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeGuard

from durable.decorated import Definition
from durable.definitions import ConfiguredActivity, ConfiguredWorkflow
from durable.errors import MockError
from durable.retry import seconds

__all__ = ["Call", "Mock", "Mocks", "Turn", "definition_of", "name_of", "shown_call"]

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

    def __repr__(self) -> str:
        """What is compared: the differences of tests show nothing else."""
        return f"Call({self.args!r}, {self.kwargs!r})" if self.kwargs else f"Call({self.args!r})"


class Mock:
    """What answers instead of an activity or a child; made by `WorkflowEnv.mock`.

    calls: how many it has answered.
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
        if times is not None and (type(times) is not int or times < 1):
            raise MockError(f"times={times!r} of the mock of {name}: a number, at least 1")
        if sum((returns is not None, raises is not None, side_effect is not UNSET)) > 1:
            raise MockError(f"the mock of {name} takes one of returns=, raises=, side_effect=")
        if raises is not None and not _is_error(raises):
            raise MockError(f"raises={raises!r} of the mock of {name} is no exception")
        self.name = name
        self.times = times
        self.takes = seconds(takes, "takes")
        self.calls = 0
        self._under_way = 0
        self._next = 0
        self._given_back: list[int] = []
        self._raises = raises
        self._returns = returns
        self._function: Callable[..., Any] | None = None
        self._answers: list[Any] | None = None
        if side_effect is not UNSET:
            self._take(side_effect)

    def _take(self, side_effect: Any) -> None:
        if _is_error(side_effect):
            self._raises = side_effect
        elif callable(side_effect):
            self._function = side_effect
        elif isinstance(side_effect, Iterable) and (answers := list(side_effect)):
            self._answers = answers
            self.times = len(answers) if self.times is None else min(self.times, len(answers))
        else:
            raise MockError(
                f"side_effect={side_effect!r} of the mock of {self.name}: it is a function, an"
                " exception, or a list of answers"
            )

    def take_turn(self) -> Turn | None:
        """The turn of a call that begins now; None if it answers no more."""
        if self._given_back:
            number = heapq.heappop(self._given_back)
        elif self.times is not None and self._next >= self.times:
            return None
        else:
            number, self._next = self._next, self._next + 1
        self._under_way += 1
        return Turn(self, number)

    def answer(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the call whose turn it is gives; or raises what it is to raise."""
        if self._function is not None:
            self._check_call(self._function, args, kwargs)
            return self._function(*args, **kwargs)
        value = self._returns if self._answers is None else self._answers[number]
        error = self._raises if self._answers is None else value
        if _is_error(error):
            raise error
        return value

    def _check_call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """A function that cannot be called like this is a mistake of the test, and no failure of
        an activity, which would be tried again."""
        try:
            inspect.signature(function).bind(*args, **kwargs)
        except TypeError as error:
            name = getattr(function, "__name__", repr(function))
            call = shown_call(self.name, Call(args, kwargs))
            raise MockError(f"{name} cannot answer {call}: {error}") from None
        except ValueError:  # of some functions that are written in C nobody knows it
            return

    def turn_over(self, number: int, *, answered: bool) -> None:
        """The call was answered; or its turn is given back."""
        self._under_way -= 1
        if answered:
            self.calls += 1
        else:
            heapq.heappush(self._given_back, number)

    @property
    def is_idle(self) -> bool:
        """Whether nothing has called it."""
        return not self.calls and not self._under_way

    def complaint(self) -> str | None:
        """Why the test is not as it says, or None."""
        if self.is_idle:
            return f"the mock of {self.name} was never called"
        calls = self.calls + self._under_way
        if self.times is not None and calls < self.times:
            return f"the mock of {self.name} was called {_times(calls)}, not {self.times} times"
        return None


class Turn:
    """The place of one call in the answers of a mock."""

    def __init__(self, mock: Mock, number: int) -> None:
        self.takes = mock.takes
        self._mock = mock
        self._number = number
        self._is_over = False

    def answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._mock.answer(self._number, args, kwargs)

    def over(self, *, answered: bool) -> None:
        """It was had, or is given back; once."""
        if not self._is_over:
            self._is_over = True
            self._mock.turn_over(self._number, answered=answered)


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
        """It answers after those that have ``times``, and before the one that has none; or in its
        place."""
        mocks = self._mocks.setdefault(mock.name, [])
        for_ever = mocks.pop() if mocks and mocks[-1].times is None else None
        mocks.append(mock)
        if for_ever is not None and mock.times is not None:
            mocks.append(for_ever)

    def next(self, name: str) -> Turn | None:
        """The turn of the call that begins now, if a mock answers it."""
        turns = (mock.take_turn() for mock in self._mocks.get(name, ()))
        return next((turn for turn in turns if turn is not None), None)

    def answers(self, name: str) -> str:
        """How often its mocks have answered: "once", "3 times"; empty if they never did."""
        count = sum(mock.calls for mock in self._mocks.get(name, ()))
        return _times(count) if count else ""

    def record(self, name: str, call: Call) -> None:
        self._calls.setdefault(name, []).append(call)

    def calls(self, name: str) -> list[Call]:
        return list(self._calls.get(name, ()))

    def complaints(self, known: Iterable[str]) -> list[str]:
        """What is wrong with how mocks were used. known: names of what there is."""
        found = []
        for name, mocks in self._mocks.items():
            for mock in mocks:
                if (complaint := mock.complaint()) is not None:
                    meant = "" if name in self._calls else self.meant(name, known)
                    found.append(complaint + meant)
        return found

    def called(self) -> str:
        """The names of all that was called."""
        return f"(called were: {', '.join(sorted(self._calls)) or 'nothing'})"

    def unused(self) -> Iterator[str]:
        """Mocks that nothing has called."""
        for name, mocks in self._mocks.items():
            for place, mock in enumerate(mocks, 1):
                which = f"mock {place} of {name}" if len(mocks) > 1 else f"the mock of {name}"
                if mock.is_idle:
                    yield f"{which} was never called"

    def meant(self, name: str, known: Iterable[str]) -> str:
        """What somebody has meant who wrote this name."""
        names = {*self._calls, *(set(known) - self._mocks.keys())} - {name}
        close = difflib.get_close_matches(name, sorted(names), 1)
        return f": did you mean {close[0]}?" if close else ""


def shown_call(name: str, call: Call) -> str:
    """As it would be written."""
    words = [repr(value) for value in call.args]
    words += [f"{word}={value!r}" for word, value in call.kwargs.items()]
    return f"{name}({', '.join(words)})"


def definition_of(target: Any) -> Any:
    """The activity or workflow itself, of what may have options; anything else as it is."""
    if isinstance(target, ConfiguredActivity | ConfiguredWorkflow):
        return target.definition
    return target


def name_of(target: Any) -> str:
    """The name of an activity or a workflow, which is given as such or by name."""
    if isinstance(target, str):
        return target
    definition = definition_of(target)
    if isinstance(definition, Definition):
        return definition.name
    raise MockError(f"a mock is for an activity, a workflow, or a name, not for {target!r}")
