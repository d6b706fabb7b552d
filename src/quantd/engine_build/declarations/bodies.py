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
    arguments, locals_ = name_types(node, scope)
    scope.names = {**locals_, **arguments}
    scope.negative = set(_negative(node, scope))
    returns = surface.type_of(node.returns, module)
    for statement in node.body:
        _statement(statement, scope, returns)
    return {name: kind for name, kind in locals_.items() if name not in arguments}


def name_types(node: Function, scope: Scope) -> tuple[dict[str, CType], dict[str, CType]]:
    """The types of the arguments of a function, and of its locals."""
    return _arguments(node, scope), _annotations(node, scope)


def _arguments(node: Function, scope: Scope) -> dict[str, CType]:
    arguments = node.args
    if arguments.vararg or arguments.kwarg:
        scope.add(node, f"{node.name} takes *args or **kwargs", "name every argument, or pass a list")
    if arguments.kwonlyargs or arguments.posonlyargs:
        scope.add(node, f"{node.name} has arguments by name or by position only", "leave out * and /")
    types: dict[str, CType] = {}
    static = any(
        isinstance(decorator, ast.Name) and decorator.id == "staticmethod" for decorator in node.decorator_list
    )
    for k, argument in enumerate(arguments.args):
        if k == 0 and scope.owner is not None and not static:
            types[argument.arg] = CType("class", scope.owner.node.name, home=scope.module.name)
            continue
        if argument.annotation is None:
            scope.add(
                node,
                f"the argument {argument.arg} of {node.name} has no type",
                f"write {argument.arg}: int, or its type",
            )
        types[argument.arg] = scope.surface.type_of(argument.annotation, scope.module)
        reserved(argument, argument.arg, scope)
    if node.returns is None:
        scope.add(node, f"{node.name} has no type of its result", "write -> None, or its type")
    for argument, default in zip(reversed(arguments.args), reversed(arguments.defaults), strict=False):
        check_fits(types.get(argument.arg, UNKNOWN), type_of(default, scope), default, scope)
    return types


def reserved(node: ast.AST, name: str, scope: Scope) -> None:
    if name in RESERVED:
        scope.add(node, f"{name} is a word of C", "choose another name")


def inside(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, without those of functions and classes inside."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield child
            yield from inside(child)


def _annotations(node: Function, scope: Scope) -> dict[str, CType]:
    """The types of locals: annotated ones, and those that count in a range."""
    types: dict[str, CType] = {}
    for inner_node in inside(node):
        if isinstance(inner_node, ast.AnnAssign) and isinstance(inner_node.target, ast.Name):
            kind, name = scope.surface.type_of(inner_node.annotation, scope.module), inner_node.target.id
            if types.setdefault(name, kind) != kind:
                scope.add(inner_node, f"the local {name} has two types", "choose another name for one of them")
            reserved(inner_node, name, scope)
    for inner_node in inside(node):
        if isinstance(inner_node, ast.For) and isinstance(inner_node.target, ast.Name) and _ranges(inner_node.iter):
            if types.setdefault(inner_node.target.id, INT) is not INT:
                scope.add(inner_node, f"{inner_node.target.id} counts in a range and is no int", "choose another name")
            reserved(inner_node, inner_node.target.id, scope)
    return types


def _ranges(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"


def _negative(node: Function, scope: Scope) -> Iterator[str]:
    """Locals that get a negative constant somewhere."""
    for inner_node in inside(node):
        if isinstance(inner_node, ast.Assign | ast.AnnAssign) and inner_node.value is not None:
            targets = inner_node.targets if isinstance(inner_node, ast.Assign) else [inner_node.target]
            value = scope.constant(inner_node.value)
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
                declared = scope.surface.type_of(node.annotation, scope.module)
                check_fits(declared, type_of(node.value, scope), node.value, scope)
            return
        case ast.AugAssign():
            _augment(node, scope)
            return
        case ast.For():
            _loop(node, scope)
    for part in _parts(node):
        if isinstance(part, ast.stmt):
            _statement(part, scope, returns)
        elif not (isinstance(node, ast.For) and part in (node.iter, node.target)):
            type_of(part, scope)


def _parts(node: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.expr):
            yield child
        elif not isinstance(child, ast.pattern | ast.expr_context | ast.operator):
            yield from _parts(child)


def _assign(target: ast.expr, kind: CType, value: ast.expr, scope: Scope) -> None:
    if isinstance(target, ast.Tuple | ast.List):
        values = value.elts if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts) else []
        for k, element in enumerate(target.elts):
            part = kind.of[k] if kind.kind == "tuple" and k < len(kind.of) else UNKNOWN
            _assign(element, part, values[k] if values else value, scope)
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
    """Check the names that a loop binds: numbers of a buffer, of a list or of enumerate need a type."""
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
        for k, element in enumerate(target.elts):
            yield from _bound(element, kind.of[k] if kind.kind == "tuple" and k < len(kind.of) else UNKNOWN)
