"""Which code of a file is workflow code, and which of its expressions make commands.

Workflow code is what `@workflow` decorates, and the undecorated functions of the same file that
it names: generators that it delegates to, functions that it calls or hands on.  What it gives to
``side_effect`` runs once and is free, as are activities.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cached_property

from durable.lint.names import Comprehension, FunctionNode, Names

# What makes a command; `spawn` and `external` begin at once and may be left alone.
COMMANDS = frozenset(
    f"durable.{name}"
    for name in (
        "Channel().receive",
        "Channel().send",
        "gather",
        "race",
        "send_signal",
        "side_effect",
        "sleep",
        "sleep_until",
        "wait_signal",
        "wait_until",
        "with_timeout",
    )
)

# What makes a value that can be changed.
CONTAINERS = (
    frozenset(f"builtins.{name}" for name in ("bytearray", "dict", "list", "set"))
    | {f"collections.{name}" for name in ("Counter", "OrderedDict", "defaultdict", "deque")}
    | {f"queue.{name}" for name in ("LifoQueue", "PriorityQueue", "Queue", "SimpleQueue")}
)


class Body:
    """A function of workflow code, without the functions that are defined in it.

    workflow: the name of a workflow that runs it; is_workflow: whether it is one itself;
    delegated: whether the workflow goes on only when it has ended.
    """

    def __init__(self, program: Program, node: FunctionNode, workflow: str) -> None:
        self.program = program
        self.names = program.names
        self.node = node
        self.workflow = workflow
        self.is_workflow = program.kinds.get(node) == "workflow"
        self.delegated = self.is_workflow

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """What this function itself evaluates, and its defaults."""
        args = self.node.args
        defaults = [each for each in (*args.defaults, *args.kw_defaults) if each is not None]
        return list(self._walk([*self.node.body, *defaults]))

    def _walk(self, waiting: list[ast.AST]) -> Iterator[ast.AST]:
        free: set[ast.AST] = set()
        seen: set[ast.AST] = set()
        while waiting:
            node = waiting.pop()
            yield node
            if isinstance(node, FunctionNode):
                waiting += [*node.decorator_list, *node.args.defaults]
                waiting += [each for each in node.args.kw_defaults if each is not None]
            else:
                if isinstance(node, ast.Call):
                    free.update(self._free(node))
                    made = [each for each in self._factories(node) if each not in seen]
                    seen.update(made)
                    waiting += made
                waiting += [each for each in ast.iter_child_nodes(node) if each not in free]

    def _free(self, call: ast.Call) -> Iterator[ast.AST]:
        """What ``side_effect`` calls, and what it hands over by name."""
        if self.names.resolve(call.func) == "durable.side_effect":
            for argument in [*call.args, *call.keywords]:
                yield from _handed_on(argument, self.names)

    def _factories(self, call: ast.Call) -> Iterator[ast.AST]:
        """What a dataclass of this file calls for the fields that are not given."""
        made = self.names.definition(call.func)
        given = {keyword.arg for keyword in call.keywords}
        if not isinstance(made, ast.ClassDef) or None in given:
            return
        fields = [each for each in made.body if isinstance(each, ast.AnnAssign)]
        for each in fields[len(call.args) :]:
            is_given = isinstance(each.target, ast.Name) and each.target.id in given
            if isinstance(each.value, ast.Call) and not is_given:
                for option in each.value.keywords:
                    if option.arg == "default_factory":
                        yield option.value

    @cached_property
    def yields(self) -> list[ast.Yield | ast.YieldFrom]:
        """The yields of this function, not those of a lambda in it."""
        return [
            node
            for node in self.nodes
            if isinstance(node, ast.Yield | ast.YieldFrom)
            and self.names.scopes[node].function.node is self.node
        ]

    @property
    def is_flow(self) -> bool:
        """Whether its ``return`` gives a result, as that of a generator does."""
        return self.is_workflow or bool(self.yields)

    def is_outside(self, node: ast.expr) -> bool:
        """Whether an expression begins with a variable that lives longer than the workflow: a
        global, or a local of a function that is no workflow code."""
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        owner = self.names.owner(node) if isinstance(node, ast.Name) else None
        if owner is None or isinstance(owner.node, Comprehension):
            return False
        around = owner.function.node
        if isinstance(around, FunctionNode):
            return around not in self.program.bodies
        return isinstance(around, ast.Module)

    def within(self, node: ast.AST) -> Iterator[ast.AST]:
        """What a node stands in, up to this function."""
        for around in self.names.around(node):
            if around is self.node:
                return
            yield around


def _handed_on(argument: ast.AST, names: Names) -> Iterator[ast.AST]:
    if isinstance(argument, ast.keyword):
        argument = argument.value
    if isinstance(argument, ast.Call):
        if names.resolve(argument.func) == "functools.partial":
            for each in [*argument.args, *argument.keywords]:
                yield from _handed_on(each, names)
    elif isinstance(argument, ast.Lambda | ast.Name | ast.Attribute):
        yield argument


class Program:
    """A file: its definitions, its workflow code, and what may be said about its expressions.

    kinds: "workflow" or "activity", by function; bodies: its workflow code.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.names = Names(tree)
        self.kinds: dict[ast.AST, str] = {}
        self.timed: set[ast.AST] = set()
        self.called: set[str] = set()
        for node in ast.walk(tree):
            self._note_kind(node)
            self._note_use(node)
        self.bodies: dict[ast.AST, Body] = {}
        for node, kind in self.kinds.items():
            if kind == "workflow" and isinstance(node, FunctionNode):
                self._reach(node, node.name)
        for node in ast.walk(tree):
            if isinstance(node, FunctionNode) and self._is_declared_part(node):
                self._reach(node, "")
        for body in list(self.bodies.values()):
            if body.is_workflow:
                self._delegate(body)

    # -- definitions ---------------------------------------------------------------------

    def _note_kind(self, node: ast.AST) -> None:
        if isinstance(node, FunctionNode):
            for decorator in node.decorator_list:
                self._note(decorator, node)
        elif isinstance(node, ast.Call) and node.args:  # order = workflow(process)
            function = self.names.definition(node.args[0])
            if function is not None:
                self._note(node.func, function)

    def _note(self, decorator: ast.expr, function: ast.AST) -> None:
        options = decorator.keywords if isinstance(decorator, ast.Call) else []
        name = self.names.resolve(decorator).removesuffix("()")
        if name in ("durable.workflow", "durable.activity"):
            self.kinds[function] = name.removeprefix("durable.")
            if any(option.arg == "timeout" for option in options):
                self.timed.add(function)

    def _note_use(self, node: ast.AST) -> None:
        """An imported name with ``.call`` or ``.options`` is a definition of another file."""
        if isinstance(node, ast.Attribute) and node.attr in ("call", "options"):
            name = self.names.resolve(node.value)
            if name and "()" not in name and not _of_python(name):
                self.called.add(name)

    def kind(self, node: ast.expr) -> str:
        """What an expression names: a "workflow", an "activity", a "definition" that is one
        of them and imported, or ""."""
        function = self.names.definition(node)
        if function is not None:
            return self.kinds.get(function, "")
        value = self.names.only_value(node)
        if isinstance(value, ast.Call) and value.args:  # order = workflow(process)
            name = self.names.resolve(value.func).removesuffix("()")
            if name in ("durable.workflow", "durable.activity"):
                return name.removeprefix("durable.")
        return "definition" if self.names.resolve(node) in self.called else ""

    def is_generator(self, function: ast.AST) -> bool:
        """Whether a function of this file is a generator function."""
        return isinstance(function, FunctionNode) and bool(Body(self, function, "").yields)

    def yields_commands(self, function: ast.AST) -> bool:
        """Whether what a generator function yields are commands, as far as one can see."""
        if not isinstance(function, FunctionNode):
            return False
        values = [each.value for each in Body(self, function, "").yields]
        return any(value is not None and self.is_command(value) for value in values)

    def is_part(self, function: ast.AST) -> bool:
        """Whether a generator function is a part of a workflow: it says so, or wants to know
        what becomes of its commands.  One that only makes commands may be iterated over."""
        if not isinstance(function, FunctionNode) or not self.is_generator(function):
            return False
        if self._is_declared_part(function):
            return True
        return self.yields_commands(function) and any(
            not isinstance(self.names.parents[each], ast.Expr)
            for each in Body(self, function, "").yields
        )

    def _is_declared_part(self, function: FunctionNode) -> bool:
        returns = function.returns
        if returns is None or self.names.type_name(returns) != "durable.Workflow":
            return False
        return function not in self.kinds and self.is_generator(function)

    # -- workflow code -------------------------------------------------------------------

    def _reach(self, node: FunctionNode, workflow: str) -> None:
        if node in self.bodies:
            return
        body = self.bodies[node] = Body(self, node, workflow)
        for wrapper in self._wrappers(node):
            self._reach(wrapper, workflow)
        for each in body.nodes:
            if isinstance(each, ast.Name | ast.Attribute) and isinstance(each.ctx, ast.Load):
                for function in self._run(each):
                    if function not in self.kinds:
                        self._reach(function, workflow)

    def _wrappers(self, node: FunctionNode) -> Iterator[FunctionNode]:
        """What runs instead of a function that a decorator of this file has changed."""
        for decorator in node.decorator_list:
            made = decorator.func if isinstance(decorator, ast.Call) else decorator
            maker = self.names.definition(made)
            for each in ast.walk(maker) if isinstance(maker, FunctionNode) else ():
                if isinstance(each, FunctionNode) and each is not maker and self._wraps(each):
                    yield each

    def _wraps(self, function: FunctionNode) -> bool:
        names = map(self.names.resolve, function.decorator_list)
        return "functools.wraps()" in names or self.is_generator(function)

    def _run(self, node: ast.Name | ast.Attribute) -> Iterator[FunctionNode]:
        """The functions that run, as far as one can see, when this is named or called."""
        named = self.names.definition(node)
        if isinstance(named, FunctionNode):
            yield named
        call = self.names.parents[node]
        if isinstance(named, ast.ClassDef) and isinstance(call, ast.Call) and node is call.func:
            for name in ("__init__", "__post_init__", "__enter__", "__exit__"):
                method = self.names.method(named, name)
                if method is not None:
                    yield method

    def _delegate(self, body: Body) -> None:
        """Note which helpers a workflow waits for: ``yield from helper()``."""
        for each in body.yields:
            if isinstance(each, ast.YieldFrom) and isinstance(each.value, ast.Call):
                function = self.names.definition(each.value.func)
                helper = self.bodies.get(function) if function else None
                if helper is not None and not helper.delegated:
                    helper.delegated = True
                    self._delegate(helper)

    # -- commands ------------------------------------------------------------------------

    def is_command(self, node: ast.expr) -> bool:
        """Whether an expression makes a command."""
        if not isinstance(node, ast.Call):
            return False
        if self.names.resolve(node.func) in COMMANDS:
            return True
        return (
            isinstance(node.func, ast.Attribute)
            and node.func.attr == "call"
            and self.is_definition(node.func.value)
        )

    def is_definition(self, node: ast.expr) -> bool:
        """Whether an expression is a workflow or an activity, with options or without."""
        if self.kind(node):
            return True
        value = self.names.only_value(node)  # quick = charge.options(timeout=1)
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            return value.func.attr == "options" and bool(self.kind(value.func.value))
        return False

    def is_container(self, node: ast.expr | None) -> bool:
        """Whether an expression makes a list, a dict or another value that can be changed."""
        displays = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
        if isinstance(node, displays):
            return True
        return isinstance(node, ast.Call) and self.names.resolve(node.func) in CONTAINERS


def _of_python(name: str) -> bool:
    """``subprocess.call`` is none of ours."""
    return name.partition(".")[0] in {*sys.stdlib_module_names, "builtins", "durable"}
