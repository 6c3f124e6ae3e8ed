"""What cannot go on is blocked with its reason, alone, and goes on when it can."""

from __future__ import annotations

import sqlite3
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from engine_kit import Engine, file_url, kinds, until

from durable import ForgottenYield, Status, Workflow, activity, sleep, wait_signal, workflow
from durable.errors import WorkflowError

QUICK_LEASE = 0.6  # the lease's thread looks every tenth of a second


@activity
def echo(value: Any) -> Any:
    return value


@activity
def other(value: Any) -> Any:
    return value


@workflow
def neighbour(value: int) -> Workflow[int]:
    yield sleep(0)
    return int((yield from echo.call(value)))


def test_an_unknown_workflow_is_blocked_until_a_worker_knows_it(engine: Engine) -> None:
    @workflow(name="unknown")
    def unknown() -> Workflow[Any]:
        return (yield echo.call(1))

    engine.work([neighbour], [echo], unknown_after=0.2, lease=QUICK_LEASE)
    handle = engine.start(unknown)
    assert engine.run(neighbour, 3) == 3
    shown = engine.becomes(handle, Status.BLOCKED)
    assert "no worker knows workflow unknown" in shown["reason"]
    assert engine.run(neighbour, 4) == 4
    engine.work([unknown], [echo])
    assert handle.result(timeout=20) == 1
    assert handle.describe()["reason"] == ""


def test_changed_code_blocks_with_both_sides_and_the_line(engine: Engine) -> None:
    @workflow(name="changes")
    def right() -> Workflow[Any]:
        first = yield echo.call("a")
        yield wait_signal("go")
        return [first, (yield echo.call("b"))]

    @workflow(name="changes")
    def wrong() -> Workflow[Any]:
        yield other.call("a")  # the line at fault
        yield wait_signal("go")

    first = engine.work([right], [echo], build="right")
    handle = engine.start(right)
    until(lambda: "ActivityCompleted" in kinds(handle))
    first.stop(5)
    before = kinds(handle)
    handle.signal("go")
    second = engine.work([wrong, neighbour], [other, echo], build="wrong")
    shown = engine.becomes(handle, Status.BLOCKED)
    assert "NonDeterminismError" in shown["reason"]
    assert "echo" in shown["reason"]
    assert "other" in shown["reason"]
    line = wrong.fn.__code__.co_firstlineno + 2
    assert f"{Path(__file__).name}:{line}" in shown["reason"]
    assert shown["blocked_by"] == "wrong"
    assert kinds(handle) == before
    assert engine.run(neighbour, 5) == 5
    second.stop(5)
    engine.work([right], [echo], build="right again")
    assert handle.result(timeout=20) == ["a", "b"]


def test_a_damaged_history_blocks_one_instance_only(tmp_path: Path) -> None:
    engine = Engine(file_url(tmp_path), 0)
    try:

        @workflow(name="parked")
        def parked(value: int) -> Workflow[int]:
            first = yield echo.call(value)
            yield wait_signal("go")
            return int(first)

        worker = engine.work([parked], [echo])
        damaged = [engine.start(parked.options(id=f"damaged{n}"), n) for n in range(3)]
        whole = engine.start(parked.options(id="whole"), 7)
        for handle in [*damaged, whole]:
            until(lambda: "ActivityCompleted" in kinds(handle))  # noqa: B023
        worker.stop(5)
        ids = [handle.id for handle in damaged]
        raw = sqlite3.connect(tmp_path / "engine.db")
        of = "number = (SELECT number FROM durable_instances WHERE id = ?)"
        raw.execute(
            f"UPDATE durable_history SET event = ? WHERE seq = 1 AND {of}", (b"\x93rot", ids[0])
        )
        raw.execute(f"DELETE FROM durable_history WHERE seq = 1 AND {of}", (ids[1],))
        raw.execute(f"DELETE FROM durable_history WHERE seq = 2 AND {of}", (ids[2],))
        raw.commit()
        raw.close()
        for handle in [*damaged, whole]:
            handle.signal("go")
        engine.work([parked, neighbour], [echo])
        assert whole.result(timeout=20) == 7
        assert engine.run(neighbour, 5) == 5
        reasons = [engine.becomes(handle, Status.BLOCKED)["reason"] for handle in damaged]
        assert all(reasons)
        assert "event" in reasons[1]
    finally:
        engine.stop()
        engine.client.close()


def test_a_step_that_never_ends_is_stopped(engine: Engine) -> None:
    spin = [True]

    @workflow
    def endless() -> Workflow[None]:
        yield sleep(0)
        while spin[0]:
            pass

    engine.work([endless, neighbour], [echo], step_timeout=0.3, lease=QUICK_LEASE)
    handle = engine.start(endless)
    neighbours = [engine.start(neighbour, n) for n in range(5)]
    try:
        shown = engine.becomes(handle, Status.BLOCKED)
        assert shown["reason"]
        assert [h.result(timeout=20) for h in neighbours] == list(range(5))
    finally:
        spin[0] = False


