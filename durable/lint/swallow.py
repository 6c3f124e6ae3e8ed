"""Whether `Cancelled` gets out of the blocks that catch it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from durable.lint.cleanup import CANCELLED, Try, caught, inside, waits
from durable.lint.program import Body
from durable.lint.rule import Found, Rule


class SwallowedCancel(Rule):
    """``Cancelled`` is swallowed

    ``except:`` and ``except BaseException`` around a yield catch the cancel, and the closing of a
    workflow that leaves memory.  Name what you catch, or raise it again.
    Another exception that is raised instead makes a failed instance of a cancelled one.
    ``except Cancelled: pass`` swallows it as well, but in a scope of one's own; and so do
    ``return``, ``break`` and ``continue`` in ``finally``.

    Bad::

        @workflow
        def greet(name: str) -> Workflow[str]:
            try:
                return (yield mail.call(name))
            except BaseException:
                return "failed"

    Instead::

        @workflow
        def greet(name: str) -> Workflow[str]:
            try:
                return (yield mail.call(name))
            except ActivityError:
                return "failed"
    """

    code = "DUR131"

    def find(self, body: Body) -> Iterator[Found]:
        for node in body.nodes:
            if isinstance(node, ast.With) and waits(node.body, body):
                yield from self._suppressed(node, body)
            elif isinstance(node, Try) and waits(node.body, body):
                yield from self._caught(node, body)
                yield from self._left(node, body)

    def _caught(self, node: Try, body: Body) -> Iterator[Found]:
        for handler in node.handlers:
            names = caught(handler, body)
            if "builtins.BaseException" in names:
                what = "except BaseException" if handler.type else "except:"
                wrong = _wrong(Exits(handler, body).of(handler.body))
                if wrong:
                    yield handler, f"{what} {wrong}"
            elif "durable.Cancelled" in names and not _has_scope(node, body):
                if _is_ignored(handler):
                    yield handler, "except Cancelled swallows it: raise it again, or return"
                elif Exits(handler, body).of(handler.body) == {"raises another"}:
                    yield handler, f"except Cancelled {REPLACES}"
            if any(name in CANCELLED for name in names):
                return  # it does not come to the next one

    def _suppressed(self, node: ast.With, body: Body) -> Iterator[Found]:
        for item in node.items:
            call = item.context_expr
            if (
                isinstance(call, ast.Call)
                and body.names.resolve(call.func) == "contextlib.suppress"
            ):
                for each in call.args:
                    if body.names.resolve(each) in CANCELLED and not _has_scope(node, body):
                        yield call, f"suppress({ast.unparse(each)}) swallows Cancelled"

    def _left(self, node: Try, body: Body) -> Iterator[Found]:
        for each in inside(node.finalbody, body):
            if isinstance(each, ast.Return) or (
                isinstance(each, ast.Break | ast.Continue) and not _in_loop_of(node, each, body)
            ):
                name = type(each).__name__.lower()
                yield each, f"{name} in finally swallows Cancelled: put it behind the block"


def _wrong(ends: set[str]) -> str:
    """What is wrong with a handler that ends so; "" if nothing is."""
    if ends == {"raises it"}:
        return ""
    if ends == {"raises another"}:
        return REPLACES
    if "raises it" in ends:
        return "does not always raise Cancelled again: name what you catch, or raise it at the end"
    return "swallows Cancelled: name what you catch, or raise it again"


REPLACES = "makes a failure of a cancel: raise Cancelled again"


class Exits:
    """How a handler may end when what it has caught is `Cancelled`.

    * raises it: by ``raise``, or by its name; * raises another; * returns; * breaks: out of a loop
    around the statements, or into its next round; * goes on: behind the statements.
    """

    def __init__(self, handler: ast.ExceptHandler, body: Body) -> None:
        self.name = handler.name
        self.names = body.names

    def of(self, statements: list[ast.stmt]) -> set[str]:
        """The ends of some statements."""
        ends = {"goes on"}
        for each in statements:
            if "goes on" not in ends:
                break
            ends = ends - {"goes on"} | self._of_one(each)
        return ends

    def _of_one(self, node: ast.stmt) -> set[str]:
        match node:
            case ast.Raise():
                is_same = node.exc is None or self._is_caught(node.exc)
                return {"raises it" if is_same else "raises another"}
            case ast.Return():
                return {"returns"}
            case ast.Break() | ast.Continue():
                return {"breaks"}
            case ast.If():
                return self._of_branches(node)
            case ast.With():
                return self.of(node.body)
            case ast.For() | ast.While():
                return self.of([*node.body, *node.orelse]) - {"breaks"} | {"goes on"}
            case ast.Match():
                return self._of_cases(node)
            case ast.Try() | ast.TryStar():
                return self._of_try(node)
        return {"goes on"}

    def _of_branches(self, node: ast.If) -> set[str]:
        holds = self._holds(node.test)
        if holds is None:
            return self.of(node.body) | self.of(node.orelse)
        return self.of(node.body if holds else node.orelse)

    def _of_cases(self, node: ast.Match) -> set[str]:
        ends = set[str]()
        for case in node.cases:
            pattern = case.pattern
            if self._is_caught(node.subject) and isinstance(pattern, ast.MatchClass):
                if self.names.resolve(pattern.cls) not in CANCELLED:
                    continue
                is_last = not pattern.patterns and not pattern.kwd_patterns
            else:
                is_last = isinstance(pattern, ast.MatchAs) and pattern.pattern is None
            ends |= self.of(case.body)
            if is_last and case.guard is None:
                return ends
        return ends | {"goes on"}

    def _of_try(self, node: Try) -> set[str]:
        last = self.of(node.finalbody)
        if "goes on" not in last:
            return last
        ends = self.of([*node.body, *node.orelse])
        for handler in node.handlers:  # what is raised in it is about an error of the clean-up
            ends |= self.of(handler.body) - {"raises it", "raises another"}
        return ends | last - {"goes on"}

    def _is_caught(self, node: ast.expr) -> bool:
        match node:
            case ast.Name(id=name):
                return name == self.name
            case ast.Call(func=ast.Attribute(value=value, attr="with_traceback")):
                return self._is_caught(value)
        return False

    def _holds(self, test: ast.expr) -> bool | None:
        """Whether a condition holds for `Cancelled`; None if that is not known."""
        match test:
            case ast.UnaryOp(op=ast.Not()):
                holds = self._holds(test.operand)
                return None if holds is None else not holds
            case ast.Call(args=[value, types]) if self._is_caught(value):
                if self.names.resolve(test.func) == "builtins.isinstance":
                    names = set(self._types(types))
                    return True if names & set(CANCELLED) else None if "" in names else False
        return None

    def _types(self, node: ast.expr) -> Iterator[str]:
        node = self.names.only_value(node)
        match node:
            case ast.Tuple():
                for each in node.elts:
                    yield from self._types(each)
            case ast.BinOp(op=ast.BitOr()):
                yield from self._types(node.left)
                yield from self._types(node.right)
            case _:
                is_own = isinstance(self.names.definition(node), ast.ClassDef)
                name = "a class of this file" if is_own else self.names.resolve(node)
                yield "" if "()" in name else name  # a value is no class


def _is_ignored(handler: ast.ExceptHandler) -> bool:
    return all(
        isinstance(each, ast.Pass | ast.Continue)
        or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        for each in handler.body
    )


def _has_scope(node: ast.AST, body: Body) -> bool:
    """Whether a node is in a block of its own, which may be what was cancelled, or is one."""
    return any(
        body.names.resolve(item.context_expr) in ("durable.timeout()", "durable.CancelScope()")
        for around in (node, *body.within(node))
        if isinstance(around, ast.With)
        for item in around.items
    )


def _in_loop_of(block: Try, node: ast.AST, body: Body) -> bool:
    for around in body.within(node):
        if isinstance(around, ast.For | ast.While):
            return True
        if around is block:
            break
    return False
