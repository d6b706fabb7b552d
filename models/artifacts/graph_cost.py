"""Computes what one run of an ONNX graph costs from the shapes of its inputs, before the graph is run or opened.

A graph of a few kilobytes can expand one number to a matrix of gigabytes, and multiply it hundreds of times. The probe
of an artifact need not show this, because the cost may grow with the number of assets only. The shapes are therefore
computed from the inputs through every operator of `inspection.OPERATORS`, at the sizes of the run. Sizes that depend on
values of an observation are refused: nothing bounds them.

Rejected: to measure a run, because the cost would be known only after a run that may be too large.

The shapes of the operators are those of https://onnx.ai/onnx/operators.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import numpy as np

from quantd.models.artifacts.inspection import GraphFault, fields, varint

MOST_NUMBERS: Final = 50_000_000
"""Largest count of numbers that one run may write; 200 MB as float32. The shipped graph `full` writes 3 million."""

MOST_PRODUCTS: Final = 2_000_000_000
"""Largest count of multiplications and other operations of one run: about a second of one core."""

_MOST_AXES: Final = 16
"""Largest number of axes of a tensor."""
_MOST_VALUES: Final = 1_024
"""Constants up to this size are followed by value: shapes, axes, pads."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one run: the count of numbers written, and of operations."""

    numbers: int
    products: int


@dataclass(slots=True)
class _Node:
    """One operator of a graph, with the names of its inputs and outputs."""

    operator: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Graph:
    """A graph during the computation of its cost: `shapes` and `values` grow by the outputs of each node in turn."""

    nodes: list[_Node]
    shapes: dict[str, Shape]
    values: dict[str, list[int]]
    """Name of a small tensor of integers -> its values, flat."""


def cost_fault(model: bytes, size: int) -> str:
    """Return why a graph must not be run with `size` in place of each variable size of its inputs; empty when it may
    be."""
    try:
        cost = graph_cost(model, size)
    except GraphFault as fault:
        return str(fault)
    if cost.numbers > MOST_NUMBERS or cost.products > MOST_PRODUCTS:
        return (
            f"one run writes {cost.numbers:,} numbers and takes {cost.products:,} operations, at {size} for each free "
            f"size of its inputs; {MOST_NUMBERS:,} and {MOST_PRODUCTS:,} are the most"
        )
    return ""


def graph_cost(model: bytes, size: int) -> Cost:
    """Return the cost of one run of a valid graph, with `size` in place of each variable size of its inputs. Raises
    GraphFault where no shape bounds it."""
    return _walk(_parsed(model, size))


def _walk(graph: _Graph) -> Cost:
    """Compute the shapes of all outputs of `graph` in order, and the cost, until it exceeds a maximum.

    An input without a name is an optional input that is not given.
    """
    numbers = products = 0
    for node in graph.nodes:
        shapes = [graph.shapes.get(name) for name in node.inputs]
        if any(name and shape is None for name, shape in zip(node.inputs, shapes, strict=True)):
            raise GraphFault(f"{node.operator} reads a tensor that no earlier node writes")
        input_shapes = [() if shape is None else shape for shape in shapes]
        try:
            outputs = _RULES[node.operator](node, input_shapes, graph)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
            # a graph of another writer may have an axis of a scalar, or an axis twice
            raise GraphFault(f"the shape that {node.operator} gives cannot be computed") from None
        for name, shape in zip(node.outputs, outputs, strict=False):
            if len(shape) > _MOST_AXES or any(extent < 0 for extent in shape):
                raise GraphFault(f"{node.operator} gives the shape {shape[:_MOST_AXES]}, which no tensor has")
            graph.shapes[name] = shape
        written = sum(prod(shape) for shape in outputs)
        numbers += written
        # at least one operation for each number that is read or written
        products += max(_products(node, input_shapes, outputs), written, *map(prod, input_shapes), 0)
        if numbers > MOST_NUMBERS or products > MOST_PRODUCTS:
            break
        _follow_integers(node, graph)
    return Cost(numbers, products)


