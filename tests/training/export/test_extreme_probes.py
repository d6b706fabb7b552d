"""Products in eight bits are the same integers on every processor, and the probes of a copy would show otherwise."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from quantd.models.artifacts.agent_policy import Answer, LearnedAgent, LearnedArtifact, load_agent
from quantd.models.artifacts.inspection import MOST_LEVELS, graph_fault
from quantd.models.artifacts.runtime import open_session
from quantd.models.observation.sight import SightSpec
from quantd.training.export import quantization
from quantd.training.export.extreme_probes import LEAST, MOST, extreme_markets, pair_sum
from quantd.training.export.quantization import in_eight_bits, matrices_of, quantize, rewritten
from tests.support.artifacts import written
from tests.support.checkout import ROOT
from tests.support.examples import examples

MOST_OF_16_BITS = np.iinfo(np.int16).max
OLD_LEVELS = 127


class MatMulInteger(OpRun):  # type: ignore[misc]
    """The product of a processor without VNNI: two neighbouring products are added in 16 bits and cut."""

    def _run(self, inputs: Any, matrix: Any, zero: Any = None) -> tuple[Any]:
        odd = matrix.shape[0] % 2
        rows = np.pad(inputs.astype(np.int64), [(0, 0)] * (inputs.ndim - 1) + [(0, odd)])
        weights = np.pad(matrix.astype(np.int64), ((0, odd), (0, 0)))
        pairs = rows[..., ::2, None] * weights[::2] + rows[..., 1::2, None] * weights[1::2]
        total = np.clip(pairs, -MOST_OF_16_BITS - 1, MOST_OF_16_BITS).sum(axis=-2)
        return ((total - int(zero) * weights.sum(axis=0)).astype(np.int32),)


class ComputedAgent(LearnedAgent):
    """A policy that answers by another graph, on a processor with VNNI or, with `cut`, on one without."""

    def __init__(self, artifact: LearnedArtifact, graph: bytes, *, cut: bool) -> None:
        super().__init__(artifact, prove=False)
        self._run = ReferenceEvaluator(graph, new_ops=[MatMulInteger] if cut else []).run
        self.scores: list[NDArray[np.float32]] = []

    def decide(self, observed: NDArray[np.float32], carry: Any = None, priced: Any = None) -> Answer:
        """Answers, and records the scores of a discrete policy; others have none."""
        answer = super().decide(observed, carry, priced)
        self.scores.append(answer.scores)
        return answer


def product(weight: NDArray[np.float32]) -> bytes:
    """A graph of one product with `weight`."""
    rows, columns = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, columns])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString(deterministic=True))


def rounded(weight: NDArray[np.float32]) -> tuple[bytes, NDArray[np.int32]]:
    """The graph of `product` in eight bits, with the integers of its sums as an output, and its rounded weights."""
    model = onnx.load_from_string(rewritten(product(weight), frozenset({"w"}), in_eight_bits))
    model.graph.output.append(helper.make_tensor_value_info("y.sum", TensorProto.INT32, None))
    (matrix,) = (t for t in model.graph.initializer if t.data_type == TensorProto.INT8)
    return bytes(model.SerializeToString()), numpy_helper.to_array(matrix).astype(np.int32)


@pytest.mark.requirement("R-104")
def test_the_largest_products_are_exact_integers_on_this_processor() -> None:
    sides = np.where(np.random.default_rng(0).random((64, 8)) < 0.5, -1.0, 1.0).astype(np.float32)
    sides[:, 0], sides[:, 1] = 1.0, -1.0
    graph, matrix = rounded(sides)
    assert np.abs(matrix).min() == np.abs(matrix).max() == quantization.LEVELS
    session = open_session(graph, Path("policy.onnx"), ["x"])
    for inputs in (np.ones((1, 64), np.float32), (np.arange(64) % 2).astype(np.float32)[None]):
        (sums,) = session.run(["y.sum"], {"x": inputs})
        assert (sums == 255 * inputs.astype(np.int32) @ matrix).all()


@given(
    st.integers(2, 40), st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6),
)  # fmt: skip
@settings(max_examples=examples(60))
def test_no_two_neighbouring_products_of_a_written_graph_pass_16_bits(rows: int, seed: int, scale: float) -> None:
    draw = np.random.default_rng(seed)
    weight = (draw.standard_t(2, (rows, 7)) * scale).astype(np.float32)
    weight[draw.random(weight.shape) < 0.3] = np.abs(weight).max()
    _, matrix = rounded(weight)
    assert pair_sum(np.full((1, rows), MOST, np.uint8), np.abs(matrix)) <= MOST_OF_16_BITS


@pytest.mark.one_of(2)
@pytest.mark.long
@pytest.mark.parametrize("name", ["ppo lstm", "shipped/a2c", "shipped/dqn", "shipped/sac"])
def test_the_probes_of_a_copy_reach_the_extremes_where_cut_products_would_show(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ROOT / "models" / name
    if not place.is_dir():
        written(place := tmp_path / "a", name)
    parent = load_agent(place, {})
    copy = quantize(place, tmp_path / "b", "int8", "x")
    artifact = load_agent(tmp_path / "b", {}).artifact
    assert len(artifact.golden.cash) == copy.golden.count > parent.artifact.manifest.golden.count
    monkeypatch.setattr(quantization, "LEVELS", OLD_LEVELS)
    full = parent.artifact.graph
    old = rewritten(full, frozenset(matrices_of(full)), in_eight_bits)
    tolerance = copy.golden.tolerance
    agents = {
        (levels, cut): ComputedAgent(artifact, graph, cut=cut)
        for levels, graph in ((MOST_LEVELS, artifact.graph), (OLD_LEVELS, old))
        for cut in (False, True)
    }
    differences = {key: agent.difference() for key, agent in agents.items()}
    scores = {key: np.stack(agent.scores) for key, agent in agents.items()}
    assert differences[MOST_LEVELS, True] == differences[MOST_LEVELS, False] <= tolerance
    assert (scores[MOST_LEVELS, True] == scores[MOST_LEVELS, False]).all()
    assert differences[OLD_LEVELS, False] <= tolerance
    if artifact.manifest.action.kind == "discrete":
        # A probe records the best allocation alone, and an added one has a clear lead. Cut products move the scores of
        # dqn, but in no probe the best allocation. What protects it is that 127 levels are refused when it is opened.
        moved = np.abs(scores[OLD_LEVELS, True] - scores[OLD_LEVELS, False]).max()
        rounding = np.abs(scores[OLD_LEVELS, False] - scores[MOST_LEVELS, False]).max()
        assert differences[OLD_LEVELS, True] <= tolerance
        assert moved > rounding
        assert f"weights up to {OLD_LEVELS} in eight bits" in graph_fault(old)
    else:
        assert tolerance < differences[OLD_LEVELS, True]


@pytest.mark.parametrize("columns", [(), ("rsi_14", "momentum_126.rank")])
def test_the_searched_markets_reach_both_extremes_of_every_feature(columns: tuple[str, ...]) -> None:
    spec = SightSpec(columns=columns)
    markets = extreme_markets(spec, 4)
    assert all((market.returns > -1.0).all() and np.isfinite(market.columns).all() for market in markets)
    assert all(abs(market.weights.sum() + market.cash - 1.0) < 1e-9 for market in markets)
    assert {bool(market.weights.max() > 0.9) for market in markets} == {False, True}
    assert {tuple(np.sign(market.returns.sum(axis=0))) for market in markets} >= {(1.0,) * 4, (-1.0,) * 4}


def test_a_sum_of_two_neighbours_is_the_largest_in_size() -> None:
    values = np.array([[LEAST, MOST, MOST, MOST, MOST]], np.uint8)
    matrix = np.array([[63, 1], [-63, 1], [2, 3], [2, -5], [-64, 0]])
    assert pair_sum(values, matrix) == 255 * 64
    assert MOST_LEVELS * MOST * 2 <= MOST_OF_16_BITS < OLD_LEVELS * MOST * 2
