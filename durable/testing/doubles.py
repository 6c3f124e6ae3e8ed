"""What stands in a registry instead of activities and children."""

from __future__ import annotations

from collections.abc import Callable, Generator
from copy import copy
from functools import wraps
from types import CoroutineType
from typing import Any

from durable.calls import info
from durable.definitions import ActivityDefinition, WorkflowDefinition
from durable.errors import MockError
from durable.testing.mocks import Mock, Mocks
from durable.verbs import side_effect, sleep

__all__ = ["Answers", "mocked_activity", "mocked_workflow", "performed"]

Activity = ActivityDefinition[..., Any]
Flow = WorkflowDefinition[..., Any]


def mocked_activity(target: Any) -> Activity:
    """The definition of an activity whose code is not here."""
    if isinstance(target, ActivityDefinition):
        return target

    def nothing(*args: Any, **kwargs: Any) -> Any:
        raise MockError(f"{target} is known by its name alone, and no mock answers")

    return ActivityDefinition(nothing, name=str(target))


def performed(
    definition: Activity,
    mock: Mock | None,
    record: Callable[[tuple[Any, ...], dict[str, Any]], None],
    surface: Callable[[BaseException], None],
) -> Activity:
    """The activity, or what answers instead; calls are recorded, and what it raises is told."""
    real = definition.fn

    @wraps(real)
    def called(*args: Any, **kwargs: Any) -> Any:
        record(args, kwargs)
        try:
            value = real(*args, **kwargs) if mock is None else mock.answer(args, kwargs)
        except BaseException as error:
            surface(error)
            raise
        return awaited(value) if type(value) is CoroutineType else value

    async def awaited(value: Any) -> Any:
        try:
            return await value
        except BaseException as error:
            surface(error)
            raise

    made = copy(definition)
    made.fn = called
    return made


class Answers:
    """What mocks of children have answered: by number, as replays ask for it again.

    A worker may die before a child's first step is stored: the child that asks again gets the
    same answer.  fail: is told of a child that no mock answers.
    """

    def __init__(self, mocks: Mocks, fail: Callable[[BaseException], None]) -> None:
        self._mocks = mocks
        self._fail = fail
        self._given: list[tuple[float, Any, BaseException | None]] = []
        self._numbers: dict[tuple[str, int], int] = {}

    def __getitem__(self, number: int) -> tuple[float, Any, BaseException | None]:
        return self._given[number]

    def ask(
        self, child: tuple[str, int], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> int:
        """Let the mock answer a child (id, run); gives the number of the answer, or -1 if no
        mock answers any more."""
        if child not in self._numbers:
            self._numbers[child] = self._answered(name, args, kwargs)
        return self._numbers[child]

    def _answered(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        mock = self._mocks.next(name)
        if mock is None:
            return -1
        try:
            self._given.append((mock.takes, mock.answer(args, kwargs), None))
        except Exception as error:
            self._given.append((mock.takes, None, error))
        return len(self._given) - 1

    def missing(self, child: str, name: str) -> MockError:
        """No mock answers, and there is no code either."""
        error = MockError(f"{name} was started as {child}, and no mock answers")
        self._fail(error)
        return error


def mocked_workflow(
    name: str, version: int, like: Flow | None, real: Flow | None, answers: Answers
) -> WorkflowDefinition[..., Any]:
    """A workflow that does what its mock says, and then what the real one does.

    like: whose arguments it has, if that is known.
    """

    def child(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        me = info()
        number = yield side_effect(answers.ask, (me.instance_id, me.run), name, args, kwargs)
        if number < 0:
            if real is None:
                raise answers.missing(me.instance_id, name)
            return (yield from real.fn(*args, **kwargs))
        takes, value, error = answers[number]
        if takes:
            yield sleep(takes)
        if error is not None:
            raise error
        return value

    if like is None:
        return WorkflowDefinition(child, name=name, version=version)
    made = copy(like)
    made.fn = wraps(like.fn)(child)
    return made
