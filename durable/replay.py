"""Recorded histories against today's code: what a worker does that claims an instance, and
nothing more.

The interpreter and the way into it are those of production.  There is no store: nothing is
written, no activity runs, no side effect is made again, and no message is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from durable.codec import Codec
from durable.definitions import WorkflowDefinition
from durable.errors import DurableError, NonDeterminismError, PayloadError, UsageError
from durable.events import Event, WorkflowCompleted, WorkflowStarted, decoded, load
from durable.exports import Export
from durable.interpreter import Interpreter, StepAborted, StepInterrupted
from durable.interpreter.mismatch import shown
from durable.interpreter.waiting import as_code
from durable.propagation import Propagators
from durable.registry import Registry
from durable.runner.held import revive

__all__ = ["Replayed", "replay_runs"]

Flow = WorkflowDefinition[..., Any]

# Tokens of promises are in the history; a replay makes none.
_NO_SECRET = bytes(32)


@dataclass(frozen=True, slots=True)
class Replayed:
    """A run whose history fits the code, and where the code is after it.

    events: how many it has. ending: the event with which the code ended the run, decoded;
    None if it goes on. waits: for each coroutine what it waits for, and at which line.
    """

    id: str
    run: int
    workflow: str
    version: int | None
    events: int
    ending: Event | None
    waits: tuple[str, ...]

    @property
    def result(self) -> Any:
        """What the workflow returned; None if it did not."""
        return self.ending.value if isinstance(self.ending, WorkflowCompleted) else None


def replay_runs(
    export: Export, registry: Registry, codec: Codec, propagators: Iterable[Any] = ()
) -> Iterator[Replayed]:
    """Replay every run of an instance, one after the other.

    Raises `NonDeterminismError` where the code does not match, `UsageError` if it is of
    another workflow, `PayloadError` for a history that is damaged.
    """
    carried = Propagators(propagators)
    for run in range(1, len(export.runs) + 1):
        try:
            yield _replay(export, run, registry, codec, carried)
        except DurableError as error:
            error.add_note(_named(export, run))
            raise


def _named(export: Export, run: int) -> str:
    source = f" ({export.source})" if export.source else ""
    return f"in the history of instance {export.instance.id!r}, run {run}{source}"


def _replay(
    export: Export, run: int, registry: Registry, codec: Codec, propagators: Propagators
) -> Replayed:
    stored = export.runs[run - 1]
    started = load(stored[0], 0) if stored else None
    version = started.version if isinstance(started, WorkflowStarted) else export.instance.version
    name = started.workflow if isinstance(started, WorkflowStarted) else export.instance.workflow
    definition = _definition(registry, name, version)
    copied = export.begins_again and run == len(export.runs)
    instance = replace(export.instance, run=run)
    interpreter = _revived(instance, stored, definition, codec, propagators, copied)
    try:
        ending = interpreter.ending
        return Replayed(
            instance.id,
            run,
            name,
            definition.version,
            len(stored),
            None if ending is None else decoded(ending.event, codec.decode),
            tuple(_waits(interpreter)),
        )
    finally:
        interpreter.close()


def _revived(
    instance: Any,
    stored: tuple[bytes, ...],
    definition: Flow,
    codec: Codec,
    propagators: Propagators,
    copied: bool,
) -> Interpreter:
    history = list(enumerate(stored))
    try:
        return revive(
            instance, len(stored), definition, history, codec, lambda: _NO_SECRET, propagators,
            copied=copied,
        )  # fmt: skip
    except StepInterrupted:
        raise
    except StepAborted as error:  # a BaseException, for the code of workflows
        raise _stopped(error, stored, codec) from error
    except DurableError:
        raise
    except Exception as error:  # fields that were changed by hand, say
        raise PayloadError(f"the history cannot be replayed: {error!r}") from error


def _stopped(error: StepAborted, stored: tuple[bytes, ...], codec: Codec) -> NonDeterminismError:
    """The code did not get to what the history has next."""
    seq, recorded = error.seq, ""
    if seq is not None:
        recorded = shown(load(stored[seq], seq), codec) if seq < len(stored) else "nothing more"
    return NonDeterminismError(
        str(error), seq=seq, recorded=recorded, issued=f"was stopped: {error.why}", line=error.line
    )


def _definition(registry: Registry, name: str, version: int | None) -> Flow:
    found = registry.workflow(name, version)
    if found is not None:
        return found
    known = ", ".join(
        f"{flow.name} (version {flow.version})"
        for versions in registry.workflows.values()
        for flow in versions.values()
    )
    asked = name if version is None else f"{name} (version {version})"
    raise UsageError(f"the history is of workflow {asked}; the code given has {known or 'none'}")


def _waits(interpreter: Interpreter) -> Iterator[str]:
    for coroutine in interpreter.coroutines:
        if coroutine.waiting is not None:
            awaited = as_code(coroutine.waiting.command)
            yield f"{coroutine.name} waits for {awaited}, at {coroutine.line()}"
