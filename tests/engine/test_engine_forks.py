"""Fork: a new instance with the beginning of a history; and both while the store is away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from engine_kit import Engine, StoreProxy, kinds, proxy, until
from rewind_flows import (
    FLOWS,
    act,
    approval,
    broken,
    calls,
    fails,
    family,
    promised,
    token_of,
    two_steps,
)

from durable import (
    Client,
    Status,
    Workflow,
    info,
    sleep,
    uuid4,
    wait_signal,
    workflow,
)
from durable.errors import (
    InstanceAlreadyExists,
    InstanceNotFound,
    OutcomeUnknown,
    UsageError,
)
from durable.store import Store, Unavailable


@pytest.fixture(autouse=True)
def _everything_is_broken() -> Iterator[None]:
    calls.clear()
    broken.set()
    yield
    broken.clear()


def test_a_fork_of_one_that_runs(engine: Engine) -> None:
    engine.work(FLOWS, [act])
    broken.clear()
    handle = engine.start(approval.options(id="source", tags=["t"], memo={"k": 1}, queue="default"))
    until(lambda: len(kinds(handle)) == 3)
    fork = handle.fork(at=2, id="fork")
    again = engine.client.fork("source", 1)
    for number, one in enumerate((handle, fork, again)):
        one.signal("answer", number)
    assert [one.result(timeout=20) for one in (handle, fork, again)] == ["0", "1", "2"]
    assert calls == ["ask", "ask"]  # once by the source, once by the fork before its result
    assert kinds(fork) == [
        "WorkflowStarted", "ActivityScheduled", "ActivityCompleted", "Forked",
        "SignalReceived", "WorkflowCompleted",
    ]  # fmt: skip
    shown = fork.describe()
    assert (shown["tags"], shown["memo"], shown["run"]) == (["t"], {"k": 1}, 1)
    assert (fork.id, fork.new, shown["parent"]) == ("fork", True, None)


@workflow
def names_itself() -> Workflow[str]:
    return str((yield act.call(info().instance_id)))


def test_the_last_command_before_the_cut_may_have_the_id_in_its_arguments(engine: Engine) -> None:
    """What was copied was issued by another instance, the last of it as well."""
    broken.clear()
    engine.work([names_itself], [act])
    source = engine.start(names_itself.options(id="source"))
    assert source.result(timeout=20) == "source"
    assert source.fork(1, "fork").result(timeout=20) == "fork"


def test_a_fork_of_one_that_has_ended(engine: Engine) -> None:
    engine.work(FLOWS, [act])
    handle = engine.start(two_steps)
    fails(handle)
    broken.clear()
    fork = handle.fork(3)
    assert fork.result(timeout=20) == ["good", "bad"]
    assert calls == ["good", "bad", "bad"]
    handle.retry()
    assert handle.result(timeout=20) == ["good", "bad"]
    assert handle.fork(3, run=1).result(timeout=20) == ["good", "bad"]
    terminated = engine.start(approval)
    until(lambda: len(kinds(terminated)) == 3)
    terminated.terminate()
    revived = terminated.fork(2)
    revived.signal("answer", "yes")
    assert revived.result(timeout=20) == "yes"


def test_a_fork_has_random_values_of_its_own(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        before = uuid4()
        yield wait_signal("go")
        yield sleep(0)
        return [before, uuid4()]

    engine.work([flow])
    handle = engine.start(flow)
    until(lambda: kinds(handle))
    fork = handle.fork(0)
    results = []
    for one in (handle, fork):
        one.signal("go")
        results.append(one.result(timeout=20))
    assert results[0][0] == results[1][0]
    assert results[0][1] != results[1][1]


def test_a_fork_has_tokens_of_its_own(engine: Engine) -> None:
    broken.clear()
    engine.work([promised], [act])
    handle = engine.start(promised)
    token = token_of(handle)
    fork = handle.fork(3)
    mine = str(fork.history()[1].token)  # type: ignore[attr-defined]
    assert mine != token
    engine.client.complete(mine, "the fork's")
    assert fork.result(timeout=20) == "the fork's"
    assert handle.status() is Status.RUNNING
    engine.client.complete(token, "the source's")
    assert handle.result(timeout=20) == "the source's"


def test_a_fork_elsewhere_is_refused(engine: Engine) -> None:
    engine.work(FLOWS, [act])
    client = engine.client
    handle = engine.start(family.options(id="f"), "waiting")
    until(lambda: client.count(search="waiting") == 1)
    for at, why in (
        (0, "middle of a step"),
        (1, r"children are open \(waiting\)"),
        (9, "no event"),
    ):
        with pytest.raises(UsageError, match=why):
            handle.fork(at)
    with pytest.raises(UsageError, match="run 2 of instance 'f' has no history"):
        client.fork("f", 0, run=2)
    with pytest.raises(InstanceNotFound):
        client.fork("nobody", 0)
    until(lambda: kinds(client.get("waiting")))
    with pytest.raises(UsageError, match="NUL"):
        client.fork("waiting", 0, "a\0b")
    with pytest.raises(InstanceAlreadyExists, match="f"):
        client.fork("waiting", 0, "f")
    assert client.count() == 2


@proxy
class Away(StoreProxy):
    """The verbs in ``failing`` fail once each; those that write have done it."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._failing: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in Store.__dict__:
            return found

        def call(*args: Any) -> Any:
            if name not in self._failing:
                return found(*args)
            self._failing.remove(name)
            if name not in ("rerun", "create", "unblock"):
                raise Unavailable("not now")
            found(*args)
            raise OutcomeUnknown("it was done, but nobody heard of it")

        return call


def test_a_store_that_is_away_is_waited_for(engine: Engine) -> None:
    """Every call of a retry and of a fork is repeated until its outcome is known."""
    engine.work(FLOWS, [act])
    handle = engine.start(two_steps.options(id="x"))
    fails(handle)
    store = Away(engine.store)  # type: ignore[abstract]  # see proxy
    client = Client(store)
    broken.clear()
    store._failing |= {"rerun", "history", "instance", "now"}
    client.retry("x")
    assert handle.result(timeout=20) == ["good", "bad"]
    assert handle.describe()["run"] == 2
    store._failing |= {"create", "history", "instance", "now"}
    assert client.fork("x", 1, "y").result(timeout=20) == ["good", "bad"]
    assert store._failing == set()
