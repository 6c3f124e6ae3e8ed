"""Wrong arguments of the verbs."""

from __future__ import annotations

from durable import (
    Channel,
    Promise,
    Task,
    Winner,
    Workflow,
    activity,
    external,
    gather,
    on_signal,
    race,
    send_signal,
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


@activity
def name(number: int) -> str:
    return str(number)


def helper(number: int) -> Workflow[float]:
    yield sleep(number)
    return number / 2


@workflow
def simple() -> Workflow[None]:
    yield sleep("5")  # E: mypy[arg-type] pyright[reportArgumentType]
    yield sleep()  # E: mypy[call-arg] pyright[reportCallIssue]
    yield sleep_until(5)  # E: mypy[arg-type] pyright[reportArgumentType]
    yield wait_signal(5)  # E: mypy[call-overload] pyright[reportArgumentType]
    yield wait_signal()  # E: mypy[call-overload] pyright[reportCallIssue]
    yield send_signal("o-1")  # E: mypy[call-arg] pyright[reportCallIssue]
    yield send_signal("o-1", 5)  # E: mypy[arg-type] pyright[reportArgumentType]
    yield wait_until(True)  # E: mypy[arg-type] pyright[reportArgumentType]
    yield wait_until(lambda number: True)  # E: mypy[arg-type, misc] pyright[reportArgumentType]
    yield side_effect(5)  # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    yield side_effect(helper, "5")  # E: mypy[call-overload] pyright[reportArgumentType]
    yield side_effect(helper)  # E: mypy[call-overload] pyright[reportCallIssue]
    _1: str = yield from wait_signal("a", int)  # E: mypy[assignment] pyright[reportAssignmentType]
    # E: mypy[assignment] pyright[reportAssignmentType]
    _2: str = yield from side_effect(len, "abc")
    _3: Promise[int] = external(type=str)  # E: pyright[reportAssignmentType]
    on_signal("a", 5)  # E: mypy[arg-type] pyright[reportArgumentType]
    on_signal("a", lambda: None)  # E: mypy[arg-type, misc] pyright[reportArgumentType]


@workflow
def combinators(numbers: list[int]) -> Workflow[None]:
    yield gather(5)  # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    yield gather(name)  # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    yield gather(helper(1))  # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    yield gather([name.call(n) for n in numbers])
    # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    yield gather(name.call(n) for n in numbers)
    yield gather(sleep(1), b=sleep(2))  # E: mypy[call-overload] pyright[reportCallIssue]
    yield gather(a=helper(1))  # E: mypy[call-overload] pyright[reportArgumentType]
    yield race(5)  # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    yield race(helper(1))  # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    yield race([sleep(1)])  # E: mypy[call-overload] pyright[reportArgumentType, reportCallIssue]
    yield race(expired=5)  # E: mypy[call-overload] pyright[reportArgumentType]
    yield with_timeout(helper(1), 5)  # E: mypy[arg-type] pyright[reportArgumentType]
    yield with_timeout(sleep(1))  # E: mypy[call-arg] pyright[reportCallIssue]
    yield with_timeout(sleep(1), "5")  # E: mypy[arg-type] pyright[reportArgumentType]
    # E: mypy[assignment] pyright[reportAssignmentType]
    _1: tuple[int, int] = yield from gather(name.call(1), name.call(2))
    # E: mypy[assignment] pyright[reportAssignmentType]
    _2: list[int] = yield from gather(*[name.call(n) for n in numbers])
    # E: mypy[assignment] pyright[reportAssignmentType]
    _3: Winner[int] = yield from race(name.call(1), sleep(2))
    # E: mypy[assignment] pyright[reportAssignmentType]
    _4: int = (yield from race(*[name.call(n) for n in numbers])).value
    # E: mypy[assignment] pyright[reportAssignmentType]
    _5: int = yield from with_timeout(name.call(1), 5)


@workflow
def tasks() -> Workflow[None]:
    jobs: Channel[str] = Channel("5")  # E: mypy[arg-type] pyright[reportArgumentType]
    _1 = spawn(helper)  # E: mypy[arg-type] pyright[reportArgumentType]
    _2 = spawn(name)  # E: mypy[arg-type] pyright[reportArgumentType]
    _3 = spawn(5)  # E: mypy[arg-type] pyright[reportArgumentType]
    _4: Task[str] = spawn(helper(1))  # E: mypy[arg-type] pyright[reportAssignmentType]
    yield jobs.send(5)  # E: mypy[arg-type] pyright[reportArgumentType]
    yield jobs.send()  # E: mypy[call-arg] pyright[reportCallIssue]
    _5: int = yield from jobs.receive()  # E: mypy[assignment] pyright[reportAssignmentType]
    # E: mypy[assignment] pyright[reportAssignmentType]
    _6: str = yield from jobs.receive(default=None)
    yield from jobs.each(helper)  # E: mypy[arg-type] pyright[reportArgumentType]
    for _7 in jobs:  # E: mypy[attr-defined] pyright[reportGeneralTypeIssues]
        yield sleep(1)
    with timeout("5"):  # E: mypy[arg-type] pyright[reportArgumentType]
        yield sleep(1)
    with sleep(5):  # E: mypy[attr-defined] pyright[reportGeneralTypeIssues]
        yield sleep(1)
