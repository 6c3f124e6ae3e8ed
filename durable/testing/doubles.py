"""What stands in a registry instead of activities and children."""

from __future__ import annotations

from collections.abc import Callable, Generator
from copy import copy
from functools import wraps
from types import CoroutineType
from typing import Any

from durable.definitions import ActivityDefinition, WorkflowDefinition
from durable.errors import MockError
from durable.testing.mocks import Mock, Mocks
from durable.verbs import side_effect, sleep

__all__ = ["Answers", "mocked_activity", "mocked_workflow", "performed"]

Activity = ActivityDefinition[..., Any]


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
    surface: Callable[[AssertionError], None],
) -> Activity:
    """The activity, or what answers instead; calls are recorded, and assertions that fail are
    told."""
    real = definition.fn

    @wraps(real)
    def called(*args: Any, **kwargs: Any) -> Any:
        record(args, kwargs)
        try:
            value = real(*args, **kwargs) if mock is None else mock.answer(args, kwargs)
        except AssertionError as error:
            surface(error)
            raise
        return awaited(value) if type(value) is CoroutineType else value

    async def awaited(value: Any) -> Any:
        try:
            return await value
        except AssertionError as error:
            surface(error)
            raise

    made = copy(definition)
    made.fn = called
    return made


class Answers:
    """What mocks of children have answered: by number, as replays ask for it again."""

    def __init__(self, mocks: Mocks) -> None:
        self._mocks = mocks
        self._given: list[tuple[float, Any, BaseException | None]] = []

    def __getitem__(self, number: int) -> tuple[float, Any, BaseException | None]:
        return self._given[number]

    def ask(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Let the mock answer; gives the number of the answer."""
        mock = self._mocks.next(name)
        if mock is None:
            raise MockError(f"no mock answers the child {name} any more")
        try:
            self._given.append((mock.takes, mock.answer(args, kwargs), None))
        except Exception as error:
            self._given.append((mock.takes, None, error))
        return len(self._given) - 1


def mocked_workflow(name: str, version: int, answers: Answers) -> WorkflowDefinition[..., Any]:
    """A workflow that does what its mock says."""

    def child(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        number = yield side_effect(answers.ask, name, args, kwargs)
        takes, value, error = answers[number]
        if takes:
            yield sleep(takes)
        if error is not None:
            raise error
        return value

    return WorkflowDefinition(child, name=name, version=version)
