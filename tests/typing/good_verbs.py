"""Commands, and what a yield of each gives."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple, TypedDict, TypeVar, assert_type
from uuid import UUID

from durable import (
    Channel,
    Command,
    Promise,
    Task,
    Winner,
    Workflow,
    activity,
    external,
    gather,
    now,
    on_signal,
    race,
    random,
    send_signal,
    set_var,
    side_effect,
    sleep,
    sleep_until,
    spawn,
    uuid4,
    wait_signal,
    wait_until,
    with_timeout,
    workflow,
)

T = TypeVar("T")


class Vote(NamedTuple):
    by: str
    yes: bool


class Form(TypedDict):
    name: str


@activity
def name(number: int) -> str:
    return str(number)


@activity
def size(number: int) -> int:
    return number


def helper(number: int) -> Workflow[float]:
    yield sleep(number)
    return number / 2


def dice(sides: int, *, count: int = 1) -> list[int]:
    return [sides] * count


@workflow
def waits() -> Workflow[None]:
    assert_type((yield from sleep(timedelta(hours=1))), None)
    assert_type((yield from sleep_until(datetime.now(UTC))), None)
    assert_type((yield from send_signal("o-1", "approve", {"by": "bob"})), None)
    assert_type((yield from wait_until(lambda: True)), None)


@workflow
def signals() -> Workflow[None]:
    assert_type((yield from wait_signal("a")), Any)
    assert_type((yield from wait_signal("a", int)), int)
    assert_type((yield from wait_signal("a", list[int])), list[int])
    assert_type((yield from wait_signal("a", Vote)), Vote)
    assert_type((yield from wait_signal("a", type=Form)), Form)
    text: str | None = yield from wait_signal("a", str | None)
    numbers: Mapping[str, int] = yield from wait_signal("a", Mapping[str, int])
    on_signal("vote", lambda vote: set_var("votes", [vote, text, numbers]), Vote)


@workflow
def promises() -> Workflow[str]:
    approval = external("approval", timeout=timedelta(days=3), type=Vote)
    _ = assert_type(approval, Promise[Vote])
    assert_type((yield from approval), Vote)
    assert_type((yield from external()), Any)
    number: int | None = yield from external(type=int | None)
    assert_type(number, int | None)
    return approval.token


@workflow
def side_effects() -> Workflow[None]:
    assert_type((yield from side_effect(dice, 6, count=2)), list[int])
    assert_type((yield from side_effect(lambda: "x")), str)
    assert_type((yield from side_effect(datetime.now, UTC)), datetime)
    assert_type((yield from side_effect(dice, 6, type=list[float])), list[float])
    either: int | None = yield from side_effect(dice, 6, type=int | None)
    set_var("either", either)
    assert_type(now(), datetime)
    assert_type(uuid4(), UUID)
    assert_type(random(), Random)


@workflow
def gathers(many: list[int]) -> Workflow[None]:
    assert_type((yield from gather(name.call(1))), tuple[str])
    assert_type((yield from gather(name.call(1), size.call(2))), tuple[str, int])
    first, second, third = yield from gather(name.call(1), size.call(2), wait_signal("a", Vote))
    assert_type(first, str)
    assert_type(second, int)
    assert_type(third, Vote)
    four = yield from gather(name.call(1), size.call(2), sleep(3), name.call(4))
    assert_type(four, tuple[str, int, None, str])
    assert_type((yield from gather(*[size.call(n) for n in many])), list[int])
    assert_type((yield from gather(*(spawn(helper(n)) for n in many))), list[float])
    assert_type((yield from gather(a=size.call(1), b=size.call(2))), dict[str, int])
    all_five = [size.call(n) for n in range(5)]
    assert_type((yield from gather(*all_five, return_exceptions=True)), list[int | Exception])
    both = yield from gather(name.call(1), size.call(2), return_exceptions=True)
    assert_type(both, tuple[str | Exception, int | Exception])
    named = yield from gather(a=size.call(1), return_exceptions=True)
    assert_type(named, dict[str, int | Exception])
    nested = yield from gather(gather(name.call(1), size.call(2)), race(size.call(1), sleep(5)))
    assert_type(nested, tuple[tuple[str, int], Winner[int | None]])


@workflow
def races(many: list[int]) -> Workflow[str]:
    winner = yield from race(name.call(1), size.call(2))
    assert_type(winner, Winner[str | int])
    assert_type(winner.index, int)
    assert_type(winner.name, str | None)
    assert_type(winner.value, str | int)
    assert_type((yield from race(name.call(1), size.call(2), sleep(3))), Winner[str | int | None])
    assert_type((yield from race(*[size.call(n) for n in many])), Winner[int])
    answer = yield from race(approved=wait_signal("approve", str), expired=sleep(3600))
    assert_type(answer, Winner[Any])
    if answer.name == "approved":
        approved: str = answer.value
        return approved
    numbers: Channel[int] = Channel()
    assert_type((yield from race(numbers.receive(), default=None)), Winner[int | None])
    picked = yield from race(name.call(1), numbers.receive(), default=b"")
    assert_type(picked, Winner[str | int | bytes])
    tasks = [spawn(helper(n)) for n in many]
    while tasks:
        done = yield from race(*tasks)
        assert_type(done.value, float)
        del tasks[done.index]
    return "no"


@workflow
def tasks() -> Workflow[float]:
    task = spawn(helper(1), name="helper")
    _ = assert_type(task, Task[float])
    assert_type(task.done, bool)
    named = spawn(name.call(1))
    _ = assert_type(named, Task[str])
    assert_type((yield from named), str)
    assert_type((yield from task), float)
    assert_type(task.result(), float)
    spawn(helper(2))
    task.cancel()
    return (yield from helper(3))


def worker(jobs: Channel[str]) -> Workflow[int]:
    done: list[str] = []
    yield from jobs.each(done.append)
    return len(done)


@workflow
def channels() -> Workflow[None]:
    jobs: Channel[str] = Channel(10)
    task = spawn(worker(jobs))
    assert_type((yield from jobs.send("one")), None)
    assert_type((yield from jobs.receive()), str)
    assert_type((yield from jobs.receive(default=None)), str | None)
    while (job := (yield from jobs.receive(default=None))) is not None:
        assert_type(job, str)
    jobs.close()
    assert_type((yield from task), int)


@workflow
def timeouts() -> Workflow[None]:
    assert_type((yield from with_timeout(name.call(1), 5)), str)
    assert_type((yield from with_timeout(wait_signal("a", Vote), timedelta(hours=1))), Vote)
    pair = with_timeout(gather(name.call(1), size.call(2)), 0.5)
    same: Command[tuple[str, int]] = pair
    assert_type((yield from same), tuple[str, int])
    assert_type((yield from yielded(name.call(1))), str)


def yielded(command: Command[T]) -> Workflow[T]:
    """A helper that takes any command."""
    return (yield from command)
