"""What a name means: scopes as Python has them, and names followed to where they come from.

A name resolves to a dotted one: ``t.time`` to ``time.time`` after ``import time as t``.  A call
is written ``()``: ``log.info`` is ``logging.getLogger().info`` after
``log = logging.getLogger("shop")``.  What is not known for sure is "": a name that is bound in
two ways, a parameter without a type.  Nothing is imported to find this out.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(eq=False)
class Binding:
    """One of the places where a name gets its value.

    target: what is imported, dotted; value: what is assigned; annotation: its type, if it is
    declared; definition: the function or class of that name; owner: the class of ``self``.
    """

    target: str = ""
    value: ast.expr | None = None
    annotation: ast.expr | None = None
    definition: FunctionNode | ast.ClassDef | None = None
    owner: ast.ClassDef | None = None


@dataclass(eq=False)
class Scope:
    """A module, class, function, lambda or comprehension.

    declared: the names of its ``global`` and ``nonlocal`` statements.
    """

    node: ast.AST
    parent: Scope | None
    names: dict[str, list[Binding]] = field(default_factory=dict)
    declared: dict[str, ast.Global | ast.Nonlocal] = field(default_factory=dict)

    @property
    def function(self) -> Scope:
        """Where code of this scope runs: a comprehension is a part of what is around it."""
        scope = self
        while isinstance(scope.node, Comprehension) and scope.parent is not None:
            scope = scope.parent
        return scope

    def owner(self, name: str) -> Scope | None:
        """The scope that a name belongs to when it is used in this one."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.declared:
                return scope._declared_owner(name)
            # What a class binds is not seen from within its methods.
            if name in scope.names and (scope is self or not isinstance(scope.node, ast.ClassDef)):
                return scope
            scope = scope.parent
        return None

    def _declared_owner(self, name: str) -> Scope | None:
        if isinstance(self.declared[name], ast.Nonlocal):
            return self.parent.owner(name) if self.parent else None
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope


