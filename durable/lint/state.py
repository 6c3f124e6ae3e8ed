"""State that replays do not share: what stands outside of a workflow, and the order of sets."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from durable.lint.effects import named
from durable.lint.names import Binding, FunctionNode
from durable.lint.program import Body
from durable.lint.rule import Found, Rule

MUTATING = frozenset(
    {
        *("append", "appendleft", "difference_update", "discard", "extend", "extendleft"),
        *("intersection_update", "move_to_end", "popitem", "popleft", "put_nowait"),
        *("setdefault", "symmetric_difference_update"),
    }
)
# What a value of any class may offer; a container changes by it: ZERO.add(cents) gives a sum.
PERHAPS_MUTATING = frozenset(
    {
        *("add", "clear", "insert", "pop", "put", "remove", "reverse", "rotate", "sort"),
        *("subtract", "update"),
    }
)
ENVIRON = frozenset({"os.environ", "os.environb"})
# Containers that modules of Python offer, and calls that change the process.
OF_PYTHON = ENVIRON | {"sys.argv", "sys.meta_path", "sys.modules", "sys.path"}
CHANGING = frozenset(f"os.{name}" for name in ("chdir", "fchdir", "putenv", "umask", "unsetenv"))


class OutsideState(Rule):
    """Something outside of the workflow is changed

    A global belongs to one process: a replay changes it again, and the next worker does not have
    it.  State is kept in local variables, which a replay makes anew; others see it by ``set_var``.
    A ``nonlocal`` of the workflow's own is state of the workflow, and free.

    Bad::

        TOTAL = 0

        @workflow
        def add(cents: int) -> Workflow[None]:
            global TOTAL
            TOTAL += cents
            yield mail.call(str(TOTAL))

    Instead::

        @workflow
        def add(total: int, cents: int) -> Workflow[int]:
            total += cents
            set_var("total", total)
            yield mail.call(str(total))
            return total
    """

    code = "DUR109"

    def find(self, body: Body) -> Iterator[Found]:
        for node in body.nodes:
            name = _changed_name(node, body)
            if name:
                yield (
                    node,
                    f"{name} lives outside of the workflow and is changed in each replay: "
                    "use local variables, and set_var to show them",
                )
            elif isinstance(node, ast.Call) and body.names.resolve(node.func) in CHANGING:
                name = body.names.resolve(node.func)
                yield (
                    node,
                    f"{name}() changes the process in each replay: give activities what they need",
                )


def _changed_name(node: ast.AST, body: Body) -> str:
    """The name of what a node changes, if it lives outside of the workflow."""
    is_variable = isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    changed = node if is_variable else _changed(node, body)
    root = root_of(changed) if isinstance(changed, ast.expr) else None
    if root is None or not isinstance(changed, ast.expr) or not body.is_outside(root):
        return ""
    name = body.names.resolve(changed)
    return name if name in OF_PYTHON else root.id


def root_of(node: ast.expr) -> ast.Name | None:
    """The variable that an expression begins with: ``CACHE`` of ``CACHE["a"].rows``."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node if isinstance(node, ast.Name) else None


