"""How a workflow is written down: its definition, its defaults, its loops."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from durable.lint.cleanup import CANCELLED, Try, caught, inside
from durable.lint.names import FunctionNode
from durable.lint.program import Body
from durable.lint.rule import Found, Rule


class AsyncWorkflow(Rule):
    """A workflow is ``async def``

    A workflow is a plain generator: what it waits for it yields.  ``@workflow`` refuses an
    ``async def``, and there is no event loop that could run a helper.  Activities may be
    ``async def``.

    Bad::

        @workflow
        async def greet(name: str) -> None:
            await mail.call(name)

    Instead::

        @workflow
        def greet(name: str) -> Workflow[None]:
            yield mail.call(name)
    """

    code = "DUR141"

    def find(self, body: Body) -> Iterator[Found]:
        if isinstance(body.node, ast.AsyncFunctionDef):
            what = "a workflow" if body.is_workflow else "a part of a workflow"
            yield body.node, f"{what} is a generator: write `def`, and `yield` for `await`"
            return
        for node in body.nodes:
            if isinstance(node, ast.Await):
                yield node, "a workflow does not await: write `yield`"


class MutableDefault(Rule):
    """A default is mutable

    It is made once, and all instances in a worker share it: what one of them puts in the others
    find, and a replay finds it, too.

    Bad::

        @workflow
        def collect(names: list[str] = []) -> Workflow[list[str]]:
            names.append((yield wait_signal("name")))
            return names

    Instead::

        @workflow
        def collect(first: list[str] | None = None) -> Workflow[list[str]]:
            names = list(first or [])
            names.append((yield wait_signal("name")))
            return names
    """

    code = "DUR142"

    def find(self, body: Body) -> Iterator[Found]:
        args = body.node.args
        for default in [*args.defaults, *args.kw_defaults]:
            if default is not None and body.program.is_container(default):
                text = ast.unparse(default)
                yield (
                    default,
                    f"the default {text} is shared by all instances: use None, or a tuple",
                )


class EndlessLoop(Rule):
    """A loop never ends, and its history grows for ever

    Each round adds events; a history of 50,000 blocks its instance.  After some rounds
    ``return continue_as_new(…)`` begins the next run with a fresh history.  A loop with ``break``,
    ``return`` or ``raise`` in it, or ``raise`` in a function of this file that it calls, or in a
    block with a limit of time, is taken to end.

    Bad::

        @workflow
        def poll(name: str) -> Workflow[None]:
            while True:
                yield mail.call(name)
                yield sleep(3600)

    Instead::

        @workflow
        def poll(name: str) -> Workflow[None]:
            for _ in range(500):
                yield mail.call(name)
                yield sleep(3600)
            return continue_as_new(name)
    """

    code = "DUR143"

    def find(self, body: Body) -> Iterator[Found]:
        # A task ends with its workflow, and a workflow with a timeout by that.
        if not body.delegated or body.node in body.program.timed:
            return
        for node in body.nodes:
            if isinstance(node, ast.For | ast.While) and _never_ends(node, body):
                yield node, "this loop never ends, and its history grows: use continue_as_new"


def _never_ends(loop: ast.For | ast.While, body: Body) -> bool:
    is_endless = _is_endless(loop, body)
    return is_endless and not _has_way_out(loop, body) and not _is_limited(loop, body)


def _is_endless(node: ast.For | ast.While, body: Body) -> bool:
    if not any(each in inside(node.body, body) for each in body.yields):
        return False
    if isinstance(node, ast.While):
        return isinstance(node.test, ast.Constant) and bool(node.test.value)
    args = node.iter.args if isinstance(node.iter, ast.Call) else []
    match body.names.resolve(node.iter), args:
        case ("itertools.count()" | "itertools.cycle()", _) | ("itertools.repeat()", [_]):
            return True
        case "builtins.iter()", [made, ast.Constant(value=end)]:  # iter(int, 1): 0 for ever
            return body.names.resolve(made) == "builtins.int" and bool(end)
    return False


def _has_way_out(loop: ast.For | ast.While, body: Body) -> bool:
    for node in inside(loop.body, body):
        if isinstance(node, ast.Return | ast.Raise) or _calls_what_raises(node, body):
            return True
        if isinstance(node, ast.Break):
            around = next(a for a in body.within(node) if isinstance(a, ast.For | ast.While))
            if around is loop:
                return True
    return False


def _calls_what_raises(node: ast.AST, body: Body) -> bool:
    """Whether a function of this file is called, or delegated to, that has a ``raise`` in it."""
    called = body.names.definition(node.func) if isinstance(node, ast.Call) else None
    if not isinstance(called, FunctionNode) or called in body.program.kinds:
        return False
    # One that is raised again is a cancel, or something that the loop would raise anyhow.
    return any(
        isinstance(each, ast.Raise) and each.exc is not None for each in inside(called.body, body)
    )


def _is_limited(loop: ast.For | ast.While, body: Body) -> bool:
    """Whether something around a loop ends it: a scope, or a handler of an error."""
    for around in body.within(loop):
        if isinstance(around, ast.With):
            scopes = [body.names.resolve(item.context_expr) for item in around.items]
            if "durable.timeout()" in scopes or "durable.CancelScope()" in scopes:
                return True
        elif isinstance(around, Try):
            names = [name for handler in around.handlers for name in caught(handler, body)]
            if any(name not in CANCELLED for name in names):
                return True
    return False


class Unreadable(Rule):
    """A file cannot be read or parsed

    It is not checked any further; other files are.  A file that Python compiles may be nested too
    deeply for this, by thousands of levels.  This is found whatever is selected, unless it is
    ignored, and no comment excuses it.

    Bad::

        @workflow
        def greet(name: str) -> Workflow[None]
            yield mail.call(name)

    Instead::

        @workflow
        def greet(name: str) -> Workflow[None]:
            yield mail.call(name)
    """

    code = "DUR100"

    def find(self, body: Body) -> Iterator[Found]:
        """Nothing: what there is a body of has been read."""
        return iter(())
