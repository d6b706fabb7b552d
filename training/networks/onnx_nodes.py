"""Builds ONNX graphs node by node: torch's exporter needs two more packages, and its graphs are hard to read."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET = 17

Width = int | str | tuple[int | str, int | str]

Readout = Literal["softmax", "softmax_gaussian", "dirichlet", "tanh", "shares", "bounded"]
"""Conversion of an actor's outputs to a deterministic action; "softmax" gives the probabilities of allocations.

Imported policies have "shares", the positive outputs in proportion, and "bounded", the outputs from -1 to 1.
"""


class Graph:
    """An ONNX graph under construction: its nodes in order of creation.

    An output without a name gets one from its operator and the node's index.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.opsets = {"": OPSET}
        self.foreign = False  # True: some nodes are of another program

    def node(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        name = output or f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, name: str, value: Tensor | NDArray[Any]) -> str:
        """Add a constant to the graph, a tensor as float32, and return its name."""
        values = value.detach().cpu().float().numpy() if isinstance(value, Tensor) else value
        self.constants[name] = np.ascontiguousarray(values)
        return name

    def integers(self, name: str, *values: int) -> str:
        """Add a constant int64[K] of K `values` to the graph, and return its name."""
        return self.constant(name, np.array(values, dtype=np.int64))

    def scalar(self, name: str, value: float) -> str:
        """Add a float32 scalar to the graph, and return its name."""
        return self.constant(name, np.array(value, dtype=np.float32))

    def linear(self, name: str, layer: nn.Linear, given: str) -> str:
        """Add a linear layer whose input is the node output `given`. Returns the name of its output."""
        return self.affine(name, layer.weight, layer.bias, given)

    def affine(self, name: str, weight: Tensor, bias: Tensor, given: str) -> str:
        """Add the product of `given` [rows, I] with the transpose of `weight` [O, I], plus `bias` [O].

        Returns the name of the sum [rows, O].
        """
        product = self.node("MatMul", [given, self.constant(f"{name}.weight", weight.t())])
        return self.node("Add", [product, self.constant(f"{name}.bias", bias)])

    def norm(self, name: str, layer: nn.LayerNorm, given: str) -> str:
        """Add a LayerNorm over the last dimension of the node output `given`. Returns the name of its output."""
        parts = [self.constant(f"{name}.gain", layer.weight), self.constant(f"{name}.shift", layer.bias)]
        return self.node("LayerNormalization", [given, *parts], axis=-1, epsilon=layer.eps)

    def columns(self, given: str, begin: int, end: int, output: str = "") -> str:
        """Add the selection of the columns [begin, end) of `given`. Returns the name of its output."""
        bounds = [self.integers(f"at{edge}", edge) for edge in (begin, end)]
        return self.node("Slice", [given, *bounds, self.integers("columns", 1)], output)

    def readout(self, actor: str, readout: Readout, output: str = "weights") -> str:
        """Add the conversion from the actor's outputs to `output`. Returns the name `output`.

        `actor` and `output` are names of values in the graph. Of a Dirichlet distribution the output is the mode.
        """
        match readout:
            case "softmax":
                self.node("Softmax", [actor], output, axis=-1)
            case "softmax_gaussian":
                # a zero at the end of each row: the reference of the other logits
                pads = self.integers("pads", 0, 0, 0, 1)
                self.node("Softmax", [self.node("Pad", [actor, pads])], output, axis=-1)
            case "dirichlet":
                excess = self.node("Softplus", [actor])
                total = self.node("ReduceSum", [excess, self.integers("last", -1)], keepdims=1)
                self.node("Div", [excess, total], output)
            case "tanh":
                self.node("Tanh", [actor], output)
            case "shares":
                positive = self.node("Relu", [actor])
                total = self.node("ReduceSum", [positive, self.integers("last", -1)], keepdims=1)
                self.node("Div", [positive, self.node("Max", [total, self.scalar("least", 1e-30)])], output)
            case "bounded":
                self.node("Clip", [actor, self.scalar("least", -1.0), self.scalar("most", 1.0)], output)
        return output

    def chosen(self, scores: str, allocations: NDArray[np.float64]) -> None:
        """Add "weights": the row of `allocations` float[A, N] with the highest of the scores float32[1, A].

        Axes: A allocations, N assets.
        """
        table = self.constant("allocations", allocations.astype(np.float32))
        best = self.node("ArgMax", [scores], axis=-1, keepdims=0)
        self.node("Gather", [table, best], "weights", axis=0)

    def model(self, name: str, inputs: Mapping[str, Width], outputs: Mapping[str, Width], rows: int | str = 1) -> bytes:
        """Return the ONNX model, checked and serialised. Raises onnx.checker.ValidationError for a malformed graph.

        `inputs` and `outputs` map names to widths of float32[rows, width], or to (height, width) of float32[rows,
        height, width]. A name in place of a number declares a variable size.
        """

        def declared(widths: Mapping[str, Width]) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(k, TensorProto.FLOAT, [rows, *(w if isinstance(w, tuple) else (w,))])
                for k, w in widths.items()
            ]

        constants = [numpy_helper.from_array(value, key) for key, value in self.constants.items()]
        graph = helper.make_graph(self.nodes, name, declared(inputs), declared(outputs), constants)
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(model)
        return model.SerializeToString(deterministic=True)
