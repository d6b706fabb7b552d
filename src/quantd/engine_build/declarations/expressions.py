"""The types of expressions, and the arithmetic whose result in C would not be that of Python."""

import ast
from dataclasses import dataclass, field
from typing import Final

from quantd.engine_build.declarations.c_types import BOOL, FLOAT, INT, OBJECT, UNKNOWN, CType
from quantd.engine_build.declarations.constants import Value, folded
from quantd.engine_build.declarations.refusal import Refusals
from quantd.engine_build.declarations.surface import Class, Module, Signature, Surface
from quantd.engine_build.recipe import CYTHON

EXACT: Final = 2**53
"""Integers up to here are floats too."""

WIDEST: Final = 2**63
LONGEST_SHIFT: Final = 62

MATH: Final = {
    **dict.fromkeys(("sqrt", "fabs", "exp", "log", "copysign"), FLOAT), "inf": FLOAT, "nan": FLOAT,
    **dict.fromkeys(("isfinite", "isnan", "isinf"), BOOL), "ceil": INT, "floor": INT,
}  # fmt: skip
"""The types of the results of functions of the module math."""

CLOSURE: Final = "write a loop, a comprehension or a method"


@dataclass(slots=True)
class Scope:
    """A function: where it stands, and the types of its names."""

    surface: Surface
    module: Module
    refusals: Refusals
    owner: Class | None = None
    names: dict[str, CType] = field(default_factory=dict)
    negative: set[str] = field(default_factory=set)
    """Names that somewhere get a negative constant."""

    def constant(self, node: ast.expr) -> Value | None:
        """The number of a constant expression; a local name is none."""

        def lookup(name: str) -> Value | None:
            return None if name in self.names else self.surface.constant(name, self.module)

        return folded(node, lookup)

    def add(self, node: ast.AST, what: str, remedy: str) -> None:
        self.refusals.add(node, what, remedy)


def of_number(value: object) -> CType:
    """The type of a literal number or text."""
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return INT if -WIDEST <= value < WIDEST else OBJECT
    return FLOAT if isinstance(value, float) else CType("str", "str") if isinstance(value, str) else UNKNOWN


def type_of(node: ast.expr, scope: Scope) -> CType:
    """The type of an expression; its parts are checked on the way."""
    match node:
        case ast.Constant():
            return of_number(node.value)
        case ast.Name():
            return name_type(node.id, scope)
        case ast.Attribute():
            member = scope.surface.member(type_of(node.value, scope), node.attr)
            return member if isinstance(member, CType) else UNKNOWN
        case ast.Subscript():
            return subscript(node, scope)
        case ast.BinOp():
            return arithmetic(node, node.op, node.left, node.right, scope)
        case ast.UnaryOp():
            inner = type_of(node.operand, scope)
            return BOOL if isinstance(node.op, ast.Not) else INT if inner is BOOL else inner
        case ast.Compare():
            return comparison(node, scope)
        case ast.BoolOp():
            return joined([type_of(value, scope) for value in node.values], node, scope)
        case ast.IfExp():
            type_of(node.test, scope)
            return joined([type_of(value, scope) for value in (node.body, node.orelse)], node, scope)
        case ast.Call():
            return call(node, scope)
        case ast.Tuple():
            return CType("tuple", "tuple", tuple(type_of(element, scope) for element in node.elts))
        case ast.NamedExpr():
            return walrus(node, scope)
        case _:
            return other(node, scope)


def other(node: ast.expr, scope: Scope) -> CType:
    """An expression that is no number. Refuses what needs a function inside the function."""
    if isinstance(node, ast.Lambda):
        scope.add(node, "a closure: a lambda inside a function", CLOSURE)
    elif isinstance(node, ast.GeneratorExp | ast.Yield | ast.YieldFrom):
        scope.add(node, "a generator", CLOSURE)
    elif isinstance(node, ast.Await):
        scope.add(node, "an await", "move it to a module that is not listed")
    else:
        bound = comprehended(node)
        inner = Scope(scope.surface, scope.module, scope.refusals, scope.owner, dict(scope.names), scope.negative)
        inner.names.update(dict.fromkeys(bound, UNKNOWN))
        for child in ast.iter_child_nodes(node):
            parts = [child.iter, *child.ifs] if isinstance(child, ast.comprehension) else [child]
            for part in parts:
                if isinstance(part, ast.expr):
                    type_of(part, inner)
    return UNKNOWN


