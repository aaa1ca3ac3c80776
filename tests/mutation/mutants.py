"""The mutants of a module: small changes of its syntax tree, each of which some test should notice.

A mutant is named by what a reader sees (module, function, old text, new text), not by a line number, so that a reason
written down for a survivor (``survivors.md``) outlives unrelated edits.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip

UNTOLD = "# pragma: no cover"
"""Lines that say so of themselves are left alone, as are assertions: they are about our own mistakes."""

Trail = tuple[tuple[str, int | None], ...]
"""The way from the module to a node: field names, with an index where the field is a list."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one place."""

    module: str
    """Path below the checkout."""
    line: int
    last: int
    """Last line of the statement or expression: coverage may have seen any of them."""
    where: str
    """Qualified name of the function or class; empty at the level of the module."""
    old: str
    new: str
    trail: Trail
    place: ast.AST
    """What stands there instead."""

    @property
    def name(self) -> str:
        """Stable over edits elsewhere."""
        return f"{self.module} {self.where or 'module'}: {self.old} → {self.new}"

    def tree(self, source: str) -> ast.Module:
        """The module with this change."""
        module = ast.parse(source)
        node: ast.AST = module
        for field, index in self.trail[:-1]:
            child = getattr(node, field)
            node = child if index is None else child[index]
        field, index = self.trail[-1]
        if index is None:
            setattr(node, field, copy.deepcopy(self.place))
        else:
            getattr(node, field)[index] = copy.deepcopy(self.place)
        return ast.fix_missing_locations(module)


def mutants(root: Path, module: str) -> list[Mutant]:
    """All of them, in the order of the text."""
    source = (root / module).read_text()
    skipped = {n for n, text in enumerate(source.splitlines(), 1) if UNTOLD in text}
    found = [m for m in _walk(module, ast.parse(source), (), "") if m.line not in skipped]
    names: dict[str, int] = {}
    out = []
    for m in sorted(found, key=lambda m: (m.line, m.trail)):
        names[m.name] = number = names.get(m.name, 0) + 1
        new = m.new if number == 1 else f"{m.new} (no. {number})"
        out.append(Mutant(m.module, m.line, m.last, m.where, m.old, new, m.trail, m.place))
    return out


def sample(found: list[Mutant], size: int, seed: int) -> list[Mutant]:
    """``size`` of them by a seed, in order; 0: all. The choice for a name does not depend on the other names."""
    if not size or size >= len(found):
        return found
    chosen = sorted(found, key=lambda m: Random(f"{seed}/{m.name}").random())[:size]
    return [m for m in found if m in chosen]


def _walk(module: str, node: ast.AST, trail: Trail, where: str) -> Iterator[Mutant]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        where = f"{where}.{node.name}" if where else node.name
    for place, old, new in _changes(node):
        line = getattr(node, "lineno", 0)
        yield Mutant(module, line, getattr(node, "end_lineno", line), where, old, new, trail, place)
    for field, index, child in _children(node):
        yield from _walk(module, child, (*trail, (field, index)), where)


def _children(node: ast.AST) -> Iterator[tuple[str, int | None, ast.AST]]:
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "keywords", "type_params") and not isinstance(
            node, ast.Call
        ):
            continue
        if isinstance(value, ast.AST) and not _left_alone(value):
            yield field, None, value
        elif isinstance(value, list):
            yield from ((field, i, v) for i, v in enumerate(value) if isinstance(v, ast.AST) and not _left_alone(v))


def _left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Assert() | ast.Import() | ast.ImportFrom() | ast.pattern() | ast.JoinedStr():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Raise(exc=ast.Call(func=ast.Name(id="AssertionError"))):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name.startswith("__")
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case _:
            return False


def _changes(node: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    """What may stand instead of a node, with old and new text."""
    for place in _instead(node):
        yield place, _text(node), _text(place)


def _instead(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                if type(op) in SWAPS:
                    yield _with(node, "ops", [*ops[:i], SWAPS[type(op)](), *ops[i + 1 :]])
        case ast.BoolOp(op=op) | ast.BinOp(op=op):
            if type(op) in SWAPS and not _is_text(node):
                yield _with(node, "op", SWAPS[type(op)]())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.copy_location(ast.Constant(not value), node)
        case ast.Constant(value=int(value)):
            yield ast.copy_location(ast.Constant(value + 1), node)
            yield ast.copy_location(ast.Constant(value - 1), node)
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            if not isinstance(test, ast.Compare | ast.UnaryOp | ast.Constant):
                yield _with(node, "test", ast.UnaryOp(ast.Not(), test))
        case ast.Return(value=value) if value is not None and not _is_plain(value):
            yield _with(node, "value", ast.Constant(None))
        case ast.Expr() | ast.AugAssign() | ast.Delete() | ast.Continue() | ast.Break() | ast.Raise():
            yield ast.copy_location(ast.Pass(), node)
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield ast.copy_location(ast.Pass(), node)
        case _:
            pass


def _with(node: ast.AST, field: str, value: object) -> ast.AST:
    """A shallow copy with one field replaced."""
    new = copy.copy(node)
    setattr(new, field, value)
    return new


def _is_text(node: ast.AST) -> bool:
    """Whether an expression puts texts together: only a message would change, or it would raise."""
    parts = (node.left, node.right) if isinstance(node, ast.BinOp) else ()
    return any(
        isinstance(p, ast.JoinedStr) or (isinstance(p, ast.Constant) and isinstance(p.value, str)) for p in parts
    )


def _is_plain(value: ast.expr) -> bool:
    """None, True and False: the last two are swapped where they stand, and nobody tells None from False."""
    return isinstance(value, ast.Constant) and value.value in (None, True, False)


def _text(node: ast.AST) -> str:
    """One line of source; of a compound statement only its head."""
    match node:
        case ast.If(test=test):
            text = f"if {ast.unparse(test)}"
        case ast.While(test=test):
            text = f"while {ast.unparse(test)}"
        case _:
            text = ast.unparse(node)
    return " ".join(text.split())
