"""The registry: which workflows and activities a worker knows, by name."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from durable.definitions import ActivityDefinition, Definition, WorkflowDefinition
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
        for module in modules:
            self.scan(module)
        for item in workflows:
            self._expect(item, WorkflowDefinition)
            self.add(item)
        for item in activities:
            self._expect(item, ActivityDefinition)
            self.add(item)

    def scan(self, module: ModuleType) -> None:
        """Add every definition that the module has, imported ones included."""
        for value in vars(module).values():
            if isinstance(value, Definition):
                self.add(value)

    def add(self, definition: Definition[..., Any]) -> None:
        """Add one definition; the same one twice is no error."""
        if isinstance(definition, WorkflowDefinition):
            versions = self.workflows.setdefault(definition.name, {})
            self._put(versions, definition.version, definition)
        elif isinstance(definition, ActivityDefinition):
            self._put(self.activities, definition.name, definition)

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
    def _expect(item: Any, cls: type[Definition[..., Any]]) -> None:
        if not isinstance(item, cls):
            raise UsageError(f"{item!r} is no {cls.kind}: decorate it with @{cls.kind}")

    @staticmethod
    def _put(table: dict[Any, Any], key: Any, definition: Definition[..., Any]) -> None:
        other = table.setdefault(key, definition)
        if other is not definition and other.fn is not definition.fn:
            raise UsageError(
                f"two {definition.kind} definitions are called {definition.name!r}: "
                f"{other.where} and {definition.where}; give one another name="
            )
