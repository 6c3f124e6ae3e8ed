"""Channels: who meets whom, in what order, and what a closed one gives."""

from __future__ import annotations

from typing import Any

import pytest
from flows import wait_for
from stepper import Stepper

from durable import (
    CancelScope,
    Channel,
    ChannelClosed,
    Workflow,
    gather,
    race,
    side_effect,
    sleep,
    spawn,
    wait_signal,
    wait_until,
    with_timeout,
    workflow,
)
from durable.errors import UsageError


def sender(channel: Channel[Any], values: list[Any], seen: list[str]) -> Workflow[None]:
    for value in values:
        try:
            yield channel.send(value)
            seen.append(f"sent {value}")
        except ChannelClosed:
            seen.append(f"refused {value}")


def receiver(channel: Channel[Any], count: int, seen: list[str], name: str = "") -> Workflow[None]:
    for _ in range(count):
        try:
            value = yield channel.receive()
            seen.append(f"{name}received {value}")
        except ChannelClosed as error:
            seen.append(f"{name}{error}")


def run(program: Any, *signals: str) -> Any:
    """The result of a workflow that is told these signals."""
    step = Stepper(program)
    for name in signals:
        step.signal(name)
    return step.result()


def test_an_unbuffered_send_waits_for_its_receive() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        channel: Channel[str] = Channel()
        _ = spawn(sender(channel, ["a", "b"], seen))
        yield wait_signal("go")
        seen.append("nothing was sent")
        yield spawn(receiver(channel, 2, seen))
        return seen

    assert run(flow, "go") == ["nothing was sent", "sent a", "received a", "sent b", "received b"]


def test_a_buffered_channel_takes_what_it_holds() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        channel: Channel[int] = Channel(2)
        _ = spawn(sender(channel, [1, 2, 3, 4], seen))
        yield wait_signal("go")
        seen.append(f"holds {len(channel)}")
        yield spawn(receiver(channel, 4, seen))
        return seen

    assert run(flow, "go") == [
        "sent 1", "sent 2", "holds 2",
        "sent 3", "received 1", "sent 4", "received 2", "received 3", "received 4",
    ]  # fmt: skip


def test_a_freed_slot_goes_to_who_has_waited_longest() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        channel: Channel[str] = Channel(1)
        for value in ("a", "b", "c"):
            _ = spawn(channel.send(value))
        yield wait_signal("go")
        first = yield channel.receive()
        held = len(channel)
        return [first, held, (yield channel.receive()), (yield channel.receive())]

    assert run(flow, "go") == ["a", 1, "b", "c"]


def test_receivers_are_served_in_the_order_in_which_they_began_to_wait() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        channel: Channel[int] = Channel()
        for name in ("x ", "y "):
            _ = spawn(receiver(channel, 1, seen, name))
        yield side_effect(int)
        yield channel.send(1)
        yield channel.send(2)
        yield sleep(0)
        return seen

    step = Stepper(flow)
    step.fire(1)
    assert step.result() == ["x received 1", "y received 2"]


def test_a_closed_channel_refuses_who_waits_to_send_and_gives_what_it_holds() -> None:
    @workflow
    def flow() -> Workflow[list[str]]:
        seen: list[str] = []
        channel: Channel[int] = Channel(1)
        _ = spawn(sender(channel, [1, 2], seen))
        yield wait_signal("close")
        channel.close()
        channel.close()  # a second time changes nothing
        yield spawn(receiver(channel, 2, seen))
        try:
            yield channel.send(3)
        except ChannelClosed as error:
            seen.append(str(error))
        seen.append((yield channel.receive(default="nothing")))
        return seen

    assert run(flow, "close") == [
        "sent 1",
        "refused 2",
        "received 1",
        "<Channel of 1> is closed and empty",
        "<Channel of 1> is closed",
        "nothing",
    ]


def test_closing_wakes_who_waits_to_receive() -> None:
    def with_default(channel: Channel[Any], seen: list[Any]) -> Workflow[None]:
        seen.append((yield channel.receive(default=None)))

    @workflow
    def flow() -> Workflow[list[Any]]:
        seen: list[Any] = []
        channel: Channel[int] = Channel()
        _ = spawn(receiver(channel, 1, seen)), spawn(with_default(channel, seen))
        yield wait_signal("close")
        channel.close()
        yield side_effect(int)
        return seen

    assert run(flow, "close") == ["<Channel of 0> is closed and empty", None]


