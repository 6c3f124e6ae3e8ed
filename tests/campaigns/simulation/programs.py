"""Random workflows: programs that are plain data, and the workflow that carries them out.

The result of a program is a list of all that it saw, in order: each signal has a value of
its own, so a signal that was delivered twice stands there twice.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from durable import (
    ActivityError,
    Cancelled,
    CancelScope,
    ChildWorkflowError,
    PermanentError,
    PromiseError,
    Retry,
    TimeoutExpired,
    Workflow,
    activity,
    continue_as_new,
    current_activity,
    external,
    gather,
    info,
    race,
    send_signal,
    set_var,
    shield,
    side_effect,
    sleep,
    spawn,
    timeout,
    uuid4,
    wait_signal,
    workflow,
)
from durable.errors import DurableError, InstanceFinished, InstanceNotFound, TaskCancelled

IDS = ("a", "b", "c", "d")
SIGNALS = ("x", "y")
MODES = ("wait", "request", "abandon")
CLOSES = ("cancel", "terminate", "abandon")
ATTEMPTS = 4

Code = list[Any]

outside: list[str] = []
"""Tokens that somebody outside has been given."""


@activity(retry=Retry(max_attempts=ATTEMPTS, first_delay=0.2, max_delay=2.0))
def work(fails: int) -> str:
    """Fails so many times, and for ever if that is more than its attempts."""
    here = current_activity()
    here.heartbeat(here.attempt)
    if here.attempt <= fails:
        raise ValueError(f"attempt {here.attempt}")
    return here.idempotency_key


@activity(retry=Retry(max_attempts=ATTEMPTS, first_delay=0.2))
def refuse() -> None:
    raise PermanentError("never")


@activity(retry=Retry(max_attempts=2, first_delay=0.2), timeout=6)
def later() -> str:
    """Completed by somebody outside, or its time is up."""
    here = current_activity()
    outside.append(here.token)
    raise here.complete_later()


@activity
def tell(run: int) -> int:
    return run


@activity
def publish(token: str) -> None:
    outside.append(token)


ACTIVITIES = (work, refuse, later, publish, tell)


# -- making programs --------------------------------------------------------------------

LEAVES = ("work",) * 6 + ("sleep", "signal", "either", "either", "pair", "send", "side", "promise")
MORE = ("later", "refuse", "many", "run")
BLOCKS = ("saga", "saga", "task", *("child",) * 3, "within", "scope", "try", "try")


def program(random: Random, depth: int = 2, size: int = 4) -> Code:
    """A list of statements, as data."""
    code: Code = []
    for _ in range(random.randint(1, size)):
        block = depth and random.random() < 0.35
        kind = random.choice(BLOCKS if block else LEAVES + MORE)
        code.append([kind, random.randrange(12), program(random, depth - 1, 3) if block else []])
    if depth == 2 and random.random() < 0.3:
        code.insert(random.randrange(len(code) + 1), ["again", 0, []])
    if depth == 2 and random.random() < 0.2:
        code.append(["raise", 0, []])
    return code


# -- carrying them out ------------------------------------------------------------------


@workflow(name="run")
def run(code: Code, seen: list[Any]) -> Workflow[Any]:
    """Carry out a program, with what it has seen in the runs before."""
    tasks: list[Any] = []
    for place, statement in enumerate(code):
        if statement[0] == "again":
            return continue_as_new(code[place + 1 :], seen)
        yield from _statement(seen, tasks, statement)
    for task in tasks[::2]:  # the others are cancelled at the end
        try:
            yield task
        except (TaskCancelled, DurableError, ValueError) as error:
            seen.append(type(error).__name__)
    return seen


def _statement(seen: list[Any], tasks: list[Any], statement: Code) -> Workflow[None]:
    kind, number, inner = statement
    if inner:
        yield from BLOCK[kind](seen, tasks, number, inner)
    else:
        yield from LEAF[kind](seen, number)


def _body(seen: list[Any], tasks: list[Any], code: Code) -> Workflow[None]:
    for statement in code:
        yield from _statement(seen, tasks, statement)


def _work(seen: list[Any], number: int) -> Workflow[None]:
    mode: Any = MODES[number % 3]
    fails = (0, 0, 0, 1, 2, 9 if number == 5 else 0)[number % 6]
    try:
        seen.append((yield from work.options(on_cancel=mode).call(fails)))
    except ActivityError:
        seen.append("failed")


def _sleep(seen: list[Any], number: int) -> Workflow[None]:
    yield sleep(number / 3)


def _signal(seen: list[Any], number: int) -> Workflow[None]:
    seen.append((yield wait_signal(SIGNALS[number % 2])))


def _either(seen: list[Any], number: int) -> Workflow[None]:
    winner = yield race(wait_signal(SIGNALS[number % 2]), sleep(number / 2))
    seen.append(winner.value)


def _pair(seen: list[Any], number: int) -> Workflow[None]:
    commands = [work.call(0), work.call(number % 3), sleep(number / 4)]
    try:
        found = yield gather(*commands, wait_signal("x")) if number == 7 else gather(*commands)
        seen += found
    except ActivityError:
        seen.append("failed")


def _many(seen: list[Any], number: int) -> Workflow[None]:
    seen.append(len((yield gather(*[work.call(0) for _ in range(number)]))))


def _send(seen: list[Any], number: int) -> Workflow[None]:
    try:
        yield send_signal(IDS[number % 4], SIGNALS[number // 4 % 2], f"{uuid4()}")
    except (InstanceFinished, InstanceNotFound) as error:
        seen.append(type(error).__name__)


def _side(seen: list[Any], number: int) -> Workflow[None]:
    seen.append((yield side_effect(lambda: number)))
    set_var("seen", len(seen))


def _promise(seen: list[Any], number: int) -> Workflow[None]:
    promise = external(timeout=number + 1)
    try:
        yield publish.call(promise.token)
        seen.append((yield promise))
    except (PromiseError, TimeoutExpired) as error:
        seen.append(type(error).__name__)


def _later(seen: list[Any], number: int) -> Workflow[None]:
    try:
        seen.append((yield later.call()))
    except ActivityError:
        seen.append("nobody")


def _refuse(seen: list[Any], number: int) -> Workflow[None]:
    try:
        yield refuse.call()
    except ActivityError:
        seen.append("refused")


def _run(seen: list[Any], number: int) -> Workflow[None]:
    seen.append((yield tell.call(info().run)))


def _raise(seen: list[Any], number: int) -> Workflow[None]:
    yield work.call(0)
    raise ValueError("it fails")


def _saga(seen: list[Any], tasks: list[Any], number: int, inner: Code) -> Workflow[None]:
    try:
        yield from _body(seen, tasks, inner)
    except Cancelled:
        with shield():
            seen.append((yield work.call(0)))
        if number:  # 0: it does not let itself be cancelled
            raise


def _task(seen: list[Any], tasks: list[Any], number: int, inner: Code) -> Workflow[None]:
    tasks.append(spawn(_body(seen, [], inner)))
    yield from ()


def _child(seen: list[Any], tasks: list[Any], number: int, inner: Code) -> Workflow[None]:
    close: Any = CLOSES[number % 3]
    command = run.options(parent_close=close).call(inner, [])
    if number > 5:
        tasks.append(spawn(command))
        return
    try:
        seen.append((yield command))
    except ChildWorkflowError:
        seen.append("child failed")


def _within(seen: list[Any], tasks: list[Any], number: int, inner: Code) -> Workflow[None]:
    try:
        with timeout(number):
            yield from _body(seen, tasks, inner)
    except TimeoutExpired:
        seen.append("too late")


def _scope(seen: list[Any], tasks: list[Any], number: int, inner: Code) -> Workflow[None]:
    with CancelScope() as scope:
        if number > 8:
            spawn(_cancel_after(scope, number / 8))
        yield from _body(seen, tasks, inner)
    seen.append(scope.cancelled)


def _cancel_after(scope: CancelScope, seconds: float) -> Workflow[None]:
    yield sleep(seconds)
    scope.cancel()


def _try(seen: list[Any], tasks: list[Any], number: int, inner: Code) -> Workflow[None]:
    try:
        yield from _body(seen, tasks, inner)
    except (DurableError, ValueError) as error:
        seen.append(type(error).__name__)


LEAF: dict[str, Callable[[list[Any], int], Workflow[None]]] = {
    "work": _work, "sleep": _sleep, "signal": _signal, "either": _either, "pair": _pair,
    "many": _many, "send": _send, "side": _side, "promise": _promise, "later": _later,
    "refuse": _refuse, "raise": _raise, "run": _run,
}  # fmt: skip
BLOCK: dict[str, Callable[[list[Any], list[Any], int, Code], Workflow[None]]] = {
    "saga": _saga, "task": _task, "child": _child, "within": _within, "scope": _scope, "try": _try,
}  # fmt: skip
