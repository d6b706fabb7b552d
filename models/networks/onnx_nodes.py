"""ONNX graphs written node by node: torch's exporter needs two more packages and writes what nobody reads."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

OPSET = 17

Readout = Literal["softmax", "softmax_gaussian", "dirichlet", "tanh"]
"""How an actor's outputs become an action when nothing is drawn: `mode` of the family of that name; "softmax" gives the
probabilities of discrete ones."""


class Graph:
    """Nodes in the order they are written; each is named after its place."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def node(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        name = output or f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, name: str, value: Tensor | NDArray[Any]) -> str:
        values = value.detach().cpu().float().numpy() if isinstance(value, Tensor) else value
        self.constants[name] = np.ascontiguousarray(values)
        return name

    def linear(self, name: str, weight: Tensor, bias: Tensor, given: str) -> str:
        product = self.node("MatMul", [given, self.constant(f"{name}.weight", weight.t())])
        return self.node("Add", [product, self.constant(f"{name}.bias", bias)])

    def readout(self, actor: str, readout: Readout, output: str = "weights") -> str:
        """From the actor's outputs to `output`."""
        match readout:
            case "softmax":
                self.node("Softmax", [actor], output, axis=-1)
            case "softmax_gaussian":
                # a zero at the end of each row: what the others are measured by
                pads = self.constant("pads", np.array([0, 0, 0, 1], dtype=np.int64))
                self.node("Softmax", [self.node("Pad", [actor, pads])], output, axis=-1)
            case "dirichlet":
                excess = self.node("Softplus", [actor])
                last = self.constant("last", np.array([-1], dtype=np.int64))
                total = self.node("ReduceSum", [excess, last], keepdims=1)
                self.node("Div", [excess, total], output)
            case "tanh":
                self.node("Tanh", [actor], output)
        return output

    def chosen(self, scores: str, allocations: NDArray[np.float64]) -> None:
        """From float32[1, A] scores to "weights", the row of `allocations` float[A, N] whose score is highest."""
        table = self.constant("allocations", allocations.astype(np.float32))
        best = self.node("ArgMax", [scores], axis=-1, keepdims=0)
        self.node("Gather", [table, best], "weights", axis=0)

    def model(
        self, name: str, inputs: Mapping[str, int], outputs: Mapping[str, int | tuple[int, int]], rows: int | str = 1
    ) -> bytes:
        """`inputs` and `outputs`: names and widths of float32[rows, width], or [rows, height, width]; as many rows as there are when `rows`
        is a name."""

        def declared(widths: Mapping[str, int] | Mapping[str, int | tuple[int, int]]) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(k, TensorProto.FLOAT, [rows, *(w if isinstance(w, tuple) else (w,))])
                for k, w in widths.items()
            ]

        constants = [numpy_helper.from_array(value, key) for key, value in self.constants.items()]
        graph = helper.make_graph(self.nodes, name, declared(inputs), declared(outputs), constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model)
        return model.SerializeToString(deterministic=True)
