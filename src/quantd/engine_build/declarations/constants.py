"""The value of a constant expression."""

import ast
import operator
from collections.abc import Callable
from typing import Final

Value = int | float
Lookup = Callable[[str], Value | None]

OPERATIONS: Final[dict[type[ast.operator], Callable[[Value, Value], Value]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
WHOLE_OPERATIONS: Final[dict[type[ast.operator], Callable[[int, int], int]]] = {
    ast.LShift: operator.lshift, ast.RShift: operator.rshift, ast.BitOr: operator.or_, ast.BitAnd: operator.and_,
}  # fmt: skip


def folded(node: ast.expr, lookup: Lookup) -> Value | None:
    """The number of an expression of numbers and constants; None for anything else. A bool is not folded."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, int | float) and not isinstance(node.value, bool) else None
    if isinstance(node, ast.Name):
        return lookup(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = folded(node.operand, lookup)
        return None if value is None else -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        first, second = folded(node.left, lookup), folded(node.right, lookup)
        if first is None or second is None:
            return None
        try:
            if operation := OPERATIONS.get(type(node.op)):
                return operation(first, second)
            if (
                isinstance(first, int)
                and isinstance(second, int)
                and (integer_operation := WHOLE_OPERATIONS.get(type(node.op)))
            ):
                return integer_operation(first, second)
        except ArithmeticError:
            return None
    return None
