"""`replay`: recorded histories against the code of today."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike, fspath
from types import ModuleType
from typing import Any

from durable.client import Handle
from durable.codec import Codec
from durable.definitions import WorkflowDefinition
from durable.errors import UsageError
from durable.events import Event, WorkflowStarted, dump, encoded
from durable.exports import Export, lines_of_file, read_exports
from durable.model import DEFAULT_QUEUE, Instance, Status, micros
from durable.registry import Registry
from durable.replay import Replayed, replay_runs

__all__ = ["replay"]

Code = WorkflowDefinition[..., Any] | ModuleType
History = str | PathLike[str] | Handle[Any] | Export | Sequence[Event] | Sequence[Export]


def replay(
    workflow: Code | Sequence[Code],
    history: History,
    *,
    id: str = "",
    codec: Codec | None = None,
    propagators: Iterable[Any] = (),
) -> list[Replayed]:
    """Check that today's code does what recorded histories say; gives where it is after each
    run: what it waits for, or how it ended.

    workflow: the definition, or several (versions, children), or modules that have them.
    history: the path of a file that ``durable export`` has written, a `Handle`, what its
    ``export()`` gave, or the events that its ``history()`` gave. id: of the instance, for
    events, which do not have it; code that looks at ``info().instance_id`` needs it.
    codec: with which payloads were stored. propagators: as for the worker.

    Nothing is run, and nothing is written.  Raises `NonDeterminismError`, which has both
    sides, the number of the event and the line of the code; `UsageError` for a history of
    another workflow, and for a file that cannot be read, with its line.

    >>> replay(process_order, "tests/histories/order.jsonl")
    """
    given = workflow if isinstance(workflow, Sequence) else [workflow]
    registry = Registry(
        [each for each in given if isinstance(each, ModuleType)],
        [each for each in given if not isinstance(each, ModuleType)],
    )
    codec = codec or Codec()
    return [
        replayed
        for export in _exports(history, id, codec)
        for replayed in replay_runs(export, registry, codec, propagators)
    ]


def _exports(history: Any, id: str, codec: Codec) -> Iterable[Export]:
    if isinstance(history, str | PathLike):
        path = fspath(history)
        return read_exports(lines_of_file(path), path)
    if isinstance(history, Handle):
        return [history.export()]
    if isinstance(history, Export):
        return [history]
    items = list(history)
    if not items:
        raise UsageError("the history is empty: there is nothing to replay")
    if all(isinstance(item, Export) for item in items):
        return items
    if not isinstance(items[0], WorkflowStarted):
        raise UsageError(f"a history begins with WorkflowStarted, and not with {items[0]!r}")
    return [_of_events(items, id, codec)]


def _of_events(events: Sequence[Event], id: str, codec: Codec) -> Export:
    """A history of its own, with as much of an instance as a replay looks at."""
    stored = [encoded(event, codec.encode) for event in events]
    started: Any = stored[0]
    instance = Instance(
        bytes(16), id, started.workflow, started.version, started.queue or DEFAULT_QUEUE, 1,
        Status.RUNNING, "", 0, None, len(stored), 0, "", "", started.args, started.kwargs, None,
        None, None, started.memo, tuple(started.tags), micros(started.at), None, None,
    )  # fmt: skip
    return Export(instance, (tuple(map(dump, stored)),))
