"""What a workflow does with the commands and generators that it makes."""

from __future__ import annotations

import ast

from durable.lint.names import FunctionNode, Scope
from durable.lint.program import COMMANDS, Program

COMBINATORS = frozenset({"durable.gather", "durable.race", "durable.with_timeout"})

# Calls that want a value, and are given a command or a generator by mistake.
VALUES = frozenset(
    f"builtins.{name}"
    for name in (
        *("bool", "bytes", "dict", "float", "int", "len", "list", "max", "min"),
        *("print", "repr", "set", "sorted", "str", "sum", "tuple"),
    )
) | {"durable.continue_as_new", "durable.set_var", "durable.set_vars"}


class Fates:
    """What a workflow does with a command or a generator that it has made.

    * dropped: nothing; * yielded, delegated: ``yield``, ``yield from``; * returned;
    * used: it is taken for its result; * iterated, unpacked: likewise, in a loop or ``a, b =``;
    * combined: given to ``gather``, ``race`` or ``with_timeout``; * passed: anything else;
    * left: put into a list, of which nothing becomes; * listed: into one that is returned.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.names = program.names
        self._known: dict[tuple[Scope, str], str] = {}
        self._lists: dict[tuple[Scope, str], str] = {}
        self._stars: dict[tuple[Scope, str], str] = {}

    def of(self, node: ast.expr) -> str:
        """The fate of one expression."""
        parent = self.names.parents[node]
        simple = _SIMPLE.get(type(parent))
        if simple is not None:
            return simple
        match parent:
            case ast.BoolOp():
                return self.of(parent)
            case ast.IfExp():
                return "used" if node is parent.test else self.of(parent)
            case ast.Subscript() if node is not parent.value:
                return "passed"
            case ast.Subscript() | ast.If() | ast.While() | ast.Assert():
                return "used"
            case ast.For() | ast.comprehension():
                return "iterated" if node is parent.iter else "used"
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                return "iterated" if node is parent.generators[0].iter else self.of_list(parent)
            case ast.Starred():
                return "iterated"
            case ast.List() | ast.Tuple() | ast.Set() | ast.Dict():
                return self.of_list(parent)
            case ast.Compare():
                return "used" if self._is_with_a_value(parent, node) else "passed"
            case ast.Assign(targets=[ast.Tuple() | ast.List()]):
                return "unpacked"
            case ast.Assign(targets=[ast.Subscript(value=ast.Name() as target)]):
                return self._of_list_variable(target)
            case ast.Assign(targets=[target]) | ast.AnnAssign(target=target):
                return self._of_variable(target)
            case ast.NamedExpr():
                outside = self.of(parent)
                inside = self._of_variable(parent.target)
                return inside if outside in ("used", "dropped") else outside
            case ast.Call() if node is not parent.func:
                return self._argument(parent)
            case ast.keyword():
                call = self.names.parents[parent]
                return self._argument(call) if isinstance(call, ast.Call) else "passed"
        return "passed"

    def _argument(self, call: ast.Call) -> str:
        name = self.names.resolve(call.func)
        if name in COMBINATORS:
            return "combined"
        if isinstance(call.func, ast.Attribute) and call.func.attr in _ADDING:
            return self._of_list_variable(call.func.value)
        is_call = self.program.is_command(call) and name not in COMMANDS
        return "used" if name in VALUES or is_call else "passed"

    def _is_with_a_value(self, node: ast.Compare, command: ast.expr) -> bool:
        """Commands are compared with each other: ``next(steps) == charge.call(5)``."""
        if any(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for op in node.ops):
            return True
        others = [each for each in (node.left, *node.comparators) if each is not command]
        return any(self._is_value(each) for each in others)

    def _is_value(self, node: ast.expr) -> bool:
        """Whether an expression is surely no command, nor a list of commands."""
        node = self.names.only_value(node)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return any(map(self._is_value, node.elts))
        return isinstance(node, _VALUES)

    # -- one of several --------------------------------------------------------------------

    def of_list(self, node: ast.expr) -> str:
        """The fate of what is in a list: ``gather(*[part(x) for x in xs])``."""
        parent = self.names.parents[node]
        match parent:
            case ast.Expr() | ast.If() | ast.While() | ast.Assert() | ast.FormattedValue():
                return "left"
            case ast.UnaryOp():
                return "left"
            case ast.Return():
                return "listed"
            case ast.List() | ast.Tuple() | ast.Set() | ast.Dict() | ast.IfExp() | ast.BinOp():
                return self.of_list(parent)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                return "passed" if node is parent.generators[0].iter else self.of_list(parent)
            case ast.Subscript() if node is parent.value:
                return "passed" if isinstance(parent.ctx, ast.Load) else "left"
            case ast.Starred() | ast.keyword():
                call = self.names.parents[parent]
                if isinstance(call, ast.Call):
                    return "combined" if self._argument(call) == "combined" else "passed"
                return self.of_list(parent) if isinstance(parent, ast.Starred) else "passed"
            case ast.Call() if node is not parent.func:
                return self._of_given_list(parent)
            case ast.Attribute():
                return self._of_asked_list(parent)
            case ast.Assign(targets=[target]) | ast.AnnAssign(target=target):
                return self._of_list_variable(target)
            case ast.AugAssign(target=target):
                return self._of_list_variable(target)
            case ast.For(target=ast.Name() as target):
                fate = self._of_variable(target)
                return "left" if fate == "dropped" else fate
        return "passed"

    def _of_given_list(self, call: ast.Call) -> str:
        name = self.names.resolve(call.func)
        match call.func:
            case _ if name in COMBINATORS:
                return "combined"
            case _ if name in _COPYING:
                return self.of_list(call)
            case _ if name in _LOOKING:
                return "left"
            case _ if name in _RECKONING:
                return "used"
            case ast.Attribute(attr="extend", value=added_to):
                return self._of_list_variable(added_to)
            case ast.Attribute(attr="join"):
                return "used"
        return "passed"

    def _of_asked_list(self, method: ast.Attribute) -> str:
        call = self.names.parents[method]
        if method.attr not in _ADDING | _ORDERING or not isinstance(call, ast.Call):
            return "passed"
        return "left" if isinstance(self.names.parents[call], ast.Expr) else "passed"

    def _of_list_variable(self, target: ast.expr) -> str:
        owner = self.names.owner(target) if isinstance(target, ast.Name) else None
        if not isinstance(target, ast.Name) or owner is None or not self._is_list(target):
            return "passed"
        key = (owner, target.id)
        if key not in self._lists:
            self._lists[key] = "left"  # meanwhile: x = [*x]
            fates = {self.of_list(load) for load in self.names.loads.get(key, ())} - {"left"}
            self._lists[key] = fates.pop() if len(fates) == 1 else "passed" if fates else "left"
        return self._lists[key]

    def _is_list(self, name: ast.Name) -> bool:
        """Whether a variable is a list of one's own, or the like, and nothing else."""
        owner = self.names.owner(name)
        if owner is None or not isinstance(owner.node, FunctionNode):
            return False
        return all(self._makes_list(each.value) for each in self.names.bindings(name))

    def _makes_list(self, node: ast.expr | None) -> bool:
        node = self.names.only_value(node) if node is not None else None
        if isinstance(node, ast.Tuple | ast.GeneratorExp) or self.program.is_container(node):
            return True
        return isinstance(node, ast.Call) and self.names.resolve(node.func) in _COPYING

    def stars(self, node: ast.expr) -> str:
        """What makes arguments of several commands: ``*`` of a list, ``**`` of a dict."""
        match node:
            case ast.List() | ast.Tuple() | ast.Set():
                return "*" if any(map(self._is_of_commands, node.elts)) else ""
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                return "*" if self.program.is_command(node.elt) else ""
            case ast.Dict():
                return "**" if any(map(self.program.is_command, node.values)) else ""
            case ast.DictComp():
                return "**" if self.program.is_command(node.value) else ""
            case ast.Call(func=function, args=[value]) if self.names.resolve(function) in _COPYING:
                return self.stars(value)
            case ast.Call(func=function, args=[ast.Attribute(attr="call") as called, *_]):
                is_map = self.names.resolve(function) == "builtins.map"
                return "*" if is_map and self.program.is_definition(called.value) else ""
            case ast.Name():
                return self._stars_of_variable(node)
        return ""

    def _is_of_commands(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Starred):
            return self.stars(node.value) == "*"
        return self.program.is_command(node)

    def _stars_of_variable(self, name: ast.Name) -> str:
        owner = self.names.owner(name)
        if owner is None or not self._is_list(name):
            return ""
        key = (owner, name.id)
        if key not in self._stars:
            self._stars[key] = ""  # meanwhile: x = [*x]
            stars = {self.stars(each.value) for each in self.names.bindings(name) if each.value}
            loads = self.names.loads.get(key, ())
            stars.update("*" for load in loads if self._is_given_command(load))
            stars.discard("")
            self._stars[key] = stars.pop() if len(stars) == 1 else ""
        return self._stars[key]

    def _is_given_command(self, load: ast.Name) -> bool:
        """``commands.append(charge.call(5))``."""
        method = self.names.parents[load]
        call = self.names.parents[method]
        is_append = isinstance(method, ast.Attribute) and method.attr == "append"
        return (
            is_append
            and isinstance(call, ast.Call)
            and any(map(self.program.is_command, call.args))
        )

    def _of_variable(self, target: ast.expr) -> str:
        if not isinstance(target, ast.Name):
            return "passed"
        owner = self.names.owner(target)
        if owner is None or owner is not self.names.scopes[target]:
            return "passed"
        key = (owner, target.id)
        if key not in self._known:
            self._known[key] = "used"  # meanwhile: x = x or y
            fates = {self.of(load) for load in self.names.loads.get(key, ())}
            if "returned" in fates and len(owner.names[target.id]) > 1:
                fates = {"passed"}  # perhaps it is the result by then
            self._known[key] = next((fate for fate in _BEST if fate in fates), "dropped")
        return self._known[key]


