"""Mocks of children, and who is told of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from durable import ChildWorkflowError, Workflow, gather, race, sleep, workflow
from durable.errors import MockError
from durable.testing import Call, WorkflowEnv


@dataclass(frozen=True)
class Receipt:
    number: str
    cents: int


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


def test_what_a_mocked_child_raises_surfaces_whatever_becomes_of_it() -> None:
    @workflow
    def racing() -> Workflow[None]:
        yield race(child.call(1), sleep(1))

    def asserts(number: int) -> int:
        raise AssertionError("of the mock")

    def fails(number: int) -> int:
        pytest.fail("of the mock")

    for error, fake in ((AssertionError, asserts), (pytest.fail.Exception, fails)):
        env = WorkflowEnv(racing)
        env.mock(child, side_effect=fake, takes=60)  # so long that the child is cancelled
        with pytest.raises(error, match=r"^of the mock$"):
            env.run()


def test_a_mocked_child_that_is_async() -> None:
    async def fake(number: int) -> int:
        return 3 * number

    env = WorkflowEnv(parent)
    env.mock(child, side_effect=fake)
    assert env.run(1, 2) == [3, 6]


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


def test_result_reports_no_mock_that_may_still_be_called() -> None:
    env = WorkflowEnv(parent, workflows=[child])
    first = env.start(1)
    env.mock("never", returns=1)
    other = env.client.start(child.options(delay=7200), 5)
    assert env.result(first) == [2]
    with pytest.raises(MockError, match="the mock of never was never called"):
        env.result(other)


def test_a_listener_that_hears_of_no_child() -> None:
    env = WorkflowEnv(parent, workflows=[child])
    env.on_child("chidl", lambda handle: None)
    with pytest.raises(MockError) as caught:
        env.run(1)
    assert str(caught.value) == (
        "env.on_child(chidl) was never called: did you mean child? (called were: child)"
    )


def test_of_what_has_options() -> None:
    env = WorkflowEnv(parent)
    env.mock(child.options(queue="far"), returns=7)
    assert env.run(1) == [7]
    env.assert_called(child.options(queue="far"), 1)