def comprehended(node: ast.expr) -> list[str]:
    loops: list[ast.comprehension] = getattr(node, "generators", [])
    return [name.id for loop in loops for name in ast.walk(loop.target) if isinstance(name, ast.Name)]


def name_type(name: str, scope: Scope) -> CType:
    """The type of a name: of the function, or a constant of a module."""
    if name in scope.names:
        return scope.names[name]
    value = scope.surface.constant(name, scope.module)
    if value is not None:
        return of_number(value)
    place, inner = scope.module.imports.get(name, ("", ""))
    return MATH[inner] if place == "math" and inner in ("inf", "nan") else UNKNOWN


def walrus(node: ast.NamedExpr, scope: Scope) -> CType:
    """The type of `name := value`. Refuses a number whose name has no type."""
    value = type_of(node.value, scope)
    if node.target.id not in scope.names and value.number:
        unannotated(node, node.target.id, value, scope)
    return scope.names.get(node.target.id, value)


def unannotated(node: ast.AST, name: str, value: CType, scope: Scope) -> None:
    """A number in a local without a type would be an object."""
    scope.add(node, f"the local {name} holds a number and has no type", f"declare {name}: {value.kind}")


def subscript(node: ast.Subscript, scope: Scope) -> CType:
    """An item of a buffer, a list or a tuple."""
    container = type_of(node.value, scope)
    indices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    for index in indices:
        kind = type_of(index, scope) if not isinstance(index, ast.Slice) else UNKNOWN
        if container.kind == "buffer":
            check_index(index, kind, scope)
    if container.kind == "buffer":
        complete = len(indices) == len(container.of) and not any(isinstance(index, ast.Slice) for index in indices)
        return container.of[0] if complete else UNKNOWN
    if container.kind == "tuple" and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
        return container.of[node.slice.value] if node.slice.value < len(container.of) else UNKNOWN
    return container.of[-1] if container.kind in ("list", "dict") and container.of else UNKNOWN


def check_index(node: ast.expr, kind: CType, scope: Scope) -> None:
    """Refuse a negative or a float index of a buffer."""
    value = scope.constant(node) if not isinstance(node, ast.Slice) else None
    named = isinstance(node, ast.Name) and node.id in scope.negative
    if named or (value is not None and value < 0):
        what = f"{ast.unparse(node)} is a negative index into a buffer: memory before the array in C"
        scope.add(node, what, "write the place from the front, such as size - 1")
    if kind.kind == "float":
        scope.add(node, f"the index {ast.unparse(node)} is a float", "write an int")


def joined(kinds: list[CType], node: ast.expr, scope: Scope) -> CType:
    kind_names = {kind.kind for kind in kinds}
    if kind_names == {"int", "float"}:
        scope.add(node, "one value is an int, the other a float: C makes both floats", "write both as floats")
    return kinds[0] if len(kind_names) == 1 else UNKNOWN


def arithmetic(node: ast.AST, op: ast.operator, first: ast.expr, second: ast.expr, scope: Scope) -> CType:
    """The type of an operation. Refuses those that C does in another way."""
    one, two = type_of(first, scope), type_of(second, scope)
    if isinstance(node, ast.expr) and (value := scope.constant(node)) is not None:
        return of_number(value)
    if not (one.number and two.number):
        return UNKNOWN
    real = FLOAT in (one, two)
    if isinstance(op, ast.Div):
        if not real:
            what = "a quotient of two ints: Python rounds the exact quotient, C that of two floats"
            scope.add(node, what, "write float(a) / float(b)")
        return FLOAT
    if isinstance(op, ast.FloorDiv | ast.Mod) and real:
        scope.add(node, "// or % of floats: Python and C round differently", "write ints, or math.floor of a quotient")
    elif isinstance(op, ast.Pow):
        scope.add(node, "a power: its type and its last bit depend on the library", "write the product")
    elif isinstance(op, ast.LShift | ast.RShift):
        by = scope.constant(second)
        if by is None or not 0 <= by <= LONGEST_SHIFT:
            scope.add(node, "a shift by a number that is not a constant from 0 to 62", "write a constant")
    return FLOAT if real else INT


def comparison(node: ast.Compare, scope: Scope) -> CType:
    """Refuses comparisons of an int with a float: Python's are exact."""
    parts = [node.left, *node.comparators]
    kinds = [type_of(part, scope) for part in parts]
    for k in range(len(node.ops)):
        operands = {kinds[k].kind: parts[k], kinds[k + 1].kind: parts[k + 1]}
        if operands.keys() == {"int", "float"}:
            value = scope.constant(operands["int"])
            if value is None or abs(value) > EXACT:
                text = ast.unparse(operands["int"])
                what = f"{text} is an int and is compared with a float: Python's comparison is exact, C rounds it"
                scope.add(node, what, f"write float({text})")
    return BOOL


