"""Converts a fitted scikit-learn forest to trees and to an equivalent ONNX graph. Needs the extra `train`.

What can go wrong. A split rounded to the nearest float32 would send some rows to the other branch: so splits are
rounded down. A tree without a split has no node for a root: so such a tree gets a node whose branches both lead to its
leaf.
"""

from typing import Any, Final

import numpy as np
import onnx
from msgspec import Struct
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from quantd.models.forests.prediction import INPUT, OUTPUT
from quantd.trading.market import Floats, Ints

OPSET: Final = 17
OPERATOR: Final = "TreeEnsemble"
DOMAIN: Final = "ai.onnx.ml"
DOMAIN_VERSION: Final = 5
"""The first version with this operator."""


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


def trees_of(forest: Any) -> Trees:
    """Return the trees of a sklearn RandomForestRegressor. Leaves are divided by the number of trees, since the mean of
    the trees' answers becomes their sum.

    sklearn compares a float32 feature with a float64 split. A split rounded *down* to float32 gives the same branch for
    every float32, so that rounding changes only the leaves.
    """
    roots: list[int] = []
    feature: list[int] = []
    split: list[float] = []
    # by branch: the index of its target among the nodes or, where the branch leads to a leaf, among the leaves
    targets: tuple[list[int], list[int]] = [], []
    leads_to_leaf: tuple[list[bool], list[bool]] = [], []
    leaves: list[float] = []
    for estimator in forest.estimators_:
        tree = estimator.tree_
        first_index = len(feature)
        roots.append(first_index)
        # a leaf has -1 in place of children
        inner_nodes = np.flatnonzero(tree.children_left >= 0)
        index_of = {int(node): first_index + k for k, node in enumerate(inner_nodes)}
        for node in np.flatnonzero(tree.children_left < 0):
            index_of[int(node)] = len(leaves)
            leaves.append(float(tree.value[node, 0, 0]) / len(forest.estimators_))
        if not len(inner_nodes):
            # a tree without a split: both branches lead to its one leaf
            feature.append(0)
            split.append(0.0)
            for side in (0, 1):
                targets[side].append(index_of[0])
                leads_to_leaf[side].append(True)
        for node in inner_nodes:
            feature.append(int(tree.feature[node]))
            split.append(float(tree.threshold[node]))
            for side, children in enumerate((tree.children_left, tree.children_right)):
                child = int(children[node])
                targets[side].append(index_of[child])
                leads_to_leaf[side].append(bool(tree.children_left[child] < 0))
    return Trees(
        roots=np.array(roots, dtype=np.int64),
        feature=np.array(feature, dtype=np.int64),
        split=_rounded_down(np.array(split)),
        yes=np.array(targets[0], dtype=np.int64),
        no=np.array(targets[1], dtype=np.int64),
        yes_leaf=np.array(leads_to_leaf[0]),
        no_leaf=np.array(leads_to_leaf[1]),
        leaves=np.array(leaves, dtype=np.float32),
    )


def to_onnx(trees: Trees, features: int) -> bytes:
    """Export float32[rows, features] -> float32[rows, 1] as one TreeEnsemble node; equal trees give equal bytes."""
    node = helper.make_node(
        OPERATOR,
        [INPUT],
        [OUTPUT],
        domain=DOMAIN,
        aggregate_function=1,  # sum
        post_transform=0,
        n_targets=1,
        tree_roots=trees.roots.tolist(),
        nodes_featureids=trees.feature.tolist(),
        nodes_splits=numpy_helper.from_array(trees.split, "splits"),
        nodes_modes=numpy_helper.from_array(np.zeros(len(trees.feature), dtype=np.uint8), "modes"),  # at most
        nodes_truenodeids=trees.yes.tolist(),
        nodes_falsenodeids=trees.no.tolist(),
        nodes_trueleafs=trees.yes_leaf.astype(int).tolist(),
        nodes_falseleafs=trees.no_leaf.astype(int).tolist(),
        leaf_targetids=[0] * len(trees.leaves),
        leaf_weights=numpy_helper.from_array(trees.leaves, "leaves"),
    )
    graph = helper.make_graph(
        [node],
        "forest",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["rows", features])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows", 1])],
    )
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def _rounded_down(values: Floats) -> NDArray[np.float32]:
    """Return for each float64 the largest float32 that is not above it."""
    nearest = values.astype(np.float32)
    return np.where(nearest > values, np.nextafter(nearest, np.float32(-np.inf)), nearest).astype(np.float32)