# What is surely no command.
_VALUES = (
    *(ast.Attribute, ast.BinOp, ast.Compare, ast.Constant, ast.Dict, ast.JoinedStr, ast.Subscript),
    ast.UnaryOp,
)
# What is done to a list, or asked of it, and does nothing with what is in it.
_ADDING = frozenset({"add", "append", "appendleft", "insert"})
_ORDERING = frozenset({"clear", "extend", "reverse", "sort", "update"})
_LOOKING = frozenset(f"builtins.{name}" for name in ("bool", "len", "print", "repr", "str"))
_RECKONING = frozenset(f"builtins.{name}" for name in ("all", "any", "max", "min", "sum"))
_COPYING = frozenset(f"builtins.{name}" for name in ("dict", "list", "reversed", "set", "tuple"))
# Of several fates the one that counts.
_BEST = (
    *("passed", "delegated", "yielded", "combined", "returned", "listed", "iterated", "used"),
    *("unpacked", "left"),
)
_SIMPLE: dict[type[ast.AST], str] = {
    ast.Expr: "dropped",
    ast.Yield: "yielded",
    ast.YieldFrom: "delegated",
    ast.Await: "delegated",
    ast.Return: "returned",
    ast.Attribute: "used",
    ast.UnaryOp: "used",
    ast.BinOp: "used",
    ast.AugAssign: "used",
    ast.FormattedValue: "used",
    ast.Match: "used",
    ast.withitem: "used",
}
