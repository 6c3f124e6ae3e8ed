"""Race, gather and with_timeout: who wins, what is given back, what is waited for."""

from __future__ import annotations

from typing import Any

import pytest
from flows import cancel_on, charge, child, poll, report, ship, wait_for
from stepper import Stepper

from durable import (
    ActivityError,
    CancelScope,
    SideEffectError,
    TimeoutExpired,
    Winner,
    Workflow,
    external,
    gather,
    race,
    send_signal,
    side_effect,
    sleep,
    spawn,
    wait_signal,
    wait_until,
    with_timeout,
    workflow,
)
from durable.errors import PayloadError, UsageError


def fails() -> int:
    raise ValueError("no")


def test_gather_gives_results_in_order_and_names_give_a_dict() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        listed = yield gather(charge.call("a"), sleep(1), wait_signal("x"))
        named = yield gather(left=side_effect(int), right=gather())
        return [listed, named, (yield gather())]

    step = Stepper(flow)
    step.signal("x", "s")
    step.fire(1)
    step.complete(0, "r")
    assert step.result() == [["r", None, "s"], {"left": 0, "right": []}, []]


def test_the_earliest_event_wins_a_race_then_the_order_given() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        task = spawn(wait_for("t"))
        promise = external()
        yield wait_signal("go")
        one = yield race(promise, task, wait_signal("b"), wait_signal("a"), side_effect(int))
        two = yield race(side_effect(int), wait_until(lambda: True))
        return [one.index, two.index]

    step = Stepper(flow)
    step.signal("a")
    step.signal("t")
    step.keep(0)
    step.signal("b")
    step.signal("go")
    assert step.result() == [3, 0]
    assert step.interpreter.signals.unread() == ("b",)
    assert step.kinds().count("SideEffectRecorded") == 1, "what loses is not issued"


def test_what_ended_in_one_event_is_in_the_order_given_however_much_was_issued() -> None:
    """Between the ends of the tasks a command is issued: that is no event."""

    def task(after: Any, label: str) -> Workflow[str]:
        yield after
        if label == "b":
            yield side_effect(str)
        return label

    @workflow
    def flow() -> Workflow[Any]:
        go = spawn(wait_for("go"))
        tasks = [spawn(task(go, "a")), spawn(task(go, "b"))]
        yield sleep(0)
        return (yield race(tasks[1], tasks[0])).value

    step = Stepper(flow)
    step.signal("go")
    step.fire(0)
    assert step.result() == "b"


def test_a_nested_race_is_ready_if_one_of_its_commands_is() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        yield wait_signal("go")
        nested = yield race(sleep(9), race(charge.call("a"), x=wait_signal("x")))
        within = yield race(sleep(9), with_timeout(wait_signal("x"), 9))
        both = yield race(gather(wait_signal("y"), sleep(1)), gather(wait_signal("x")))
        return [nested.index, nested.value, within.index, both.index]

    step = Stepper(flow)
    for name in ("x", "x", "x", "y", "go"):
        step.signal(name, name)
    assert [step.result()[0], *step.result()[2:]] == [1, 1, 1]
    assert "TimerStarted" not in step.kinds()
    assert "ActivityScheduled" not in step.kinds()


def test_a_gather_that_needs_a_signal_twice_is_ready_with_two_of_them() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        yield wait_signal("go")
        pair = gather(wait_signal("x"), race(wait_signal("x"), wait_signal("y")))
        late = yield race(pair, sleep(5))
        yield wait_signal("go")
        again = yield race(sleep(5), pair)
        return [late.index, again.index, again.value[0], again.value[1].value]

    step = Stepper(flow)
    step.signal("x", 1)
    step.signal("go")
    step.fire(0)  # one signal is not enough: the timer was started
    step.signal("x", 2)
    step.signal("go")
    assert step.result() == [1, 1, 1, 2]
    assert step.kinds().count("TimerStarted") == 1


def test_race_with_a_default_does_not_wait_and_takes_nothing() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        pair = gather(wait_signal("x"), wait_signal("x"))
        first = yield race(pair, default="none")
        yield wait_signal("go")
        second = yield race(pair, wait_signal("y"), default="none")
        third = yield race(pair, default="none")
        return [first.index, first.name, first.value, second.value, third.value]

    step = Stepper(flow)
    step.signal("x", 1)
    step.signal("go")
    assert step.result() == [-1, "default", "none", "none", "none"]
    assert step.interpreter.signals.unread() == ("x",)


def test_a_race_of_the_same_command_issues_it_twice() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        command = charge.call("a")
        first = yield race(command, command)
        both = yield gather(command, command)
        return [first.index, both]

    step = Stepper(flow)
    step.complete(1, "x")
    step.complete(2, "a")
    step.complete(3, "b")
    assert step.result() == [1, ["a", "b"]]