def test_closing_under_a_race_of_two_receives_settles_it_once() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        channel: Channel[int] = Channel()
        both = spawn(race(channel.receive(default="a"), channel.receive(default="b")))
        yield wait_signal("close")
        channel.close()
        winner = yield both
        return [winner.index, winner.value]

    assert run(flow, "close") == [0, "a"]


def test_each_calls_a_function_for_every_value_until_the_channel_is_closed() -> None:
    def slow(seen: list[str], value: int) -> Workflow[None]:
        yield sleep(value)
        seen.append(f"slow {value}")

    @workflow
    def flow() -> Workflow[list[Any]]:
        seen: list[Any] = []
        channel: Channel[int] = Channel(3)
        for value in (1, 2):
            yield channel.send(value)
        channel.close()
        yield from channel.each(lambda value: seen.append(value))
        other: Channel[int] = Channel(1)
        yield other.send(5)
        other.close()
        yield from other.each(lambda value: slow(seen, value))
        return seen

    step = Stepper(flow)
    step.fire(0)
    assert step.result() == [1, 2, "slow 5"]


def test_branches_of_one_race_never_meet_each_other() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        channel: Channel[str] = Channel()
        either = spawn(race(got=channel.receive(), put=channel.send("mine")))
        yield wait_signal("go")
        yield channel.send("yours")
        winner = yield either
        return [winner.name, winner.value]

    assert run(flow, "go") == ["got", "yours"]


def test_branches_of_a_gather_meet() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        channel: Channel[str] = Channel()
        commands = [channel.receive(), channel.send("a"), channel.send("b"), channel.receive()]
        return (yield from gather(*commands))

    assert Stepper(flow).result() == ["a", None, None, "b"]


def test_branches_of_a_gather_in_two_races_meet() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        channel: Channel[str] = Channel()
        left, right = yield gather(
            race(channel.receive(), sleep(9)), race(sleep(9), channel.send("a"))
        )
        return [left.value, right.index]

    step = Stepper(flow)
    assert step.result() == ["a", 1]
    assert step.kinds().count("TimerStarted") == step.kinds().count("TimerCancelled")


def test_a_receive_frees_no_slot_for_a_rival_of_its_race() -> None:
    """The send is a branch of the race that the receive has won: it must not happen too."""

    @workflow
    def flow() -> Workflow[list[Any]]:
        channel: Channel[str] = Channel(1)
        yield channel.send("held")
        winner = yield race(channel.send("mine"), channel.receive())
        return [winner.index, winner.value, len(channel)]

    assert Stepper(flow).result() == [1, "held", 0]


def test_a_race_between_a_send_and_a_receive_takes_what_is_ready() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        full: Channel[str] = Channel(1)
        empty: Channel[str] = Channel(1)
        yield full.send("a")
        first = yield race(full.send("b"), empty.receive(), full.receive())
        second = yield race(full.receive(), empty.send("c"))
        third = yield race(full.receive(), default="none")
        return [first.index, first.value, second.index, third.name, third.value, len(empty)]

    step = Stepper(flow)
    assert step.result() == [2, "a", 1, "default", "none", 1]


def test_the_one_who_has_waited_longest_wins_a_race_over_channels() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        one: Channel[str] = Channel()
        two: Channel[str] = Channel()
        _ = spawn(two.send("two"))
        yield wait_signal("a")
        _ = spawn(one.send("one"))
        yield wait_signal("b")
        winner = yield race(one.receive(), two.receive())
        return [winner.value]

    assert run(flow, "a", "b") == ["two"]


def test_a_lost_receive_takes_nothing_that_comes_later() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        channel: Channel[int] = Channel(1)
        first = yield race(channel.receive(), wait_signal("go"))
        yield channel.send(1)
        return [first.index, (yield channel.receive())]

    assert run(flow, "go") == [1, 1]