def test_too_many_yields_in_one_step(engine: Engine) -> None:
    @workflow
    def endless() -> Workflow[None]:
        from durable import gather

        while True:
            yield gather()

    engine.work([endless, neighbour], [echo])
    handle = engine.start(endless)
    assert Path(__file__).name in engine.becomes(handle, Status.BLOCKED)["reason"]
    assert engine.run(neighbour, 1) == 1


def test_an_instance_that_takes_workers_down_is_blocked(engine: Engine) -> None:
    go = threading.Event()
    began = threading.Semaphore(0)

    @workflow
    def poison() -> Workflow[None]:
        began.release()
        go.wait(20)
        yield sleep(0)

    handle = engine.start(poison)
    for crash in range(5):
        worker = engine.work([poison])
        assert began.acquire(timeout=20), crash
        worker._give_up()
    go.set()
    engine.work([poison, neighbour], [echo])
    assert "5 times" in engine.becomes(handle, Status.BLOCKED)["reason"]
    assert engine.run(neighbour, 2) == 2


def test_a_deadlock_is_blocked_and_a_cancel_still_reaches_it(engine: Engine) -> None:
    from durable import Task, spawn

    @workflow
    def dead() -> Workflow[None]:
        tasks: list[Task[None]] = []

        def waits() -> Workflow[None]:
            yield tasks[0]

        tasks.append(spawn(waits()))
        yield tasks[0]

    engine.work([dead])
    handle = engine.start(dead)
    shown = engine.becomes(handle, Status.BLOCKED)
    assert Path(__file__).name in shown["reason"]
    handle.cancel()
    until(lambda: handle.status() is Status.CANCELLED)


def plain(value: int) -> int:
    return value


def helper() -> Workflow[int]:
    yield sleep(0)
    return 1


async def coroutine() -> None:
    """Something of asyncio."""


@pytest.mark.parametrize(
    ("yielded", "meant"),
    [
        (lambda: None, "bare `yield`"),
        (lambda: [sleep(0)], r"gather\(\*"),
        (lambda: {"a": sleep(0)}, r"gather\(\*\*"),
        (lambda: coroutine(), "asyncio"),
        (lambda: helper(), "yield from helper"),
        (lambda: echo, r"echo\.call"),
        (lambda: plain, "@activity"),
        (lambda: 5, "no command"),
    ],
    ids=["none", "list", "dict", "coroutine", "generator", "definition", "function", "value"],
)
@pytest.mark.filterwarnings("ignore::durable.ForgottenYield")
def test_what_a_yielded_mistake_meant(store_url: str, yielded: Any, meant: str) -> None:
    engine = Engine(store_url, 0)
    try:
        for late in (False, True):

            @workflow
            def flow(late: bool = late) -> Workflow[None]:
                if late:
                    yield sleep(0)
                yield yielded()

            engine.work([flow], [echo])
            with pytest.raises(WorkflowError, match=meant) as caught:
                engine.run(flow)
            failure = caught.value.error
            assert failure is not None
            assert failure.is_a(TypeError)
            assert f'{Path(__file__).name}", line {flow.fn.__code__.co_firstlineno + 4}' in (
                failure.traceback
            )
            engine.stop()
    finally:
        engine.stop()
        engine.client.close()


@pytest.mark.filterwarnings("ignore::durable.ForgottenYield")
@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        (lambda: bool(sleep(0)), "truth value"),
        (lambda: list(sleep(0)), "yield"),
        (lambda: sleep(0) == 5, "compared"),
        (lambda: echo(1), r"\.call"),
    ],
    ids=["if", "list", "compare", "call"],
)
def test_commands_used_as_values(store_url: str, wrong: Any, meant: str) -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield sleep(0)
        wrong()

    engine = Engine(store_url, 10_000)
    try:
        engine.work([flow], [echo])
        with pytest.raises(WorkflowError, match=meant):
            engine.run(flow)
    finally:
        engine.stop()
        engine.client.close()


def test_a_returned_command(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[Any]:
        yield sleep(0)
        return echo.call(1)

    engine.work([flow], [echo])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ForgottenYield)
        with pytest.raises(WorkflowError, match="return"):
            engine.run(flow)


def test_a_forgotten_yield_is_reported_with_its_line(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[int]:
        echo.call("forgotten")  # type: ignore[unused-awaitable]
        yield sleep(0)
        return 1

    engine.work([flow], [echo])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert engine.run(flow) == 1
    [warning] = [w for w in caught if w.category is ForgottenYield]
    assert warning.lineno == flow.fn.__code__.co_firstlineno + 2
    assert warning.filename == __file__
    assert "echo.call('forgotten')" in str(warning.message)
