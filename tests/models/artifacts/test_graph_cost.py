"""The cost of a graph is computed from shapes: shipped graphs are affordable, and no small graph hides a large run."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, shape_inference

from quantd.models.artifacts import graph_cost
from quantd.models.artifacts.graph_cost import MOST_NUMBERS, MOST_PRODUCTS, cost_fault
from quantd.models.artifacts.inspection import OPERATORS
from quantd.models.artifacts.manifest import ArtifactError
from quantd.models.artifacts.runtime import open_session
from tests.support.checkout import ROOT
from tests.support.examples import examples

SHIPPED = sorted((ROOT / "models" / "shipped").rglob("policy.onnx"))


def graph(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], takes: tuple[str | int, ...] = ("rows", 5)
) -> bytes:
    """A model of one input `x`, whose output is the last node's."""
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(takes))],
            [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    return bytes(model.SerializeToString())


def node(operator: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def integers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def doubled(times: int) -> bytes:
    names = ["x", *(f"d{k}" for k in range(times))]
    return graph([node("Concat", f"{a} {a}", b, axis=0) for a, b in pairwise(names)], {})


def multiplied(size: int, times: int) -> bytes:
    nodes = [node("ReduceSum", "x", "s"), node("Expand", "s shape", "m0")]
    nodes += [node("MatMul", f"m{k} m{k}", f"m{k + 1}") for k in range(times)]
    return graph(nodes, {"shape": integers(size, size)})


def test_every_operator_of_an_artifact_has_the_shape_it_gives() -> None:
    assert set(graph_cost._RULES) == OPERATORS


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_the_shapes_are_those_of_the_reference_for_every_shipped_graph(path: Path) -> None:
    model = onnx.load(path)
    if any(operator.op_type.startswith("TreeEnsemble") for operator in model.graph.node):
        pytest.skip("the reference has no shapes of trees")
    for port in model.graph.input:
        for extent in port.type.tensor_type.shape.dim:
            if extent.dim_param:
                extent.dim_value = 7
    parsed = graph_cost._parsed(path.read_bytes(), 7)
    graph_cost._walk(parsed)
    static_ports = 0
    for port in shape_inference.infer_shapes(model).graph.value_info:
        extents = [extent.dim_value for extent in port.type.tensor_type.shape.dim]
        if all(extents):
            assert parsed.shapes[port.name] == tuple(extents), port.name
            static_ports += 1
    assert static_ports > len(model.graph.node) // 2


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("size", [1, 5, 500, 5_000])
def test_shipped_graphs_are_affordable(path: Path, size: int) -> None:
    assert cost_fault(path.read_bytes(), size) == ""


LARGE = {
    "one number becomes a matrix": multiplied(28_000, 0),
    "a product of matrices, hundreds of times": multiplied(1_000, 400),
    "rows that double": doubled(40),
    "a pad": graph([node("Pad", "x pads", "y")], {"pads": integers(0, 0, 2**31, 2**31)}),
    "an outer sum of rows and columns": graph(
        [node("Reshape", "x a", "r"), node("Reshape", "x b", "c"), node("Add", "r c", "y")],
        {"a": integers(-1, 1), "b": integers(1, -1)}, (20_000, 5),
    ),
    "an index that repeats": graph(
        [node("Gather", "x i", "a", axis=0), node("Gather", "a i", "b", axis=1), node("MatMul", "b b", "y")],
        {"i": np.zeros(2_000, np.int64)},
    ),
    "axes that are added and expanded": graph(
        [node("Unsqueeze", "x axes", "u"), node("Expand", "u shape", "y")],
        {"axes": integers(0, 1), "shape": integers(4_000, 4_000, 1, 1)},
    ),
    "a shape that is joined from parts": graph(
        [node("Concat", "a a", "shape", axis=0), node("ReduceSum", "x", "s"), node("Expand", "s shape", "y")],
        {"a": integers(30_000)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("model", LARGE.values(), ids=LARGE)
def test_a_small_graph_of_a_large_run_is_refused_with_its_cost(model: bytes) -> None:
    assert len(model) < 20_000 + 16_000
    with pytest.raises(ArtifactError, match=r"one run writes [\d,]+ numbers and takes [\d,]+ operations") as refused:
        open_session(model, Path("policy.onnx"), ["x"], size=5)
    assert f"{MOST_NUMBERS:,} and {MOST_PRODUCTS:,} are the most" in str(refused.value)


def test_a_graph_that_is_large_at_the_size_of_a_run_only_is_refused_at_that_size() -> None:
    model = graph(
        [node("Reshape", "x a", "r"), node("Reshape", "x b", "c"), node("Add", "r c", "y")],
        {"a": integers(-1, 1), "b": integers(1, -1)},
    )
    assert cost_fault(model, 5) == ""
    assert "operations, at 5000 for each free size" in cost_fault(model, 5_000)


DYNAMIC = {
    "expands to a number of the observation": [
        node("ReduceSum", "x", "s"), node("Cast", "s", "n", to=TensorProto.INT64), node("Reshape", "n one", "shape"),
        node("Expand", "s shape", "y"),
    ],
    "reshapes by a computed shape": [
        node("Abs", "x", "a"), node("Cast", "a", "n", to=TensorProto.INT64), node("Reshape", "x n", "y"),
    ],
    "slices by a computed end": [
        node("Cast", "x", "n", to=TensorProto.INT64), node("Slice", "x one n", "y"),
    ],
    "pads by a computed number": [
        node("Cast", "x", "n", to=TensorProto.INT64), node("Pad", "x n", "y"),
    ],
    "takes what nothing gives": [node("Add", "x other", "y")],
    "joins numbers": [node("Squeeze", "one", "n"), node("Concat", "n n", "y", axis=0)],
    "adds an axis twice": [
        node("Cast", "two", "n", to=TensorProto.INT64), node("Unsqueeze", "x two", "y"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("nodes", DYNAMIC.values(), ids=DYNAMIC)
def test_a_size_that_depends_on_values_is_refused(nodes: list[onnx.NodeProto]) -> None:
    fault = cost_fault(graph(nodes, {"one": integers(1), "two": integers(0, 0)}), 5)
    assert "cannot be computed" in fault or "no earlier node writes" in fault


@settings(max_examples=examples(200), deadline=None)
@given(data=st.data())
def test_a_graph_with_changed_bytes_has_a_cost_or_a_fault_and_raises_nothing_else(data: st.DataObject) -> None:
    model = bytearray(data.draw(st.sampled_from([*LARGE.values(), SHIPPED[0].read_bytes()])))
    for _ in range(data.draw(st.integers(1, 8))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(cost_fault(bytes(model), 5), str)
