"""Trees as columns answer what scikit-learn and ONNX Runtime answer; trees that lead nowhere are refused."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from quantd.models.artifacts.manifest import ArtifactError
from quantd.models.artifacts.runtime import open_session
from quantd.models.forests.prediction import INPUT, OUTPUT
from quantd.models.isolation.graph_process import GraphFailed
from quantd.training.forests.conversion import Trees, to_onnx, trees_of


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


@pytest.mark.parametrize("seed", range(5))
def test_sklearn_the_columns_and_the_runtime_give_the_same_answers(seed: int) -> None:
    fitted, features = forest(seed)
    trees = trees_of(fitted)
    graph = to_onnx(trees, 4)
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
    trees = trees_of(fitted)
    assert predicted(trees, features[:2]) == pytest.approx(2.5, rel=1e-6)


TREES = trees_of(forest(0, trees=3)[0])


def with_one(name: str, at: int, value: float) -> Trees:
    """The same trees with one other number, as a tool that checks nothing would write it."""
    column = getattr(TREES, name).copy()
    column[at] = value
    return msgspec.structs.replace(TREES, **{name: column})


@pytest.mark.parametrize(
    "trees",
    [
        with_one("leaves", 3, np.nan),
        with_one("leaves", 3, np.inf),
        with_one("split", 0, np.nan),
        with_one("feature", 2, 4),
        with_one("feature", 2, -1),
        with_one("roots", 1, 10_000),
        with_one("yes", 0, 0),
        with_one("no", 3, 1),
        with_one("no", 0, 10_000),
        with_one("yes", -1, 10_000),
        with_one("yes", -1, -5),
        msgspec.structs.replace(TREES, split=TREES.split[:-1]),
        msgspec.structs.replace(TREES, yes=TREES.yes[:-1]),
    ],
)
def test_trees_that_lead_nowhere_are_refused(trees: Trees) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    with pytest.raises((ArtifactError, GraphFailed), match=r"ONNX Runtime|ONNXRuntimeError|not finite"):
        open_session(to_onnx(trees, 4), Path("x"), [INPUT], [OUTPUT]).run(None, {INPUT: rows})