def test_losers_are_told_by_their_on_cancel_and_not_waited_for() -> None:
    @workflow
    def flow() -> Workflow[Any]:
        commands = [charge.call("a"), poll.call("a"), report.call("a"), child.call("a"), sleep(9)]
        winner = yield race(wait_signal("go"), *commands, send_signal("other", "x"))
        yield wait_signal("end")
        return winner.index

    step = Stepper(flow)
    step.signal("go")
    assert step.last()[1:] == [
        "ActivityCancelRequested", "ActivityCancelRequested", "ChildCancelRequested",
        "TimerCancelled",
    ]  # fmt: skip
    assert step.decision_cancels == [0, 1]
    assert step.child_cancels == [3]
    step.complete(0)  # late results are recorded and dropped
    step.child_completes(3)
    step.signal("end")
    assert step.result() == 0


def test_a_race_raises_the_failure_of_its_first_or_gives_it() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        seen: list[Any] = []
        try:
            yield race(sleep(9), charge.call("a"))
        except ActivityError as error:
            seen.append(error.activity)
        winner: Winner[Any] = yield race(sleep(9), charge.call("a"), return_exceptions=True)
        return [*seen, winner.index, type(winner.value).__name__]

    step = Stepper(flow)
    step.fail(1, ValueError("no"))
    step.fail(3, ValueError("no"))
    assert step.result() == ["charge", 1, "ActivityError"]


def test_a_failed_gather_gives_its_signals_back_and_starts_nothing_more() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        yield wait_signal("go")
        with pytest.raises(SideEffectError):
            yield gather(
                wait_signal("x"), gather(wait_signal("x")), side_effect(fails), charge.call("never")
            )
        return [(yield wait_signal("x")), (yield wait_signal("x")), (yield wait_signal("x"))]

    step = Stepper(flow)
    for value in (1, 2, 3):
        step.signal("x", value)
    step.signal("go")
    assert step.result() == [1, 2, 3]
    assert "ActivityScheduled" not in step.kinds()


def test_a_signal_is_given_back_only_when_the_failed_tree_is_settled() -> None:
    """Given back at once it would go to the other branch of the very race that fails."""

    @workflow
    def flow() -> Workflow[list[Any]]:
        seen = []
        try:
            yield race(gather(wait_signal("x"), charge.call("a")), wait_signal("x"))
        except ActivityError:
            seen.append("failed")
        seen.append((yield wait_signal("x")))
        seen.append((yield wait_signal("x")))
        return seen

    step = Stepper(flow)
    step.signal("x", 1)
    step.fail(0, ValueError("no"))
    step.signal("x", 2)
    assert step.result() == ["failed", 1, 2]


def test_what_a_gather_gives_back_goes_to_who_waits_for_it() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        other = spawn(wait_for("x"))
        with pytest.raises(ActivityError):
            yield gather(race(wait_signal("x"), sleep(9)), charge.call("a"))
        return [(yield other)]

    step = Stepper(flow)
    # The gather began to wait first, so it is served first.
    step.signal("x", "only one")
    step.fail(1, ValueError("no"))
    assert step.result() == ["only one"]


def test_a_failed_gather_waits_for_what_it_started_but_not_for_the_abandoned() -> None:
    @workflow
    def flow() -> Workflow[str]:
        try:
            yield gather(
                charge.call("a"),
                with_timeout(poll.call("a"), 60),
                report.call("a"),
                race(child.call("a"), sleep(5)),
                gather(ship.call("a")),
                sleep(9),
                wait_signal("x"),
                send_signal("other", "x"),
            )
        except ActivityError as error:
            return error.error.message
        return "never"

    step = Stepper(flow)
    step.fail(0, ValueError("first"))
    assert step.decision_cancels == [1, 6]
    assert step.child_cancels == [4]
    assert not step.interpreter.timers
    step.fail(1, ValueError("second"))
    step.child_completes(4)
    assert not step.ended
    step.stopped(6)
    assert step.result() == "first"


def test_a_deadline_ends_the_waiting_of_a_failed_gather() -> None:
    @workflow
    def flow() -> Workflow[str]:
        try:
            yield with_timeout(gather(charge.call("a"), ship.call("a")), 5)
        except TimeoutExpired as error:
            return f"{error.details}"
        return "never"

    step = Stepper(flow)
    step.fail(0, ValueError("first"))
    step.fire(2)
    assert step.result() == "{'kind': 'command'}"
    assert step.decision_cancels == [1]


def test_a_failed_gather_that_is_cancelled_raises_its_failure() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen = []
        with CancelScope() as scope:
            _ = spawn(cancel_on("stop", scope))
            try:
                yield gather(charge.call("a"), ship.call("a"))
            except ActivityError as error:
                seen.append(error.error.message)
            yield sleep(1)
            seen.append("never")
        return seen

    step = Stepper(flow)
    step.fail(0, ValueError("first"))
    step.signal("stop")
    step.complete(1)
    assert step.result() == ["first"]
    assert step.decision_cancels == [1]


def test_gather_with_exceptions_gives_all_of_them() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        results = yield gather(
            charge.call("a"), side_effect(fails), sleep(1), return_exceptions=True
        )
        return [type(result).__name__ for result in results]

    step = Stepper(flow)
    step.fire(2)
    step.fail(0, ValueError("no"))
    assert step.result() == ["ActivityError", "SideEffectError", "NoneType"]


