"""Dropping a workflow from memory has no effect, whatever its clean-up code does."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pytest
from flows import charge, ship, wait_for
from stepper import Stepper

from durable import (
    CancelScope,
    Channel,
    Workflow,
    continue_as_new,
    external,
    info,
    logger,
    now,
    on_signal,
    patched,
    send_signal,
    set_var,
    shield,
    side_effect,
    sleep,
    span,
    spawn,
    timeout,
    uuid4,
    wait_signal,
    workflow,
)
from durable.interpreter.coroutine import _UNCLOSABLE

VERBS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "call": lambda task, scope, channel: charge.call("a"),
    "sleep": lambda task, scope, channel: sleep(1),
    "send_signal": lambda task, scope, channel: send_signal("other", "x"),
    "side_effect": lambda task, scope, channel: side_effect(int),
    "shield": lambda task, scope, channel: shield(),
    "timeout": lambda task, scope, channel: timeout(1),
    "CancelScope": lambda task, scope, channel: CancelScope(),
    "CancelScope.cancel": lambda task, scope, channel: scope.cancel(),
    "Channel": lambda task, scope, channel: Channel(),
    "Channel.close": lambda task, scope, channel: channel.close(),
    "Channel.send": lambda task, scope, channel: channel.send(1),
    "spawn": lambda task, scope, channel: spawn(wait_for("x")),
    "Task.cancel": lambda task, scope, channel: task.cancel(),
    "external": lambda task, scope, channel: external(),
    "patched": lambda task, scope, channel: patched("x"),
    "set_var": lambda task, scope, channel: set_var("x", 1),
    "on_signal": lambda task, scope, channel: on_signal("x", print),
    "continue_as_new": lambda task, scope, channel: continue_as_new("x"),
    "info": lambda task, scope, channel: info(),
    "now": lambda task, scope, channel: now(),
    "uuid4": lambda task, scope, channel: uuid4(),
    "logger": lambda task, scope, channel: logger().info("said while it is dropped"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_clean_up_code_leaves_at_its_first_verb(
    verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    reached: list[str] = []

    @workflow
    def flow(verb: str) -> Workflow[None]:
        channel: Channel[int] = Channel(1)
        task = spawn(charge.call("a"))
        with CancelScope() as scope:
            try:
                with timeout(60), span("block"):
                    yield wait_signal("never")
            finally:
                VERBS[verb](task, scope, channel)
                reached.append("after the verb")
                yield ship.call("clean-up")
                reached.append("after the yield")

    step = Stepper(flow, verb, replays=False)
    before = step.interpreter.seq
    with caplog.at_level(logging.INFO, "durable.workflow"):
        step.drop()
    assert reached == []
    assert step.interpreter.seq == before
    assert not step.interpreter.coroutines
    assert not caplog.text
    assert not _UNCLOSABLE


def test_a_block_that_swallows_the_end_of_its_generator_has_no_effect() -> None:
    @workflow
    def flow() -> Workflow[None]:
        with timeout(60), contextlib.suppress(BaseException):
            yield wait_signal("never")
        yield charge.call("a")

    step = Stepper(flow)
    step.drop()
    assert list(step.interpreter.timers) == [0]


@workflow
def raises_in_clean_up() -> Workflow[None]:
    with timeout(60), CancelScope(), shield():
        try:
            yield wait_signal("never")
        finally:
            raise ValueError("from clean-up")


def test_another_error_of_clean_up_code_cancels_no_timer() -> None:
    step = Stepper(raises_in_clean_up)
    step.drop()
    assert step.interpreter.timers


def test_a_logger_that_was_made_before_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    @workflow
    def flow() -> Workflow[None]:
        log = logger()
        try:
            yield wait_signal("never")
        finally:
            log.info("leaves")

    with caplog.at_level(logging.INFO, "durable.workflow"):
        step = Stepper(flow)
        step.drop()
        assert not caplog.text
        step = Stepper(flow)
        step.cancel()
    assert caplog.text.count("leaves") == 1


def test_tasks_that_have_not_begun_and_helpers_are_dropped_too() -> None:
    reached: list[str] = []

    def helper(depth: int) -> Workflow[None]:
        try:
            if depth:
                yield from helper(depth - 1)
            else:
                yield wait_signal("never")
        finally:
            with shield():
                reached.append("helper")
                yield charge.call("a")

    @workflow
    def flow() -> Workflow[None]:
        yield from helper(5)

    step = Stepper(flow, replays=False)
    step.drop()
    assert reached == []


def test_code_that_swallows_everything_ends_or_is_kept() -> None:
    stubborn = [True]
    looped: list[int] = []

    @workflow
    def ends() -> Workflow[None]:
        for _ in range(70):
            with contextlib.suppress(BaseException):
                yield sleep(1)

    @workflow
    def never() -> Workflow[None]:
        while stubborn:
            looped.append(1)
            with contextlib.suppress(BaseException):
                yield wait_signal("never")

    step = Stepper(ends, replays=False)
    step.drop()
    assert not _UNCLOSABLE
    step = Stepper(never, replays=False)
    step.drop()
    assert len(_UNCLOSABLE) == 1
    assert 100 <= len(looped) <= 200
    stubborn.clear()
    _UNCLOSABLE.pop()
    assert not step.interpreter.coroutines
