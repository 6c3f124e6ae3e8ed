"""Code that does not match its history is found, and cannot hide it; mistakes at their line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from flows import charge, child, ship, wait_for
from stepper import Stepper

from durable import (
    CancelScope,
    Channel,
    ForgottenYield,
    Workflow,
    continue_as_new,
    external,
    gather,
    race,
    send_signal,
    side_effect,
    sleep,
    spawn,
    timeout,
    wait_signal,
    wait_until,
    with_timeout,
    workflow,
)
from durable.errors import NonDeterminismError, PayloadError
from durable.events import ActivityCompleted, SignalReceived
from durable.interpreter import StepAborted


def named(function: Any) -> Any:
    """All under one name, so that one replays the history of another."""
    return workflow(name="flow")(function)


@named
def empty() -> Workflow[None]:
    yield wait_signal("never")


@named
def waiting() -> Workflow[None]:
    """An activity and a timer are pending."""
    yield race(charge.call("a"), sleep(60))


def make_timeout() -> None:
    with timeout(5):
        pass


def make_promise() -> None:
    external()


def cancel_scope(scope: CancelScope, channel: Channel[int]) -> None:
    scope.cancel()


def close_channel(scope: CancelScope, channel: Channel[int]) -> None:
    channel.close()


def swallowing(verb: Callable[[], None], ends: bool) -> Any:
    """A workflow that calls a verb and swallows whatever it raises."""

    @named
    def flow() -> Workflow[str]:
        with contextlib.suppress(BaseException):
            verb()
        if not ends:
            yield wait_signal("never")
        return "swallowed"

    return flow


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("verb", [make_timeout, make_promise])
def test_a_mismatch_in_a_verb_that_records_cannot_be_swallowed(
    verb: Callable[[], None], ends: bool
) -> None:
    step = Stepper(empty)
    with pytest.raises(NonDeterminismError, match=r"nothing more.*issued (timeout|external)"):
        step.replay(swallowing(verb, ends))


def test_a_mismatch_in_a_verb_is_raised_as_what_it_is_if_nobody_swallows_it() -> None:
    @named
    def flow() -> Workflow[None]:
        external("approval")
        yield wait_signal("never")

    @named
    def without_yield() -> Any:
        return external("approval")

    for code in (flow, without_yield):
        with pytest.raises(NonDeterminismError, match=r"external\('approval'\)"):
            Stepper(empty).replay(code)


@pytest.mark.parametrize("verb", [cancel_scope, close_channel])
@pytest.mark.parametrize("swallows", [False, True])
def test_a_mismatch_met_by_withdrawing_others_cannot_be_swallowed(
    verb: Callable[[CancelScope, Channel[int]], None], swallows: bool
) -> None:
    """The replayed code gives up a timer and an activity where the history still waits."""

    def flow_of(acts: bool) -> Any:
        @named
        def flow() -> Workflow[None]:
            channel: Channel[int] = Channel()
            with CancelScope() as scope:
                _ = spawn(race(charge.call("a"), sleep(60), channel.receive(default=None)))
            yield wait_signal("go")
            if acts:
                with contextlib.suppress(BaseException if swallows else ValueError):
                    verb(scope, channel)
            yield wait_signal("go")

        return flow

    step = Stepper(flow_of(False))
    step.signal("go")
    with pytest.raises(NonDeterminismError, match=r"nothing more.*issued charge\.call\('a'\)"):
        step.replay(flow_of(True))


def test_the_first_mismatch_is_the_one_that_is_told() -> None:
    """Leaving the blocks around it meets others, which follow from it."""

    @named
    def recorded() -> Workflow[None]:
        with timeout(60):
            yield sleep(1)

    @named
    def changed() -> Workflow[str]:
        with contextlib.suppress(BaseException), timeout(60):
            external("first")
            yield wait_signal("never")
        return "swallowed"

    with pytest.raises(NonDeterminismError, match=r"issued external\('first'\)"):
        Stepper(recorded).replay(changed)


def helper_that_makes_a_promise() -> Workflow[None]:
    external("here")
    yield wait_signal("never")


def test_a_mismatch_in_a_verb_names_the_line_of_the_verb() -> None:
    @named
    def flow() -> Workflow[None]:
        yield from helper_that_makes_a_promise()

    with pytest.raises(NonDeterminismError) as error:
        Stepper(empty).replay(flow)
    line = helper_that_makes_a_promise.__code__.co_firstlineno + 1
    assert f"{__file__}:{line}, in helper_that_makes_a_promise" in str(error.value)


def test_replay_finds_every_other_command() -> None:
    commands: dict[str, Any] = {
        "ActivityScheduled": lambda: charge.call("a"),
        "TimerStarted": lambda: sleep(1),
        "SignalSent": lambda: send_signal("other", "x", 1),
        "ChildStarted": lambda: child.call("a"),
        "SideEffectRecorded": lambda: side_effect(int),
        "PromiseCreated": external,
        "nothing more": lambda: wait_signal("x"),
    }

    def flow_of(make: Any) -> Any:
        @named
        def flow() -> Workflow[None]:
            yield gather(make(), wait_signal("never"))

        return flow

    for recorded, make in commands.items():
        step = Stepper(flow_of(make))
        for other, another in commands.items():
            if other == recorded:
                step.replay(flow_of(another)).close()
            else:
                with pytest.raises(NonDeterminismError, match=recorded):
                    step.replay(flow_of(another))


def refused(step: Stepper, code: Any) -> NonDeterminismError:
    """How the replay by other code fails; the message has all parts."""
    with pytest.raises(NonDeterminismError) as raised:
        step.replay(code)
    error = raised.value
    assert f"the history has {error.recorded}; the code {error.issued}, at {error.line}" in str(
        error
    )
    return error


def test_code_that_raises_where_the_history_goes_on() -> None:
    def breaks() -> Workflow[None]:
        yield from ()
        raise LookupError("no such\norder")

    @named
    def flow() -> Workflow[None]:
        yield from breaks()

    error = refused(Stepper(waiting), flow)
    line = breaks.__code__.co_firstlineno + 2
    assert error.seq == 1
    assert error.recorded.startswith("ActivityScheduled(command=0, name='charge'")
    assert error.issued == "raised LookupError: no such\\norder"
    assert error.line == f"{__file__}:{line}, in breaks"


def test_a_task_that_fails_where_the_history_goes_on() -> None:
    def breaks() -> Workflow[None]:
        yield from ()
        raise LookupError

    @named
    def flow() -> Workflow[None]:
        spawn(breaks())
        yield sleep(0)

    @named
    def patient() -> Workflow[None]:
        yield sleep(0)
        yield sleep(0)

    step = Stepper(patient)
    step.fire(0)
    error = refused(step, flow)
    assert (error.issued, error.seq) == ("raised LookupError", 3)
    assert error.line == f"{__file__}:{breaks.__code__.co_firstlineno + 2}, in breaks"


@pytest.mark.parametrize(
    ("make", "issued"),
    [
        (lambda: 7, "returned 7"),
        (continue_as_new, "returned continue_as_new()"),
    ],
)
def test_code_that_returns_where_the_history_goes_on(make: Callable[[], Any], issued: str) -> None:
    @named
    def flow() -> Any:
        return make()

    error = refused(Stepper(waiting), flow)
    assert error.issued == issued
    assert error.line == f"{__file__}:{flow.fn.__code__.co_firstlineno}, in flow"


def test_code_that_was_cancelled_where_the_history_goes_on() -> None:
    @named
    def stubborn() -> Workflow[str]:
        with contextlib.suppress(BaseException):
            yield wait_signal("never")
        return "all the same"

    step = Stepper(stubborn)
    step.cancel()
    error = refused(step, empty)
    assert (error.seq, error.issued) == (2, "ended, because it was cancelled")


def test_an_answer_that_nobody_has_asked_for_has_its_parts() -> None:
    step = Stepper(empty)
    with pytest.raises(NonDeterminismError) as raised:
        step.complete(7)
    error = raised.value
    assert error.seq == 1
    assert error.recorded.startswith("ActivityCompleted(command=7")
    assert error.issued == "has not issued command 7"
    assert error.line.endswith("in empty")


@pytest.mark.parametrize(
    "make",
    [charge.call, child.call, lambda text: send_signal("other", "x", text)],
    ids=["activity", "child", "signal"],
)
def test_the_texts_are_bounded(make: Callable[[str], Any]) -> None:
    """However large an argument is, and whatever signs are in it."""

    def flow_of(text: str) -> Any:
        @named
        def flow() -> Workflow[None]:
            yield gather(make(text), wait_signal("never"))

        return flow

    step = Stepper(flow_of("a" * 2_000_000))
    error = refused(step, flow_of("b\n\x1b[2J" * 500_000))
    assert len(str(error)) < 2000
    assert str(error).isprintable()


def test_lines_of_many_coroutines_are_told_once() -> None:
    @named
    def flow() -> Workflow[None]:
        for _ in range(100):
            spawn(wait_for("never"))
        yield wait_signal("never")

    error = refused(Stepper(waiting), flow)
    first, second = error.line.split("; ")
    assert first.endswith("in flow")
    assert second.endswith("in wait_for")
    assert error.issued.count("wait_signal('never')") == 3


def test_replay_compares_where_a_signal_goes_and_its_value() -> None:
    def flow_of(*args: Any) -> Any:
        @named
        def flow() -> Workflow[None]:
            yield send_signal(*args)

        return flow

    step = Stepper(flow_of("other", "x", 1))
    for args in (("another", "x", 1), ("other", "y", 1), ("other", "x", 2)):
        with pytest.raises(NonDeterminismError, match="SignalSent"):
            step.replay(flow_of(*args))


def test_a_step_that_is_aborted_is_no_mismatch() -> None:
    @named
    def flow() -> Workflow[None]:
        yield side_effect(int)
        raise StepAborted("took too long")

    with pytest.raises(StepAborted, match="took too long"):
        Stepper(flow)


def test_swallowing_the_cancel_for_ever_does_not_hang() -> None:
    stubborn = [True]

    @workflow
    def flow() -> Workflow[None]:
        while stubborn:
            with contextlib.suppress(BaseException):
                yield wait_signal("never")

    step = Stepper(flow, replays=False)
    with pytest.raises(StepAborted, match=r"100,000 resumptions in one step, at .*in flow"):
        step.cancel()
    stubborn.clear()  # so that it can end with the test


def test_a_history_that_is_cut_inside_a_step_is_found() -> None:
    step = Stepper(waiting)
    assert len(step.stored) == 3
    for cut in (1, 2):
        short = Stepper(waiting)
        short.stored = step.stored[:cut]
        with pytest.raises(NonDeterminismError, match="the history has nothing more"):
            short.replay(waiting)


def test_a_history_with_a_gap_is_refused() -> None:
    step = Stepper(empty)
    step.signal("x")
    step.signal("x")
    events = step.events()
    fresh = step.fresh(empty)
    with pytest.raises(PayloadError, match="has event 2 where 1 must be"):
        fresh.replay([events[0], events[2]])
    fresh.close()
    step = Stepper(waiting)
    step.stored = step.stored[1:]
    with pytest.raises(NonDeterminismError, match="the history has ActivityScheduled"):
        step.replay(waiting)


def test_only_answers_that_are_awaited_are_expected() -> None:
    step = Stepper(waiting)
    seq, at = step.interpreter.seq, step.interpreter.at
    expects = step.interpreter.expects
    assert expects(ActivityCompleted(seq, at, 0, b"", 1))
    assert not expects(ActivityCompleted(seq, at, 2, b"", 1))
    assert expects(SignalReceived(seq, at, "x", b"", "m"))
    step.fire(1)
    assert step.ended
    assert expects(ActivityCompleted(seq, at, 0, b"", 1)), "it is recorded, and dropped"
    with pytest.raises(NonDeterminismError, match="which the code of flow has not issued"):
        Stepper(waiting).complete(7)


# -- mistakes -----------------------------------------------------------------------------


def any_channel() -> Channel[int]:
    return Channel(1)


FORGOTTEN: dict[str, Callable[[], Any]] = {
    "wait_until": lambda: wait_until(lambda: True),
    "with_timeout": lambda: with_timeout(sleep(1), 5),
    "send_signal": lambda: send_signal("other", "x"),
    "child.call": lambda: child.call("a"),
    "Channel of 1>.send": lambda: any_channel().send(1),
    "Channel of 1>.receive": lambda: any_channel().receive(),
    "race": lambda: race(sleep(1)),
    "charge.call": lambda: charge.options(on_cancel="abandon").call("a"),
}


@pytest.mark.parametrize("verb", FORGOTTEN)
@pytest.mark.filterwarnings("ignore::durable.ForgottenYield")
def test_a_command_that_is_never_yielded_is_reported(verb: str) -> None:
    @workflow
    def flow() -> Workflow[str]:
        _ = FORGOTTEN[verb]()
        yield sleep(0)
        return "done"

    step = Stepper(flow)
    with pytest.warns(ForgottenYield, match=rf"{verb}.* was created and never yielded"):
        step.fire(step.interpreter.numbers - 1)
    assert step.result() == "done"


def test_tasks_promises_and_what_a_cancelled_scope_refused_are_not_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @workflow
    def flow() -> Workflow[str]:
        channel: Channel[int] = Channel(1)
        _ = external(), spawn(wait_for("a"))
        with CancelScope() as scope:
            scope.cancel()
            yield gather(race(channel.send(1), with_timeout(ship.call("a"), 5)))
        yield race(with_timeout(channel.receive(), 5), side_effect(int))
        yield from channel.each(print) if scope is None else ()
        return "done"

    assert Stepper(flow).result() == "done"
    assert "never yielded" not in caplog.text  # where a warning goes that is an error


def test_yielding_something_odd_does_not_confuse_the_interpreter() -> None:
    odd = SimpleNamespace(commands=5)
    odd.command = odd

    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    @workflow
    def flow() -> Workflow[str]:
        with pytest.raises(TypeError, match="which is no command"):
            yield odd  # type: ignore[misc]
        with pytest.raises(RuntimeError, match="no repr"):
            yield Rude()  # type: ignore[misc]
        return "ok"

    assert Stepper(flow).result() == "ok"