@pytest.mark.parametrize("exceptions", [False, True])
def test_a_cancelled_gather_gives_its_list_only_if_nothing_was_cut_off(exceptions: bool) -> None:
    @workflow
    def flow(more: bool) -> Workflow[Any]:
        with CancelScope() as scope:
            _ = spawn(cancel_on("stop", scope))
            extra = [gather(wait_signal("never"))] if more else []
            commands = [charge.call("a"), wait_signal("x"), *extra]
            return (yield gather(*commands, return_exceptions=exceptions))
        return (yield wait_signal("x"))

    for more, result in ((False, ["r", "s"]), (True, "s")):
        step = Stepper(flow, more)
        step.signal("x", "s")
        step.signal("stop")
        assert not step.ended
        step.complete(0, "r")
        assert step.result() == result


def test_a_cancelled_gather_of_signals_gives_them_back() -> None:
    @workflow
    def flow() -> Workflow[Any]:
        with CancelScope() as scope:
            _ = spawn(cancel_on("stop", scope))
            yield gather(wait_signal("x"), wait_signal("y"))
        return (yield wait_signal("x"))

    step = Stepper(flow)
    step.signal("x", "s")
    step.signal("stop")
    assert step.result() == "s"


def test_the_first_to_finish_after_a_cancel_wins_a_race() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        with CancelScope() as scope:
            _ = spawn(cancel_on("stop", scope))
            winner = yield race(charge.call("a"), poll.call("a"), child.call("a"), sleep(9))
            return [winner.index, winner.value]
        return []

    step = Stepper(flow)
    step.signal("stop")
    step.stopped(0)
    step.complete(1, "after all")
    assert step.result() == [1, "after all"]
    assert step.child_cancels == [2]

    step = Stepper(flow)
    step.signal("stop")
    step.stopped(0)
    step.stopped(1)
    step.child_completes(2, "child")
    assert step.result() == [2, "child"]


def test_with_timeout_gives_the_result_or_expires() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        seen: list[Any] = [(yield with_timeout(wait_signal("x"), 5))]
        seen.append((yield with_timeout(wait_signal("x"), 5)))
        try:
            yield with_timeout(charge.call("a"), 5)
        except TimeoutExpired as error:
            seen.append(f"{error} {error.details}")
        return seen

    step = Stepper(flow)
    step.signal("x", 1)
    assert step.last() == ["SignalReceived", "TimerCancelled", "TimerStarted"]
    step.signal("x", 2)
    step.fire(3)
    assert step.result() == [
        1,
        2,
        "charge.call('a') did not end within 5 s {'kind': 'command'}",
    ]


def test_a_cancelled_with_timeout_waits_for_its_activity_but_not_longer() -> None:
    @workflow
    def flow() -> Workflow[str]:
        with CancelScope() as scope:
            _ = spawn(cancel_on("stop", scope))
            try:
                yield with_timeout(charge.call("a"), 5)
            except TimeoutExpired:
                return "expired"
        return "cancelled"

    step = Stepper(flow)
    step.signal("stop")
    step.fire(1)
    assert step.result() == "expired"
    step = Stepper(flow)
    step.signal("stop")
    step.stopped(0)
    assert step.result() == "cancelled"
    assert step.last() == ["ActivityCancelled", "TimerCancelled", "WorkflowCompleted"]


def test_a_mistake_anywhere_in_a_tree_leaves_nothing_behind() -> None:
    unstorable = object()

    @workflow
    def flow() -> Workflow[str]:
        with pytest.raises(PayloadError, match=r"args\[0\]"):
            yield gather(charge.call("a"), race(ship.call("b"), ship.call(unstorable)))  # type: ignore[arg-type]
        with pytest.raises(PayloadError, match="value"):
            yield gather(sleep(1), send_signal("other", "x", unstorable))
        yield wait_signal("go")
        return "ok"

    step = Stepper(flow)
    assert step.kinds() == ["WorkflowStarted"]
    assert not step.interpreter.pending
    step.signal("go")
    assert step.result() == "ok"


def test_what_can_never_be_ready_is_refused_beside_a_default() -> None:
    never = [charge.call("a"), child.call("a"), sleep(1), send_signal("other", "x")]
    for command in never:
        for wrapped in (command, gather(command), race(command), with_timeout(command, 5)):
            with pytest.raises(UsageError, match="could never be ready"):
                _ = race(wrapped, default=None)
    with pytest.raises(UsageError, match="`default` is reserved"):
        _ = race(sleep(1), default=sleep(2))
    with pytest.raises(UsageError, match="not both"):
        _ = gather(sleep(1), b=sleep(2))  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"write race\(spawn\(wait_for\(…\)\), …\)"):
        _ = race(wait_for("a"))  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="argument 0 of with_timeout is 5"):
        _ = with_timeout(5, 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="with_timeout cannot be"):
        _ = with_timeout(sleep(1), -1)
