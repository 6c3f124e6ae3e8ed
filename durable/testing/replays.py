"""Histories are replayed as they grow, by the code that made them.

Rules
-----
* A short history is replayed after each step, a long one when it has grown by a tenth: so all
  of them together cost no more than a few times the last.
* It is replayed at its end, too: nothing goes unseen.
* Its end must be the same: what it returned, what it goes on with, the type of what it raised
  (its text may have an address).
"""

from __future__ import annotations

from typing import Any

from durable.codec import Codec
from durable.definitions import WorkflowDefinition
from durable.errors import NonDeterminismError
from durable.events import ContinuedAsNew, Event, WorkflowCompleted, WorkflowFailed, load
from durable.interpreter import DEFAULT_LIMITS, Interpreter
from durable.model import Instance
from durable.propagation import Propagators
from durable.registry import Registry
from durable.runner.held import revive
from durable.store import Step, Store

__all__ = ["Recorded", "Replays", "check_end"]

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
        try:
            check_end(interpreter, history[-1], self._codec)
        finally:
            interpreter.close()


def check_end(interpreter: Interpreter, last: tuple[int, bytes], codec: Codec) -> None:
    """Raise `NonDeterminismError` if a run that was replayed ended otherwise than it did."""
    if interpreter.ending is None:
        return
    seq, data = last
    recorded, replayed = (
        _end_of(event, codec) for event in (load(data, seq), interpreter.ending.event)
    )
    # By its text, too, as what is not a number is not equal to itself.
    if recorded != replayed and repr(recorded) != repr(replayed):
        definition = interpreter.definition
        verb, before, now = recorded[0], recorded[1], replayed[1]
        raise NonDeterminismError(
            f"{definition.name} {verb} {before!r}, and {now!r} when its history was replayed, "
            f"at {definition.where}",
            seq=seq, recorded=repr(before), issued=repr(now), line=definition.where,
        )  # fmt: skip


def _end_of(event: Event, codec: Codec) -> tuple[str, Any]:
    """What is the same in each replay of an end."""
    if isinstance(event, WorkflowCompleted):
        return "returned", codec.decode(event.value)
    if isinstance(event, ContinuedAsNew):
        kwargs = {} if event.kwargs is None else codec.decode(event.kwargs)
        return "went on with", (codec.decode(event.args), kwargs)
    if isinstance(event, WorkflowFailed):
        return "raised", event.error[0]
    return "ended by", type(event).__name__
