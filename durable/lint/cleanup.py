"""What happens at a cancel: `Cancelled` is raised where the workflow waits, and must get out."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from durable.lint.names import FunctionNode
from durable.lint.program import Body
from durable.lint.rule import Found, Rule

Try = ast.Try | ast.TryStar
CANCELLED = ("durable.Cancelled", "builtins.BaseException")


def caught(handler: ast.ExceptHandler, body: Body) -> list[str]:
    """The names of what a handler catches; a bare ``except:`` catches BaseException."""
    if handler.type is None:
        return ["builtins.BaseException"]
    named = body.names.only_value(handler.type)
    types = named.elts if isinstance(named, ast.Tuple) else [named]
    return [body.names.resolve(each) for each in types]


def catches_cancelled(handler: ast.ExceptHandler, body: Body) -> bool:
    """Whether `Cancelled` comes to a handler."""
    return any(name in CANCELLED for name in caught(handler, body))


def inside(parts: list[ast.stmt] | list[ast.ExceptHandler], body: Body) -> Iterator[ast.AST]:
    """All nodes of some statements, without functions that are defined in them."""
    waiting: list[ast.AST] = [*parts]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, FunctionNode | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def waits(parts: list[ast.stmt] | list[ast.ExceptHandler], body: Body) -> bool:
    """Whether statements have a yield: only there can a cancel come."""
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in inside(parts, body))


class CleanupWithoutShield(Rule):
    """A clean-up yields without ``shield``

    After a cancel every yield raises ``Cancelled``, so a clean-up in ``finally`` or
    ``except Cancelled`` ends at its first one.  Within ``with shield():`` the cancel is not felt.

    Bad::

        @workflow
        def hold(name: str) -> Workflow[None]:
            try:
                yield wait_signal("go")
            finally:
                yield mail.call(name)

    Instead::

        @workflow
        def hold(name: str) -> Workflow[None]:
            try:
                yield wait_signal("go")
            finally:
                with shield():
                    yield mail.call(name)
    """

    code = "DUR124"

    def find(self, body: Body) -> Iterator[Found]:
        found: set[ast.AST] = set()
        for node in body.nodes:
            if isinstance(node, Try):
                found.update(self._unshielded(node, body))
        for each in found:
            yield each, "after a cancel this yield only raises: put it into `with shield():`"

    def _unshielded(self, node: Try, body: Body) -> Iterator[ast.AST]:
        cleanups: list[ast.stmt] = []
        if waits([*node.body, *node.orelse], body) or waits(node.handlers, body):
            cleanups += node.finalbody
        if waits(node.body, body):
            for handler in node.handlers:
                if catches_cancelled(handler, body):
                    cleanups += handler.body
        for each in inside(cleanups, body):
            if isinstance(each, ast.Yield | ast.YieldFrom) and not _is_safe(each, body):
                yield each


def _is_safe(node: ast.Yield | ast.YieldFrom, body: Body, far: int = 5) -> bool:
    """Whether there is a shield around a yield, or in the part that it delegates to."""
    if _is_shielded(node, body):
        return True
    if not isinstance(node, ast.YieldFrom):
        return False
    value = body.names.only_value(node.value)
    if body.program.is_command(value):
        return False
    function = body.names.definition(value.func) if isinstance(value, ast.Call) else None
    if function is None:
        return True  # what it does cannot be seen
    helper = body.program.bodies.get(function)
    if helper is None or not helper.yields or far == 0:
        return False
    return all(_is_safe(each, helper, far - 1) for each in helper.yields)


def _is_shielded(node: ast.AST, body: Body) -> bool:
    return any(
        isinstance(around, ast.With)
        and any(
            body.names.resolve(item.context_expr) == "durable.shield()" for item in around.items
        )
        for around in body.within(node)
    )
