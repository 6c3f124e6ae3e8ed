"""Commands and parts of a workflow that are made, and do not reach the workflow's `yield`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from durable.lint.fates import COMBINATORS, Fates
from durable.lint.names import Comprehension
from durable.lint.program import COMMANDS, Body
from durable.lint.rule import Found, Rule

TAKE_COMMANDS = COMBINATORS | {"durable.spawn"}
EACH = "durable.Channel().each"  # runs a function for each value, as a part


def written(node: ast.expr) -> str:
    """A call as it is written, without its arguments."""
    if isinstance(node, ast.Call):
        return f"{written(node.func)}(…)"
    if isinstance(node, ast.Attribute):
        return f"{written(node.value)}.{node.attr}"
    return ast.unparse(node)


class DirectCall(Rule):
    """An activity is called without ``.call``

    The plain function would run within the workflow, again in every replay; when it runs, this
    raises ``UsageError``.  ``.call(…)`` makes a command, and the ``yield`` has it done.  What is
    only named is found as well: ``yield mail``, ``yield mail.call``.

    Bad::

        @workflow
        def greet(name: str) -> Workflow[None]:
            mail(name)
            yield sleep(1)

    Instead::

        @workflow
        def greet(name: str) -> Workflow[None]:
            yield mail.call(name)
            yield sleep(1)
    """

    code = "DUR121"

    def find(self, body: Body) -> Iterator[Found]:
        for each in body.yields:
            call = self._missing(each.value, body) if each.value is not None else ""
            if each.value is not None and call:
                name = written(each.value)
                yield each, f"{name} is no command: write `yield {name}{call}`"
        for node in body.nodes:
            if not isinstance(node, ast.Call):
                continue
            if body.names.resolve(node.func) in TAKE_COMMANDS:
                for arg in [*node.args, *(keyword.value for keyword in node.keywords)]:
                    if call := self._missing(arg, body):
                        yield arg, f"{written(arg)} is no command: write `{written(arg)}{call}`"
            kind = body.program.kind(node.func)
            # What is imported may also be a workflow, as a part of this one.
            is_part = isinstance(body.names.parents[node], ast.YieldFrom)
            if kind == "activity" or (kind == "definition" and not is_part):
                name = written(node.func)
                yield node, f"{name}(…) is called in the workflow: write `yield {name}.call(…)`"

    def _missing(self, node: ast.expr, body: Body) -> str:
        """What makes a command of an expression: ``.call(…)`` of an activity."""
        if body.program.is_definition(node):
            return ".call(…)"
        is_call = isinstance(node, ast.Attribute) and node.attr == "call"
        if is_call and body.program.is_definition(node.value):  # type: ignore[attr-defined]
            return "(…)"
        return "(…)" if body.names.resolve(node) in COMMANDS else ""


class ForgottenYield(Rule):
    """A command is not yielded

    A command is a value: nothing is done until it is yielded.  One that is taken for its result is
    found as well, such as ``a, b = gather(…)``; and so are those in a list that nobody yields, or
    that is yielded itself.

    Bad::

        @workflow
        def greet(name: str) -> Workflow[None]:
            mail.call(name)
            yield sleep(1)

    Instead::

        @workflow
        def greet(name: str) -> Workflow[None]:
            yield mail.call(name)
            yield sleep(1)
    """

    code = "DUR122"

    def find(self, body: Body) -> Iterator[Found]:
        fates = Fates(body.program)
        for each in body.yields:
            stars = fates.stars(each.value) if each.value is not None else ""
            if stars:
                all_of_them = f"{stars}{each.value.id}" if isinstance(each.value, ast.Name) else "…"
                text = f"several commands are no command: write `yield gather({all_of_them})`"
                yield each, text
        for node in body.nodes:
            if not isinstance(node, ast.Call) or not body.program.is_command(node):
                continue
            if body.names.resolve(node.func) in COMBINATORS:
                yield from self._lists(node, fates)
            fate = fates.of(node)
            lost = f"{written(node)} is not yielded, so nothing is done: write"
            if fate == "dropped":
                yield node, f"{lost} `yield …`"
            elif fate == "left":
                yield node, f"{lost} `yield gather(…)`"
            elif fate in ("used", "iterated", "unpacked"):
                yield node, f"{written(node)} is no result yet: write `(yield …)`"

    def _lists(self, call: ast.Call, fates: Fates) -> Iterator[Found]:
        for stars in filter(None, map(fates.stars, call.args)):
            if fates.names.resolve(call.func) == "durable.with_timeout":
                yield call, f"{written(call)} takes one command: write `gather({stars}…)` in it"
            else:
                what = "a list" if stars == "*" else "a dict"
                text = f"{written(call)} takes commands, not {what}: write a {stars} before it"
                yield call, text


class YieldInComprehension(Rule):
    """There is a ``yield`` in a comprehension

    Python refuses it when the module is imported.  A comprehension may make the commands; one
    ``gather`` waits for all of them.  To do one after the other, write a loop.

    Bad::

        @workflow
        def tell(names: list[str]) -> Workflow[list[str]]:
            return [(yield mail.call(name)) for name in names]

    Instead::

        @workflow
        def tell(names: list[str]) -> Workflow[list[str]]:
            return (yield gather(*[mail.call(name) for name in names]))
    """

    code = "DUR123"

    def find(self, body: Body) -> Iterator[Found]:
        for node in body.yields:
            inner: ast.AST = node
            for around in body.within(node):
                # What it goes through first is evaluated outside of it.
                if isinstance(around, Comprehension) and inner is not around.generators[0].iter:
                    text = "a comprehension cannot yield: write `yield gather(*[…])`, or a loop"
                    yield node, text
                    break
                inner = around


class ReturnedCommand(Rule):
    """A command is returned

    ``return command`` does not do it: it raises ``TypeError`` when it runs.  ``return (yield
    command)`` returns its result.  ``return continue_as_new(…)`` is right as it is.

    Bad::

        @workflow
        def greet(name: str) -> Workflow[str]:
            yield sleep(1)
            return mail.call(name)

    Instead::

        @workflow
        def greet(name: str) -> Workflow[str]:
            yield sleep(1)
            return (yield from mail.call(name))
    """

    code = "DUR125"

    def find(self, body: Body) -> Iterator[Found]:
        if not body.is_flow:
            return
        fates = Fates(body.program)
        for node in body.nodes:
            if not isinstance(node, ast.Call) or not body.program.is_command(node):
                continue
            fate = fates.of(node)
            if fate == "returned":
                text = f"{written(node)} is returned, not its result: write `return (yield …)`"
                yield node, text
            elif fate == "listed" and body.is_workflow:
                is_one = not isinstance(body.names.parents[node], Comprehension)
                instead = "`(yield …)`" if is_one else "`return (yield gather(…))`"
                yield node, f"{written(node)} is returned, not its result: write {instead}"


class NotDelegated(Rule):
    """A part of a workflow is not delegated to

    Calling a generator function only makes a generator: none of its code runs.
    ``yield from part()`` runs it here, ``spawn(part())`` beside; ``gather`` and ``race`` take tasks
    and commands, and no generators.

    Bad::

        def part(name: str) -> Workflow[None]:
            yield mail.call(name)

        @workflow
        def greet(name: str) -> Workflow[None]:
            part(name)
            yield sleep(1)

    Instead::

        def part(name: str) -> Workflow[None]:
            yield mail.call(name)

        @workflow
        def greet(name: str) -> Workflow[None]:
            yield from part(name)
            yield sleep(1)
    """

    code = "DUR126"

    def find(self, body: Body) -> Iterator[Found]:
        fates = Fates(body.program)
        # A plain function may make a generator for somebody else: on_signal("go", handle).
        lost = _LOST if body.is_flow else _LOST - {"returned"}
        for node in body.nodes:
            if not isinstance(node, ast.Call) or body.names.parents[node] is body.node:
                continue
            bad = self._bad_fates(node, body) & lost
            fate = fates.of(node) if bad else ""
            name = written(node.func)
            if fate in bad and fate == "combined":
                yield node, f"{name}(…) is a generator, no command: write `spawn({name}(…))`"
            elif fate in bad:
                yield node, f"{name}(…) does not run: write `yield from {name}(…)`"

    def _bad_fates(self, node: ast.Call, body: Body) -> set[str]:
        """What must not become of a generator: one of plain values may be iterated over."""
        if body.names.resolve(node.func) == EACH:
            return _LOST
        function = body.names.definition(node.func)
        if function is None or not body.program.is_generator(function):
            return set()
        if body.program.is_part(function):
            return _LOST
        is_of_commands = body.program.yields_commands(function)
        return {"yielded", "dropped", "combined"} if is_of_commands else {"yielded"}


_LOST = {"combined", "dropped", "left", "iterated", "returned", "unpacked", "used", "yielded"}