def _changed(node: ast.AST, body: Body) -> ast.expr | None:
    """What a node changes: ``CACHE["a"]`` of ``CACHE["a"].append(x)``."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and _mutates(node.func, body):
            return node.func.value
        return None
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return node.value
    return None


def _mutates(method: ast.Attribute, body: Body) -> bool:
    """Whether a call of a method changes the variable that it begins with."""
    if body.names.resolve(method.value) in OF_PYTHON:
        return method.attr in MUTATING | PERHAPS_MUTATING
    root = root_of(method)
    bindings = body.names.bindings(root) if root else []
    # What functions of modules and classes do is not known: numpy.append(a, b) gives a value.
    if any(binding.target or binding.definition for binding in bindings):
        call = body.names.parents[method]
        return method.attr in MUTATING and isinstance(body.names.parents[call], ast.Expr)
    if method.attr in PERHAPS_MUTATING:
        return any(body.program.is_container(binding.value) for binding in bindings)
    return method.attr in MUTATING


class Environment(Rule):
    """The environment is read

    The next worker may run on another machine, with other variables, in another directory.  What
    is read by ``side_effect`` is recorded; or it is an argument of the start.

    Bad::

        @workflow
        def charge_all(cents: int) -> Workflow[None]:
            if os.environ["MODE"] == "live":
                yield mail.call(str(cents))

    Instead::

        @workflow
        def charge_all(cents: int) -> Workflow[None]:
            mode = yield from side_effect(os.environ.get, "MODE")
            if mode == "live":
                yield mail.call(str(cents))
    """

    code = "DUR108"
    called = (
        named("os", "getenv getenvb getcwd getcwdb getpid getppid getlogin")
        | named("os", "getuid getgid uname cpu_count process_cpu_count getloadavg")
        | named("os.path", "expanduser expandvars abspath")
        | named("socket", "gethostname getfqdn")
        | named("pathlib.Path", "cwd home")
        | named("pathlib.Path()", "absolute expanduser")
        | named("getpass", "getuser getpass")
        | named("platform", "machine node platform processor python_version release system uname")
        | named("locale", "getlocale getencoding getpreferredencoding")
    )
    read = ENVIRON | {"sys.argv"}

    def find(self, body: Body) -> Iterator[Found]:
        for node in body.nodes:
            name = ""
            if isinstance(node, ast.Call):
                name = body.names.resolve(node.func)
                name = f"{name}()" if name in self.called else ""
            elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                name = body.names.resolve(node)
                name = name if name in self.read and _is_read(node, body) else ""
            if name:
                yield node, f"{name} differs from worker to worker: use side_effect or an argument"


def _is_read(node: ast.expr, body: Body) -> bool:
    """Not a write, which is a change of a global; nor ``os.environ.get`` that is only named."""
    parent = body.names.parents[node]
    if isinstance(parent, ast.Subscript) and not isinstance(parent.ctx, ast.Load):
        return False
    if not isinstance(parent, ast.Attribute):
        return True
    around = body.names.parents[parent]
    is_called = isinstance(around, ast.Call) and around.func is parent
    return is_called and parent.attr not in MUTATING | PERHAPS_MUTATING


class SetOrder(Rule):
    """A set is iterated over

    The order of a set of texts is another one in each process.  ``sorted(…)`` gives it an order; a
    list, or ``dict.fromkeys(…)``, keeps the one in which things came.

    Bad::

        @workflow
        def tell(names: list[str]) -> Workflow[None]:
            for name in set(names):
                yield mail.call(name)

    Instead::

        @workflow
        def tell(names: list[str]) -> Workflow[None]:
            for name in sorted(set(names)):
                yield mail.call(name)
    """

    code = "DUR110"

    def find(self, body: Body) -> Iterator[Found]:
        sets = _Sets(body)
        for node in body.nodes:
            for iterated in _iterated(node, body):
                if not sets.has(iterated) or _is_of_numbers(iterated):
                    continue
                if not _has_no_order(node, sets) and not _is_loop_without_order(node, sets):
                    text = ast.unparse(iterated)
                    text = text if len(text) <= 40 else "this set"
                    yield iterated, f"the order of {text} differs between processes: use sorted(…)"


# What takes a set and gives what has no order, or an order of its own.
_UNORDERED = frozenset(
    f"builtins.{name}"
    for name in ("all", "any", "frozenset", "len", "max", "min", "set", "sorted", "sum")
)
_ORDERED = frozenset(
    f"builtins.{name}" for name in ("enumerate", "filter", "iter", "list", "map", "tuple", "zip")
) | {"builtins.dict.fromkeys", "collections.deque", "collections.OrderedDict.fromkeys"}
_ORDERED |= named("itertools", "accumulate chain combinations cycle groupby islice permutations")
_ORDERED |= named("itertools", "product takewhile zip_longest")


def _iterated(node: ast.AST, body: Body) -> list[ast.expr]:
    """What a node goes through in order."""
    match node:
        case ast.For() | ast.YieldFrom(value=ast.Set()):
            return [node.iter] if isinstance(node, ast.For) else [node.value]
        case ast.ListComp() | ast.DictComp() | ast.GeneratorExp():
            return [generator.iter for generator in node.generators]
        case ast.Starred(ctx=ast.Load()):
            return [] if isinstance(body.names.parents[node], ast.Set) else [node.value]
        case ast.Assign(targets=[ast.Tuple() | ast.List()]):
            return [node.value]
        case ast.Call(func=ast.Attribute(attr="pop", value=value), args=[]):
            return [value]
        case ast.Call(func=ast.Attribute(attr="join"), args=[value]):
            return [value]
        case ast.Call() if body.names.resolve(node.func) in _ORDERED:
            return [each for each in node.args if not isinstance(each, ast.Starred)]
    return []


def _is_of_numbers(node: ast.expr) -> bool:
    """``{1, 2}``: numbers have the same order in all processes."""
    return isinstance(node, ast.Set) and all(
        isinstance(each, ast.Constant) and isinstance(each.value, int | float) for each in node.elts
    )


def _has_no_order(node: ast.AST, sets: _Sets) -> bool:
    """``sorted(f(x) for x in names)``: what is made of the order is lost at once."""
    call = sets.names.parents[node]
    if not isinstance(call, ast.Call) or node is call.func:
        return False
    if isinstance(call.func, ast.Attribute) and call.func.attr in _TAKE_SETS:
        return sets.has(call.func.value)
    return sets.names.resolve(call.func) in _UNORDERED


def _is_loop_without_order(node: ast.AST, sets: _Sets) -> bool:
    """``for name in names: seen.add(name)``: a loop that fills sets, or counts, and reads nothing
    of what it changes."""
    if not isinstance(node, ast.For) or node.orelse:
        return False
    changed = [_changed_without_order(each, sets) for each in node.body]
    names = {name.id for name in changed if name is not None}
    every = [each for part in node.body for each in ast.walk(part)]
    return None not in changed and not any(
        isinstance(each, ast.Yield | ast.YieldFrom)
        or (isinstance(each, ast.Name) and each.id in names and each not in changed)
        for each in every
    )


def _changed_without_order(node: ast.stmt, sets: _Sets) -> ast.Name | None:
    """The variable that a statement changes to the same, whatever was done before it."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr="add" | "discard", value=changed))):
            is_free = sets.has(changed)
        case ast.AugAssign(target=changed, value=value):
            is_free = isinstance(value, ast.Constant)
        case _:
            return None
    return changed if is_free and isinstance(changed, ast.Name) else None


