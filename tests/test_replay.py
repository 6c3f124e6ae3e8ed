"""`durable.testing.replay`: recorded histories against today's code."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from durable import (
    Codec,
    Handle,
    Orchestrator,
    Workflow,
    activity,
    continue_as_new,
    external,
    info,
    patched,
    race,
    set_var,
    side_effect,
    sleep,
    wait_signal,
    workflow,
)
from durable.errors import NonDeterminismError, UsageError, WorkflowError
from durable.events import ContinuedAsNew, Event, WorkflowCancelled, WorkflowFailed
from durable.exports import lines_of
from durable.testing import replay

EFFECTS: list[str] = []


@activity
def charge(order: str) -> str:
    EFFECTS.append(f"charge {order}")
    return f"receipt-{order}"


@activity
def ship(order: str) -> str:
    return f"parcel-{order}"


def effect() -> int:
    EFFECTS.append("effect")
    return 7


@workflow
def order(name: str) -> Workflow[str]:
    number = yield from side_effect(effect)
    receipt = yield from charge.call(name)
    yield race(go=wait_signal("go"), late=sleep(3600))
    return f"{receipt} {number}"


@workflow(name="order")
def order_that_ships(name: str) -> Workflow[str]:
    yield from side_effect(effect)
    return (yield from ship.call(name))


@workflow(name="order", version=2)
def order_2(name: str) -> Workflow[str]:
    return (yield from ship.call(name))


@pytest.fixture(scope="module")
def here() -> Iterator[Orchestrator]:
    with Orchestrator(
        "memory://",
        workflows=[order, runs, failing, tokens, cancelled, whoami],
        activities=[charge, ship],
    ) as made:
        yield made


@pytest.fixture(scope="module")
def handle(here: Orchestrator) -> Handle[str]:
    started = here.client.start(order.options(id="order-1"), "o-1")
    started.signal("go")
    assert started.result(timeout=10) == "receipt-o-1 7"
    return started


@pytest.fixture
def path(handle: Handle[str], tmp_path: Path) -> Path:
    path = tmp_path / "order.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines_of(handle.export(), Codec())), "utf-8")
    return path


@workflow
def runs(number: int = 1) -> Workflow[int]:
    assert info().run == number
    set_var("number", number)
    yield from ship.call(str(number))
    if number < 3:
        return continue_as_new(number + 1)
    return number


@workflow
def failing() -> Workflow[None]:
    yield from charge.call("x")
    raise ValueError("no")


@workflow
def cancelled() -> Workflow[None]:
    yield wait_signal("never")


@workflow
def tokens() -> Workflow[str]:
    promise = external("answer")
    yield from charge.call(promise.token)
    answer: str = yield promise
    return answer


@workflow
def whoami() -> Workflow[str]:
    yield from charge.call(info().instance_id)
    return info().instance_id


# -- what it takes ----------------------------------------------------------------------


def test_a_file_a_handle_an_export_and_events(handle: Handle[str], path: Path) -> None:
    before = list(EFFECTS)
    given = (path, str(path), handle, handle.export(), [handle.export()], handle.history())
    for history in given:
        (replayed,) = replay(order, history)
        assert replayed.result == "receipt-o-1 7"
        assert (replayed.run, replayed.events, replayed.waits) == (1, len(handle.history()), ())
    assert before == EFFECTS


def test_definitions_and_modules(handle: Handle[str]) -> None:
    module = ModuleType("orders")
    vars(module).update(order=order, order_2=order_2)
    for code in (module, [order_2, order], [module]):
        assert replay(code, handle)[0].version == 1


def test_every_run_is_replayed(here: Orchestrator) -> None:
    handle = here.client.start(runs, 1)
    assert handle.result(timeout=10) == 3
    replayed = replay(runs, handle)
    assert [one.run for one in replayed] == [1, 2, 3]
    assert [type(one.ending) for one in replayed[:2]] == [ContinuedAsNew] * 2
    assert replayed[2].result == 3


def test_every_event_can_be_encoded_again(here: Orchestrator) -> None:
    """Tokens that code has passed on, failures and variables come back from decoded events."""
    handle = here.client.start(tokens.options(id="t"))
    while not any(type(event).__name__ == "PromiseCreated" for event in handle.history()):
        here.client.store.wait(here.client.store.mark(), 0.01)
    here.client.complete(created(handle.history()), "yes")
    assert handle.result(timeout=10) == "yes"
    assert replay(tokens, handle.history())[0].result == "yes"
    failed = here.client.start(failing)
    with pytest.raises(WorkflowError):
        failed.result(timeout=10)
    assert isinstance(replay(failing, failed.history())[0].ending, WorkflowFailed)


def created(events: list[Event]) -> str:
    return next(str(event.token) for event in events if hasattr(event, "token"))


def test_where_it_waits(here: Orchestrator) -> None:
    handle = here.client.start(cancelled)
    while not handle.history():
        here.client.store.wait(here.client.store.mark(), 0.01)
    (replayed,) = replay(cancelled, handle)
    assert replayed.ending is None
    assert len(replayed.waits) == 1
    assert replayed.waits[0].startswith("root waits for wait_signal('never'), at ")
    assert replayed.waits[0].endswith("in cancelled")
    handle.cancel("enough")
    with pytest.raises(WorkflowError):
        handle.result(timeout=10)
    assert isinstance(replay(cancelled, handle)[0].ending, WorkflowCancelled)


def test_what_was_terminated_still_waits(here: Orchestrator) -> None:
    handle = here.client.start(cancelled)
    while not handle.history():
        here.client.store.wait(here.client.store.mark(), 0.01)
    handle.terminate()
    (replayed,) = replay(cancelled, handle)
    assert (replayed.ending, len(replayed.waits)) == (None, 1)


def test_events_do_not_have_the_id(here: Orchestrator) -> None:
    handle = here.client.start(whoami.options(id="me"))
    assert handle.result(timeout=10) == "me"
    assert replay(whoami, handle.history(), id="me")[0].result == "me"
    with pytest.raises(NonDeterminismError, match="'me'"):
        replay(whoami, handle.history())


def test_a_retry_and_a_fork_that_have_not_gone_on(here: Orchestrator) -> None:
    """All of their history is a copy, which is told by what waits in the inbox."""
    failed = here.client.start(failing.options(id="f"))
    with pytest.raises(WorkflowError):
        failed.result(timeout=10)
    here.worker.stop()
    try:
        failed.retry()
        assert [one.run for one in replay(failing, failed)] == [1, 2]
        fork = here.client.fork("f", at=1, id="g", run=1)
        assert len(replay(failing, fork)) == 1
    finally:
        here.worker.start()


def test_with_the_codec_and_propagators_of_the_worker(tmp_path: Path) -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")

    class Reversed(Codec):
        def wrap(self, plain: bytes) -> bytes:
            return b"\x09" + plain[::-1]

        def unwrap(self, payload: bytes) -> bytes:
            return payload[1:][::-1]

    @workflow
    def flow() -> Workflow[str]:
        return (yield from charge.call(tenant.get()))

    codec = Reversed()
    options: dict[str, Any] = {"codec": codec, "propagators": [tenant]}
    with Orchestrator("memory://", workflows=[flow], activities=[charge], **options) as here:
        tenant.set("ann")
        handle = here.client.start(flow)
        assert handle.result(timeout=10) == "receipt-ann"
        tenant.set("nobody")
        assert replay(flow, handle, **options)[0].result == "receipt-ann"
        with pytest.raises(NonDeterminismError):
            replay(flow, handle, codec=codec)


# -- what does not match ----------------------------------------------------------------


def test_both_sides_and_the_line(path: Path) -> None:
    with pytest.raises(NonDeterminismError) as raised:
        replay(order_that_ships, path)
    error = raised.value
    assert error.seq == 2
    assert error.recorded.startswith("ActivityScheduled(command=1, name='charge', args=('o-1',)")
    assert error.issued == "issued ship.call('o-1')"
    assert error.line.startswith(f"{__file__}:")
    assert error.line.endswith("in order_that_ships")
    note = f"in the history of instance 'order-1', run 1 ({path}:1)"
    assert error.__notes__ == [note]


def test_code_that_waits_where_the_history_goes_on(handle: Handle[str]) -> None:
    @workflow(name="order")
    def patient(name: str) -> Workflow[str]:
        yield from side_effect(effect)
        answer: str = yield wait_signal("approve")
        return answer

    with pytest.raises(NonDeterminismError) as raised:
        replay(patient, handle)
    assert raised.value.issued == "issued nothing more and waits for wait_signal('approve')"
    assert raised.value.line.endswith("in patient")


def test_a_change_by_patched_matches(handle: Handle[str]) -> None:
    @workflow(name="order")
    def newer(name: str) -> Workflow[str]:
        number = yield from side_effect(effect)
        if patched("ship first"):
            yield from ship.call(name)
        receipt = yield from charge.call(name)
        yield race(go=wait_signal("go"), late=sleep(3600))
        return f"{receipt} {number}!"

    assert replay(newer, handle)[0].result == "receipt-o-1 7!"


def test_a_step_that_does_not_end(handle: Handle[str]) -> None:
    @workflow(name="order")
    def endless(name: str) -> Workflow[str]:
        while True:
            yield race(wait_signal("never"), default=0)

    with pytest.raises(NonDeterminismError, match="100,000"):
        replay(endless, handle)


# -- what cannot be replayed ------------------------------------------------------------


def test_another_workflow(handle: Handle[str]) -> None:
    text = r"of workflow order \(version 1\); the code given has failing \(version 1\)"
    with pytest.raises(UsageError, match=text):
        replay(failing, handle)
    with pytest.raises(UsageError, match=r"the code given has order \(version 2\)"):
        replay(order_2, handle)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.jsonl: No such file"):
        replay(order, tmp_path / "gone.jsonl")


def test_no_history(handle: Handle[str]) -> None:
    with pytest.raises(UsageError, match="empty"):
        replay(order, [])
    with pytest.raises(UsageError, match="begins with WorkflowStarted"):
        replay(order, handle.history()[1:])


def test_no_workflow(handle: Handle[str]) -> None:
    with pytest.raises(UsageError, match="is no workflow"):
        replay(len, handle)  # type: ignore[arg-type]
