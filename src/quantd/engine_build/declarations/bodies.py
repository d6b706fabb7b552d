"""The statements of a function: the types of its locals, and what has no equal in C."""

import ast
from collections.abc import Iterator

from quantd.engine_build.declarations.c_types import INT, RESERVED, UNKNOWN, CType
from quantd.engine_build.declarations.expressions import (
    CLOSURE,
    Scope,
    arithmetic,
    check_fits,
    type_of,
    unannotated,
)
from quantd.engine_build.declarations.refusal import Refusals
from quantd.engine_build.declarations.surface import Class, Function, Module, Surface

ELSEWHERE = "move it to a module that is not listed"


def check_function(
    node: Function, surface: Surface, module: Module, refusals: Refusals, owner: Class | None = None
) -> dict[str, CType]:
    """Refuse what cannot be compiled; returns the types of the locals, without the arguments."""
    scope = Scope(surface, module, refusals, owner)
    if isinstance(node, ast.AsyncFunctionDef):
        scope.add(node, f"{node.name} is asynchronous", ELSEWHERE)
    given, locals_ = name_types(node, scope)
    scope.names = {**locals_, **given}
    scope.negative = set(_negative(node, scope))
    returns = surface.type_of(node.returns, module)
    for each in node.body:
        _statement(each, scope, returns)
    return {name: kind for name, kind in locals_.items() if name not in given}


def name_types(node: Function, scope: Scope) -> tuple[dict[str, CType], dict[str, CType]]:
    """The types of the arguments of a function, and of its locals."""
    return _arguments(node, scope), _annotations(node, scope)


def _arguments(node: Function, scope: Scope) -> dict[str, CType]:
    told = node.args
    if told.vararg or told.kwarg:
        scope.add(node, f"{node.name} takes *args or **kwargs", "name every argument, or pass a list")
    if told.kwonlyargs or told.posonlyargs:
        scope.add(node, f"{node.name} has arguments by name or by position only", "leave out * and /")
    found: dict[str, CType] = {}
    static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in node.decorator_list)
    for k, each in enumerate(told.args):
        if k == 0 and scope.owner is not None and not static:
            found[each.arg] = CType("class", scope.owner.node.name, home=scope.module.name)
            continue
        if each.annotation is None:
            scope.add(
                node, f"the argument {each.arg} of {node.name} has no type", f"write {each.arg}: int, or its type"
            )
        found[each.arg] = scope.surface.type_of(each.annotation, scope.module)
        reserved(each, each.arg, scope)
    if node.returns is None:
        scope.add(node, f"{node.name} has no type of its result", "write -> None, or its type")
    for each, default in zip(reversed(told.args), reversed(told.defaults), strict=False):
        check_fits(found.get(each.arg, UNKNOWN), type_of(default, scope), default, scope)
    return found


def reserved(node: ast.AST, name: str, scope: Scope) -> None:
    """A name that C uses itself."""
    if name in RESERVED:
        scope.add(node, f"{name} is a word of C", "choose another name")


