"""What stands in a registry instead of activities and children."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from copy import copy
from functools import wraps
from types import CoroutineType
from typing import Any

from durable.calls import info
from durable.codec import Codec
from durable.definitions import ActivityDefinition, WorkflowDefinition
from durable.errors import MockError, PayloadError
from durable.testing.mocks import Mocks, Turn
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
    turn: Turn | None,
    record: Callable[[tuple[Any, ...], dict[str, Any]], None],
    surface: Callable[[BaseException], None],
    codec: Codec,
) -> Activity:
    """The activity, or what answers instead; calls are recorded, and what it raises is told."""
    real = definition.fn

    @wraps(real)
    def called(*args: Any, **kwargs: Any) -> Any:
        record(args, kwargs)
        try:
            if turn is None:
                return awaited(real(*args, **kwargs))
            return answered(turn, definition.name, args, kwargs, codec)
        except BaseException as error:
            surface(error)
            raise

    made = copy(definition)
    made.fn = called
    return made


def answered(
    turn: Turn, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], codec: Codec
) -> Any:
    """What a mock answers. A value that cannot be stored is a mistake of the test: the workflow
    must not take it for a failure of what is mocked."""
    value = awaited(turn.answer(args, kwargs))
    try:
        codec.encode(value, f"what the mock of {name} gives")
    except PayloadError as error:
        raise MockError(str(error)) from None
    return value


def awaited(value: Any) -> Any:
    """The value, or what the coroutine comes to that it is: in a thread of its own, if the test
    itself runs in a loop, which is not left for it."""
    if type(value) is not CoroutineType:
        return value
    import asyncio  # slow to import, and most tests never need it

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(value)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, asyncio.run, value).result()


class Answers:
    """What mocks of children have answered: by number, as replays ask for it again.

    A worker may die before a child's first step is stored: the child that asks again gets the
    same answer.  tell: is told of what mocks raise, and of a child that no mock answers.
    """

    def __init__(self, mocks: Mocks, tell: Callable[[BaseException], None], codec: Codec) -> None:
        self._codec = codec
        self._mocks = mocks
        self._tell = tell
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
        turn = self._mocks.next(name)
        if turn is None:
            return -1
        turn.over(answered=True)
        try:
            value = answered(turn, name, args, kwargs, self._codec)
            self._given.append((turn.takes, value, None))
        except BaseException as error:
            self._tell(error)
            if not isinstance(error, Exception):
                raise
            self._given.append((turn.takes, None, error))
        return len(self._given) - 1

    def missing(self, child: str, name: str) -> MockError:
        """No mock answers, and there is no code either."""
        error = MockError(f"{name} was started as {child}, and no mock answers")
        self._tell(error)
        return error


def mocked_workflow(
    name: str, version: int, like: Flow | None, real: Flow | None, answers: Answers
) -> WorkflowDefinition[..., Any]:
    """A workflow that does what its mock says, and then what the real one does.

    like: whose arguments it has, if that is known.
    """

    def child(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        me = info()
        if me.parent is None and real is not None:
            return (yield from real.fn(*args, **kwargs))  # the one that the test is about
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