def _is_view(node: ast.expr) -> bool:
    """``prices.keys() & names`` is a set, though the keys themselves are in order."""
    function = node.func if isinstance(node, ast.Call) else None
    return isinstance(function, ast.Attribute) and function.attr in ("keys", "items")


_TAKE_SETS = frozenset(
    {"difference_update", "intersection_update", "symmetric_difference_update", "update"},
) | {"difference", "intersection", "isdisjoint", "symmetric_difference", "union"}
_SET_METHODS = frozenset(
    {"copy", "difference", "intersection", "symmetric_difference", "union"},
)
_SET_TYPES = (
    frozenset({"builtins.set", "builtins.frozenset"})
    | {f"typing.{name}" for name in ("AbstractSet", "FrozenSet", "MutableSet", "Set")}
    | {f"collections.abc.{name}" for name in ("MutableSet", "Set")}
)


class _Sets:
    """Which expressions are sets, as far as one can see."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.names = body.names
        self._known: dict[tuple[object, str], bool] = {}

    def has(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.BitXor() | ast.Sub()):
                sides = (node.left, node.right)
                return any(self.has(side) or _is_view(side) for side in sides)
            case ast.IfExp():
                return self.has(node.body) or self.has(node.orelse)
            case ast.NamedExpr() | ast.Await():
                return self.has(node.value)
            case ast.Name():
                owner = self.names.owner(node)
                return owner is not None and self._binds(
                    (owner, node.id), self.names.bindings(node)
                )
            case ast.Attribute():
                found = self.names.fields(node)
                return bool(found) and self._binds((found[0], node.attr), found)
            case ast.Yield(value=ast.Call(func=ast.Attribute(attr="call"))) | ast.YieldFrom():
                return isinstance(node.value, ast.Call) and self._returns_set(node.value.func)
            case ast.Call(func=ast.Attribute(attr=method)) if method in _SET_METHODS:
                return self.has(node.func.value)  # type: ignore[attr-defined]
            case ast.Call():
                return self.names.resolve(node.func) in _SET_TYPES or self._returns_set(node.func)
        return False

    def _binds(self, key: tuple[object, str], found: list[Binding]) -> bool:
        if key not in self._known:
            self._known[key] = True  # meanwhile: x = x | y
            self._known[key] = bool(found) and all(map(self._binds_set, found))
        return self._known[key]

    def _binds_set(self, binding: Binding) -> bool:
        if binding.annotation is not None and self._is_type(binding.annotation):
            return True
        return binding.value is not None and self.has(binding.value)

    def _returns_set(self, function: ast.expr) -> bool:
        """``collect(…)``, or ``yield collect.call(…)``, of a function in this file."""
        if isinstance(function, ast.Attribute) and function.attr == "call":
            function = function.value
        found = self.names.definition(function)
        if not isinstance(found, FunctionNode) or found.returns is None:
            return False
        return self._is_type(found.returns)

    def _is_type(self, annotation: ast.expr) -> bool:
        annotation = self.names.bare_type(annotation)
        name = self.names.type_name(annotation)
        if name == "durable.Workflow" and isinstance(annotation, ast.Subscript):
            return self._is_type(annotation.slice)
        return name in _SET_TYPES
