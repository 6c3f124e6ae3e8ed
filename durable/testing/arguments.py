"""What is given to the kit: checked, and compared as a call would be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from os.path import basename
from types import GeneratorType
from typing import Any, TypeVar

from durable.decorated import Definition
from durable.definitions import ActivityDefinition, WorkflowDefinition
from durable.errors import KitError
from durable.retry import Duration, microseconds
from durable.starting import flow_of
from durable.testing.mocks import Call, definition_of, name_of

__all__ = [
    "checked_callable",
    "checked_flag",
    "checked_flow",
    "checked_names",
    "checked_turns",
    "same_call",
    "shown_function",
    "span",
]

F = TypeVar("F", bound=Callable[..., Any])

WORDS = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds")


def span(verb: str, given: Duration | None, words: dict[str, float]) -> int:
    """A duration in microseconds: seconds, a timedelta, or words that `timedelta` takes."""
    if wrong := sorted(words.keys() - set(WORDS)):
        raise TypeError(f"{verb} takes {', '.join(WORDS)}, and not {wrong[0]}")
    for word, value in words.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{verb} takes numbers, and not {word}={value!r}")
    if given is not None and words:
        raise TypeError(f"{verb} takes a duration or words, not both: {verb}(hours=1)")
    if given is not None:
        return microseconds(given, verb)
    return microseconds(timedelta(**words), verb)


def checked_callable(do: F, what: str) -> F:
    if not callable(do):
        raise TypeError(f"{what} takes a function to call, not {do!r}")
    return do


def checked_flag(value: bool, what: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{what}= is True or False, not {value!r}")
    return value


def checked_flow(flow: Any) -> WorkflowDefinition[..., Any] | None:
    """The definition of what is to be run; None, if it is known by its name alone."""
    if isinstance(flow, GeneratorType):
        name = flow.__name__
        raise TypeError(
            f"WorkflowEnv takes the workflow {name} itself: WorkflowEnv({name}), and its"
            " arguments go to env.run(…)"
        )
    if isinstance(definition_of(flow), ActivityDefinition):
        raise TypeError(f"WorkflowEnv runs a workflow, and {name_of(flow)} is an activity")
    return flow_of(flow)[2]


def checked_names(names: Iterable[str], what: str) -> frozenset[str]:
    found = [names] if isinstance(names, str) else [*names]
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"{what}= takes names of calls and modules, not {name!r}")
    return frozenset(found)


def same_call(one: Call, other: Call, definition: Definition[..., Any] | None) -> bool:
    """Whether two calls give the same arguments, by place or by name, or leave them out for
    their defaults."""
    return one == other or (
        definition is not None and _bound(one, definition) == _bound(other, definition)
    )


def _bound(call: Call, definition: Definition[..., Any]) -> object:
    """Arguments by name; the call itself, if they do not fit."""
    try:
        bound = definition.signature.bind(*call.args, **call.kwargs)
    except TypeError:
        return call
    bound.apply_defaults()
    return bound.arguments


def checked_turns(given: int) -> int:
    """``max_turns=``. Raises `KitError` unless it is a number of at least 1."""
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise KitError(f"max_turns={given!r} is no whole number of at least 1")
    return given


def shown_function(do: Callable[..., object]) -> str:
    """Its name; of a lambda, where it stands."""
    if isinstance(do, partial):
        return shown_function(do.func)
    name, code = getattr(do, "__name__", type(do).__name__), getattr(do, "__code__", None)
    if name != "<lambda>" or code is None:
        return name
    return f"the lambda at {basename(code.co_filename)}:{code.co_firstlineno}"
