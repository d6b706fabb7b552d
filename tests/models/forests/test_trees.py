"""Trees as columns answer what scikit-learn and ONNX Runtime answer, and no bytes but such trees are read."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, helper
from sklearn.ensemble import RandomForestRegressor

from quantd.models.artifacts.inspection import GraphFault
from quantd.models.artifacts.runtime import open_session
from quantd.models.forests.trees import INPUT, OUTPUT, Trees, read
from quantd.training.forests.conversion import to_onnx, trees_of
from tests.support.examples import examples


def predicted(trees: Trees, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return float64[R] of float32[R, F], in numpy: slow, as a reference for the runtime."""
    total = np.zeros(len(rows))
    index = np.arange(len(rows))
    for root in trees.roots:
        at, ended = np.full(len(rows), root), np.zeros(len(rows), dtype=bool)
        while not ended.all():
            node = np.where(ended, root, at)
            low = rows[index, trees.feature[node]] <= trees.split[node]
            to = np.where(low, trees.yes[node], trees.no[node])
            leaf = np.where(low, trees.yes_leaf[node], trees.no_leaf[node])
            at = np.where(ended, at, to)
            ended |= leaf
        total += trees.leaves[at]
    return total


def forest(seed: int, rows: int = 300, depth: int = 6, trees: int = 10) -> tuple[Any, np.ndarray]:
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(rows, 4)).astype(np.float32)
    target = features[:, 0] * 2.0 + np.sin(features[:, 1]) + draw.normal(size=rows)
    return RandomForestRegressor(trees, max_depth=depth, random_state=seed).fit(features, target), features


def columns(trees: Trees) -> list[np.ndarray]:
    return [getattr(trees, name) for name in Trees.__struct_fields__]


@pytest.mark.parametrize("seed", range(5))
def test_sklearn_the_columns_and_the_runtime_give_the_same_answers(seed: int) -> None:
    fitted, features = forest(seed)
    graph = to_onnx(trees_of(fitted), 4)
    trees = read(graph, 4)
    for mine, theirs in zip(columns(trees), columns(trees_of(fitted)), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    # on the splits themselves too, where rounding one the wrong way would send a row to another leaf
    edges = np.tile(features.mean(axis=0), (len(trees.split), 1)).astype(np.float32)
    edges[np.arange(len(edges)), trees.feature] = trees.split
    rows = np.vstack([features, edges, np.nextafter(edges, np.float32(9e9)), np.nextafter(edges, np.float32(-9e9))])
    expected = fitted.predict(rows)
    session = open_session(graph, Path("x"), [INPUT], [OUTPUT])
    # leaves are float32 and the runtime adds them in float32: about 1e-7 a tree
    np.testing.assert_allclose(predicted(trees, rows), expected, atol=1e-6)
    np.testing.assert_allclose(session.run(None, {INPUT: rows})[0][:, 0], expected, atol=5e-6)
    alone = [session.run(None, {INPUT: rows[k : k + 1]})[0][0, 0] for k in range(20)]
    np.testing.assert_array_equal(alone, session.run(None, {INPUT: rows[:20]})[0][:, 0])


def test_a_tree_that_did_not_split_is_its_one_leaf() -> None:
    features = np.zeros((30, 4), dtype=np.float32)
    fitted = RandomForestRegressor(3, random_state=0, bootstrap=False).fit(features, np.full(30, 2.5))
    trees = read(to_onnx(trees_of(fitted), 4), 4)
    assert trees.depth() == 1
    assert predicted(trees, features[:2]) == pytest.approx(2.5, rel=1e-6)


def test_the_depth_is_that_of_the_deepest_tree() -> None:
    fitted, _ = forest(1)
    assert trees_of(fitted).depth() == max(e.get_depth() for e in fitted.estimators_)


GRAPH = to_onnx(trees_of(forest(0, trees=3)[0]), 4)


def spoiled(**changes: np.ndarray) -> bytes:
    """The same graph with other columns, as a tool that checks nothing would write it."""
    return to_onnx(msgspec.structs.replace(read(GRAPH, 4), **changes), 4)


def with_one(name: str, at: int, value: float) -> bytes:
    column = getattr(read(GRAPH, 4), name).copy()
    column[at] = value
    return spoiled(**{name: column})


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (lambda: with_one("leaves", 3, np.nan), "not a finite number"),
        (lambda: with_one("leaves", 3, np.inf), "not a finite number"),
        (lambda: with_one("split", 0, np.nan), "not a finite number"),
        (lambda: with_one("feature", 2, 4), "beyond the 4 features"),
        (lambda: with_one("feature", 2, -1), "beyond the 4 features"),
        (lambda: with_one("roots", 1, 10_000), "a root of a tree is not the index of a node"),
        (lambda: with_one("yes", 0, 0), "leads back"),
        (lambda: with_one("no", 0, 10_000), "does not exist"),
        (lambda: with_one("yes", -1, 10_000), "does not exist"),
        (lambda: with_one("yes", -1, -5), "does not exist"),
        (lambda: spoiled(split=read(GRAPH, 4).split[:-1]), "different lengths"),
        (lambda: spoiled(yes=read(GRAPH, 4).yes[:-1]), "different lengths"),
    ],
)
def test_trees_that_lead_nowhere_are_refused(graph: Any, reason: str) -> None:
    with pytest.raises(GraphFault, match=reason):
        read(graph(), 4)


def remade(change: Any) -> bytes:
    model = ModelProto.FromString(GRAPH)
    change(model)
    return model.SerializeToString()


def set_attribute(model: ModelProto, name: str, value: int) -> None:
    next(a for a in model.graph.node[0].attribute if a.name == name).i = value


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda m: m.graph.node.append(helper.make_node("Identity", ["prediction"], ["x"])),
            "field 1 of a message occurs 2 times",
        ),
        (lambda m: m.graph.initializer.add(), "more in it than one node"),
        (lambda m: m.functions.add(), "more in it than a graph"),
        (lambda m: setattr(m.graph.node[0], "op_type", "Loop"), "not TreeEnsemble"),
        (lambda m: setattr(m.graph.node[0], "domain", "evil"), "not TreeEnsemble"),
        (lambda m: m.opset_import.append(helper.make_opsetid("evil", 1)), "other operators"),
        (lambda m: set_attribute(m, "aggregate_function", 0), "add up"),
        (lambda m: set_attribute(m, "n_targets", 2), "add up"),
        (lambda m: set_attribute(m, "post_transform", 1), "add up"),
        (lambda m: m.graph.node[0].attribute.pop(), "other attributes"),
    ],
)
def test_a_graph_that_is_more_than_a_sum_of_trees_is_refused(change: Any, reason: str) -> None:
    with pytest.raises(GraphFault, match=reason):
        read(remade(change), 4)


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(GraphFault):
        read(data, 4)


@settings(max_examples=examples(200), deadline=None)
@given(at=st.integers(0, len(GRAPH) - 1), value=st.integers(0, 255), cut=st.booleans())
def test_a_graph_with_a_changed_or_missing_end_is_whole_trees_or_refused(at: int, value: int, cut: bool) -> None:
    data = GRAPH[:at] if cut else GRAPH[:at] + bytes([value]) + GRAPH[at + 1 :]
    try:
        trees = read(data, 4)
    except GraphFault:
        return
    assert not cut
    assert np.isfinite(predicted(trees, np.zeros((1, 4), dtype=np.float32))).all()