def inside(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, without those of functions and classes inside."""
    for each in ast.iter_child_nodes(node):
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield each
            yield from inside(each)


def _annotations(node: Function, scope: Scope) -> dict[str, CType]:
    """The types of locals: annotated ones, and those that count in a range."""
    found: dict[str, CType] = {}
    for each in inside(node):
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            kind, name = scope.surface.type_of(each.annotation, scope.module), each.target.id
            if found.setdefault(name, kind) != kind:
                scope.add(each, f"the local {name} has two types", "choose another name for one of them")
            reserved(each, name, scope)
    for each in inside(node):
        if isinstance(each, ast.For) and isinstance(each.target, ast.Name) and _ranges(each.iter):
            if found.setdefault(each.target.id, INT) is not INT:
                scope.add(each, f"{each.target.id} counts in a range and is no int", "choose another name")
            reserved(each, each.target.id, scope)
    return found


def _ranges(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"


def _negative(node: Function, scope: Scope) -> Iterator[str]:
    """Locals that get a negative constant somewhere."""
    for each in inside(node):
        if isinstance(each, ast.Assign | ast.AnnAssign) and each.value is not None:
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            value = scope.constant(each.value)
            if value is not None and value < 0:
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _statement(node: ast.stmt, scope: Scope, returns: CType) -> None:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            scope.add(node, f"a closure: {node.name} is defined inside a function", CLOSURE)
            return
        case ast.Global() | ast.Nonlocal():
            scope.add(node, f"{node.names[0]} belongs to another scope", "write a field of an object")
            return
        case ast.Return() if node.value is not None:
            check_fits(returns, type_of(node.value, scope), node.value, scope)
            return
        case ast.Assign():
            kind = type_of(node.value, scope)
            for target in node.targets:
                _assign(target, kind, node.value, scope)
            return
        case ast.AnnAssign():
            if node.value is not None:
                wanted = scope.surface.type_of(node.annotation, scope.module)
                check_fits(wanted, type_of(node.value, scope), node.value, scope)
            return
        case ast.AugAssign():
            _augment(node, scope)
            return
        case ast.For():
            _loop(node, scope)
    for each in _parts(node):
        if isinstance(each, ast.stmt):
            _statement(each, scope, returns)
        elif not (isinstance(node, ast.For) and each in (node.iter, node.target)):
            type_of(each, scope)


def _parts(node: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    """The statements and expressions directly below a node."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.stmt | ast.expr):
            yield each
        elif not isinstance(each, ast.pattern | ast.expr_context | ast.operator):
            yield from _parts(each)


def _assign(target: ast.expr, kind: CType, value: ast.expr, scope: Scope) -> None:
    """One target of an assignment."""
    if isinstance(target, ast.Tuple | ast.List):
        values = value.elts if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts) else []
        for k, each in enumerate(target.elts):
            part = kind.of[k] if kind.kind == "tuple" and k < len(kind.of) else UNKNOWN
            _assign(each, part, values[k] if values else value, scope)
    elif isinstance(target, ast.Name):
        reserved(target, target.id, scope)
        if target.id not in scope.names:
            if kind.number:
                unannotated(target, target.id, kind, scope)
        else:
            check_fits(scope.names[target.id], kind, value, scope)
    elif isinstance(target, ast.Attribute):
        _assign_field(target, kind, value, scope)
    elif isinstance(target, ast.expr):
        type_of(target, scope)


def _assign_field(target: ast.Attribute, kind: CType, value: ast.expr, scope: Scope) -> None:
    owner = type_of(target.value, scope)
    field = scope.surface.member(owner, target.attr)
    if isinstance(field, CType):
        check_fits(field, kind, value, scope)
    elif owner.kind == "class":
        remedy = f"write {target.attr}: and its type in the class"
        scope.add(target, f"{owner.c} declares no field {target.attr}", remedy)


def _augment(node: ast.AugAssign, scope: Scope) -> None:
    kind = arithmetic(node, node.op, node.target, node.value, scope)
    if isinstance(node.target, ast.Name) and node.target.id in scope.names:
        check_fits(scope.names[node.target.id], kind, node.value, scope)


def _loop(node: ast.For, scope: Scope) -> None:
    """What a loop binds: numbers of a buffer, of a list or of enumerate need a type."""
    kind = type_of(node.iter, scope)
    if _ranges(node.iter):
        return
    name = node.iter.func.id if isinstance(node.iter, ast.Call) and isinstance(node.iter.func, ast.Name) else ""
    item = kind.of[-1] if kind.kind in ("buffer", "list", "set") and kind.of else UNKNOWN
    if name == "enumerate":
        item = CType("tuple", "tuple", (INT, UNKNOWN))
    for target, part in _bound(node.target, item):
        if target.id not in scope.names and part.number:
            unannotated(target, target.id, part, scope)


def _bound(target: ast.expr, kind: CType) -> Iterator[tuple[ast.Name, CType]]:
    if isinstance(target, ast.Name):
        yield target, kind
    elif isinstance(target, ast.Tuple):
        for k, each in enumerate(target.elts):
            yield from _bound(each, kind.of[k] if kind.kind == "tuple" and k < len(kind.of) else UNKNOWN)