def call(node: ast.Call, scope: Scope) -> CType:
    """The result of a call. Its arguments are checked against the signature, where that is known."""
    kinds = [
        type_of(argument.value if isinstance(argument, ast.Starred) else argument, scope) for argument in node.args
    ]
    named = {keyword.arg: (type_of(keyword.value, scope), keyword.value) for keyword in node.keywords}
    signature: Signature | None = None
    if isinstance(node.func, ast.Attribute):
        member = scope.surface.member(type_of(node.func.value, scope), node.func.attr)
        signature = member if isinstance(member, Signature) else None
    elif isinstance(node.func, ast.Name):
        name = node.func.id
        place = scope.surface.home(name, scope.module)
        if place is None:
            return builtin(node, name, kinds, scope)
        class_ = scope.surface.listed_class(name, scope.module)
        signature = class_.methods.get("__init__") if class_ else scope.surface.function(name, scope.module)
        if class_:
            pass_on(node, signature, kinds, named, scope)
            return CType("class", class_.node.name, home=place[0].name)
    else:
        type_of(node.func, scope)
    pass_on(node, signature, kinds, named, scope)
    return signature.returns if signature else UNKNOWN


def pass_on(
    node: ast.Call,
    signature: Signature | None,
    kinds: list[CType],
    named: dict[str | None, tuple[CType, ast.expr]],
    scope: Scope,
) -> None:
    """Check the arguments of a call of ours."""
    if signature is None or any(isinstance(argument, ast.Starred) for argument in node.args):
        return
    for expected, kind, value in zip(signature.types, kinds, node.args, strict=False):
        check_fits(expected, kind, value, scope)
    for name, expected in zip(signature.names, signature.types, strict=True):
        if name in named:
            check_fits(expected, *named[name], scope)


def builtin(node: ast.Call, name: str, given: list[CType], scope: Scope) -> CType:
    """The result of a function of Python or of the module math."""
    place, inner = scope.module.imports.get(name, ("", ""))
    if place:
        return MATH.get(inner, UNKNOWN) if place == "math" else UNKNOWN
    if name == "abs" and len(node.args) == 1 and whole_element(node.args[0], scope):
        what = f"abs of an element of a buffer of whole numbers: Cython {CYTHON} cannot translate it"
        scope.add(node, what, "assign the element to a local int first")
    match name, [argument.kind for argument in given]:
        case ("int" | "len", _):
            return INT
        case ("float", _):
            return FLOAT
        case ("bool" | "isinstance", _):
            return BOOL
        case ("abs", [kind]) | ("round", [kind]) if kind in ("int", "float"):
            return INT if name == "round" else given[0]
        case ("min" | "max", kinds) if len(kinds) > 1:
            return joined(given, node, scope)
        case ("divmod", ["int", "int"]):
            return CType("tuple", "tuple", (INT, INT))
        case ("divmod", ["float", _] | [_, "float"]):
            scope.add(node, "divmod of floats: Python and C round differently", "write ints")
    return UNKNOWN


def whole_element(node: ast.expr, scope: Scope) -> bool:
    """Whether an expression is an element of a buffer of whole numbers, or the sign or size of one."""
    while True:
        match node:
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                node = node.operand
            case ast.Call(func=ast.Name(id="abs"), args=[inner]):
                node = inner
            case ast.Subscript():
                held = type_of(node.value, scope)
                if held.kind == "buffer":
                    return held.of[0] is INT
                node = node.value
            case _:
                return False


def check_fits(expected: CType, kind: CType, node: ast.expr, scope: Scope) -> None:
    """Python keeps what is assigned, C converts it: a value must have the type of its place."""
    text = ast.unparse(node)
    if expected is FLOAT and kind in (INT, BOOL):
        value = scope.constant(node)
        remedy = f"write {float(value)}" if value is not None else f"write float({text})"
        scope.add(node, f"{text} is an int where a float belongs: it stays an int in Python only", remedy)
    elif expected is INT and kind is BOOL:
        scope.add(node, f"{text} is a bool where an int belongs: it stays a bool in Python only", f"write int({text})")
    elif expected.kind == "tuple" and kind.kind == "tuple" and isinstance(node, ast.Tuple):
        for part, inner, element in zip(expected.of, kind.of, node.elts, strict=False):
            check_fits(part, inner, element, scope)