def _products(node: _Node, given: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Return the arithmetic operations of a node that come on top of one for each number that it reads or writes."""
    if node.operator in ("MatMul", "MatMulInteger"):
        return prod(outputs[0]) * given[0][-1]
    if node.operator == "Gemm":
        return prod(outputs[0]) * given[0][0 if node.attributes.get("transA", 0) else 1]
    if node.operator.startswith("TreeEnsemble"):
        return given[0][0] * max(
            (len(value) for value in node.attributes.values() if isinstance(value, list)), default=1
        )
    return 0


# Each function returns the shapes of a node's outputs, from the shapes `given` of its inputs. An impossible node raises
# any error, which `_walk` turns into GraphFault.


def _unchanged(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    return [given[0]]


def _scaled(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    return [given[0], (), ()]  # the rounded numbers, their scale and their zero


def _broadcast(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    return [np.broadcast_shapes(*given)]


def _reduced(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    axes = _integers(node, graph, "axes", 1)
    if not axes:
        if node.attributes.get("noop_with_empty_axes", 0):
            return [given[0]]
        axes = list(range(len(given[0])))
    return [_without(given[0], axes, keep=bool(node.attributes.get("keepdims", 1)))]


def _argmax(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    axis = node.attributes.get("axis", 0)
    return [_without(given[0], [axis], keep=bool(node.attributes.get("keepdims", 1)))]


def _concatenated(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    axis = node.attributes["axis"] % len(given[0])
    return [(*given[0][:axis], sum(shape[axis] for shape in given), *given[0][axis + 1 :])]


def _constant(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    if "value" in node.attributes:
        shape, values = node.attributes["value"]
    else:
        (value,) = (node.attributes[name] for name in _PLAIN if name in node.attributes)
        shape, values = ((len(value),), value) if isinstance(value, list) else ((), [value])
    if values and all(isinstance(value, int) for value in values):
        graph.values[node.outputs[0]] = values
    return [shape]


_PLAIN: Final = ("value_int", "value_ints", "value_float", "value_floats")
"""Attributes of Constant that are no tensor."""


def _expanded(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    return [np.broadcast_shapes(given[0], tuple(graph.values[node.inputs[1]]))]


def _flattened(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    axis = node.attributes.get("axis", 1)
    axis += len(given[0]) if axis < 0 else 0
    return [(prod(given[0][:axis]), prod(given[0][axis:]))]


def _gathered(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    axis = node.attributes.get("axis", 0) % len(given[0])
    return [(*given[0][:axis], *given[1], *given[0][axis + 1 :])]


def _gemm(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    rows = given[0][1 if node.attributes.get("transA", 0) else 0]
    columns = given[1][0 if node.attributes.get("transB", 0) else 1]
    return [(rows, columns)]


def _product(node: _Node, shapes: Sequence[Shape], graph: _Graph) -> list[Shape]:
    """Return the shape of a matrix product, in which a vector counts as a matrix of one row (first) or one column
    (second)."""
    first, second = shapes[0], shapes[1]
    first_matrix, second_matrix = (
        (1, *first) if len(first) == 1 else first,
        (*second, 1) if len(second) == 1 else second,
    )
    if first_matrix[-1] != second_matrix[-2]:
        raise ValueError(first, second)
    shape = [*np.broadcast_shapes(first_matrix[:-2], second_matrix[:-2]), first_matrix[-2], second_matrix[-1]]
    if len(first) == 1:
        del shape[-2]
    if len(second) == 1:
        del shape[-1]
    return [tuple(shape)]


def _padded(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    """Return the shape after padding of all axes, or of the axes that a fourth input names.

    The pads have the numbers of entries before each axis, then those after each axis.
    """
    # 1: the index of the input that has the pads in place of the attribute
    pads = _integers(node, graph, "pads", 1)
    has_axes = len(node.inputs) > 3 and node.inputs[3]
    axes = graph.values[node.inputs[3]] if has_axes else list(range(len(given[0])))
    shape = list(given[0])
    if len(pads) != 2 * len(axes):
        raise ValueError(pads)
    for k, axis in enumerate(axes):
        shape[axis] += pads[k] + pads[k + len(axes)]
    return [tuple(shape)]


def _reshaped(node: _Node, shapes: Sequence[Shape], graph: _Graph) -> list[Shape]:
    """Return the new shape, where 0 keeps the extent of the input and -1 takes what the other extents leave."""
    shape = list(graph.values[node.inputs[1]])
    if not node.attributes.get("allowzero", 0):
        shape = [shapes[0][k] if extent == 0 else extent for k, extent in enumerate(shape)]
    if -1 in shape:
        product = prod(extent for extent in shape if extent != -1)
        shape[shape.index(-1)] = prod(shapes[0]) // product if product else 0
    if prod(shape) != prod(shapes[0]):
        raise ValueError(shape)
    return [tuple(shape)]


def _sliced(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    starts, ends = graph.values[node.inputs[1]], graph.values[node.inputs[2]]
    axes = graph.values[node.inputs[3]] if len(node.inputs) > 3 and node.inputs[3] else list(range(len(starts)))
    steps = graph.values[node.inputs[4]] if len(node.inputs) > 4 and node.inputs[4] else [1] * len(starts)
    shape = list(given[0])
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        shape[axis] = len(range(*slice(start, end, step).indices(shape[axis])))
    return [tuple(shape)]


def _split(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    """Return the shapes of the parts along an axis. The node gives their sizes; else they are equal, except for a
    smaller last part."""
    axis = node.attributes.get("axis", 0) % len(given[0])
    extent, count = given[0][axis], len(node.outputs)
    # 1: the index of the input that has the sizes in place of the attribute
    sizes = _integers(node, graph, "split", 1)
    if not sizes:
        part = -(-extent // count)  # rounded up
        sizes = [*[part] * (count - 1), extent - part * (count - 1)]
    if sum(sizes) != extent:
        raise ValueError(sizes)
    return [(*given[0][:axis], size, *given[0][axis + 1 :]) for size in sizes]


def _squeezed(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    axes = _integers(node, graph, "axes", 1) or [k for k, extent in enumerate(given[0]) if extent == 1]
    return [_without(given[0], axes, keep=False)]


def _unsqueezed(node: _Node, shapes: Sequence[Shape], graph: _Graph) -> list[Shape]:
    axes = _integers(node, graph, "axes", 1)
    rank = len(shapes[0]) + len(axes)
    new_axes = {axis % rank for axis in axes}
    extents = iter(shapes[0])
    return [tuple(1 if k in new_axes else next(extents) for k in range(rank))]


def _transposed(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    order = node.attributes.get("perm", list(reversed(range(len(given[0])))))
    if sorted(order) != list(range(len(given[0]))):
        raise ValueError(order)
    return [tuple(given[0][k] for k in order)]


def _trees(node: _Node, given: Sequence[Shape], graph: _Graph) -> list[Shape]:
    return [(given[0][0], node.attributes["n_targets"])]


_RULES: Final[Mapping[str, Callable[[_Node, Sequence[Shape], _Graph], list[Shape]]]] = {
    **dict.fromkeys(
        ("Abs", "Cast", "Clip", "Erf", "Exp", "Identity", "LayerNormalization", "Log", "Neg", "Relu", "Sigmoid",
         "Softmax", "Softplus", "Sqrt", "Tanh"), _unchanged,
    ),
    **dict.fromkeys(("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Where"), _broadcast),
    **dict.fromkeys(("MatMul", "MatMulInteger"), _product),
    **dict.fromkeys(("ReduceMean", "ReduceSum"), _reduced),
    **dict.fromkeys(("TreeEnsemble", "TreeEnsembleRegressor"), _trees),
    "ArgMax": _argmax, "Concat": _concatenated, "Constant": _constant, "DynamicQuantizeLinear": _scaled,
    "Expand": _expanded, "Flatten": _flattened, "Gather": _gathered, "Gemm": _gemm, "Pad": _padded,
    "Reshape": _reshaped, "Slice": _sliced, "Split": _split, "Squeeze": _squeezed, "Transpose": _transposed,
    "Unsqueeze": _unsqueezed,
}  # fmt: skip
"""The shapes of each operator of `inspection.OPERATORS`."""


def _without(shape: Shape, axes: Sequence[int], *, keep: bool) -> Shape:
    """Return a shape without some axes; with `keep`, these stay with extent 1."""
    removed = {axis % len(shape) for axis in axes}
    if keep:
        return tuple(1 if k in removed else extent for k, extent in enumerate(shape))
    return tuple(extent for k, extent in enumerate(shape) if k not in removed)


def _integers(node: _Node, graph: _Graph, name: str, place: int) -> list[int]:
    """Return the integers of a node's attribute, or of its input with index `place`; empty if it has neither."""
    if name in node.attributes:
        return list(node.attributes[name])
    if len(node.inputs) > place and node.inputs[place]:
        return graph.values[node.inputs[place]]
    return []


def _follow_integers(node: _Node, graph: _Graph) -> None:
    """Compute the integers of an output where the operator only joins or reshapes integers that are known."""
    if node.operator not in ("Concat", "Unsqueeze", "Squeeze", "Identity", "Cast", "Reshape"):
        return
    sources = node.inputs if node.operator == "Concat" else node.inputs[:1]
    if all(name in graph.values for name in sources):
        values = [value for name in sources for value in graph.values[name]]
        if len(values) <= _MOST_VALUES:
            graph.values[node.outputs[0]] = values


# Readers of protobuf messages; the numbers of their fields are those of onnx.proto3.


def _parsed(model: bytes, size: int) -> _Graph:
    """Parse the graph of a model, with `size` for each variable extent of its inputs."""
    graph = _Graph([], {}, {})  # without nodes, shapes and values as yet
    for number, value in fields(memoryview(model)):
        if number != 7 or isinstance(value, int):  # 7: the graph, whose 1 are nodes, 5 constants, 11 inputs
            continue
        for part, content in fields(value):
            if isinstance(content, int):
                continue
            if part == 1:
                graph.nodes.append(_node(content))
            elif part == 5:
                name, shape, values = _tensor(content)
                graph.shapes[name] = shape
                if values is not None:
                    graph.values[name] = values
            elif part == 11:
                name, extents = _input_extents(content)
                graph.shapes.setdefault(name, tuple(size if extent is None else extent for extent in extents))
    return graph


def _node(data: memoryview) -> _Node:
    """Parse one operator (NodeProto). Field numbers: 1 inputs, 2 outputs, 4 operator, 5 attributes."""
    node = _Node()
    for number, value in fields(data):
        if isinstance(value, int):
            continue
        if number in (1, 2):
            (node.inputs if number == 1 else node.outputs).append(_decoded(value))
        elif number == 4:
            node.operator = _decoded(value)
        elif number == 5:
            name, content = _attribute(value)
            node.attributes[name] = content
    return node


def _attribute(data: memoryview) -> tuple[str, Any]:
    """Return (name, value) of an operator's attribute. Of floats only the count matters: they become zeros.

    Field numbers of the protobuf message: 1 name, 3 an integer, 5 a tensor, 7 floats, 8 integers.
    """
    name = ""
    single: Any = None
    lists: list[int] = []
    count = 0
    for number, value in fields(data):
        if number == 1 and not isinstance(value, int):
            name = _decoded(value)
        elif number == 3 and isinstance(value, int):
            single = _signed(value)
        elif number == 5 and not isinstance(value, int):
            _, shape, values = _tensor(value)
            single = (shape, [] if values is None else values)
        elif number == 8:
            lists += _integers_in(value)
        elif number == 7:
            count += 1 if isinstance(value, int) else len(value) // 4
    if lists:
        return name, lists
    return name, single if single is not None else [0.0] * count


def _tensor(data: memoryview) -> tuple[str, Shape, list[int] | None]:
    """Return (name, shape, values) of a tensor; values is None except for a small tensor of integers.

    Field numbers of the protobuf message: 1 extents, 2 type, 5 and 7 integers, 8 name, 9 raw bytes.
    """
    name, kind = "", 0
    extents: list[int] = []
    values: list[int] = []
    raw = b""
    for number, value in fields(data):
        if number == 1:
            extents += _integers_in(value)
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number in (5, 7):
            values += _integers_in(value) if len(values) <= _MOST_VALUES else []
        elif number == 8 and not isinstance(value, int):
            name = _decoded(value)
        elif number == 9 and not isinstance(value, int) and len(value) <= 8 * _MOST_VALUES:
            raw = bytes(value)
    shape = tuple(extents)
    if any(extent < 0 for extent in shape):
        raise GraphFault(f"the tensor {name[:60]} has a negative extent: {shape[:_MOST_AXES]}")
    if kind not in (6, 7) or prod(shape) > _MOST_VALUES:  # int32, int64
        return name, shape, None
    if raw:
        values = np.frombuffer(raw, "<i4" if kind == 6 else "<i8").tolist()
    return name, shape, values if len(values) == prod(shape) else None


def _input_extents(data: memoryview) -> tuple[str, list[int | None]]:
    """Return (name, extents) of a graph's input; None for a variable extent.

    Field numbers of the protobuf message: 1 name, 2 type, in which the shape is nested.
    """
    name = ""
    extents: list[int | None] = []
    for number, value in fields(data):
        if isinstance(value, int):
            continue
        if number == 1:
            name = _decoded(value)
        elif number == 2:
            for tensor in _messages_of(value, 1):
                for shape in _messages_of(tensor, 2):
                    for extent in _messages_of(shape, 1):
                        fixed = [part for kind, part in fields(extent) if kind == 1 and isinstance(part, int)]
                        extents.append(_signed(fixed[0]) if fixed and _signed(fixed[0]) > 0 else None)
    return name, extents


def _messages_of(data: memoryview, wanted: int) -> list[memoryview]:
    """Return the nested protobuf messages in the field with the number `wanted`."""
    return [value for number, value in fields(data) if number == wanted and not isinstance(value, int)]


def _integers_in(value: int | memoryview) -> list[int]:
    """Return the integers of a protobuf field: a single one, or packed ones."""
    if isinstance(value, int):
        return [_signed(value)]
    if len(value) > 10 * _MOST_VALUES:
        return [0] * len(value)  # no shape is so long; the nodes of a tree count, at most one a byte
    position = 0
    values: list[int] = []
    while position < len(value):
        integer, position = varint(value, position)
        values.append(_signed(integer))
    return values


def _signed(value: int) -> int:
    """Return an unsigned integer of 64 bits as a signed one."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _decoded(value: memoryview) -> str:
    return bytes(value).decode("utf-8", "replace")
