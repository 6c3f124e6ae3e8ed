"""Mocks of activities and of children."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durable import (
    ActivityError,
    Retry,
    RetryLater,
    Workflow,
    activity,
    current_activity,
    race,
    sleep,
    workflow,
)
from durable.errors import MockError, WorkflowCancelledError, WorkflowError
from durable.testing import Call, WorkflowEnv, crash_everywhere, explore


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
    with pytest.raises(
        MockError, match="charge was called by order-1, and its mocks have answered once before"
    ):
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


def test_times_holds_though_workers_die_and_answers_are_lost() -> None:
    """A turn whose answer nobody got is given back."""

    def setup(env: WorkflowEnv) -> None:
        env.mock(charge, side_effect=[RECEIPT, ConnectionError("no answer")], takes=60)
        env.mock(charge, returns=RECEIPT, times=1)

    def all_were_called(env: WorkflowEnv) -> None:
        env.check_mocks()
        assert len(env.handle.result(timeout=0)) == 2

    crash_everywhere(order, "o-1", 2, setup=setup, invariants=[all_were_called])
    assert explore(order, "o-1", 2, setup=setup, faults=1, seeds=60).runs == 60


def test_who_asks_for_a_later_time_gets_the_next_answer() -> None:
    env = WorkflowEnv(order)
    mock = env.mock(charge, side_effect=[RetryLater(delay=5), RetryLater(delay=5), RECEIPT])
    assert env.run("o-1") == [RECEIPT]
    assert mock.calls == 3


def test_what_the_mock_itself_makes_late_counts() -> None:
    hurried = charge.options(timeout=30)

    @workflow
    def flow() -> Workflow[Any]:
        return (yield hurried.call("o-1", 1))

    env = WorkflowEnv(flow)
    env.mock(hurried, returns=RECEIPT, takes=31, times=2)
    env.mock(hurried, returns=RECEIPT, times=1)
    assert env.run() == RECEIPT
    assert [call.attempt for call in env.calls(charge)] == [1, 2, 3]


def test_a_call_that_nobody_waits_for_counts() -> None:
    @workflow
    def racing() -> Workflow[Any]:
        winner = yield race(charged=charge.call("o-1", 1), late=sleep(60))
        return winner.name

    env = WorkflowEnv(racing)
    mock = env.mock(charge, returns=RECEIPT, takes=61, times=1)
    assert env.run() == "late"
    assert mock.calls == 0
    env.advance(1)
    assert mock.calls == 1


def test_a_second_mock_takes_the_place_of_the_first() -> None:
    env = WorkflowEnv(order)
    env.mock(charge, returns=RECEIPT)
    env.mock(charge, raises=LookupError("no card"))
    assert env.run("o-1") == ["LookupError: no card"]


def test_those_with_times_come_before_the_one_without() -> None:
    env = WorkflowEnv(order)
    env.mock(charge, returns=RECEIPT)
    env.mock(charge, raises=LookupError("no card"), times=3)  # all attempts of the first call
    assert env.run("o-1", 2) == ["LookupError: no card", RECEIPT]


def test_takes() -> None:
    env = WorkflowEnv(order)
    env.mock(charge, returns=RECEIPT, takes=timedelta(hours=2))
    env.run("o-1")
    assert env.now == datetime(2025, 1, 1, 2, tzinfo=UTC)
    [call] = env.calls(charge)
    assert call.at == datetime(2025, 1, 1, tzinfo=UTC)


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


# -- mistakes ---------------------------------------------------------------------------


def test_a_mock_that_nobody_calls() -> None:
    env = WorkflowEnv(order)
    env.mock(charge, returns=RECEIPT)
    env.mock("chrage", returns=1)
    with pytest.raises(MockError) as caught:
        env.run("o-1")
    assert str(caught.value) == (
        "the mock of chrage was never called: did you mean charge? (called were: charge)"
    )


def test_result_reports_mocks_that_nobody_calls() -> None:
    env = WorkflowEnv(order)
    env.mock(charge, returns=RECEIPT)
    env.mock("chrage", returns=1)
    first, second = env.start("o-1"), env.start("o-2")
    with pytest.raises(MockError, match="the mock of chrage was never called"):
        env.result(first)
    with pytest.raises(MockError, match="the mock of chrage was never called"):
        env.result(second)


def test_what_fails_says_which_mocks_were_not_called() -> None:
    @activity(retry=None)
    def real() -> None:
        raise ConnectionError("no answer")

    @workflow
    def flow() -> Workflow[None]:
        yield real.call()

    env = WorkflowEnv(flow, activities=[real])
    env.mock("rael", returns=None)
    with pytest.raises(WorkflowError) as caught:
        env.run()
    assert caught.value.__notes__[-1:] == ["the mock of rael was never called: did you mean real?"]


def test_explore_reports_mocks_that_no_run_calls() -> None:
    def setup(env: WorkflowEnv) -> None:
        env.mock(charge, returns=RECEIPT)
        env.mock("never", returns=1)
        env.on_child("nobody", lambda handle: None)

    with pytest.raises(MockError) as caught:
        explore(order, "o-1", setup=setup, seeds=3)
    assert str(caught.value) == (
        "in none of 3 runs: env.on_child(nobody) was never called; the mock of never was never"
        " called"
    )


NO_ERROR: Any = 5
NO_NUMBER: Any = "2"

WRONG: list[tuple[Callable[[WorkflowEnv], object], str]] = [
    (lambda env: env.mock(charge, returns=1, raises=ValueError), "one of returns="),
    (lambda env: env.mock(charge, returns=1, side_effect=[1]), "one of returns="),
    (lambda env: env.mock(charge, returns=1, times=0), "times=0 of the mock of charge"),
    (lambda env: env.mock(charge, returns=1, times=NO_NUMBER), "times='2' of the mock of charge"),
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
    with pytest.raises(MockError, match="what the mock of charge gives: cannot store a object"):
        env.run()
