"""Checks an ONNX graph before it is loaded, without the onnx package.

A valid model is one graph of known operators, with all numbers inside it and finite. The operators are those that
artifacts need. Field numbers are those of onnx.proto3, and the encoding is
https://protobuf.dev/programming-guides/encoding.

What can go wrong, and what prevents it. A graph could read tensors from a file of this machine, hide a second graph
inside an operator, or have a NaN that becomes a weight: all of these are refused. A length beyond the end of the data,
or an integer without an end, would make a reader fail or run on: each is refused before it is used. Products of 8-bit
weights overflow and are cut off on processors without VNNI, where the same artifact would answer differently: the size
of these weights is therefore bounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

OPERATORS: Final = frozenset(
    {
        "Add", "ArgMax", "Cast", "Clip", "Concat", "Constant", "Div", "DynamicQuantizeLinear", "Erf", "Exp", "Expand",
        "Flatten",
        "Gather", "Gemm", "Identity", "LayerNormalization", "LinearClassifier", "LinearRegressor", "Log", "MatMul",
        "MatMulInteger", "Max", "Min", "Mul",
        "Neg", "Pad", "Pow",
        "ReduceMean", "ReduceSum", "Relu", "Reshape", "Scaler", "Sigmoid", "Slice", "Softmax", "Softplus", "Split",
        "Sqrt", "Squeeze",
        "Sub", "Tanh", "Transpose", "TreeEnsemble",
        "TreeEnsembleClassifier", "TreeEnsembleRegressor", "Unsqueeze", "Where", "Abs",
    }
)  # fmt: skip
MOST_LEVELS: Final = 63
"""Largest absolute value of a weight in eight bits.

