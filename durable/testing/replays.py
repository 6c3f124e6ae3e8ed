"""Histories are replayed as they grow, by the code that made them.

Rules
-----
* A short history is replayed after each step, a long one when it has grown by a tenth: so all
  of them together cost no more than a few times the last.
* It is replayed at its end, too: nothing goes unseen.
"""

from __future__ import annotations

from typing import Any

from durable.codec import Codec
from durable.definitions import WorkflowDefinition
from durable.interpreter import DEFAULT_LIMITS
from durable.model import Instance
from durable.propagation import Propagators
from durable.registry import Registry
from durable.runner.held import revive
from durable.store import Step, Store

__all__ = ["Recorded", "Replays"]

Recorded = tuple[Instance, WorkflowDefinition[..., Any], list[tuple[int, bytes]]]
"""An instance, its code, and the history of one of its runs."""

SHORT = 200
"""Events of a history that is replayed after each step."""


class Replays:
    """Which histories have been replayed, and up to where. last: of each run the last replay."""

    def __init__(
        self, store: Store, registry: Registry, codec: Codec, propagators: Propagators
    ) -> None:
        self._store = store
        self._registry = registry
        self._codec = codec
        self._propagators = propagators
        self._done: dict[tuple[bytes, int], int] = {}
        self.last: dict[tuple[bytes, int], Recorded] = {}

    def check(self, instance: Instance, step: Step) -> None:
        """Replay what is stored after this step, if it is time to.

        Raises `NonDeterminismError` if the code decides otherwise than it did.
        """
        key, length = (step.uid, step.run), step.history_length + len(step.events)
        over = step.next is not None or (step.end is not None and step.end.status.finished)
        before = self._done.get(key, 0)
        if not over and length > SHORT and length < before * 1.1:
            return
        self._done[key] = length
        version = instance.version if step.version is None else step.version
        definition = self._registry.workflow(instance.workflow, version)
        if definition is None or not step.events:
            return
        [history] = self._store.history([key])
        if len(history) < length:
            return  # the run that follows has taken its place
        self.last[key] = (instance, definition, history[:length])
        interpreter = revive(
            instance, length, definition, history[:length], self._codec, self._store.secret,
            self._propagators, DEFAULT_LIMITS,
        )  # fmt: skip
        interpreter.close()
