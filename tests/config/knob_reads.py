"""Which knobs some code reads. Knows dataclasses of knobs and Python's syntax, no rule.

`sampling.k` reads the `k` of SamplingConfig where `sampling` is a SamplingConfig: a knob of that type has this name, it
is annotated so, or it is assigned from something that is one. A `k` of anything else does not count. What a variable is
holds in its own file; what an attribute is, or a function returns, holds in all of them.
"""

import ast
import dataclasses
import inspect
import typing
from collections import defaultdict
from collections.abc import Iterable, Iterator

Knob = tuple[str, str]
"""Name of the dataclass that defines it first, name of the field."""
Types = defaultdict[str, set[type]]
"""`variable`, `.attribute`, `function()` or `.method()` -> dataclasses of knobs that it may be or return."""


def schemas(root: type) -> set[type]:
    """`root`, the dataclasses that it extends, and all those among the types of its fields."""
    bases = {base for base in root.__mro__ if dataclasses.is_dataclass(base)}
    return bases.union(*(schemas(part) for _, part in parts(root)))


def parts(schema: type) -> Iterator[tuple[str, type]]:
    """Fields that are dataclasses of knobs, or hold some."""
    for name, hint in typing.get_type_hints(schema).items():
        yield from ((name, part) for part in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(part))


def knobs(schema: type) -> dict[str, Knob]:
    """Field -> knob; a field that a subclass gives another default is one knob still."""
    definers = {name: base.__name__ for base in schema.__mro__ for name in inspect.get_annotations(base)}
    return {field.name: (definers[field.name], field.name) for field in dataclasses.fields(schema)}


class Reader:
    """Learns from `files` what their names stand for, and finds the knobs of `known` that they read."""

    def __init__(self, files: Iterable[ast.Module], known: Iterable[type]) -> None:
        self.files, self.known = list(files), {schema.__name__: schema for schema in known}
        self.shared: Types = defaultdict(set, {f"{name}()": {schema} for name, schema in self.known.items()})
        for schema in self.known.values():
            for name, part in parts(schema):
                self.shared[f".{name}"].add(part)
        self.own: list[Types] = [defaultdict(set) for _ in self.files]
        self._learn_annotations()
        self._learn_assignments()

    def read(self) -> set[Knob]:
        fields = {schema: knobs(schema) for schema in self.known.values()}
        return {
            fields[owner][node.attr]
            for tree, own in zip(self.files, self.own, strict=True)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
            for owner in self._table(name_of(node.value), own)[name_of(node.value)]
            if node.attr in fields[owner]
        }

    def _table(self, name: str, own: Types) -> Types:
        return self.shared if name.startswith(".") or name.endswith("()") else own

    def _learn_annotations(self) -> None:
        for tree, own in zip(self.files, self.own, strict=True):
            for name, annotation in annotations(tree):
                words = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
                self._table(name, own)[name] |= {self.known[word] for word in words & self.known.keys()}

    def _learn_assignments(self) -> None:
        """Again and again, until a round brings nothing new: a name may be assigned from one that is learnt later."""
        given = [list(assignments(tree)) for tree in self.files]
        new = True
        while new:
            new = False
            for pairs, own in zip(given, self.own, strict=True):
                for target, source in pairs:
                    before = self._table(target, own)[target]
                    found = self._table(source, own)[source] - before
                    before |= found
                    new = new or bool(found)


def annotations(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Names of arguments, variables, fields and functions with their types; `isinstance` tells one, too."""
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name, annotation=ast.expr() as kind):
                yield name, kind
            case ast.FunctionDef(name=name, returns=ast.expr() as kind):  # of a module or of a class, a property or not
                yield from ((form.format(name), kind) for form in ("{}()", ".{}()", ".{}"))
            case ast.ClassDef(body=body):
                fields = [part for part in body if isinstance(part, ast.AnnAssign)]
                yield from ((f".{name_of(part.target)}", part.annotation) for part in fields)
            case ast.AnnAssign(target=target, annotation=kind):
                yield name_of(target), kind
            case ast.Call(func=ast.Name(id="isinstance"), args=[target, kind]):
                yield name_of(target), kind


def assignments(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Name assigned to, and the name of what is assigned, for each pair of them."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[target], value=value) | ast.NamedExpr(target=target, value=value):
                pass
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                pass
            case _:
                continue
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        values = value.elts if isinstance(value, ast.Tuple) else [value] * len(targets)
        yield from ((name_of(to), name_of(source)) for to, source in zip(targets, values, strict=False))


def name_of(node: ast.expr) -> str:
    """Of `experiment.sampling` it is `.sampling`; a part, a copy and a choice have the name of what they come from."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return f".{name}"
        case ast.Subscript(value=inner) | ast.IfExp(body=inner):
            return name_of(inner)
        case ast.Call(func=ast.Attribute(value=inner, attr="values" | "items")):
            return name_of(inner)
        case ast.Call(func=ast.Name(id="replace" | "deepcopy"), args=[inner, *_]):
            return name_of(inner)
        case ast.Call(func=inner):
            return f"{name_of(inner)}()"
    return ""