Processors without VNNI add two products of an unsigned and a signed byte in 16 bits and cut the sum at 32,767 (Intel
Software Developer's Manual, VPMADDUBSW: "packs saturated"). 2 x 255 x 63 = 32,130 fits, so the sums are the same
integers on every processor; 2 x 255 x 127 = 64,770 does not.
"""

MOST_NODES: Final = 1 << 20
"""Most nodes of the trees of one operator."""

_TREES: Final = {b"TreeEnsembleRegressor": "target", b"TreeEnsembleClassifier": "class"}
"""An operator of trees -> what its leaves vote for, the first word of its attributes for leaves."""

_ALL_LEVELS: Final = 128
"""Largest absolute value of a signed byte: no bound."""

DOMAINS: Final = frozenset({b"", b"ai.onnx", b"ai.onnx.ml"})

# numbers of fields in onnx.proto
_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 2, 4, 5, 7
_ATTRIBUTE_FLOAT, _ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_FLOATS, _ATTRIBUTE_TENSORS = 2, 5, 6, 7, 10
_ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 11, 22, 23
_ATTRIBUTE_NAME, _ATTRIBUTE_INTEGERS, _ATTRIBUTE_STRINGS = 1, 8, 9
_TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_NAME, _TENSOR_RAW, _TENSOR_DOUBLES = 2, 4, 8, 9, 10
_TENSOR_EXTERNAL, _TENSOR_LOCATION, _TENSOR_STRINGS = 13, 14, 6
_TENSOR_INTEGERS = 5
_FLOAT, _INT8, _FLOAT16, _DOUBLE = 1, 3, 10, 11

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
"""Wire types of protobuf: an integer, 8 bytes, a length with as many bytes, 4 bytes."""


class GraphFault(ValueError):
    """A graph that must not be loaded; the message describes the fault."""


@dataclass(frozen=True, slots=True)
class Permitted:
    """What a graph may contain: operators by name, and whether numbers may be infinite.

    A mask may need minus infinity; NaN is never permitted. `levels` is the largest absolute value of an 8-bit weight.
    """

    operators: frozenset[str]
    infinite: bool
    levels: int


def graph_fault(model: bytes, operators: frozenset[str] = OPERATORS, infinite: bool = False) -> str:
    """Return why a graph must not be loaded; empty when it may be.

    `infinite` is True for models that were not made by quantd: they may have infinite numbers, and any 8-bit weights.
    """
    try:
        _model(memoryview(model), Permitted(operators, infinite, _ALL_LEVELS if infinite else MOST_LEVELS))
    except GraphFault as fault:
        return str(fault)
    return ""


def _model(data: memoryview, permitted: Permitted) -> None:
    """Check the one graph of a model. Raises GraphFault for a model with functions, without a graph or with several."""
    graphs = 0
    for number, value in fields(data):
        if number in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
            raise GraphFault("the graph defines functions of its own")
        if number == _MODEL_GRAPH:
            graphs += 1
            _graph(_message(value), permitted)
    if graphs != 1:
        raise GraphFault("the file is not an ONNX graph")


def _graph(data: memoryview, permitted: Permitted) -> None:
    for number, value in fields(data):
        if number == _GRAPH_NODE:
            _node(_message(value), permitted)
        elif number == _GRAPH_INITIALIZER:
            _tensor(_message(value), permitted)
        elif number == _GRAPH_SPARSE:
            raise GraphFault("the graph has sparse tensors")


def _node(data: memoryview, permitted: Permitted) -> None:
    """Check one operator and its attributes. Raises GraphFault for an operator that is not permitted."""
    operator = domain = b""
    attributes: list[memoryview] = []
    for number, value in fields(data):
        if number == _NODE_OPERATOR:
            operator = bytes(_message(value))
        elif number == _NODE_DOMAIN:
            domain = bytes(_message(value))
        elif number == _NODE_ATTRIBUTE:
            attributes.append(_message(value))
            _attribute(attributes[-1], permitted)
    if domain not in DOMAINS or operator.decode("ascii", "replace") not in permitted.operators:
        raise GraphFault(
            f"the graph has the operator "
            f"{(domain + b':' + operator if domain else operator).decode('ascii', 'replace')[:60]!r}"
        )
    if operator in _TREES:
        _require_trees(dict(map(_integers, attributes)), _TREES[operator])


def _integers(attribute: memoryview) -> tuple[str, NDArray[np.int64]]:
    """Return the name of an attribute and its integers; of an attribute of texts, 1 for each that is "LEAF", else 0."""
    name, values = "", list[int]()
    for number, value in fields(attribute):
        if number == _ATTRIBUTE_NAME:
            name = bytes(_message(value)).decode("ascii", "replace")
        elif number == _ATTRIBUTE_INTEGERS:
            values += [value] if isinstance(value, int) else _varints(value)
        elif number == _ATTRIBUTE_STRINGS:
            values.append(int(bytes(_message(value)) == b"LEAF"))
    return name, np.array([value & (1 << 64) - 1 for value in values], dtype=np.uint64).view(np.int64)


def _require_trees(lists: dict[str, NDArray[np.int64]], votes: str) -> None:
    """Check that each branch leads to later nodes of its own tree, so that every walk ends, and each leaf exists.

    Raises GraphFault for trees that a runtime would leave, or never leave.
    """
    trees, nodes, leaf, entries, *branches = (
        lists.get(f"nodes_{name}", np.empty(0, np.int64))
        for name in ("treeids", "nodeids", "modes", "featureids", "truenodeids", "falsenodeids")
    )
    voters = [lists.get(f"{votes}_{name}", np.empty(0, np.int64)) for name in ("treeids", "nodeids", "ids")]
    lengths = {len(values) for values in (trees, nodes, leaf, entries, *branches)}
    if lengths != {len(nodes)} or not 0 < len(nodes) <= MOST_NODES or len({len(values) for values in voters}) != 1:
        raise GraphFault(f"the graph has trees whose lists differ in length, or of none or over {MOST_NODES} nodes")
    if (
        min(int(values.min(initial=0)) for values in (trees, nodes, entries, *branches, *voters)) < 0
        or max(int(values.max(initial=0)) for values in (trees, nodes, entries, *branches, *voters)) >= 1 << 31
    ):
        raise GraphFault("the graph has trees with a number below 0 or above 2,147,483,647")
    places, inner = trees << 32 | nodes, leaf == 0
    if len(np.unique(places)) != len(places) or not np.isin(voters[0] << 32 | voters[1], places[~inner]).all():
        raise GraphFault("the graph has trees with a node twice, or a vote of a leaf that is not there")
    for branch in branches:
        if (branch <= nodes)[inner].any() or not np.isin((trees << 32 | branch)[inner], places).all():
            raise GraphFault("the graph has trees with a branch to no later node of the same tree")


def _attribute(data: memoryview, permitted: Permitted) -> None:
    for number, value in fields(data):
        if number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES):
            raise GraphFault("the graph has a graph inside an operator")
        if number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
            _tensor(_message(value), permitted)
        elif number in (_ATTRIBUTE_FLOAT, _ATTRIBUTE_FLOATS) and not isinstance(value, int):
            _require_finite(value, "<f4", "an attribute", permitted)


def _tensor(data: memoryview, permitted: Permitted) -> None:
    """Check one constant: its numbers must be in this file and finite, and 8-bit weights within the permitted levels.

    The fields of a message can come in any order, so that the type is known only at the end.
    """
    kind, name = 0, "a tensor"
    parts: list[tuple[int, memoryview]] = []
    integers: list[int | memoryview] = []
    for number, value in fields(data):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0):  # 0: the tensor is in this file
            raise GraphFault("the graph keeps tensors in other files")
        if number == _TENSOR_STRINGS:
            raise GraphFault("the graph has tensors of text")
        if number == _TENSOR_TYPE and isinstance(value, int):
            kind = value
        elif number == _TENSOR_NAME:
            name = bytes(_message(value)).decode("ascii", "replace")[:60]
        elif number in (_TENSOR_FLOATS, _TENSOR_RAW, _TENSOR_DOUBLES) and not isinstance(value, int):
            parts.append((number, value))
        elif number == _TENSOR_INTEGERS:
            integers.append(value)
    if kind == _INT8:
        _require_bounded_bytes([value for number, value in parts if number == _TENSOR_RAW], integers, name, permitted)
    for number, value in parts:
        dtype = {_TENSOR_FLOATS: "<f4", _TENSOR_DOUBLES: "<f8"}.get(number) or _RAW.get(kind)
        if dtype is not None:
            _require_finite(value, dtype, name, permitted)


_RAW: Final = {_FLOAT: "<f4", _FLOAT16: "<f2", _DOUBLE: "<f8"}


def _require_finite(data: memoryview, dtype: str, name: str, permitted: Permitted) -> None:
    """Raise GraphFault for a number that is NaN, or infinite where that is not permitted."""
    divisible = len(data) % np.dtype(dtype).itemsize == 0
    values = np.frombuffer(data, dtype=dtype) if divisible else np.empty(0)
    if not divisible or not (~np.isnan(values) if permitted.infinite else np.isfinite(values)).all():
        raise GraphFault(f"{name} has a number that is not finite")


def _require_bounded_bytes(
    raw: list[memoryview], integers: list[int | memoryview], name: str, permitted: Permitted
) -> None:
    """Check the weights of a tensor in signed eight bits, from either of the two fields that can hold them.

    Raises GraphFault for a weight beyond `permitted.levels`.
    """
    numbers = chain.from_iterable([value] if isinstance(value, int) else _varints(value) for value in integers)
    data = b"".join(raw) + bytes(value & 0xFF for value in numbers)
    largest = int(np.abs(np.frombuffer(data, dtype=np.int8).astype(np.int16)).max(initial=0))
    if largest > permitted.levels:
        raise GraphFault(
            f"{name} has weights up to {largest} in eight bits, and their products are cut on processors without VNNI "
            f"(at most {permitted.levels} is exact everywhere); make the copy again from the artifact that it was made "
            "from: quantd models compress PARENT --int8 --out FOLDER"
        )


def _varints(data: memoryview) -> list[int]:
    """Return the integers of a packed protobuf field."""
    at, values = 0, []
    while at < len(data):
        value, at = varint(data, at)
        values.append(value)
    return values


def operator_of(model: bytes, output: str) -> str:
    """Return the name of the operator that computes `output` in a valid graph; empty where none does."""
    for number, graph in fields(memoryview(model)):
        if number == _MODEL_GRAPH:
            for kind, node in fields(_message(graph)):
                parts = list(fields(_message(node))) if kind == _GRAPH_NODE else []
                if any(tag == _NODE_OUTPUT and bytes(_message(name)) == output.encode() for tag, name in parts):
                    return next(bytes(_message(value)).decode() for tag, value in parts if tag == _NODE_OPERATOR)
    return ""


def _message(value: int | memoryview) -> memoryview:
    """Return the bytes of a protobuf field. Raises GraphFault for an integer where bytes are expected."""
    if isinstance(value, int):
        raise GraphFault("the file is not an ONNX graph")
    return value


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (number, value) of each protobuf field: an int, or the bytes of any other type.

    Raises GraphFault for bytes that are no protobuf message, and for a file that is cut short.
    """
    position = 0
    while position < len(data):
        key, position = varint(data, position)
        # the key of a field has its number, and in the lowest three bits its type
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, position = varint(data, position)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, position = varint(data, position)
        elif wire_type in (_EIGHT, _FOUR):
            size = 8 if wire_type == _EIGHT else 4
        else:
            raise GraphFault("the file is not an ONNX graph")
        if size > len(data) - position:
            raise GraphFault("the file is cut short")
        yield number, data[position : position + size]
        position += size


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the integer at position `at`, and the position after it. Raises GraphFault where the data end within it.

    Each byte has seven bits of the integer, lowest first; its highest bit is 0 in the last byte.
    """
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise GraphFault("the file is cut short")
