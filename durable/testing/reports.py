"""What `explore` says of a workflow that breaks, and the line that breaks it again."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from dataclasses import fields
from types import ModuleType
from typing import Any

from durable.definitions import ActivityDefinition, ConfiguredWorkflow, WorkflowDefinition
from durable.starting import flow_of
from durable.testing.chooser import Recorder
from durable.testing.schedules import Schedule
from durable.testing.trials import Trial

__all__ = ["report"]


def report(trial: Trial, run: Recorder, error: BaseException, how: str, again: bool) -> str:
    """how: it was found. again: whether the same schedule has broken it twice."""
    told = [f"  {place}. {what}" for place, what in enumerate(run.told(), 1)]
    lines = [
        f"{flow_of(trial.flow)[0]} breaks, {how}:",
        *(told or ["  nothing unusual happens"]),
        f"  then {_told(error)}",
        f"again: {_call(trial, str(Schedule.of(run)))}",
    ]
    if not again:
        lines.append(
            "but not each time: the same schedule does not break it again, so that something"
            " outlives a run, which setup= must bring back to its beginning"
        )
    return "\n".join(lines)


def _told(error: BaseException) -> str:
    """What it says; or where it was raised, if it says nothing."""
    kind = type(error).__name__
    if str(error):
        return f"{kind}: {error}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{kind} at {frame.filename}:{frame.lineno}, in {frame.name}: {frame.line}"


def _call(trial: Trial, schedule: str) -> str:
    """A call of `explore`. What has no name in Python stands there as …"""
    words = [_expression(trial.flow), *map(repr, trial.args)]
    words += [f"kwargs={dict(trial.kwargs)!r}"] if trial.kwargs else []
    words += [f"setup={_expression(trial.setup)}"] if trial.setup else []
    words += [f"invariants={_expression(trial.invariants)}"] if trial.invariants else []
    words += [f"{name}={_expression(value)}" for name, value in trial.options.items()]
    return f"explore({', '.join(words)}, schedule={schedule!r})"


def _expression(value: Any) -> str:
    """What gives this value where the test stands."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_expression, value))}]"
    if isinstance(value, ConfiguredWorkflow):
        return f"{_expression(value.definition)}.options({_settings(value.settings)})"
    if isinstance(value, (ActivityDefinition, WorkflowDefinition)):
        value = value.fn
    name = getattr(value, "__name__", repr(value))
    if isinstance(value, ModuleType):
        return name.rpartition(".")[2]
    if not isinstance(getattr(value, "__self__", sys), ModuleType):  # a method of something
        return f"….{name}"
    return "…" if name.startswith("<") else name


def _settings(settings: Any) -> str:
    """The options that were given to a workflow."""
    given: Mapping[str, Any] = {
        field.name: getattr(settings, field.name)
        for field in fields(settings)
        if getattr(settings, field.name) != field.default
    }
    return ", ".join(f"{name}={value!r}" for name, value in given.items())
