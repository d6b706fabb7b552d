"""An asset-equivariant scorer: one small network scores each asset by its own features and the mean of all.

A permutation of the assets permutes the weights, and nothing depends on their number. A policy trained on five assets
can therefore run on fifty (Zaheer et al. 2017, Deep Sets).
"""

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

MASKED = 1e9
"""Subtracted from the score of an asset that cannot be held, whose weight is then exactly zero."""

CASH_AT_START = -4.0
"""Score of cash in an untrained network: 2 % cash, and the rest equal weight."""

OPSET = 17


class Scorer(nn.Module):
    """Maps features float32[.., N, F] and mask float32[.., N] to weights float32[.., N]; the rest to 1 is cash."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(features, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.own = nn.Linear(hidden, hidden)
        self.common = nn.Linear(hidden, hidden, bias=False)
        self.score = nn.Linear(hidden, 1)
        self.mood = nn.Linear(hidden, hidden)
        self.cash = nn.Linear(hidden, 1)
        # an untrained scorer is equal weight, so that any other weights are learned
        for layer, bias in ((self.score, 0.0), (self.cash, CASH_AT_START)):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, bias)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        known = mask.unsqueeze(-1)
        asset = torch.relu(self.second(torch.relu(self.first(features))))
        count = known.sum(-2, keepdim=True).clamp(min=1.0)
        pooled = (asset * known).sum(-2, keepdim=True) / count
        score = self.score(torch.relu(self.own(asset) + self.common(pooled)))
        cash = self.cash(torch.relu(self.mood(pooled)))
        # minus log n, so that the share of cash does not depend on the number of assets
        logits = torch.cat([score - count.log() + (known - 1.0) * MASKED, cash], dim=-2)
        return torch.softmax(logits, dim=-2)[..., :-1, 0]


def to_onnx(scorer: Scorer) -> bytes:
    """Export [1, N, F] and [1, N] -> [1, N] for any N, node by node.

    torch's exporter needs two more packages and fixes the number of assets.
    """
    state = {name: value.detach().numpy() for name, value in scorer.state_dict().items()}
    constants: dict[str, NDArray[Any]] = {
        "last": np.array([-1], dtype=np.int64),
        "assets": np.array([1], dtype=np.int64),
        "begin": np.array([0], dtype=np.int64),
        "one": np.array(1.0, dtype=np.float32),
        "masked": np.array(MASKED, dtype=np.float32),
    }
    nodes = []

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def linear(layer: str, given: str) -> str:
        constants[f"{layer}.weight"] = np.ascontiguousarray(state[f"{layer}.weight"].T)
        product = node("MatMul", [given, f"{layer}.weight"], f"{layer}.product")
        if f"{layer}.bias" not in state:
            return product
        constants[f"{layer}.bias"] = state[f"{layer}.bias"]
        return node("Add", [product, f"{layer}.bias"], f"{layer}.sum")

    def relu(given: str) -> str:
        return node("Relu", [given], f"{given}.relu")

    known = node("Unsqueeze", ["mask", "last"], "known")
    asset = relu(linear("second", relu(linear("first", "features"))))
    count = node("Max", [node("ReduceSum", [known, "assets"], "number", keepdims=1), "one"], "count")
    total = node("ReduceSum", [node("Mul", [asset, known], "held"), "assets"], "total", keepdims=1)
    pooled = node("Div", [total, count], "pooled")
    both = node("Add", [linear("own", asset), linear("common", pooled)], "both")
    centred = node("Sub", [linear("score", relu(both)), node("Log", [count], "log_count")], "centred")
    missing = node("Mul", [node("Sub", [known, "one"], "unknown"), "masked"], "missing")
    logits = node("Add", [centred, missing], "logits")
    cash = linear("cash", relu(linear("mood", pooled)))
    shares = node("Softmax", [node("Concat", [logits, cash], "all_logits", axis=1)], "shares", axis=1)
    node("Squeeze", [node("Slice", [shares, "begin", "last", "assets"], "invested"), "last"], "weights")

    width = scorer.first.in_features
    graph = helper.make_graph(
        nodes,
        "scorer",
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, "assets", width]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, "assets"]),
        ],
        [helper.make_tensor_value_info("weights", TensorProto.FLOAT, [1, "assets"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)
