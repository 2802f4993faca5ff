"""Every way to break the inference by one change of one function."""

from __future__ import annotations
import __future__

import ast
import collections
import contextlib
import copy
import dataclasses
import importlib
import inspect
import types
from collections.abc import Callable, Iterator

PACKAGE = "unf_lopt.symmetry.inference"
FILES = (
    "_constants",
    "_folding",
    "_graph",
    "_reads",
    "_uniform",
    "_walk",
    "rules.contraction",
    "rules.control_flow",
    "rules.elementwise",
    "rules.indexing",
    "rules.linear_algebra",
    "rules.ordering",
    "rules.reduction",
    "rules.shapes",
    "rules.windows",
)
# What records where things come from, and what users are told, is not what is checked here.
BOOKKEEPING = ("_link(", "edges", "frozen_by", "blame(", "reason", "without_rule", "raise ")
BOOKKEEPING += ("_nodes", "steps", "_record", "_caller", "_key_flow")
# `_rule` is called when the module is imported, before anything can be changed.
NOT_MUTATED = {"_link", "_rule", "parts_of_nodes", "blame", "find", "__init__", "__str__"}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change of one function.

    Attributes:
      file: the module.
      function: its qualified name in it.
      change: what was and what is now.
      original: the function.
      code: the changed one's.
    """

    file: str
    function: str
    change: str
    original: types.FunctionType
    code: types.CodeType

    @property
    def key(self) -> str:
        """What ``EQUIVALENT`` calls it."""
        return f"{self.file.removeprefix('rules.')}.{self.function}: {self.change}"


# ------------------------------------------------------------------------- what can be changed
def _leave_out(node: ast.AST) -> Iterator[ast.AST]:
    """Calls for their effect, loops, and second assignments."""
    if isinstance(node, (ast.Expr, ast.For, ast.AugAssign)) and not _is_docstring(node):
        yield ast.Pass()
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        yield ast.Pass()
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        name = node.targets[0].id
        if name in {"node", "axes"}:  # what was there before goes on
            yield ast.Pass()


def _thaw(node: ast.AST) -> Iterator[ast.AST]:
    """Axes that should be frozen are free."""
    if not isinstance(node, ast.Call) or _name(node) not in ("leaf", "fresh", "_new"):
        return
    changed = copy.deepcopy(node)
    flags = [keyword for keyword in changed.keywords if keyword.arg == "frozen"]
    for keyword in flags:
        keyword.value = ast.Constant(False)
    if len(changed.args) == 2:
        changed.args[1] = ast.Constant(False)
    if flags or len(changed.args) == 2:
        yield changed


def _decide(node: ast.AST) -> Iterator[ast.AST]:
    """Conditions always or never hold, or lose a part."""
    if isinstance(node, (ast.If, ast.IfExp)):
        for value in (True, False):
            changed = copy.deepcopy(node)
            changed.test = ast.Constant(value)
            yield changed
    if isinstance(node, ast.BoolOp):
        for number in range(len(node.values)):
            values = [value for n, value in enumerate(node.values) if n != number]
            yield values[0] if len(values) == 1 else ast.BoolOp(node.op, values)
    if isinstance(node, ast.comprehension):
        for number in range(len(node.ifs)):
            changed = copy.deepcopy(node)
            del changed.ifs[number]
            yield changed


def _reorder(node: ast.AST) -> Iterator[ast.AST]:
    """Lists the other way round, arguments and differences swapped."""
    if isinstance(node, (ast.Tuple, ast.List)) and len(node.elts) > 1:
        yield type(node)(node.elts[::-1], node.ctx)
    if isinstance(node, ast.Return) and isinstance(node.value, (ast.ListComp, ast.Name)):
        yield ast.Return(_reversed(node.value))
    if isinstance(node, ast.Call) and _name(node) in ("sum", "product") and len(node.args) == 1:
        yield ast.Call(node.func, [_reversed(node.args[0])], [])


def _shift(node: ast.AST) -> Iterator[ast.AST]:
    """Numbers one larger, comparisons turned round, remainders for quotients."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield ast.Constant(node.value + 1)
    swaps = {ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In}
    swaps |= {ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Lt: ast.GtE, ast.Gt: ast.LtE}
    if isinstance(node, ast.Compare) and type(node.ops[0]) in swaps:
        yield ast.Compare(node.left, [swaps[type(node.ops[0])](), *node.ops[1:]], node.comparators)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.FloorDiv, ast.Mod)):
        other = ast.Mod() if isinstance(node.op, ast.FloorDiv) else ast.FloorDiv()
        yield ast.BinOp(node.left, other, node.right)


