"""Mocks of activities and of children."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable import (
    ActivityError,
    ChildWorkflowError,
    Retry,
    Workflow,
    activity,
    current_activity,
    gather,
    race,
    sleep,
    workflow,
)
from durable.errors import MockError, PayloadError, WorkflowCancelledError, WorkflowError
from durable.testing import Call, WorkflowEnv


@dataclass(frozen=True)
class Receipt:
    number: str
    cents: int


@activity(retry=Retry(max_attempts=3, first_delay=1))
def charge(order_id: str, cents: int) -> Receipt:
    raise AssertionError("the real one was called")


@workflow
def order(order_id: str, times: int = 1) -> Workflow[list[Any]]:
    got = []
    for _ in range(times):
        try:
            got.append((yield charge.call(order_id, 500)))
        except ActivityError as error:
            got.append(f"{error.error.type}: {error.error.message}")
    return got


def run(calls: int = 1, **mock: Any) -> Any:
    env = WorkflowEnv(order)
    env.mock(charge, **mock)
    return env.run("o-1", calls)


RECEIPT = {"number": "r-1", "cents": 500}


# -- activities -------------------------------------------------------------------------


def test_returns() -> None:
    """By the codec, as real results: they are rebuilt by the hint of the real activity."""
    seen: list[Any] = []

    @workflow
    def looking() -> Workflow[None]:
        seen.append((yield charge.call("o-1", 500)))

    env = WorkflowEnv(looking)
    env.mock(charge, returns=Receipt("r-1", 500))
    env.run()
    assert seen[0] == Receipt("r-1", 500)


def test_by_name() -> None:
    env = WorkflowEnv(order)
    env.mock("charge", returns=RECEIPT)
    env.run("o-1")
    assert env.calls("charge") == env.calls(charge) == [Call(("o-1", 500))]


def test_raises() -> None:
    assert run(raises=LookupError("no card")) == ["LookupError: no card"]
    assert run(raises=LookupError) == ["LookupError: "]


def test_raises_is_tried_again() -> None:
    env = WorkflowEnv(order)
    mock = env.mock(charge, raises=ConnectionError("no answer"))
    env.run("o-1")
    assert mock.calls == 3
    assert [call.attempt for call in env.calls(charge)] == [1, 2, 3]


def test_a_side_effect_is_called_instead() -> None:
    seen: list[Any] = []

    def fake(order_id: str, cents: int) -> Receipt:
        seen.append((order_id, cents, current_activity().attempt))
        return Receipt("r-2", cents)

    run(side_effect=fake)
    assert seen == [("o-1", 500, 1)]


def test_a_side_effect_that_is_async() -> None:
    async def fake(order_id: str, cents: int) -> Receipt:
        return Receipt("r-2", cents)

    [receipt] = run(side_effect=fake)
    assert receipt in (Receipt("r-2", 500), {"number": "r-2", "cents": 500})


def test_sequences_of_answers_and_errors() -> None:
    env = WorkflowEnv(order)
    env.mock(charge, side_effect=[ConnectionError("one"), RECEIPT, ConnectionError, RECEIPT])
    assert len(env.run("o-1", 2)) == 2
    assert [call.attempt for call in env.calls(charge)] == [1, 2, 1, 2]


def test_a_sequence_must_be_used_up() -> None:
    with pytest.raises(MockError, match="the mock of charge was called once, not 2"):
        run(side_effect=[RECEIPT, RECEIPT])


def test_after_a_sequence_nobody_answers() -> None:
    with pytest.raises(MockError, match="charge was called by order-1, and no mock answers"):
        run(2, side_effect=[RECEIPT])


def test_mocks_follow_each_other_and_then_the_real_one() -> None:
    @activity
    def number() -> int:
        return 3

    @workflow
    def numbers() -> Workflow[list[int]]:
        got = []
        for _ in range(4):
            got.append((yield from number.call()))
        return got

    env = WorkflowEnv(numbers, activities=[number])
    env.mock(number, returns=1, times=2)
    env.mock(number, returns=2, times=1)
    assert env.run() == [1, 1, 2, 3]


def test_times_is_checked() -> None:
    with pytest.raises(MockError, match="the mock of charge was called once, not 2"):
        run(returns=RECEIPT, times=2)


def test_takes() -> None:
    env = WorkflowEnv(order)
    env.mock(charge, returns=RECEIPT, takes=timedelta(hours=2))
    env.run("o-1")
    assert env.now == datetime(2025, 1, 1, 2, tzinfo=UTC)
    [call] = env.calls(charge)
    assert call.at == env.now


def test_the_slower_one_loses() -> None:
    @workflow
    def racing() -> Workflow[str]:
        winner = yield race(charged=charge.call("o-1", 1), late=sleep(60))
        return str(winner.name)

    for takes, name in ((59, "charged"), (61, "late")):
        env = WorkflowEnv(racing)
        env.mock(charge, returns=RECEIPT, takes=takes)
        assert env.run() == name


@pytest.mark.parametrize(("option", "kind"), [("timeout", "attempt"), ("heartbeat_timeout",) * 2])
def test_what_takes_longer_than_it_may_has_timed_out(option: str, kind: str) -> None:
    @workflow
    def hurried() -> Workflow[Any]:
        try:
            yield charge.options(retry=None, **{option: 30}).call("o-1", 1)  # type: ignore[arg-type]
        except ActivityError as error:
            return error.error.details

    env = WorkflowEnv(hurried)
    env.mock(charge, returns=RECEIPT, takes=31)
    assert env.run() == {"kind": kind.removesuffix("_timeout")}
    assert env.now == datetime(2025, 1, 1, 0, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("on_cancel", "told", "seconds"),
    [("wait", False, 60), ("request", True, 60), ("abandon", False, 30)],
)
def test_a_cancel_meets_what_runs(on_cancel: Any, told: bool, seconds: int) -> None:
    @activity(on_cancel=on_cancel)
    def working() -> None: ...

    @workflow
    def flow() -> Workflow[None]:
        yield working.call()
        yield sleep(3600)

    def work() -> None:
        seen.append(current_activity().cancelled)

    seen: list[bool] = []
    env = WorkflowEnv(flow)
    env.mock(working, side_effect=work, takes=60)
    env.at(seconds=30, do=env.cancel)
    with pytest.raises(WorkflowCancelledError):
        env.run()
    assert env.now == datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    env.advance(minutes=5)
    assert seen == [told]


def test_a_method() -> None:
    class Shop:
        @activity
        def sell(self, what: str) -> str:
            raise AssertionError("the real one was called")

    @workflow
    def flow() -> Workflow[str]:
        return (yield from Shop.sell.call("tea"))

    env = WorkflowEnv(flow)
    env.mock(Shop.sell, returns="sold")
    assert env.run() == "sold"
    assert env.calls(Shop.sell) == [Call(("tea",))]


def test_strict() -> None:
    @activity
    def real() -> None: ...

    @workflow
    def flow() -> Workflow[None]:
        yield real.call()

    env = WorkflowEnv(flow, activities=[real], strict=True)
    with pytest.raises(MockError, match="real was called by flow-1, and no mock answers"):
        env.run()


def test_a_transactional_activity_needs_a_mock() -> None:
    @activity(transactional=True)
    def writes() -> str:
        current_activity().connection.execute("…")
        return "written"

    @workflow
    def flow() -> Workflow[str]:
        return (yield from writes.call())

    with pytest.raises(MockError, match="it is transactional, which needs a mock here"):
        WorkflowEnv(flow, activities=[writes]).run()
    env = WorkflowEnv(flow, activities=[writes])
    env.mock(writes, returns="as if")
    assert env.run() == "as if"


# -- children ---------------------------------------------------------------------------


@workflow
def child(number: int) -> Workflow[int]:
    yield sleep(3600)
    return 2 * number


@workflow
def parent(*numbers: int) -> Workflow[list[Any]]:
    found = yield gather(*[child.call(number) for number in numbers], return_exceptions=True)
    return [error_text(one) if isinstance(one, ChildWorkflowError) else one for one in found]


def error_text(error: ChildWorkflowError) -> str:
    return f"{error.error.type}: {error.error.message}"


def test_real_children() -> None:
    env = WorkflowEnv(parent, workflows=[child])
    assert env.run(1, 2) == [2, 4]
    assert env.now == datetime(2025, 1, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("target", [child, "child"])
def test_mocked_children(target: Any) -> None:
    env = WorkflowEnv(parent)
    env.mock(target, side_effect=[7, LookupError("no")], takes=60)
    assert env.run(1, 2) == [7, "LookupError: no"]
    assert env.calls(child) == [Call((1,)), Call((2,))]
    assert env.now == datetime(2025, 1, 1, 0, 1, tzinfo=UTC)


def test_a_child_by_a_function() -> None:
    env = WorkflowEnv(parent)
    env.mock(child, side_effect=lambda number: number + 100)
    assert env.run(1, 2) == [101, 102]


def test_mocks_of_a_child_follow_each_other_and_then_the_real_one() -> None:
    env = WorkflowEnv(parent, workflows=[child])
    env.mock(child, returns=-1, times=1)
    env.mock(child, returns=-2, times=1)
    assert env.run(1, 2, 3) == [-1, -2, 6]


def test_no_mock_answers_a_child_any_more() -> None:
    env = WorkflowEnv(parent)
    env.mock(child, returns=-1, times=1)
    with pytest.raises(MockError, match=r"child was started as parent-1/1\.2, and no mock"):
        env.run(1, 2)


def test_assertions_of_a_mocked_child_surface() -> None:
    def fake(number: int) -> int:
        raise AssertionError(f"of the mock, {number}")

    env = WorkflowEnv(parent)
    env.mock(child, side_effect=fake)
    with pytest.raises(AssertionError, match=r"^of the mock, 1$"):
        env.run(1)


def test_arguments_of_mocked_children_are_rebuilt() -> None:
    @workflow
    def payer(receipt: Receipt) -> Workflow[int]:
        yield sleep(1)
        return receipt.cents

    @workflow
    def asking() -> Workflow[int]:
        return (yield from payer.call(Receipt("r-1", 5)))

    env = WorkflowEnv(asking)
    env.mock(payer, side_effect=lambda receipt: receipt.cents + 1)
    assert env.run() == 6
    env.assert_called(payer, Receipt("r-1", 5))


# -- mistakes ---------------------------------------------------------------------------


def test_a_mock_that_nobody_calls() -> None:
    env = WorkflowEnv(order)
    env.mock(charge, returns=RECEIPT)
    env.mock("chrage", returns=1)
    with pytest.raises(MockError) as caught:
        env.run("o-1")
    assert str(caught.value) == "the mock of chrage was never called (called were: charge)"


NO_ERROR: Any = 5

WRONG: list[tuple[Callable[[WorkflowEnv], object], str]] = [
    (lambda env: env.mock(charge, returns=1, raises=ValueError), "one of returns="),
    (lambda env: env.mock(charge, returns=1, side_effect=[1]), "one of returns="),
    (lambda env: env.mock(charge, returns=1, times=0), "times=0 of the mock of charge"),
    (lambda env: env.mock(print, returns=1), "not for <built-in function print>"),
    (
        lambda env: env.mock(charge, raises=NO_ERROR),
        "raises=5 of the mock of charge is no",
    ),
    (lambda env: env.mock(charge, side_effect=5), "side_effect=5 of the mock of charge"),
    (lambda env: env.mock(charge, side_effect=[]), "side_effect=[] of the mock of charge"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=[message for _, message in WRONG])
def test_mistakes(wrong: Callable[[WorkflowEnv], object], message: str) -> None:
    with pytest.raises(MockError) as caught:
        wrong(WorkflowEnv(order))
    assert message in str(caught.value)


def test_a_value_that_cannot_be_stored() -> None:
    @workflow
    def flow() -> Workflow[Any]:
        return (yield charge.call("o-1", 1))

    env = WorkflowEnv(flow)
    env.mock(charge, returns=object())
    with pytest.raises(WorkflowError, match="PayloadError") as caught:
        env.run()
    assert caught.value.find(PayloadError)
