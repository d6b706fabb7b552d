"""A scorer, whose weights follow a permutation of the assets: one small network scores each asset by its features and
the mean over all assets.

A permutation of the assets permutes the weights, and no parameter depends on the number of assets. A policy trained on
five assets can therefore run on fifty (Zaheer et al. 2017, Deep Sets).

What can go wrong. An asset that cannot be held would get a weight, or change the mean that other assets see: so MASKED
lowers its score, and the mean leaves it out. The share of cash would fall as assets are added: so the logarithm of
their number is subtracted from each score. Weights of chance would look learned: so an untrained scorer answers equal
weights and a little cash.
"""

import torch
from torch import Tensor, nn

from quantd.training.networks.onnx_nodes import Graph, Width

MASKED = 1e9
"""Subtracted from the score of an asset that cannot be held, whose weight is then exactly zero."""

CASH_AT_START = -4.0
"""Score of cash in an untrained network: 2 % cash, and the rest equal weight."""


class Scorer(nn.Module):
    """Maps F features of N assets, float32[.., N, F], and a mask float32[.., N] (0: the asset cannot be held) to
    weights float32[.., N]. The rest to 1 is cash.
    """

    def __init__(self, features: int, hidden: int) -> None:
        """Make the layers: `own` reads an asset, and `common` (for scores) and `mood` (for cash) read the mean of all
        assets.
        """
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
        """Return the weights; assets with mask 0 have weight 0."""
        known_mask = mask.unsqueeze(-1)
        asset = torch.relu(self.second(torch.relu(self.first(features))))
        count = known_mask.sum(-2, keepdim=True).clamp(min=1.0)
        pooled = (asset * known_mask).sum(-2, keepdim=True) / count
        score = self.score(torch.relu(self.own(asset) + self.common(pooled)))
        cash = self.cash(torch.relu(self.mood(pooled)))
        # minus log n, so that the share of cash does not depend on the number of assets
        logits = torch.cat([score - count.log() + (known_mask - 1.0) * MASKED, cash], dim=-2)
        return torch.softmax(logits, dim=-2)[..., :-1, 0]


def to_onnx(scorer: Scorer) -> bytes:
    """Export the scorer as an ONNX graph: features [1, N, F] and mask [1, N] -> weights [1, N], for any number N of
    assets.
    """
    graph = Graph()
    node = graph.node
    last, assets, begin = graph.integers("last", -1), graph.integers("assets", 1), graph.integers("begin", 0)
    one, masked = graph.scalar("one", 1.0), graph.scalar("masked", MASKED)

    def relu(linear_layer: nn.Linear, name: str, given: str) -> str:
        return node("Relu", [graph.linear(name, linear_layer, given)])

    known_mask = node("Unsqueeze", ["mask", last])
    asset = relu(scorer.second, "second", relu(scorer.first, "first", "features"))
    count = node("Max", [node("ReduceSum", [known_mask, assets], keepdims=1), one])
    total = node("ReduceSum", [node("Mul", [asset, known_mask]), assets], keepdims=1)
    pooled = node("Div", [total, count])
    common = node("MatMul", [pooled, graph.constant("common.weight", scorer.common.weight.t())])
    hidden = node("Relu", [node("Add", [graph.linear("own", scorer.own, asset), common])])
    centred = node("Sub", [graph.linear("score", scorer.score, hidden), node("Log", [count])])
    # 0 for a known asset, -MASKED for another one
    missing = node("Mul", [node("Sub", [known_mask, one]), masked])
    cash = graph.linear("cash", scorer.cash, relu(scorer.mood, "mood", pooled))
    shares = node("Softmax", [node("Concat", [node("Add", [centred, missing]), cash], axis=1)], axis=1)
    node("Squeeze", [node("Slice", [shares, begin, last, assets]), last], "weights")
    inputs: dict[str, Width] = {"features": ("assets", scorer.first.in_features), "mask": "assets"}
    return graph.model("scorer", inputs, {"weights": "assets"})
