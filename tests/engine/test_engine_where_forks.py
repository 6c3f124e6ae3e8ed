"""What has been copied and has not gone on yet: `where` and `replay` see the code where it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_kit import Engine, kinds, until

from durable import Client, Handle, Status, Workflow, activity, info, wait_signal, workflow
from durable.events import Forked, Retried
from durable.testing import replay


@activity
def echo(name: str) -> str:
    return name


@workflow
def names_itself() -> Workflow[str]:
    """What it asks for tells its id and run."""
    yield echo.call(f"{info().instance_id} {info().run}")
    answer: str = yield wait_signal("go")
    if answer == "fail":
        raise ValueError(f"run {info().run}")
    return answer


@workflow
def closes() -> Workflow[None]:
    """Its child is terminated with it."""
    yield names_itself.options(id="child", parent_close="terminate").call()


def begun(engine: Engine, id: str = "source") -> Handle[Any]:
    engine.work([names_itself, closes], [echo])
    handle: Handle[Any] = engine.start(names_itself.options(id=id))
    until(lambda: len(kinds(handle)) == 3)
    return handle


def forked(engine: Engine) -> Handle[Any]:
    source = begun(engine)
    engine.stop()
    return source.fork(2, "fork")


def retried(engine: Engine) -> Handle[Any]:
    handle = begun(engine)
    handle.signal("go", "fail")
    engine.becomes(handle, Status.FAILED)
    engine.stop()
    handle.retry()
    return handle


def forked_and_signalled(engine: Engine) -> Handle[Any]:
    handle = forked(engine)
    handle.signal("go", "on")
    return handle


def blocked(engine: Engine) -> Handle[Any]:
    """Of a worker that has other code."""

    @workflow(name="names_itself")
    def other() -> Workflow[None]:
        yield wait_signal("other")

    handle = forked(engine)
    engine.work([other])
    engine.becomes(handle, Status.BLOCKED)
    engine.stop()
    return handle


COPIES: dict[str, Callable[[Engine], Handle[Any]]] = {
    "forked": forked,
    "retried": retried,
    "forked and signalled": forked_and_signalled,
    "blocked": blocked,
}


def check(handle: Handle[Any]) -> None:
    """Both say that the code waits for its signal."""
    where = handle.where()
    assert where.problem is None
    (root,) = where.coroutines
    assert [frame.function for frame in root.frames] == ["names_itself"]
    assert root.waits_for is not None
    assert (root.waits_for.kind, root.waits_for.what) == ("signal", "go")
    replayed = replay(names_itself, handle)
    assert len(replayed) == handle.row().run
    assert replayed[-1].events == where.length
    assert len(replayed[-1].waits) == 1


@pytest.mark.parametrize("copy", COPIES)
def test_what_has_not_gone_on(engine: Engine, copy: str) -> None:
    """As it was made, paused, resumed, and ended by somebody before any worker saw it."""
    handle = COPIES[copy](engine)
    check(handle)
    handle.pause()
    check(handle)
    handle.resume()
    check(handle)
    handle.pause()
    handle.terminate("enough")
    check(handle)
    assert handle.where().ended == "terminated: enough"
    last = handle.history()[-2:]
    assert isinstance(last[0], Forked | Retried)
    assert [type(event).__name__ for event in last][1] == "WorkflowTerminated"


def test_what_was_taken_in(engine: Engine, tmp_path: Path) -> None:
    source = begun(engine)
    engine.stop()
    other = Client(f"sqlite:///{tmp_path / 'other.db'}", workflows=[names_itself])
    (handle,) = other.take_in([source.export()])
    check(handle)
    handle.resume()
    check(handle)
    handle.terminate()
    check(handle)
    other.close()


def test_a_child_that_was_retried_and_terminated_with_its_parent(engine: Engine) -> None:
    engine.work([names_itself, closes], [echo])
    parent = engine.start(closes.options(id="parent"))
    until(lambda: parent.children() and len(kinds(parent.children()[0])) == 3)
    (child,) = parent.children()
    child.signal("go", "fail")
    engine.becomes(parent, Status.FAILED)
    engine.stop()
    parent.retry()
    assert (child.row().run, child.status()) == (2, Status.PENDING)
    parent.terminate()
    until(lambda: child.status() is Status.TERMINATED)
    check(Client(engine.store, workflows=[names_itself]).get("child"))
    assert kinds(child)[-2] == "Retried"


@pytest.mark.parametrize("run", ["1", True, 1.0])
def test_a_run_is_a_number(engine: Engine, run: Any) -> None:
    handle = begun(engine)
    for ask in (handle.where, handle.vars, handle.history, handle.walk):
        with pytest.raises(TypeError, match="run= takes the number of a run"):
            ask(run=run)
