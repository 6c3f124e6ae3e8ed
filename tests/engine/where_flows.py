"""Workflows whose whereabouts are looked at. Lines with ``# waits: NAME`` are where they wait."""

from __future__ import annotations

from collections.abc import Generator
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from durable import (
    Cancelled,
    Channel,
    Retry,
    RetryLater,
    Workflow,
    activity,
    continue_as_new,
    current_activity,
    external,
    gather,
    info,
    logger,
    on_signal,
    race,
    send_signal,
    set_var,
    shield,
    side_effect,
    sleep,
    sleep_until,
    spawn,
    timeout,
    wait_signal,
    wait_until,
    with_timeout,
    workflow,
)

DUE = datetime(2100, 1, 1, tzinfo=UTC)
EFFECTS: list[str] = []
TOKENS: list[str] = []
TENANT: ContextVar[str] = ContextVar("tenant")


def line_of(mark: str) -> int:
    """The number of the line with ``# waits: mark``."""
    lines = Path(__file__).read_text("utf-8").splitlines()
    (found,) = [n for n, line in enumerate(lines, 1) if line.endswith(f"# waits: {mark}")]
    return found


def effect(name: str) -> str:
    EFFECTS.append(name)
    return name


class Hostile:
    def __repr__(self) -> str:
        raise ValueError("no repr")


@activity
def double(n: int) -> int:
    EFFECTS.append("double")
    return 2 * n


@activity(retry=Retry(max_attempts=5, first_delay=3600))
def later(n: int) -> int:
    if current_activity().attempt == 1:
        raise ValueError("not yet")
    raise RetryLater(3600)


@activity
def by_hand() -> None:
    TOKENS.append(current_activity().token)
    raise current_activity().complete_later()


@workflow
def child(n: int) -> Workflow[int]:
    yield wait_signal("never")
    return n


def helper(order: str) -> Generator[Any, Any, str]:
    hostile = Hostile()
    many = list(range(10_000))
    answer = yield from inner(order)
    return f"{answer} {hostile} {many}"


def inner(order: str) -> Generator[Any, Any, str]:
    name = order.upper()
    return (yield from wait_signal(name, str))  # waits: inner


@workflow
def nested(order: str) -> Workflow[str]:
    return (yield from helper(order))  # waits: nested


def branch(n: int) -> Generator[Any, Any, None]:
    yield gather(double.call(n), wait_signal("part"), sleep_until(DUE))  # waits: branch


@workflow
def many() -> Workflow[str]:
    spawn(branch(1), name="branch")
    spawn(sleep_until(DUE))
    answer = yield race(yes=wait_signal("yes"), no=sleep_until(DUE))  # waits: many
    return str(answer.name)


@workflow
def each(kind: str) -> Workflow[None]:
    """Waits for one thing, of the kind that is asked for."""
    channel: Channel[int] = Channel()
    promise = external("approval")
    task = spawn(sleep_until(DUE), name="sleeper")
    commands: dict[str, Any] = {
        "activity": lambda: by_hand.options(schedule_timeout=10**8).call(),
        "retried": lambda: later.call(7),
        "child": lambda: child.options(id=f"{info().instance_id}-child").call(3),
        "timer": lambda: sleep_until(DUE),
        "signal": lambda: wait_signal("go"),
        "promise": lambda: promise,
        "task": lambda: task,
        "send": lambda: channel.send(1),
        "receive": channel.receive,
        "condition": lambda: wait_until(lambda: False),
        "timed": lambda: with_timeout(wait_signal("go"), 10**8),
    }
    yield commands[kind]()  # waits: each


@workflow
def effects() -> Workflow[str]:
    set_var("stage", 1)
    logger().warning("first")
    first = yield side_effect(effect, "side")
    set_var("stage", 2)
    yield double.call(1)
    set_var("stage", 3)
    logger().warning("second")
    try:
        return str((yield wait_signal("go")) + first)  # waits: effects
    finally:
        with shield():
            yield double.call(2)
        EFFECTS.append("cleaned")


@workflow
def talks() -> Workflow[list[int]]:
    found: list[int] = []
    on_signal("n", found.append)
    yield wait_signal("stop")
    yield sleep(0)
    return found


@workflow
def fails() -> Workflow[None]:
    number = yield wait_signal("go")  # waits: fails
    refuse(number)


def refuse(number: Any) -> NoReturn:
    raise ValueError(f"not {number}")  # waits: refuse


@workflow
def fails_at_once() -> Workflow[None]:
    refuse(0)
    yield


@activity(retry=None)
def broken() -> None:
    raise ValueError("broken")


@workflow
def meets_a_failure() -> Workflow[None]:
    yield broken.call()  # waits: meets_a_failure


@workflow
def loses_a_failure() -> Workflow[None]:
    def loses() -> Workflow[None]:
        refuse(7)
        yield

    spawn(loses(), name="loses")
    yield double.call(1)


@workflow
def named(name: str) -> Workflow[None]:
    """All that has a name has this one, also where it waits when it was cancelled."""

    def task() -> Workflow[None]:
        commands: dict[str, Any] = {name: wait_signal(name), "other": wait_signal("never")}
        with shield():
            yield race(**commands)
            yield external(name)

    spawn(task(), name=name)
    with shield():
        yield wait_signal("never")


@workflow
def cleans() -> Workflow[None]:
    try:
        yield sleep_until(DUE)
    except Cancelled:
        with shield():
            yield by_hand.call()  # waits: cleans
        raise


@workflow
def counts(n: int) -> Workflow[int]:
    total = n + (yield wait_signal("n"))  # waits: counts
    return continue_as_new(total)


@workflow
def sends(to: str) -> Workflow[None]:
    yield send_signal(to, "go", 1)
    yield wait_signal("never")


def breaks() -> Generator[Any, Any, None]:
    yield double.call(1)
    raise ValueError("lost")


@workflow
def leaves_a_failure() -> Workflow[None]:
    spawn(breaks(), name="breaks")
    yield wait_signal("never")


@workflow
def deadlocked() -> Workflow[None]:
    channel: Channel[int] = Channel()
    yield channel.receive()  # waits: deadlocked


@workflow
def rents() -> Workflow[None]:
    yield wait_signal(TENANT.get())


@workflow
def hurries() -> Workflow[None]:
    with timeout(10**8), timeout(10**9):
        spawn(wait_signal("a"), name="inside")
        with shield():
            spawn(wait_signal("a"), name="shielded")
        yield wait_signal("a")


@workflow
def wide(n: int) -> Workflow[None]:
    for _ in range(n):
        spawn(sleep_until(DUE))
    yield gather(*(wait_signal(str(k)) for k in range(n)))


@workflow
def says_its_id() -> Workflow[None]:
    yield double.call(len(info().instance_id))  # waits: says_its_id
    yield by_hand.call()


@workflow
def at_once() -> Workflow[int]:
    return 7
    yield


FLOWS = [
    child, nested, many, each, effects, talks, fails, cleans, counts, sends, leaves_a_failure,
    deadlocked, at_once, rents, hurries, wide, says_its_id, fails_at_once, loses_a_failure, named,
    meets_a_failure,
]  # fmt: skip
ACTIVITIES = [double, later, by_hand, broken]
