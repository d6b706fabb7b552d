"""Products in eight bits are the same integers on every processor, and the probes of a copy would show otherwise."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from quantd.models.artifacts.inspection import MOST_LEVELS
from quantd.models.artifacts.runtime import open_session
from quantd.models.observation.sight import SightSpec
from quantd.training.export import quantization
from quantd.training.export.extreme_probes import LEAST, MOST, extreme_markets, pair_sum
from quantd.training.export.quantization import in_eight_bits, rewritten
from tests.support.examples import examples

MOST_OF_16_BITS = np.iinfo(np.int16).max
OLD_LEVELS = 127


def product(weight: NDArray[np.float32]) -> bytes:
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