class Names:
    """All names of a file.

    scopes: the scope in which each node is evaluated; parents: the node around each node;
    quoted: what an annotation in quotes says.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.scopes: dict[ast.AST, Scope] = {}
        self.parents: dict[ast.AST, ast.AST] = {}
        self.stars: list[str] = []
        self.loads: dict[tuple[Scope, str], list[ast.Name]] = {}
        self.quoted: dict[ast.expr, ast.expr] = {}
        self._known: dict[tuple[object, str], str] = {}
        self._resolved: dict[ast.expr, str] = {}
        self._fields: dict[ast.ClassDef, dict[str, list[Binding]]] = {}
        _Binder(self, Scope(tree, None)).visit(tree)
        for node, scope in self.scopes.items():
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                owner = scope.owner(node.id)
                if owner is not None:
                    self.loads.setdefault((owner, node.id), []).append(node)

    def owner(self, name: ast.Name) -> Scope | None:
        """The scope that a name belongs to; None for a builtin."""
        return self.scopes[name].owner(name.id)

    def bindings(self, name: ast.Name) -> list[Binding]:
        """Where a name gets its value."""
        owner = self.owner(name)
        return owner.names.get(name.id, []) if owner else []

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """What a node stands in, from the inside."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def resolve(self, node: ast.expr) -> str:
        """The dotted name of an expression, or ""."""
        if node not in self._resolved:  # a chain of calls is asked for at each of them
            self._resolved[node] = self._resolve(node)
        return self._resolved[node]

    def _resolve(self, node: ast.expr) -> str:
        match node:
            case ast.Name():
                return _canonical(self._name(node))
            case ast.Attribute():
                base = self.resolve(node.value)
                return _canonical(f"{base}.{node.attr}") if base else self._field(node)
            case ast.Call():
                base = self.resolve(node.func)
                return f"{base}()" if base else ""
            case ast.Subscript():  # Channel[str](2); what is taken out of a value is not known
                parent = self.parents.get(node)
                is_called = isinstance(parent, ast.Call) and node is parent.func
                return self.resolve(node.value) if is_called else ""
            case ast.BinOp(op=ast.Div()):  # Path("a") / "b"
                base = self.resolve(node.left)
                return base if base == "pathlib.Path()" else ""
        return ""

    def _name(self, node: ast.Name) -> str:
        owner = self.owner(node)
        if owner is None:
            if hasattr(builtins, node.id):
                return f"builtins.{node.id}"
            return f"{self.stars[0]}.{node.id}" if len(self.stars) == 1 else ""
        return self._meaning((owner, node.id), self.bindings(node))

    def _field(self, node: ast.Attribute) -> str:
        found = self.fields(node)
        return self._meaning((found[0], node.attr), found) if found else ""

    def _meaning(self, key: tuple[object, str], bindings: list[Binding]) -> str:
        if key not in self._known:
            self._known[key] = ""  # meanwhile: x = x.parent
            found = [binding for binding in bindings if not _is_none(binding.value)]
            meanings = {self._bound(binding) for binding in found}
            self._known[key] = meanings.pop() if len(meanings) == 1 else ""
        return self._known[key]

    def fields(self, node: ast.Attribute, far: int = 5) -> list[Binding]:
        """Where an attribute of a value gets its own, if its class stands in this file."""
        made = self._class_of(node.value, far)
        if not isinstance(made, ast.ClassDef):
            return []
        if made not in self._fields:
            self._fields[made] = {}
            for each in ast.walk(made):
                for name, binding in self._set_fields(each, made):
                    self._fields[made].setdefault(name, []).append(binding)
        return self._fields[made].get(node.attr, [])

    def _set_fields(self, node: ast.AST, made: ast.ClassDef) -> Iterator[tuple[str, Binding]]:
        """``seen: set[str]`` in a class, ``self.seen = set()`` in its methods."""
        if isinstance(node, ast.AnnAssign) and self.parents[node] is made:
            if isinstance(node.target, ast.Name):  # its value may be that of field(…)
                yield node.target.id, Binding(annotation=node.annotation)
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            first = self.bindings(node.value) if isinstance(node.value, ast.Name) else []
            if len(first) == 1 and first[0].owner is made:
                match self.parents[node]:
                    case ast.Assign(targets=[_], value=value):
                        yield node.attr, Binding(value=value)
                    case ast.AnnAssign(value=value, annotation=annotation):
                        yield node.attr, Binding(value=value, annotation=annotation)
                    case _:
                        yield node.attr, Binding()

    def _bound(self, binding: Binding) -> str:
        if binding.target:
            return binding.target
        value = self.resolve(binding.value) if binding.value else ""
        if value:
            return value
        kind = self.type_name(binding.annotation) if binding.annotation else ""
        return f"{kind}()" if kind else ""

    def type_name(self, annotation: ast.expr) -> str:
        """The class that an annotation names: that of ``Path | None``, of ``Workflow[int]``."""
        kind = self.bare_type(annotation)
        return self.resolve(kind.value if isinstance(kind, ast.Subscript) else kind)

    def bare_type(self, annotation: ast.expr) -> ast.expr:
        """A type without what may stand around it: ``Path`` of ``"Path | None"``."""
        annotation = self.quoted.get(annotation, annotation)
        if isinstance(annotation, ast.Subscript) and self.resolve(annotation.value) in _WRAPPERS:
            inner = annotation.slice
            return self.bare_type(inner.elts[0] if isinstance(inner, ast.Tuple) else inner)
        if isinstance(annotation, ast.BinOp):
            sides = [side for side in (annotation.left, annotation.right) if not _is_none(side)]
            return self.bare_type(sides[0]) if len(sides) == 1 else annotation
        return annotation

    def only_value(self, node: ast.expr) -> ast.expr:
        """What a name stands for that is assigned once, and else the expression itself."""
        seen = set[str]()
        while isinstance(node, ast.Name) and node.id not in seen:
            seen.add(node.id)
            found = self.bindings(node)
            if len(found) != 1 or found[0].value is None:
                break
            node = found[0].value
        return node

    def definition(self, node: ast.expr, far: int = 5) -> FunctionNode | ast.ClassDef | None:
        """The function or class of this file that an expression names.

        far: how many classes it may be in, one in the other; there is an end to x = y.a; y = x.b.
        """
        node = self.only_value(node)
        if isinstance(node, ast.Name):
            found = self.bindings(node)
            return found[-1].definition if found else None
        if isinstance(node, ast.Subscript) and far > 0:  # Stack[str]
            around = self.definition(node.value, far - 1)
            return around if isinstance(around, ast.ClassDef) else None
        if isinstance(node, ast.Attribute) and far > 0:
            around = self.definition(node.value, far - 1) or self._class_of(node.value, far - 1)
            if isinstance(around, ast.ClassDef):
                return self.method(around, node.attr, far)
        return None

    def method(self, around: ast.ClassDef, name: str, far: int = 5) -> FunctionNode | None:
        """A function of a class, or of a class of this file that it is derived from."""
        for part in around.body:
            if isinstance(part, FunctionNode) and part.name == name:
                return part
        for base in around.bases if far > 0 else ():
            derived_from = self.definition(base, far - 1)
            if isinstance(derived_from, ast.ClassDef):
                found = self.method(derived_from, name, far - 1)
                if found is not None:
                    return found
        return None

    def _class_of(self, node: ast.expr, far: int) -> FunctionNode | ast.ClassDef | None:
        """The class of a value: ``Basket()``, a parameter with that type, ``self``."""
        node = self.only_value(node)
        found: list[Binding] = []
        match node:
            case ast.Call():
                made = self.definition(node.func, far)
                if isinstance(made, FunctionNode) and made.returns is not None:
                    return self.definition(self.bare_type(made.returns), far)
                return made
            case ast.BoolOp(op=ast.Or()) if far > 0:
                return self._class_of(node.values[0], far - 1)
            case ast.Name():
                found = self.bindings(node)
            case ast.Attribute() if far > 0:
                found = self.fields(node, far - 1)
        if len(found) != 1:
            return None
        only = found[0]
        if only.owner is not None:
            return only.owner
        if only.annotation is not None:
            return self.definition(self.bare_type(only.annotation), far)
        return self._class_of(only.value, far - 1) if only.value is not None and far > 0 else None


