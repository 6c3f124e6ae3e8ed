"""Histories are replayed after each step; and mistakes that the kit makes errors."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest

from durable import Workflow, side_effect, sleep, workflow
from durable.errors import KitError, NonDeterminismError, WorkflowError
from durable.testing import WorkflowEnv


def test_chance_is_found_by_replay() -> None:
    @workflow
    def flow() -> Workflow[None]:
        for _ in range(30):
            if random.random() < 0.5:
                yield sleep(1)
            else:
                yield side_effect(int)

    with pytest.raises(NonDeterminismError, match=r"test_kit_replays\.py:\d+, in flow"):
        WorkflowEnv(flow, guards=False).run()


def test_the_state_of_a_module_is_found_by_replay() -> None:
    calls = iter(range(1000))

    @workflow
    def flow() -> Workflow[None]:
        yield sleep(1 + next(calls) % 2)
        if next(calls) % 3:
            yield sleep(1)
        yield side_effect(int)

    with pytest.raises(NonDeterminismError, match=r"test_kit_replays\.py:\d+, in flow"):
        WorkflowEnv(flow).run()


def test_the_order_of_a_set_is_found_by_replay() -> None:
    """Its elements have hashes by their addresses, which are others in each replay."""

    class Item:
        def __init__(self, number: int) -> None:
            self.number = number

    kept = []

    @workflow
    def flow() -> Workflow[None]:
        items = [Item(number) for number in range(50)]
        kept.append(items)  # so that no address is used again
        for item in set(items):
            yield side_effect(abs, item.number)
            if item.number % 2:
                yield sleep(1)

    with pytest.raises(NonDeterminismError, match=r"test_kit_replays\.py:\d+, in flow"):
        WorkflowEnv(flow).run()


def test_what_a_workflow_returns_is_compared() -> None:
    runs = iter(range(100))

    @workflow
    def flow() -> Workflow[int]:
        yield sleep(1)
        return next(runs)

    with pytest.raises(NonDeterminismError) as caught:
        WorkflowEnv(flow).run()
    assert "flow returned 0, and 1 when its history was replayed, at" in str(caught.value)
    assert (caught.value.recorded, caught.value.issued) == ("0", "1")


def test_what_is_the_same_may_look_otherwise() -> None:
    """A set has another order, what is not a number is not itself, a text has an address."""

    @workflow
    def flow(what: str) -> Workflow[Any]:
        yield sleep(1)
        if what == "raises":
            raise LookupError(f"of {object()}")
        return {"a": {str(number) for number in range(9)}, "b": float("nan")}

    WorkflowEnv(flow).run("")
    with pytest.raises(WorkflowError, match="LookupError"):
        WorkflowEnv(flow).run("raises")


def test_warnings_are_those_of_the_test() -> None:
    """Filters of warnings are of the process: other threads rely on them."""
    filters = []

    @workflow
    def flow() -> Workflow[None]:
        filters.append(warnings.filters)
        yield sleep(1)

    WorkflowEnv(flow).run()
    assert filters
    assert all(each is warnings.filters for each in filters)


def test_a_forgotten_yield() -> None:
    @workflow
    def flow() -> Workflow[None]:
        sleep(5)  # type: ignore[unused-awaitable]
        yield sleep(1)

    line = flow.fn.__code__.co_firstlineno + 2
    with pytest.raises(KitError, match=rf"test_kit_replays\.py:{line}: .*never yielded"):
        WorkflowEnv(flow).run()


def test_long_histories_are_replayed_now_and_then() -> None:
    replays = []

    @workflow
    def flow() -> Workflow[None]:
        replays.append(1)
        for _ in range(1000):
            yield sleep(1)

    WorkflowEnv(flow, guards=False).run()
    assert 100 < len(replays) < 400
