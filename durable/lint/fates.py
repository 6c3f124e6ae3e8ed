"""What a workflow does with the commands and generators that it makes."""

from __future__ import annotations

import ast

from durable.lint.names import Comprehension, Scope
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
    * combined: given to ``gather``, ``race`` or ``with_timeout``; * passed: anything else.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.names = program.names
        self._known: dict[tuple[Scope, str], str] = {}

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
                return "iterated" if node is parent.generators[0].iter else self._collected(parent)
            case ast.Starred():
                return "iterated"
            case ast.List() | ast.Tuple():
                return self._collected(node)
            case ast.Assign(targets=[ast.Tuple() | ast.List()]):
                return "unpacked"
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
        is_call = self.program.is_command(call) and name not in COMMANDS
        return "used" if name in VALUES or is_call else "passed"

    def _collected(self, node: ast.AST) -> str:
        """One of several: ``gather(*[part(x) for x in xs])``."""
        for around in self.names.around(node):
            if isinstance(around, ast.Call):
                return "combined" if self._argument(around) == "combined" else "passed"
            if isinstance(around, ast.Expr):
                return "dropped"
            if isinstance(around, ast.Assign) and len(around.targets) == 1:
                return "dropped" if self._of_variable(around.targets[0]) == "dropped" else "passed"
            if not isinstance(around, Comprehension | ast.Starred | ast.List | ast.Tuple):
                break
        return "passed"

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
            self._known[key] = next((fate for fate in _BEST if fate in fates), "used")
            if not fates:
                self._known[key] = "dropped"
        return self._known[key]


_BEST = ("passed", "delegated", "yielded", "combined", "returned", "iterated")
_SIMPLE: dict[type[ast.AST], str] = {
    ast.Expr: "dropped",
    ast.Yield: "yielded",
    ast.YieldFrom: "delegated",
    ast.Await: "delegated",
    ast.Return: "returned",
    ast.Attribute: "used",
    ast.UnaryOp: "used",
    ast.BinOp: "used",
    ast.Compare: "used",
    ast.AugAssign: "used",
    ast.FormattedValue: "used",
}
