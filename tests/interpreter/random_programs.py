"""Random workflows: programs that are plain data, and the workflow that carries them out.

A program is nested tuples, so that a failure can be read.  `run` keeps what the properties
ask for in an `Env`: what it saw, the model of its scopes, and ghosts (statements that ran
while it was dropped from memory).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from scope_model import Model, Node

from durable import (
    Cancelled,
    CancelScope,
    Channel,
    Workflow,
    activity,
    continue_as_new,
    external,
    gather,
    info,
    now,
    on_signal,
    patched,
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
    wait_until,
    with_timeout,
    workflow,
)
from durable import random as derived_random
from durable.current import running

SIGNALS = ("a", "b", "c")
HANDLED = ("h", "i")
MODES = ("wait", "request", "abandon")
LEAVES = (
    "activity", "activity", "activity", "sleep", "signal", "signal", "side_effect", "send",
    "put", "take", "flag", "promise", "child", "join",
)  # fmt: skip
READY = ("signal", "side_effect", "put", "take", "flag", "promise", "join")
BLOCKS = ("scope", "scope", "timeout", "timeout", "shield")
BLOCK_STATEMENTS = ("try", "swallow", "finally", "scope", "scope", "scope", "loop", "on_signal")
STATEMENTS = (
    *("yield",) * 18, *BLOCK_STATEMENTS * 2, *("spawn",) * 6, "run", "run",
    *("cancel_task",) * 3, *("cancel_scope",) * 3, "derive", "set", "set", "close", "external",
    "external", "patched", "raise", "return",
)  # fmt: skip


@activity
def work(name: str) -> str:
    """Never run here: results come from the driver."""
    return name


@workflow
def child(name: str) -> Workflow[str]:
    """Never run here, either."""
    yield sleep(0)
    return name


# -- making programs --------------------------------------------------------------------


def expression(random: Random, depth: int, leaves: tuple[str, ...] = LEAVES) -> Any:
    """A command, as data."""
    if depth and random.random() < 0.4:
        kind = random.choice(("race", "gather", "race", "gather", "within", "default"))
        if kind == "within":
            return (kind, random.randint(0, 9), expression(random, depth - 1, leaves))
        inner = READY if kind == "default" else leaves
        count = random.choice((1, 2, 2, 3))
        children = tuple(expression(random, depth - 1, inner) for _ in range(count))
        return (kind, random.random() < 0.3, children)
    kind = random.choice(leaves)
    if kind == "activity":
        return (kind, random.choice(MODES), random.random() < 0.15)
    return (kind, random.randint(0, 5))


def program(random: Random, depth: int = 3, size: int = 3) -> Any:
    """A list of statements, as data."""
    statements: list[Any] = []
    for _ in range(random.randint(1, size)):
        kind = random.choice(STATEMENTS) if depth else "yield"
        if kind in ("try", "swallow", "loop", "on_signal"):
            statements.append((kind, program(random, depth - 1)))
        elif kind == "finally":
            statements.append(
                (kind, random.random() < 0.8, program(random, depth - 1), program(random, 0))
            )
        elif kind == "scope":
            block = random.choice(BLOCKS)
            statements.append((kind, block, random.randint(0, 9), program(random, depth - 1)))
        elif kind == "spawn":
            named = random.choice((None, None, "one", "two"))
            statements.append((kind, named, program(random, depth - 1)))
        elif kind == "yield":
            statements.append((kind, expression(random, 2)))
        else:
            statements.append((kind, random.randint(0, 5)))
        if random.random() < 0.6:  # else few programs live long
            statements[-1] = ("try", (statements[-1],))
    return tuple(statements)


# -- carrying them out ------------------------------------------------------------------


class Env:
    """What one run of a program has, shared by its coroutines."""

    def __init__(self, interpreter: Any, model: Model) -> None:
        self.interpreter = interpreter
        self.model = model
        self.seen: list[str] = []
        self.ghosts: list[str] = []
        self.tasks: list[tuple[Any, Node | None]] = []
        self.scopes: list[tuple[Any, Node]] = []
        self.channels: list[Any] = []
        self.promises: list[Any] = []
        self.flags = [0, 0, 0]
        self.labels = 0
        self.forbidden: set[str] = set()  # what must never be scheduled

    def alive(self, what: str) -> None:
        """Said after each use of a verb: none of these may run while it is dropped."""
        if self.interpreter.closing:
            self.ghosts.append(what)

    def label(self) -> str:
        self.labels += 1
        return f"w{self.labels}"


class Place:
    """Where a coroutine is: the innermost block."""

    def __init__(self, node: Node) -> None:
        self.node = node


class Left(Exception):
    """`return`, out of every block."""


@workflow
def run(code: Any) -> Workflow[Any]:
    """Carry out a program; the result is everything that it saw."""
    interpreter = running.get().interpreter
    env = interpreter.env = Env(interpreter, interpreter.model)
    env.channels = [Channel(0), Channel(0), Channel(1), Channel(2)]
    try:
        yield from _body(env, Place(env.model.root), code)
    except Left:
        env.seen.append("left")
    finally:
        env.model.root_ended()
    if env.labels > 5 and env.labels % 2:
        return continue_as_new(code)
    return env.seen


def _task(env: Env, node: Node, code: Any, vital: bool = False) -> Workflow[None]:
    try:
        yield from _body(env, Place(node), code)
    except Left:
        env.seen.append("left")
    except Exception:
        if vital:
            env.model.crashed(node)
        raise
    finally:
        node.ended = True


def _body(env: Env, place: Place, code: Any) -> Workflow[None]:
    for statement in code:
        kind = statement[0]
        if kind in SIMPLE:
            SIMPLE[kind](env, place, statement[1])
        else:
            yield from COMPOUND[kind](env, place, *statement[1:])


def _ask(env: Env, place: Place, tree: Any) -> Workflow[Any]:
    """Yield a command, and compare with the model."""
    asked = env.model.asked(place.node)
    labels: list[str] = []
    remote = _has(tree, "activity"), _has(tree, "child")
    command = _command(env, tree, labels)
    if tree[0] not in ("promise", "join"):  # else no verb was used
        env.alive("command")
    if asked.must:
        env.forbidden.update(labels)
    error: BaseException | None = None
    try:
        if env.labels % 2:
            return (yield command)
        return (yield from command)
    except BaseException as raised:
        error = raised
        raise
    finally:
        if not isinstance(error, GeneratorExit):
            asked.got(error, *remote)
            env.alive("yield")


def _yield(env: Env, place: Place, tree: Any) -> Workflow[None]:
    value = yield from _ask(env, place, tree)
    env.seen.append(f"{value} {now()}")


def _try(env: Env, place: Place, inner: Any) -> Workflow[None]:
    try:
        yield from _body(env, place, inner)
    except Left:
        raise
    except Exception as error:
        env.seen.append(f"caught {type(error).__name__}")
    except Cancelled:
        env.seen.append("cancelled")
        yield from _block(env, place, "shield", 0, (("yield", ("activity", "wait", False)),))
        raise


def _swallow(env: Env, place: Place, inner: Any) -> Workflow[None]:
    try:
        yield from _body(env, place, inner)
    except Left:
        raise
    except BaseException as error:
        env.seen.append(f"swallowed {type(error).__name__}")


def _finally(env: Env, place: Place, shielded: bool, inner: Any, last: Any) -> Workflow[None]:
    try:
        yield from _body(env, place, inner)
    finally:
        if shielded:
            yield from _block(env, place, "shield", 0, last)
        else:
            yield from _body(env, place, last)


def _loop(env: Env, place: Place, inner: Any) -> Workflow[None]:
    for _ in range(2):
        yield from _body(env, place, inner)


MAKERS: dict[str, Callable[[int], CancelScope]] = {
    "scope": lambda _: CancelScope(),
    "timeout": timeout,
    "shield": lambda _: shield(),
}


def _block(env: Env, place: Place, kind: str, seconds: int, inner: Any) -> Workflow[None]:
    raised: BaseException | None = None
    out: BaseException | None = None
    expected = ""
    try:
        with MAKERS[kind](seconds) as scope:
            env.alive("block")
            timer = getattr(scope, "_timer", None)
            node = Node(env.model, place.node, kind == "shield")
            if timer is not None:
                env.model.timers[timer.number] = node
            place.node = node
            env.scopes.append((scope, node))
            try:
                yield from _body(env, place, inner)
            except BaseException as error:
                raised = error
                raise
            finally:
                if not isinstance(raised, GeneratorExit):
                    place.node = node.parent or node
                    number = None if timer is None else timer.number
                    expected = env.model.left(node, raised, number)
    except BaseException as error:
        out = error
        raise
    finally:
        if not isinstance(out, GeneratorExit):
            env.model.came(expected, raised, out)
            if scope.cancelled != (node.since is not None):
                env.model.wrong.append("a scope does not know whether it was cancelled")


def _spawn(env: Env, place: Place, name: str | None, inner: Any) -> Workflow[None]:
    node = env.model.spawn(place.node)
    env.tasks.append((spawn(_task(env, node, inner), name), node))
    env.alive("spawn")
    yield from ()


# -- statements that do not yield -------------------------------------------------------


def _run(env: Env, place: Place, number: int) -> None:
    """Spawn a command."""
    env.tasks.append((spawn(work.options(on_cancel=MODES[number % 3]).call(env.label())), None))
    env.alive("spawn")


def _cancel_task(env: Env, place: Place, number: int) -> None:
    if env.tasks:
        task, node = env.tasks[number % len(env.tasks)]
        task.cancel()
        env.alive("Task.cancel")
        if node is not None and not node.ended:
            node.cancel()


def _cancel_scope(env: Env, place: Place, number: int) -> None:
    if env.scopes:
        scope, node = env.scopes[number % len(env.scopes)]
        scope.cancel()
        env.alive("CancelScope.cancel")
        node.cancel()


def _derive(env: Env, place: Place, number: int) -> None:
    env.seen.append(f"{uuid4()} {derived_random().random()} {now()}")
    set_var("n", len(env.seen))
    env.alive("set_var")


def _set(env: Env, place: Place, number: int) -> None:
    env.flags[number % 3] += 1


def _close(env: Env, place: Place, number: int) -> None:
    env.channels[number % 4].close()
    env.alive("Channel.close")


def _external(env: Env, place: Place, number: int) -> None:
    env.promises.append(external(timeout=None if number % 2 else number))
    env.alive("external")


def _patched(env: Env, place: Place, number: int) -> None:
    env.seen.append(f"patched {patched(f'p{number % 3}')} {info().history_length}")
    env.alive("patched")


def _raise(env: Env, place: Place, number: int) -> None:
    raise ValueError(f"raised {number}")


def _return(env: Env, place: Place, number: int) -> None:
    raise Left


def _on_signal(env: Env, place: Place, inner: Any) -> None:
    """Three kinds of handlers; each name can be taken once."""
    name = HANDLED[len(inner) % 2]
    if name in env.interpreter.handled:
        return
    handler = env.model.spawn(place.node)

    def callback(value: str) -> Any:
        env.seen.append(value)
        if len(env.seen) % 9 == 0:
            env.model.crashed(handler)
            raise ValueError("a callback failed")
        if len(env.seen) % 2:
            return _task(env, env.model.spawn(handler), inner, vital=True)
        return None

    on_signal(name, callback)
    env.alive("on_signal")


SIMPLE: dict[str, Callable[[Env, Place, Any], None]] = {
    "run": _run,
    "cancel_task": _cancel_task,
    "cancel_scope": _cancel_scope,
    "derive": _derive,
    "set": _set,
    "close": _close,
    "external": _external,
    "patched": _patched,
    "on_signal": _on_signal,
    "raise": _raise,
    "return": _return,
}
COMPOUND: dict[str, Callable[..., Workflow[None]]] = {
    "yield": _yield,
    "try": _try,
    "swallow": _swallow,
    "finally": _finally,
    "loop": _loop,
    "scope": _block,
    "spawn": _spawn,
}


# -- commands ---------------------------------------------------------------------------


def _has(tree: Any, kind: str) -> bool:
    """Whether it has a part of this kind for which a cancel waits."""
    match tree:
        case ("race" | "gather" | "default", _, children):
            return any(_has(one, kind) for one in children)
        case ("within", _, inner):
            return _has(inner, kind)
        case (found, mode, *_):
            return bool(found == kind and mode not in ("abandon", 0))
    raise AssertionError(tree)


def _command(env: Env, tree: Any, labels: list[str]) -> Any:
    match tree:
        case ("race", exceptions, children):
            inner = [_command(env, one, labels) for one in children]
            return race(*inner, return_exceptions=exceptions)
        case ("default", exceptions, children):
            inner = [_command(env, one, labels) for one in children]
            return race(*inner, default="none", return_exceptions=exceptions)
        case ("gather", exceptions, children):
            inner = [_command(env, one, labels) for one in children]
            return gather(*inner, return_exceptions=exceptions)
        case ("within", seconds, one):
            return with_timeout(_command(env, one, labels), seconds)
        case ("activity", mode, limited):
            labels.append(env.label())
            limit = 5 if limited else None
            return work.options(on_cancel=mode, schedule_timeout=limit).call(labels[-1])
        case ("child", number):
            labels.append(env.label())
            close = None if number else "abandon"
            return child.options(parent_close=close).call(labels[-1])
        case (kind, number):
            return _leaf(env, kind, number)
    raise AssertionError(tree)


def _leaf(env: Env, kind: str, number: int) -> Any:
    if kind == "sleep":
        return sleep(number)
    if kind == "side_effect":
        return side_effect(lambda: number)
    if kind == "send":
        return send_signal("other", "name", number)
    if kind == "put":
        return env.channels[number % 4].send(f"v{len(env.seen)}")
    if kind == "take":
        return env.channels[number % 4].receive(default="closed")
    if kind == "flag":
        wanted = env.flags[number % 3] + number // 3
        return wait_until(lambda: env.flags[number % 3] >= wanted)
    if kind == "promise" and env.promises:
        return env.promises[number % len(env.promises)]
    if kind == "join" and env.tasks:
        return env.tasks[number % len(env.tasks)][0]
    return wait_signal(SIGNALS[number % 3])


__all__ = ["HANDLED", "SIGNALS", "Env", "program", "run"]
