"""Mistakes that would do something else in silence, or nothing: each says how to mend it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from flows import charge
from stepper import Stepper

from durable import (
    CancelScope,
    ForgottenYield,
    Workflow,
    activity,
    continue_as_new,
    gather,
    on_signal,
    race,
    side_effect,
    sleep,
    span,
    spawn,
    wait_signal,
    wait_until,
    workflow,
)
from durable.errors import UsageError
from durable.events import ContinuedAsNew


def generator() -> Any:
    yield True


async def coroutine() -> bool:
    return True


async def both() -> AsyncIterator[bool]:
    yield True


@pytest.mark.parametrize("predicate", [generator, coroutine, both, lambda: generator()])
def test_a_predicate_that_gives_a_generator_fails_its_wait(predicate: Any) -> None:
    @workflow
    def flow() -> Workflow[str]:
        fix = r"wait_until\(.*\) takes a plain function.*without `yield` and `async`"
        for command in (wait_until(predicate), gather(wait_until(predicate))):
            with pytest.raises(TypeError, match=fix):
                yield command
        return "ok"

    assert Stepper(flow).result() == "ok"


def test_a_predicate_that_gives_one_later_fails_its_wait() -> None:
    @workflow
    def flow() -> Workflow[str]:
        ready: list[Any] = []

        def fill() -> Workflow[None]:
            yield wait_signal("go")
            ready.append(generator())

        _ = spawn(fill())
        with pytest.raises(TypeError, match="takes a plain function"):
            yield wait_until(lambda: ready and ready[0])
        return "ok"

    step = Stepper(flow)
    step.signal("go")
    assert step.result() == "ok"


@pytest.mark.parametrize("verb", [gather, race])
def test_names_that_combinators_have_for_themselves_are_refused(verb: Any) -> None:
    with pytest.raises(UsageError, match=r"`return_exceptions` is reserved in \w+: give the"):
        verb(return_exceptions=charge.call("a"))
    with pytest.raises(UsageError, match=r"`return_exceptions` is reserved in \w+: give the"):
        verb(charge.call("a"), return_exceptions=charge.call("b"))


def test_a_generator_is_spawned_once_and_before_it_has_begun() -> None:
    def work() -> Workflow[int]:
        yield side_effect(int)
        return 1

    @workflow
    def flow() -> Workflow[list[int]]:
        ended = work()
        yield from ended
        with pytest.raises(UsageError, match=r"work\(…\) was started before: write spawn\(work"):
            spawn(ended)
        fresh = work()
        task = spawn(fresh)
        with pytest.raises(UsageError, match=r"work\(…\) was spawned before: .* for each task"):
            spawn(fresh)
        yield sleep(1)
        with pytest.raises(UsageError, match="was started before"):
            spawn(fresh)
        results = yield gather(task, spawn(work()), spawn(work()))
        return list(results)

    step = Stepper(flow)
    step.fire(1) if 1 in step.interpreter.timers else step.fire(2)
    assert step.result() == [1, 1, 1]
    assert not step.interpreter.unstarted


@pytest.mark.parametrize(("decorator", "what"), [(workflow, "@workflow"), (activity, "@activity")])
def test_names_are_texts(decorator: Any, what: str) -> None:
    for wrong in (5, b"name", True):
        with pytest.raises(TypeError, match=rf"{what}\(name=\) takes a name, not {wrong!r}"):
            decorator(name=wrong)(generator if decorator is workflow else print)
    with pytest.raises(UsageError, match=rf"{what}\(name=\) takes a name that is not empty"):
        decorator(name="")(generator if decorator is workflow else print)
    with pytest.raises(UsageError, match=rf"{what}\(name=\) takes a name without the sign"):
        decorator(name="a\x1fb")(generator if decorator is workflow else print)


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "1", 2**53])
def test_versions_are_numbers_that_each_store_can_compare(wrong: Any) -> None:
    with pytest.raises(UsageError, match=rf"takes a whole number from 1 to \d+, not {wrong!r}"):
        workflow(version=wrong)(generator)
    with pytest.raises(UsageError, match=r"version= takes a whole number"):
        workflow(generator).options(version=wrong)
    assert workflow(version=2**53 - 1)(generator).version == 2**53 - 1


def test_an_error_of_the_tracer_is_logged_once_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str) -> Any:
        raise RuntimeError("no tracer")

    trace = SimpleNamespace(get_tracer=broken)
    monkeypatch.setitem(sys.modules, "opentelemetry", SimpleNamespace(trace=trace))

    @workflow
    def flow() -> Workflow[str]:
        with span("first"):
            yield sleep(1)
        with pytest.raises(KeyError, match="mine"), span("second"):
            raise KeyError("mine")
        return "ok"

    step = Stepper(flow)
    step.fire(0)
    assert step.result() == "ok"
    lost = [record.getMessage() for record in caplog.records]
    assert lost == [
        f"instance: span {name!r} was lost: RuntimeError('no tracer')"
        for name in ("first", "second")
    ]


def test_no_span_is_made_of_a_block_that_is_dropped_from_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = SimpleNamespace(get_tracer=pytest.fail)
    monkeypatch.setitem(sys.modules, "opentelemetry", SimpleNamespace(trace=trace))

    @workflow
    def flow() -> Workflow[None]:
        with span("block"), contextlib.suppress(GeneratorExit):
            yield wait_signal("never")

    Stepper(flow, replays=False).drop()


def again() -> Workflow[str]:
    yield sleep(1)
    return continue_as_new()


@pytest.mark.parametrize("beside", [False, True])
def test_a_next_run_that_is_called_for_and_not_returned_fails_the_workflow(beside: bool) -> None:
    @workflow
    def flow() -> Workflow[str]:
        if beside:
            yield spawn(again())
        else:
            yield from again()
        return "done"

    step = Stepper(flow)
    step.fire(0)
    failure = step.failure()
    assert failure.is_a(TypeError)
    line = again.__code__.co_firstlineno + 2
    assert f"continue_as_new(…) at {__file__}:{line} began no run" in failure.message
    assert "write `return continue_as_new(…)`" in failure.message


def test_a_task_may_say_how_the_next_run_begins() -> None:
    @workflow
    def flow() -> Workflow[str]:
        result: str = yield spawn(again())
        return result

    step = Stepper(flow)
    step.fire(0)
    assert isinstance(step.events()[-1], ContinuedAsNew)


def test_several_commands_are_no_generator() -> None:
    @workflow
    def flow() -> Workflow[list[int]]:
        commands: Any = [charge.call("a"), charge.call("b")]
        results: list[int] = yield from commands
        return results

    step = Stepper(flow)
    step.complete(0, 1)
    failure = step.failure()
    assert failure.is_a(TypeError)
    assert failure.message.startswith("`yield from` takes a generator: to run several commands")
    assert "test_mistakes.py" in failure.traceback


def test_what_is_inside_a_forgotten_command_is_not_reported_again() -> None:
    @workflow
    def flow() -> Workflow[None]:
        gather(charge.call("a"), race(charge.call("b"), sleep(1)))  # type: ignore[unused-awaitable]
        yield sleep(0)

    step = Stepper(flow)
    with pytest.warns(ForgottenYield) as caught:
        step.fire(0)
    (only,) = caught
    assert str(only.message).startswith("gather(charge.call('a'), race(")


def test_a_name_is_free_again_when_its_handler_was_cancelled() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        with CancelScope() as scope:
            on_signal("x", seen.append)
            yield wait_signal("go")
            scope.cancel()
        seen.append((yield wait_signal("x", str)) + "!")
        on_signal("x", lambda value: seen.append(value + "?"))
        yield wait_signal("go")
        return seen

    step = Stepper(flow)
    step.signal("x", "a")
    step.signal("go")
    step.signal("x", "b")
    step.signal("x", "c")
    step.signal("go")
    assert step.result() == ["a", "b!", "c?"]