# What stands around a type, and says something else of it.
_WRAPPERS = frozenset(f"typing.{name}" for name in ("Annotated", "Final", "Optional"))


def _is_none(node: ast.expr | None) -> bool:
    """``redis = None``, where an import has failed."""
    return isinstance(node, ast.Constant) and node.value is None


def _canonical(name: str) -> str:
    """Names of this library are the same wherever they are imported from."""
    if name.startswith("durable.") and "(" not in name:
        return f"durable.{name.rpartition('.')[2]}"
    return name


class _Binder(ast.NodeVisitor):
    """Fills `Names`: goes through a file and keeps the scope that it is in."""

    def __init__(self, names: Names, scope: Scope) -> None:
        self.names = names
        self.scope = scope

    def visit(self, node: ast.AST) -> None:
        self.names.scopes[node] = self.scope
        super().visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        self._walk(node, ast.iter_child_nodes(node))

    def _walk(self, parent: ast.AST, children: Iterable[ast.AST | None]) -> None:
        for child in children:
            if child is not None:
                self.names.parents[child] = parent
                self.visit(child)

    @contextmanager
    def _inside(self, node: ast.AST) -> Iterator[None]:
        before = self.scope
        self.scope = Scope(node, before)
        yield
        self.scope = before

    def _bind(self, name: str, binding: Binding) -> None:
        scope: Scope | None = self.scope
        if name in self.scope.declared:
            scope = self.scope.owner(name)
        if scope is not None:
            scope.names.setdefault(name, []).append(binding)

    # -- what binds names ----------------------------------------------------------------

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            first = alias.name.split(".")[0]
            self._bind(alias.asname or first, Binding(alias.name if alias.asname else first))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                self.names.stars.append(module)
            else:
                dot = "" if module.endswith(".") else "."
                self._bind(alias.asname or alias.name, Binding(f"{module}{dot}{alias.name}"))

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        self.scope.declared.update(dict.fromkeys(node.names, node))

    visit_Nonlocal = visit_Global

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._bind(node.id, Binding())

    def _assign(self, parent: ast.AST, target: ast.expr, binding: Binding) -> None:
        if isinstance(target, ast.Name):
            self.names.parents[target] = parent
            self.names.scopes[target] = self.scope
            self._bind(target.id, binding)
        else:
            self._walk(parent, [target])

    def visit_Assign(self, node: ast.Assign) -> None:
        self._walk(node, [node.value])
        for target in node.targets:
            self._assign(node, target, Binding(value=node.value))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node, node.annotation)
        self._walk(node, [node.value])
        self._assign(node, node.target, Binding(value=node.value, annotation=node.annotation))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._walk(node, [node.value])
        if isinstance(node.target, ast.Name):  # it keeps the kind of value that it has
            self.names.parents[node.target] = node
            self.names.scopes[node.target] = self.scope
        else:
            self._walk(node, [node.target])

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._walk(node, [node.value])
        inner, self.scope = self.scope, self.scope.function
        self._assign(node, node.target, Binding(value=node.value))
        self.scope = inner

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name, Binding())
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        if node.name:
            self._bind(node.name, Binding())
        self.generic_visit(node)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self._bind(node.rest, Binding())
        self.generic_visit(node)

    # -- what makes scopes ---------------------------------------------------------------

    def visit_FunctionDef(self, node: FunctionNode) -> None:
        self._bind(node.name, Binding(definition=node))
        self._walk(node, node.decorator_list)
        self._annotation(node, node.returns)
        self._function(node, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node, [node.body])

    def _function(self, node: FunctionNode | ast.Lambda, body: Iterable[ast.AST]) -> None:
        args = node.args
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
        extra = [arg for arg in (args.vararg, args.kwarg) if arg is not None]
        self._walk(node, [*args.defaults, *args.kw_defaults])
        for arg in (*every, *extra):
            self._annotation(node, arg.annotation)
        around = self.scope.node
        with self._inside(node):
            for arg in every:
                is_first = arg is every[0] and isinstance(around, ast.ClassDef)
                owner = around if is_first and isinstance(around, ast.ClassDef) else None
                self._bind(arg.arg, Binding(annotation=arg.annotation, owner=owner))
            for arg in extra:  # a tuple or a dict, whatever its annotation
                self._bind(arg.arg, Binding())
            self._walk(node, body)

    def _annotation(self, node: ast.AST, annotation: ast.expr | None) -> None:
        self._walk(node, [annotation])
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            with suppress(SyntaxError, ValueError):
                quoted = ast.parse(annotation.value, mode="eval").body
                self.names.quoted[annotation] = quoted
                self._walk(node, [quoted])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name, Binding(definition=node))
        self._walk(node, [*node.decorator_list, *node.bases, *node.keywords])
        with self._inside(node):
            self._walk(node, node.body)

    def visit_ListComp(self, node: Comprehension) -> None:
        first = node.generators[0]
        self._walk(node, [first.iter])  # evaluated outside
        with self._inside(node):
            for generator in node.generators:
                self.names.parents[generator] = node
                self._walk(generator, [] if generator is first else [generator.iter])
                self._walk(generator, [generator.target, *generator.ifs])
            elements = [getattr(node, name, None) for name in ("key", "value", "elt")]
            self._walk(node, elements)

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp
