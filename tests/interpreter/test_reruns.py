"""Retries and forks: a history that goes on in another run, or in another instance."""

from __future__ import annotations

from typing import Any

import pytest
from flows import charge, child, poll, report, ship, wait_for
from stepper import Stepper

from durable import (
    Workflow,
    external,
    gather,
    race,
    send_signal,
    set_var,
    sleep,
    spawn,
    uuid4,
    wait_signal,
    workflow,
)
from durable.errors import NonDeterminismError


@workflow
def busy() -> Workflow[Any]:
    """Something of every kind is under way."""
    yield race(report.call("dropped"), wait_signal("go"))
    return (
        yield gather(
            charge.call("a", cents=5),
            child.call("b"),
            send_signal("other", "x", 7),
            sleep(60),
            external(),
            spawn(wait_for("never")),
            charge.options(queue="slow").call("c"),
            return_exceptions=True,
        )
    )


def test_what_is_under_way_is_asked_for_again() -> None:
    step = Stepper(busy)
    step.signal("go")
    first = step.decision
    step.retry()
    again = step.decision
    assert list(again.tasks) == [2, 6]  # not what nobody waits for
    for number, task in again.tasks.items():
        original = first.tasks[number]
        assert (task.args, task.kwargs, task.queue) == (
            original.args,
            original.kwargs,
            original.queue,
        )
    assert again.lookups == [(3, "instance/1.1")]
    assert [(s.command, s.name, step.codec.decode(s.value)) for s in again.sends] == [(4, "x", 7)]
    assert step.last() == ["Retried"]
    assert again.cancels == []


def test_a_retry_in_a_replay_asks_for_nothing() -> None:
    step = Stepper(busy)
    step.signal("go")
    step.retry()
    replayed = step.replay(busy)
    assert replayed.take().tasks == {}
    replayed.close()


def test_a_cancel_that_was_asked_for_is_asked_for_again() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield gather(charge.call("a"), poll.call("b"))

    step = Stepper(flow)
    step.cancel()
    step.retry()
    assert list(step.decision.tasks) == [0, 1]
    assert step.decision.cancels == [0, 1]


def test_an_activity_has_its_whole_schedule_timeout_again() -> None:
    @workflow
    def flow() -> Workflow[None]:
        yield charge.options(schedule_timeout=5).call("a")

    step = Stepper(flow)
    step.clock += 3_600_000_000
    step.retry()
    assert step.interpreter.next_due() == step.clock + 5_000_000


def test_commands_know_the_run_that_issued_them() -> None:
    @workflow
    def flow() -> Workflow[None]:
        for _ in range(4):
            yield gather(wait_signal("go"), charge.call("a"))

    step = Stepper(flow, run=3)
    step.retry(from_run=1)
    step.signal("go")
    step.complete(0)
    step.retry(from_run=2)
    step.signal("go")
    step.complete(1)
    assert [step.interpreter.run_of(number) for number in (0, 1, 2)] == [1, 2, 3]


def test_a_fork_derives_from_its_own_seed_after_the_cut() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen = [str(uuid4())]
        set_var("x", 1)
        yield wait_signal("go")
        seen.append(str(uuid4()))
        return seen

    def result(*seeds: bytes) -> Any:
        step = Stepper(flow)
        for seed in seeds:
            step.fork(seed)
            assert step.decision.vars_changed, "the vars of the fork must be stored"
        step.signal("go")
        return step.result()

    plain, one, two = result(), result(b"1" * 16), result(b"2" * 16)
    assert plain[0] == one[0] == two[0]
    assert len({plain[1], one[1], two[1]}) == 3
    assert result(b"2" * 16, b"1" * 16) == one


def test_the_vars_of_a_retry_must_be_stored_though_there_are_none() -> None:
    """They are what they were at that point; the run that went wrong may have set others."""
    step = Stepper(busy)
    step.retry()
    assert step.decision.vars_changed


def test_arguments_before_the_cut_are_not_compared_after_a_fork() -> None:
    def flow_of(argument: str, later: str) -> Any:
        @workflow(name="flow")
        def flow() -> Workflow[None]:
            yield charge.call(argument)
            yield send_signal(argument, argument)
            yield wait_signal("go")
            yield charge.call(later)
            yield wait_signal("go")

        return flow

    step = Stepper(flow_of("a", "x"))
    step.complete(0)
    step.deliver(1)
    with pytest.raises(NonDeterminismError):
        step.replay(flow_of("b", "x"))
    step.fork()
    step.signal("go")
    step.replay(flow_of("b", "x")).close()
    with pytest.raises(NonDeterminismError):
        step.replay(flow_of("a", "y"))

    @workflow(name="flow")
    def other_kind() -> Workflow[None]:
        yield ship.call("a")

    with pytest.raises(NonDeterminismError):
        step.replay(other_kind)


def test_the_default_id_of_a_child_from_before_the_cut_comes_from_the_history() -> None:
    step = Stepper(busy)
    step.signal("go")
    step.fork()
    step.options["instance_id"] = "fork"
    replayed = step.replay(busy)
    assert replayed.pending[3].instance_id == "instance/1.1"
    replayed.close()


def test_a_retried_activity_is_answered_as_usual() -> None:
    @workflow
    def flow() -> Workflow[str]:
        return (yield from charge.call("a"))

    step = Stepper(flow)
    step.retry()
    step.complete(0, "second time")
    assert step.result() == "second time"
