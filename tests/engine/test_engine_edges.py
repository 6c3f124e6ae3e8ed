"""Edges that a hostile reader found: each was wrong once."""

from __future__ import annotations

from typing import Any

import pytest

from durable import Client, Orchestrator, Workflow, activity, race, wait_signal, workflow
from durable.errors import InstanceNotFound, UsageError
from durable.executors import ProcessExecutor
from durable.store import Unavailable
from durable.stores import open_store
from durable.worker import Worker


@activity(retry=None)
def one() -> int:
    return 1


@workflow
def waits() -> Workflow[Any]:
    return (yield wait_signal("s"))


@workflow
def calls() -> Workflow[int]:
    return (yield from one.call())


def test_a_handle_does_not_act_on_another_life_of_its_id() -> None:
    client = Client("memory://")
    old = client.start(waits.options(id="same"))
    old.terminate()
    old.delete()
    new = client.start(waits.options(id="same"))
    with pytest.raises(InstanceNotFound, match="deleted"):
        old.signal("s")
    for act in (old.cancel, old.terminate, old.delete):
        with pytest.raises(InstanceNotFound, match="deleted"):
            act()
    assert not new.status().finished


def test_start_many_is_repeated_when_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client("memory://")
    create, calls_made = client.store.create, []

    def away(*args: Any) -> Any:
        calls_made.append(args)
        if len(calls_made) == 1:
            raise Unavailable("away")
        return create(*args)

    monkeypatch.setattr(client.store, "create", away)
    assert len(client.start_many([(waits,), (waits,)])) == 2
    assert client.count() == 2


def test_names_are_not_empty() -> None:
    client = Client("memory://")
    for wrong in (
        lambda: client.start(""),
        lambda: client.start(waits.options(tags=[""])),
        lambda: client.start(waits.options(queue="")),
        lambda: Worker(client.store, workflows=[waits], queues=[""]),
    ):
        with pytest.raises(UsageError, match="not empty"):
            wrong()
    assert client.count() == 0


def test_a_child_command_called_default_is_refused() -> None:
    with pytest.raises(UsageError, match="reserved"):
        race(default=wait_signal("x"))  # type: ignore[unused-awaitable]


def test_a_yielded_workflow_says_how_to_run_it() -> None:
    @workflow
    def outer() -> Workflow[Any]:
        with pytest.raises(TypeError, match=r"write `yield waits\.call\(…\)`"):
            yield waits  # type: ignore[misc]
        return "ok"

    with Orchestrator("memory://", workflows=[outer]) as here:
        assert here.client.start(outer).result(timeout=10) == "ok"


def test_a_child_process_that_cannot_start_fails_the_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin, tries = ProcessExecutor._start, []

    def no_memory(self: ProcessExecutor) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise OSError(11, "no process to be had")
        return begin(self)

    monkeypatch.setattr(ProcessExecutor, "_start", no_memory)
    store = open_store("memory://")
    here = Orchestrator(
        store, workflows=[calls], activities=[one], executor="process", activity_slots=1
    )
    with here:
        first = here.client.start(calls)
        with pytest.raises(Exception, match="no process to be had"):
            first.result(timeout=20)
        assert here.client.start(calls).result(timeout=20) == 1
