"""How much there may be: refused at the line that asks for it, or blocked, and never lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from engine_kit import Engine, StoreProxy, kinds, proxy, until

from durable import (
    Orchestrator,
    Status,
    Worker,
    Workflow,
    activity,
    external,
    gather,
    patched,
    send_signal,
    set_var,
    sleep,
    spawn,
    wait_signal,
    workflow,
)
from durable.calls import on_signal, set_vars
from durable.codec import Codec
from durable.errors import DurableError, PayloadError, UsageError
from durable.runner import decide
from durable.store import Step, Store, Verdict

BIG = "x" * 10_000


@activity
def echo(value: Any) -> Any:
    return value


@workflow
def writes(count: int) -> Workflow[int]:
    found = yield gather(*(echo.call(BIG) for _ in range(count)))
    return len(found)


def error_of(call: Callable[[], Any]) -> str:
    """What a call raises."""
    with pytest.raises(DurableError) as caught:
        call()
    return f"{type(caught.value).__name__}: {caught.value}"


@proxy
class Weighing(StoreProxy):
    """Notes the bytes of the events of each step, by commit."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.commits: list[list[int]] = []

    def commit(self, worker: str, steps: Sequence[Step]) -> list[Verdict]:
        self.commits.append([sum(map(len, step.events)) for step in steps])
        return self.inner.commit(worker, steps)


@pytest.fixture
def weighing(store_url: str) -> Iterator[tuple[Engine, Weighing]]:
    engine = Engine(store_url, 10_000, Weighing)
    assert isinstance(engine.store, Weighing)
    yield engine, engine.store
    engine.stop()
    engine.client.close()


# -- the bytes of a step ----------------------------------------------------------------


def test_a_step_may_write_so_many_bytes_and_not_one_more(
    weighing: tuple[Engine, Weighing],
) -> None:
    engine, store = weighing
    first = engine.work([writes], [echo])
    assert engine.start(writes.options(id="a"), 5).result(timeout=20) == 5
    first.stop()
    most = store.commits[0][0]
    assert most > 5 * len(BIG)
    second = engine.work([writes], [echo], max_step_bytes=most, build="one")
    assert engine.start(writes.options(id="b"), 5).result(timeout=20) == 5
    second.stop()
    third = engine.work([writes], [echo], max_step_bytes=most - 1, build="one")
    handle = engine.start(writes.options(id="c"), 5)
    reason = engine.becomes(handle, Status.BLOCKED)["reason"]
    assert f"max_step_bytes={most - 1:,}" in reason
    assert "test_engine_limits.py:" in reason
    assert kinds(handle) == []
    third.stop()
    engine.work([writes], [echo], max_step_bytes=most, build="one")
    handle.retry()
    assert handle.result(timeout=20) == 5


def test_code_cannot_swallow_that_a_step_is_too_large(engine: Engine) -> None:
    @workflow
    def flow() -> Workflow[str]:
        try:
            external()
            yield gather(*(echo.call(BIG) for _ in range(3)))
        except BaseException:
            return "swallowed"
        return "ok"

    engine.work([flow], [echo], max_step_bytes=2 * len(BIG))
    handle = engine.start(flow)
    assert "max_step_bytes" in engine.becomes(handle, Status.BLOCKED)["reason"]


def test_signals_that_wait_are_read_in_several_steps(weighing: tuple[Engine, Weighing]) -> None:
    @workflow
    def flow() -> Workflow[list[int]]:
        got = []
        for _ in range(30):
            got.append((yield wait_signal("n"))[0])
        return got

    engine, store = weighing
    handle = engine.start(flow)
    for number in range(30):
        handle.signal("n", [number, BIG])
    engine.work([flow], max_step_bytes=40_000)
    assert handle.result(timeout=20) == list(range(30))
    steps = [size for commit in store.commits for size in commit]
    assert max(steps) < 40_000 // decide.MORE + 2 * len(BIG)
    assert len(steps) >= 10


def test_results_that_come_at_once_are_read_in_several_steps(
    weighing: tuple[Engine, Weighing],
) -> None:
    go = threading.Event()

    @activity
    def big(number: int) -> list[Any]:
        go.wait(20)
        return [number, BIG]

    @workflow
    def flow() -> Workflow[list[int]]:
        timer = spawn(sleep(0))
        found = yield gather(*(big.call(n) for n in range(16)))
        yield timer
        return [number for number, _ in found]

    engine, store = weighing
    worker = engine.work([flow], [big], max_step_bytes=40_000)
    handle = engine.start(flow)
    until(lambda: worker.stats()["activities_running"] == 16, "all run")
    go.set()
    assert handle.result(timeout=20) == list(range(16))
    assert max(size for commit in store.commits for size in commit) < 40_000
    assert kinds(handle).count("ActivityCompleted") == 16


