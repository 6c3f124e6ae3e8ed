"""`Handle.where` and the code that it needs: which one, and what if it does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import where_flows as flows
from engine_kit import Engine, until
from where_kit import begin, happens, root

from durable import (
    Client,
    Handle,
    Orchestrator,
    Workflow,
    external,
    side_effect,
    spawn,
    timeout,
    wait_signal,
    workflow,
)
from durable.errors import NonDeterminismError, UsageError


def test_the_code_must_be_here(engine: Engine) -> None:
    begin(engine, flows.nested, "x")
    stranger = Client(engine.store)
    with pytest.raises(UsageError, match=r"workflow nested version 1 is not here; give the module"):
        stranger.get("i").where()
    newer = workflow(name="nested", version=2)(flows.nested.fn)
    with pytest.raises(UsageError, match=r"version 1 is not here: there is version 2;"):
        Client(engine.store, workflows=[newer]).get("i").where()
    assert Client(engine.store, modules=[flows]).get("i").where().problem is None


def test_an_orchestrator_knows_its_code(store_url: str) -> None:
    with Orchestrator(store_url, workflows=iter([flows.nested])) as here:
        handle = here.client.start_named("nested", ["x"], id="i")
        until(lambda: handle.history())
        assert root(handle.where()).frames[0].function == "nested"


def changed(engine: Engine, flow: Any) -> Handle[Any]:
    """The handle of a client that has other code of it."""
    return Client(engine.store, workflows=[workflow(name="effects")(flow)]).get("i")


def test_code_that_asks_for_something_else(engine: Engine) -> None:
    handle = begin(engine, flows.effects)
    happens(handle, "ActivityCompleted")

    def other() -> Workflow[Any]:
        order = "o-1"
        return (yield wait_signal(order))

    where = changed(engine, other).where()
    assert where.problem is not None
    assert "event 1" in where.problem
    assert "SideEffectRecorded" in where.problem
    assert f"{__file__}:" in where.problem
    assert where.seq is None  # not even the first step fits
    assert root(where).frames[0].locals == {"order": "'o-1'"}
    assert "does not follow this history" in str(where)
    with pytest.raises(NonDeterminismError, match="event 1") as raised:
        changed(engine, other).vars(2)
    error = raised.value
    assert (error.seq, error.issued) == (
        1, "issued nothing more and waits for wait_signal('o-1')",
    )  # fmt: skip
    assert error.recorded.startswith("SideEffectRecorded(")
    assert error.line.startswith(f"{__file__}:")


def test_code_that_differs_later_is_followed_up_to_there(engine: Engine) -> None:
    handle = begin(engine, flows.effects)
    happens(handle, "ActivityCompleted")
    handle.signal("go", "!")
    handle.result(timeout=20)

    def ends_early() -> Workflow[Any]:
        yield side_effect(flows.effect, "side")
        yield flows.double.call(1)
        return "early"

    new = changed(engine, ends_early)
    good = new.where(0)
    assert (good.problem, root(good).frames[0].function) == (None, "ends_early")
    with new.walk() as walk:
        bad = walk.where()
        assert bad.problem is not None
        assert "the code returned 'early', at" in bad.problem
        assert (bad.seq, bad.coroutines) == (good.seq, good.coroutines)
        assert walk.where(5) == bad
        assert walk.where(0) == good


def test_code_that_differs_in_a_verb(engine: Engine) -> None:
    """The error goes through the generator, which is gone then: it is shown as it was before."""
    handle = begin(engine, flows.effects)
    happens(handle, "ActivityCompleted")

    def promises() -> Workflow[Any]:
        yield side_effect(flows.effect, "side")
        yield flows.double.call(1)
        external("new")
        yield wait_signal("go")

    handle.signal("go", "!")
    handle.result(timeout=20)
    where = changed(engine, promises).where()
    assert where.problem is not None
    assert "external('new')" in where.problem
    assert where.seq == 2
    assert root(where).frames[0].line == promises.__code__.co_firstlineno + 2


def test_code_that_differs_in_a_verb_and_goes_on(engine: Engine) -> None:
    """The error was swallowed: it is seen at the next yield, where the generator still is."""
    handle = begin(engine, flows.effects)
    happens(handle, "ActivityCompleted")

    def swallows() -> Workflow[Any]:
        spawn(wait_signal("other"), name="other")
        try:
            with timeout(5):
                pass
        except BaseException:
            pass
        yield wait_signal("go")

    where = changed(engine, swallows).where()
    assert where.problem is not None
    assert "SideEffectRecorded" in where.problem
    assert root(where).frames[0].line == swallows.__code__.co_firstlineno + 7
    assert root(where).deadline is None
    assert "root was about to go on" in str(where)
    assert "task other was about to go on" in str(where)