def test_a_channel_of_another_instance_is_refused() -> None:
    kept: list[Channel[int]] = []

    @workflow
    def keeper() -> Workflow[None]:
        kept.append(Channel(1))
        yield wait_signal("never")

    @workflow
    def flow() -> Workflow[str]:
        for command in (kept[0].send(1), kept[0].receive()):
            with pytest.raises(UsageError, match="belongs to another instance"):
                yield command
        with pytest.raises(UsageError, match="belongs to another instance"):
            kept[0].close()
        return "ok"

    _ = Stepper(keeper, replays=False)
    assert Stepper(flow).result() == "ok"
    assert not kept[0].closed


def test_misuse_of_a_channel_names_the_fix() -> None:
    @workflow
    def flow() -> Workflow[str]:
        with pytest.raises(TypeError, match="takes a number of values"):
            Channel(True)
        with pytest.raises(ValueError, match="0 or more"):
            Channel(-1)
        channel: Channel[int] = Channel()
        assert channel, "it is no container that is empty"
        with pytest.raises(TypeError, match=r"yield from channel.each\(fn\)"):
            list(channel)  # type: ignore[call-overload]
        with pytest.raises(UsageError, match="the predicate of wait_until only looks"):
            yield wait_until(lambda: channel.close())
        yield side_effect(int)
        return "ok"

    assert Stepper(flow).result() == "ok"
    with pytest.raises(UsageError, match="only inside a running workflow"):
        Channel()


def test_a_cancelled_send_leaves_its_place() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        channel: Channel[str] = Channel()
        with CancelScope() as scope:
            _ = spawn(channel.send("cancelled"))
        _ = spawn(channel.send("kept"))
        yield side_effect(int)
        scope.cancel()
        return [(yield channel.receive())]

    assert Stepper(flow).result() == ["kept"]


def test_a_race_in_which_only_one_of_two_sends_can_happen_goes_on() -> None:
    """It looks as if both sends were ready; but who receives takes one of them."""

    def picky(one: Channel[int], two: Channel[int], seen: list[Any]) -> Workflow[None]:
        winner = yield race(one.receive(), two.receive())
        seen.append(winner.index)

    @workflow
    def flow() -> Workflow[list[Any]]:
        seen: list[Any] = []
        one: Channel[int] = Channel()
        two: Channel[int] = Channel()
        _ = spawn(picky(one, two, seen))
        yield side_effect(int)
        winner = yield race(gather(one.send(1), two.send(2)), sleep(5))
        return [winner.index, *seen]

    step = Stepper(flow)
    step.fire(1)
    assert step.result() == [1, 0]


def test_a_default_wins_over_what_only_looked_ready_and_leaves_no_send_behind() -> None:
    def picky(one: Channel[int], two: Channel[int]) -> Workflow[None]:
        yield race(one.receive(), two.receive())

    @workflow
    def flow() -> Workflow[list[Any]]:
        one: Channel[int] = Channel()
        two: Channel[int] = Channel()
        _ = spawn(picky(one, two))
        yield side_effect(int)
        first = yield race(gather(one.send(1), two.send(2)), default="not both")
        second = yield race(two.receive(), default="nothing was sent")
        return [first.value, second.value]

    assert Stepper(flow).result() == ["not both", "nothing was sent"]


def test_two_receives_of_one_value_are_not_both_ready() -> None:
    @workflow
    def flow() -> Workflow[list[Any]]:
        channel: Channel[str] = Channel(1)
        yield channel.send("kept")
        neither = yield race(gather(channel.receive(), channel.receive()), default="not ready")
        first = yield channel.receive()
        with pytest.raises(Exception, match="did not end within 5 s"):
            yield with_timeout(gather(channel.receive(), channel.receive()), 5)
        return [neither.value, first]

    step = Stepper(flow)
    step.fire(0)
    assert step.result() == ["not ready", "kept"]


def test_a_value_of_a_task_goes_through_a_channel_by_identity() -> None:
    @workflow
    def flow() -> Workflow[bool]:
        channel: Channel[Any] = Channel(1)
        task = spawn(wait_for("never"))
        yield channel.send(task)
        return (yield channel.receive()) is task

    assert Stepper(flow).result() is True
