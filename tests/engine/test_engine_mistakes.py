"""Mistakes of activities and of clients that must not pass in silence."""

from __future__ import annotations

from typing import Any

import pytest
from engine_kit import Engine, kinds, until

from durable import ActivityError, Workflow, activity, current_activity, wait_signal, workflow


@workflow
def waits() -> Workflow[Any]:
    return (yield wait_signal("go"))


@pytest.mark.parametrize("way", ["forgotten", "returned", "swallowed"])
def test_complete_later_that_is_not_raised_fails_the_attempt(engine: Engine, way: str) -> None:
    attempts: list[int] = []

    @activity
    def ask() -> Any:
        me = current_activity()
        attempts.append(me.attempt)
        later = me.complete_later()
        if way == "swallowed":
            try:
                raise later
            except BaseException:
                return None
        return later if way == "returned" else None

    @workflow
    def flow() -> Workflow[list[str]]:
        try:
            yield ask.call()
        except ActivityError as error:
            return [error.error.type, error.error.message]
        return []

    engine.work([flow], [ask])
    kind, text = engine.run(flow)
    assert kind == "durable.errors.UsageError"
    assert "write `raise current_activity().complete_later()`" in text
    assert attempts == [1]  # no other attempt would do better


def test_what_an_activity_raises_after_all_is_its_failure(engine: Engine) -> None:
    @activity(retry=None)
    def ask() -> Any:
        current_activity().complete_later()
        raise KeyError("mine")

    @workflow
    def flow() -> Workflow[str]:
        try:
            yield ask.call()
        except ActivityError as error:
            return error.error.type
        return ""

    engine.work([flow], [ask])
    assert engine.run(flow) == "KeyError"


@pytest.mark.parametrize("reason", [5, None, b"text"])
def test_a_reason_is_a_text(engine: Engine, reason: Any) -> None:
    engine.work([waits])
    handle = engine.start(waits)
    until(lambda: "WorkflowStarted" in kinds(handle))
    for verb in (engine.client.cancel, engine.client.terminate):
        with pytest.raises(TypeError, match="reason= takes text, not"):
            verb(handle.id, reason)
    handle.signal("go", 1)
    assert handle.result(timeout=10) == 1
