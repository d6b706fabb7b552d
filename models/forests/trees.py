"""Decision trees as arrays, and a strict ONNX reader without the package `onnx`.

A valid graph is one TreeEnsemble node that adds up leaves. Its bytes are checked before ONNX Runtime loads them: every
branch leads to an existing node or leaf, and every split and leaf is a finite number.

What can go wrong, and what prevents it. A branch could lead to nothing, or back, so that a row never reaches a leaf:
each branch must lead to a later node or to a leaf. A graph could contain more than trees: any other field, operator or
attribute is refused. A tensor could have another size than it states: both are compared. Invalid bytes of any kind
raise `GraphFault`, and no other error.

What the order of the steps guarantees. All checks come before ONNX Runtime sees the bytes.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.models.artifacts.inspection import GraphFault, fields, varint
from quantd.trading.market import Ints

MOST_NODES: Final = 1 << 20
OPERATOR: Final = "TreeEnsemble"
DOMAIN: Final = "ai.onnx.ml"
DOMAIN_VERSION: Final = 5
"""The first version with this operator."""

INPUT: Final = "features"
OUTPUT: Final = "prediction"

_ATTRIBUTES: Final = {
    "aggregate_function", "leaf_targetids", "leaf_weights", "n_targets", "nodes_falseleafs", "nodes_falsenodeids",
    "nodes_featureids", "nodes_modes", "nodes_splits", "nodes_trueleafs", "nodes_truenodeids", "post_transform",
    "tree_roots",
}  # fmt: skip


class Trees(Struct, frozen=True):
    """A forest: the answer is the sum over trees of the leaf that a row reaches.

    `roots` int64[trees] are the indices of the first node of each tree. Each node has the index of a `feature`, a
    `split`, and two targets: `yes` where the feature is at most the split, else `no`. A target is the index of a node,
    or of a leaf where `yes_leaf` or `no_leaf` is True. `leaves` float32 are the values of leaves.
    """

    roots: Ints
    feature: Ints
    split: NDArray[np.float32]
    yes: Ints
    no: Ints
    yes_leaf: NDArray[np.bool_]
    no_leaf: NDArray[np.bool_]
    leaves: NDArray[np.float32]

    def depth(self) -> int:
        depth_below = np.ones(len(self.feature), dtype=np.int64)
        for node in range(len(depth_below) - 1, -1, -1):  # children come after their parent
            yes = 0 if self.yes_leaf[node] else depth_below[self.yes[node]]
            no = 0 if self.no_leaf[node] else depth_below[self.no[node]]
            depth_below[node] = 1 + max(yes, no)
        return int(depth_below[self.roots].max())


def read(graph: bytes, features: int) -> Trees:
    """Read the trees of an ONNX graph whose rows have `features` columns.

    Raises GraphFault for bytes of another form, and for trees with a wrong feature, branch, leaf or number.
    """
    try:
        trees = _trees(memoryview(graph))
    except (IndexError, KeyError, UnicodeDecodeError, OverflowError, ValueError) as error:
        # GraphFault is a ValueError, and has its text already
        if isinstance(error, GraphFault):
            raise
        raise GraphFault(f"the file cannot be read ({type(error).__name__})") from None
    _check(trees, features)
    return trees


def _check(trees: Trees, features: int) -> None:
    """Raise GraphFault for trees with an invalid feature index, branch, leaf or number."""
    count, leaves = len(trees.feature), len(trees.leaves)
    columns = (trees.split, trees.yes, trees.no, trees.yes_leaf, trees.no_leaf)
    if not 0 < count <= MOST_NODES or not 0 < leaves <= MOST_NODES or any(len(column) != count for column in columns):
        raise GraphFault("the graph has no nodes or leaves, too many, or columns of nodes with different lengths")
    if not np.isfinite(trees.leaves).all() or not np.isfinite(trees.split).all():
        raise GraphFault("a leaf or a split is not a finite number")
    if ((trees.feature < 0) | (trees.feature >= features)).any():
        raise GraphFault(f"a node reads a column beyond the {features} features")
    if not len(trees.roots) or ((trees.roots < 0) | (trees.roots >= count)).any():
        raise GraphFault("a root of a tree is not the index of a node, or there is no tree")
    indices = np.arange(count)
    for targets, leaf in ((trees.yes, trees.yes_leaf), (trees.no, trees.no_leaf)):
        if (targets < 0).any() or (targets[leaf] >= leaves).any() or (targets[~leaf] >= count).any():
            raise GraphFault("a branch leads to a node or a leaf that does not exist")
        if (targets[~leaf] <= indices[~leaf]).any():
            raise GraphFault("a branch leads back: a row would never arrive")


def _trees(graph: memoryview) -> Trees:
    """Parse the graph. Field numbers are those of onnx.proto, a format whose field numbers never change."""
    model = _fields(graph)
    imports = {_text(_fields(message), 1): _number(_fields(message), 2) for message in model.get(8, [])}
    if imports.get(DOMAIN) != DOMAIN_VERSION or not set(imports) <= {DOMAIN, ""}:
        raise GraphFault(f"the graph needs other operators than {DOMAIN} {DOMAIN_VERSION}")
    if set(model) - {1, 2, 3, 7, 8}:
        raise GraphFault("the model file has more in it than a graph")
    body = _fields(_single_value(model, 7))
    if set(body) - {1, 2, 11, 12}:
        raise GraphFault("the graph has more in it than one node with an input and an output")
    node = _fields(_single_value(body, 1))
    if _text(node, 4) != OPERATOR or _text(node, 7) != DOMAIN or _text(node, 1) != INPUT or _text(node, 2) != OUTPUT:
        raise GraphFault(f"the graph's node is not {OPERATOR} from {INPUT} to {OUTPUT}")
    attributes = {}
    for message in node.get(5, []):
        attribute = _fields(message)
        attributes[_text(attribute, 1)] = attribute
    if set(attributes) != _ATTRIBUTES or len(node[5]) != len(_ATTRIBUTES):
        raise GraphFault("the graph's node has other attributes than a sum of trees")
    single = {name: _number(attributes[name], 3) for name in ("aggregate_function", "n_targets", "post_transform")}
    # 1: the trees' leaves are added up; one target; 0: the sum is not transformed
    if single != {"aggregate_function": 1, "n_targets": 1, "post_transform": 0}:
        raise GraphFault("the graph's node does not add up one value")
    if any(_numbers(attributes["leaf_targetids"])) or any(_tensor(attributes["nodes_modes"], 2, "u1")):
        raise GraphFault("the graph's node splits otherwise than by 'at most', or has more than one target")

    def integers(name: str) -> Ints:
        return np.array(_numbers(attributes[name]), dtype=np.int64)

    leaves = _tensor(attributes["leaf_weights"], 1, "<f4")
    if len(_numbers(attributes["leaf_targetids"])) != len(leaves):
        raise GraphFault("the graph's columns of leaves have different lengths")
    if len(_tensor(attributes["nodes_modes"], 2, "u1")) != len(integers("nodes_featureids")):
        raise GraphFault("the graph's columns of nodes have different lengths, or none")
    return Trees(
        roots=integers("tree_roots"),
        feature=integers("nodes_featureids"),
        split=_tensor(attributes["nodes_splits"], 1, "<f4").astype(np.float32),
        yes=integers("nodes_truenodeids"),
        no=integers("nodes_falsenodeids"),
        yes_leaf=_flags(integers("nodes_trueleafs")),
        no_leaf=_flags(integers("nodes_falseleafs")),
        leaves=leaves.astype(np.float32),
    )


def _flags(values: Ints) -> NDArray[np.bool_]:
    """Return integers of 0 and 1 as booleans; True marks a branch that leads to a leaf."""
    if ((values != 0) & (values != 1)).any():
        raise GraphFault("a mark of a branch to a leaf is neither 0 nor 1")
    return values == 1


_Message = dict[int, list[memoryview | int]]


def _fields(data: memoryview | int) -> _Message:
    """Return protobuf field number -> its values in order: integers, or bytes."""
    if isinstance(data, int):
        raise GraphFault("the file has a number where a message is expected")
    values: _Message = {}
    for number, value in fields(data):
        values.setdefault(number, []).append(value)
    return values


def _single_value(message: _Message, field: int) -> memoryview | int:
    """Return the value of a protobuf field that must occur exactly once."""
    values = message.get(field, [])
    if len(values) != 1:
        raise GraphFault(f"field {field} of a message occurs {len(values)} times, and once is expected")
    return values[0]


def _text(message: _Message, field: int) -> str:
    """Return the text of a protobuf field; "" without the field."""
    if field not in message:
        return ""
    value = _single_value(message, field)
    if isinstance(value, int):
        raise GraphFault("the file has a number where a text is expected")
    return bytes(value).decode()


def _number(message: _Message, field: int) -> int:
    """Return the integer of a protobuf field; 0 without the field."""
    value = _single_value(message, field) if field in message else 0
    if not isinstance(value, int):
        raise GraphFault("the file has a text where a number is expected")
    return value


def _numbers(attribute: _Message) -> list[int]:
    """Return the integers of an ONNX attribute, whether repeated or packed."""
    values = (
        value for field in attribute.get(8, []) for value in ([field] if isinstance(field, int) else _packed(field))
    )
    return [value - (1 << 64) if value >> 63 else value for value in values]


def _packed(data: memoryview) -> Iterator[int]:
    """Yield the integers of a packed protobuf field."""
    at = 0
    while at < len(data):
        value, at = varint(data, at)
        yield value


def _tensor(attribute: _Message, kind: int, dtype: str) -> NDArray[np.generic]:
    """Return a one-dimensional tensor from its raw little-endian bytes. `kind` is onnx's type number."""
    tensor = _fields(_single_value(attribute, 5))
    raw = _single_value(tensor, 9)
    if set(tensor) - {1, 2, 8, 9} or _number(tensor, 2) != kind or isinstance(raw, int):
        raise GraphFault("a tensor has another type than expected, or no raw bytes")
    values = np.frombuffer(raw, dtype=dtype)
    if len(_numbers({8: tensor.get(1, [])})) != 1 or _numbers({8: tensor[1]}) != [len(values)]:
        raise GraphFault("a tensor's data has another length than its dimension")
    return values
