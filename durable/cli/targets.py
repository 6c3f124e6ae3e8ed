"""Which workflow of a module ``durable run`` means, and whether it can be called so."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from inspect import Signature
from types import ModuleType
from typing import Any

from durable.definitions import ActivityDefinition, WorkflowDefinition
from durable.errors import UsageError
from durable.model import DEFAULT_QUEUE
from durable.registry import Registry

Flow = WorkflowDefinition[..., Any]


def find_workflow(module: ModuleType, registry: Registry, name: str | None) -> Flow:
    """The workflow with this name (in the module, or under which it is stored); without a
    name the only one that is defined in the module. Raises `UsageError`."""
    if name is None:
        return _only_workflow(module, registry)
    found: Any = vars(module).get(name)
    if isinstance(found, WorkflowDefinition):
        return found
    stored = registry.workflow(name, None)
    if stored is not None:
        return stored
    if isinstance(found, ActivityDefinition):
        raise UsageError(f"{name} is an activity; a workflow that calls it can be run")
    if callable(found):
        raise UsageError(f"{name} is no workflow: decorate it with @workflow")
    names = _names(registry)
    close = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {close[0]}?" if close else _listed(names)
    raise UsageError(f"module {module.__name__} has no workflow {name!r}; {hint}")


def _only_workflow(module: ModuleType, registry: Registry) -> Flow:
    flows = [flow for versions in registry.workflows.values() for flow in versions.values()]
    own = {flow.name for flow in flows if flow.fn.__module__ == module.__name__}
    names = sorted(own) or _names(registry)
    if len(names) == 1:
        flow = registry.workflow(names[0], None)
        assert flow is not None
        return flow
    raise UsageError(
        f"module {module.__name__} has {len(names) or 'no'} workflows; {_listed(names)}"
        + (f": say which, like {module.__name__}:{names[0]}" if names else "")
    )


def _names(registry: Registry) -> list[str]:
    return sorted(registry.workflows)


def _listed(names: Sequence[str]) -> str:
    return f"it has {', '.join(names)}" if names else "decorate a function with @workflow"


def pinned_version(flow: Flow, registry: Registry) -> int | None:
    """The version to ask for: None if this is the highest, which is what a start takes."""
    highest = registry.workflow(flow.name, None)
    return None if highest is None or highest.version == flow.version else flow.version


def check_arguments(flow: Flow, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Raise `UsageError` unless the workflow can be called like this."""
    try:
        flow.signature.bind(*args, **kwargs)
    except TypeError as error:
        shown = flow.signature.replace(return_annotation=Signature.empty)
        raise UsageError(f"wrong arguments for {flow.name}{shown}: {error}") from None


def all_queues(registry: Registry) -> set[str]:
    """Every queue that something in the registry names, so that one worker serves it all."""
    queues = {DEFAULT_QUEUE}
    for versions in registry.workflows.values():
        queues.update(flow.queue for flow in versions.values() if flow.queue)
    for activity in registry.activities.values():
        if activity.defaults.queue is not None:
            queues.add(activity.defaults.queue)
    return queues