OPERATORS: tuple[Callable[[ast.AST], Iterator[ast.AST]], ...] = (
    _leave_out,
    _thaw,
    _decide,
    _reorder,
    _shift,
)


def _name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _reversed(value: ast.expr) -> ast.expr:
    everything = ast.Call(ast.Name("list", ast.Load()), [value], [])
    return ast.Subscript(everything, ast.Slice(step=ast.Constant(-1)), ast.Load())


# --------------------------------------------------------------------------------- all mutants
class _Replace(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, target: ast.AST, replacement: ast.AST):
        self._target, self._replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self._replacement if node is self._target else self.generic_visit(node)


def all_mutants(files: tuple[str, ...] = FILES) -> Iterator[Mutant]:
    """Every change of every function."""
    for file in files:
        module = importlib.import_module(f"{PACKAGE}.{file}")
        for owner, node in _functions(ast.parse(inspect.getsource(module))):
            name = f"{owner}.{node.name}" if owner else node.name
            home = getattr(module, owner) if owner else module
            original = inspect.unwrap(vars(home)[node.name])
            if node.name not in NOT_MUTATED:
                for change, code in _changes(node, module):
                    yield Mutant(file, name, change, original, code)


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for item in tree.body:
        if isinstance(item, ast.FunctionDef):
            yield "", item
        elif isinstance(item, ast.ClassDef):
            yield from ((item.name, m) for m in item.body if isinstance(m, ast.FunctionDef))


def _changes(
    function: ast.FunctionDef, module: types.ModuleType
) -> Iterator[tuple[str, types.CodeType]]:
    seen = {_identity(_compile(function, function.body[0], function.body[0], module))}
    names: collections.Counter[str] = collections.Counter()
    pairs = [pair for statement in function.body for pair in _checked(statement, "")]
    members = {id(n.comparators[0]) for n, _ in pairs if isinstance(n, ast.Compare)}
    for node, place in pairs:
        for replacement in (new for operator in OPERATORS for new in operator(node)):
            if id(node) in members and isinstance(replacement, (ast.Tuple, ast.List)):
                continue  # the order of what something may be does not matter
            code = _compile(function, node, replacement, module)
            if _identity(code) in seen:
                continue
            seen.add(_identity(code))
            name = f"{_shown(node)}  ->  {_shown(replacement)}"
            name += f"  in  {place}" if place != _shown(node) else ""
            names[name] += 1
            yield name + f" ({names[name]})" * (names[name] > 1), code


def _checked(node: ast.AST, place: str) -> Iterator[tuple[ast.AST, str]]:
    """A statement and all in it, each with the statement that it stands in; no bookkeeping."""
    if isinstance(node, ast.stmt):
        place = _shown(node)
        if any(word in place for word in BOOKKEEPING):
            return
    yield node, place
    for child in ast.iter_child_nodes(node):
        yield from _checked(child, place)


def _identity(code: types.CodeType) -> tuple:
    """What tells two versions of a function apart; functions inside included."""
    consts = tuple(_identity(c) if isinstance(c, types.CodeType) else c for c in code.co_consts)
    return code.co_code, repr(consts), code.co_names


def _shown(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node)))
    first, *rest = text.splitlines()
    return f"{first} ..." if rest else first


def _compile(
    function: ast.FunctionDef, node: ast.AST, replacement: ast.AST, module: types.ModuleType
) -> types.CodeType:
    memo: dict[int, ast.AST] = {}
    changed = copy.deepcopy(function, memo)
    changed = _Replace(memo[id(node)], replacement).visit(changed)
    changed.decorator_list = []
    tree = ast.fix_missing_locations(ast.Module([changed], []))
    flags = __future__.annotations.compiler_flag
    namespace: dict[str, types.FunctionType] = {}
    exec(compile(tree, module.__file__, "exec", flags), module.__dict__, namespace)
    return namespace[function.name].__code__


@contextlib.contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """The engine with a mutant in it."""
    code = mutant.original.__code__
    mutant.original.__code__ = mutant.code
    try:
        yield
    finally:
        mutant.original.__code__ = code
