"""The registry: which workflows and activities a worker knows, by name.

Activities that are methods run on an object: a worker is given the object, and each activity
that its class has is registered as bound to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from inspect import getattr_static
from types import MethodType, ModuleType
from typing import Any, TypeVar

from durable.decorated import Definition
from durable.definitions import ActivityDefinition, WorkflowDefinition, class_method_error
from durable.errors import UsageError


class Registry:
    """Definitions by name. Two with one name (and version) are an error that names both."""

    def __init__(
        self,
        modules: Iterable[ModuleType] = (),
        workflows: Iterable[Any] = (),
        activities: Iterable[Any] = (),
    ) -> None:
        self.workflows: dict[str, dict[int, WorkflowDefinition[..., Any]]] = {}
        self.activities: dict[str, ActivityDefinition[..., Any]] = {}
        for module in _listed(modules, "modules"):
            self.scan(module)
        for item in _listed(workflows, "workflows"):
            if not isinstance(item, WorkflowDefinition):
                raise UsageError(f"{item!r} is no workflow: decorate it with @workflow")
            self.add(item)
        for item in _listed(activities, "activities"):
            for definition in _activities(item):
                self.add(definition)

    def scan(self, module: ModuleType) -> None:
        """Add every definition that the module has, imported ones included."""
        if not isinstance(module, ModuleType):
            raise UsageError(f"modules= takes modules, and {module!r} is none")
        for value in vars(module).values():
            if isinstance(value, Definition):
                self.add(value)

    def add(self, definition: Definition[..., Any]) -> None:
        """Add one definition; the same one twice is no error. A method without an object is
        left out: nobody could run it."""
        if isinstance(definition, WorkflowDefinition):
            versions = self.workflows.setdefault(definition.name, {})
            self._put(versions, definition.version, definition)
        elif isinstance(definition, ActivityDefinition) and not definition.unbound:
            self._put(self.activities, definition.name, definition)

    @property
    def transactional(self) -> list[str]:
        """The names of activities that are transactional."""
        return [name for name, one in self.activities.items() if one.transactional]

    def workflow(self, name: str, version: int | None) -> WorkflowDefinition[..., Any] | None:
        """The definition of a version, or of the highest one if None is asked for."""
        versions = self.workflows.get(name)
        if not versions:
            return None
        return versions.get(max(versions) if version is None else version)

    def needs(self) -> tuple[str, ...]:
        """What this worker can run: names, and ``name@version``."""
        names = []
        for name, versions in self.workflows.items():
            names.append(name)
            names += [f"{name}@{version}" for version in versions]
        return tuple(names)

    @staticmethod
    def _put(table: dict[Any, Any], key: Any, definition: Definition[..., Any]) -> None:
        other = table.setdefault(key, definition)
        if other is definition or other.fn == definition.fn:
            return
        fix = "give one another name="
        if isinstance(definition.fn, MethodType):
            fix = "for one of them, write a subclass whose methods have another name="
        raise UsageError(
            f"two {definition.kind} definitions are called {definition.name!r}: "
            f"{_origin(other)} and {_origin(definition)}; {fix}"
        )


def _origin(definition: Definition[..., Any]) -> str:
    """Where a definition is from: its line, and the object on which it runs."""
    if isinstance(definition.fn, MethodType):
        return f"{definition.where} of {definition.fn.__self__!r}"
    return definition.where


T = TypeVar("T")


def _listed(items: Iterable[T], what: str) -> Iterable[T]:
    try:
        return iter(items)
    except TypeError:
        raise UsageError(f"{what}= takes a list, not {items!r}") from None


def _activities(item: Any) -> list[ActivityDefinition[..., Any]]:
    """What a worker was given as an activity: a definition, or an object that has some."""
    if isinstance(item, ActivityDefinition):
        if item.unbound:
            raise UsageError(
                f"activity {item.name} is a method: give the worker an object, "
                f"activities=[{_class_name(item.owner)}(…)]"
            )
        return [item]
    is_class = isinstance(item, type)
    names = (
        [] if isinstance(item, Definition) else _activity_names(item if is_class else type(item))
    )
    if not names:
        raise UsageError(f"{item!r} is no activity: decorate it with @activity")
    if is_class:
        raise UsageError(
            f"{item!r} is a class, and its activities {', '.join(names)} run on an object: "
            f"activities=[{_class_name(item)}(…)]"
        )
    return [getattr(item, name) for name in names]


def _class_name(cls: type | None) -> str:
    return getattr(cls, "__name__", "")


def _activity_names(cls: type) -> list[str]:
    """The attributes of a class that are activities.

    Raises `UsageError` for a method that hides an activity and is none: a workflow that
    calls the activity would wait for ever.
    """
    names = []
    for name in dir(cls):
        value = getattr_static(cls, name)
        if isinstance(value, classmethod) and isinstance(value.__func__, ActivityDefinition):
            raise class_method_error(value.__func__.name)
        if isinstance(value, staticmethod):
            value = value.__func__
        if isinstance(value, ActivityDefinition):
            names.append(name)
            continue
        hidden = [vars(base)[name] for base in cls.__mro__ if name in vars(base)]
        for other in hidden:
            if isinstance(other, ActivityDefinition):
                raise UsageError(
                    f"{cls.__qualname__}.{name} hides the activity {other.name} and is none: "
                    f'decorate it with @activity(name="{other.name}")'
                )
    return names