def test_a_commit_takes_no_more_steps_than_it_can_write(
    weighing: tuple[Engine, Weighing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "BATCH_BYTES", 100_000)
    engine, store = weighing
    handles = engine.client.start_many([(writes, 2)] * 30)
    engine.work([writes], [echo])
    assert [handle.result(timeout=20) for handle in handles] == [2] * 30
    assert max(map(sum, store.commits)) < 100_000 + 5 * len(BIG)
    assert max(map(len, store.commits)) > 1


# -- what waits -------------------------------------------------------------------------


def test_the_number_of_pending_commands_is_an_option(engine: Engine) -> None:
    @workflow
    def flow(count: int) -> Workflow[str]:
        try:
            yield gather(*(sleep(0) for _ in range(count)))
        except UsageError as error:
            return str(error)
        return "ok"

    engine.work([flow], max_pending=7)
    assert engine.run(flow, 7) == "ok"
    assert "more than 7 commands would be pending at once" in engine.run(flow, 8)


@pytest.mark.parametrize("option", ["max_history", "max_pending", "max_step_bytes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_limits_are_whole_numbers_from_1(option: str, value: Any) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(UsageError, match=f"{option}={value!r} must be a whole number from 1"):
        Worker("memory://", **options)


# -- variables --------------------------------------------------------------------------


def test_all_variables_together_are_no_larger_than_a_payload(store_url: str) -> None:
    codec = Codec(max_size=1000)
    half = "x" * (500 - len(codec.encode("x" * 300)) + 300)
    assert len(codec.encode(half)) == 500

    @workflow
    def flow() -> Workflow[str]:
        set_vars(a=half, b=half)
        try:
            set_var("b", half + "x")
        except PayloadError as error:
            yield sleep(0)
            return str(error)
        return "stored"

    with Orchestrator(store_url, codec=codec, workflows=[flow]) as here:
        handle = here.client.start(flow)
        assert "all variables together: 1,001 bytes" in handle.result(timeout=20)
        assert handle.vars() == {"a": half, "b": half}


# -- names ------------------------------------------------------------------------------

LONGEST = "é" * 64
TOO_LONG = LONGEST + "n"


@activity(name=LONGEST)
def named(value: Any) -> Any:
    return value


@workflow(name=LONGEST)
def names() -> Workflow[list[str]]:
    set_var(LONGEST, 1)
    patched(LONGEST)
    on_signal(LONGEST, list)
    yield spawn(sleep(0), name=LONGEST)
    yield named.call(1)
    refused = []
    for call in (
        lambda: set_var(TOO_LONG, 1),
        lambda: set_vars(**{TOO_LONG: 1}),
        lambda: patched(TOO_LONG),
        lambda: spawn(sleep(0), name=TOO_LONG),
        lambda: external(TOO_LONG),
        lambda: wait_signal(TOO_LONG),
        lambda: on_signal(TOO_LONG, list),
        lambda: send_signal("x", TOO_LONG),
        lambda: send_signal("x" * 256, "n"),
        lambda: named.options(queue=TOO_LONG),
    ):
        try:
            call()
        except UsageError as error:
            refused.append(str(error))
    return refused


def test_names_in_a_workflow_have_at_most_128_bytes(engine: Engine) -> None:
    engine.work([names], [named], queues=[LONGEST])
    refused = engine.run(names.options(queue=LONGEST, tags=[LONGEST], id="i" * 255))
    assert len(refused) == 10
    for text in refused:
        assert "of at most 128 bytes" in text or "of at most 255 bytes" in text
        assert "has 129" in text or "has 256" in text


def test_names_of_a_client_have_at_most_128_bytes(engine: Engine) -> None:
    client = engine.client
    client.start_named(LONGEST, id="i", queue=LONGEST, tags=[LONGEST] * 100)
    client.signal("i", LONGEST)
    client.cancel("i", "r" * 10_000)
    assert client.count(workflow=LONGEST, queue=LONGEST, tag=LONGEST, search="i") == 1
    for call in (
        lambda: client.start_named(TOO_LONG),
        lambda: client.start_named("w", queue=TOO_LONG),
        lambda: client.start_named("w", tags=[TOO_LONG]),
        lambda: client.signal("i", TOO_LONG),
        lambda: client.list(workflow=TOO_LONG),
        lambda: client.list(queue=TOO_LONG),
        lambda: client.list(tag=TOO_LONG),
        lambda: workflow(name=TOO_LONG)(writes.fn),
        lambda: activity(name=TOO_LONG)(echo.fn),
        lambda: Worker(engine.store, queues=[TOO_LONG]),
        lambda: Worker(engine.store, build=TOO_LONG),
    ):
        assert "of at most 128 bytes" in error_of(call)
    assert "at most 100 texts, not 101" in error_of(
        lambda: client.start_named("w", tags=["t"] * 101)
    )
    assert "255 bytes" in error_of(lambda: client.start_named("w", id="i" * 256))
    # By it stores know what has been refused: nobody would claim it, or all again and again.
    assert "without the sign" in error_of(lambda: client.start_named("w\x1fbuild"))
    assert "255 bytes" in error_of(lambda: client.list(search="i" * 256))
    assert "10,000 bytes" in error_of(lambda: client.cancel("i", "r" * 10_001))
    assert client.count() == 1
