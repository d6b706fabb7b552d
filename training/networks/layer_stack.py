"""Networks of several agents in one computation: C separate copies of a layer form one batched product."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from quantd.training.networks.onnx_nodes import Graph


def stacked(copies: int, *shape: int, deviation: float, random: torch.Generator) -> nn.Parameter:
    """Return a parameter float[copies, *shape] with Gaussian initial values, drawn from `random` only."""
    drawn = torch.randn((copies, *shape), generator=random, device=random.device)
    return nn.Parameter(drawn * deviation)


class Linear(nn.Module):
    """C linear layers with separate weights: maps M rows of I inputs each, float[C, M, I], to float[C, M, O].

    The initial weights have the variance gain squared / I.
    """

    def __init__(self, copies: int, inputs: int, outputs: int, gain: float, random: torch.Generator) -> None:
        super().__init__()
        self.inputs: Final = inputs
        self.outputs: Final = outputs
        self.weight = stacked(copies, inputs, outputs, deviation=gain * inputs**-0.5, random=random)
        self.bias = nn.Parameter(torch.zeros((copies, 1, outputs), device=random.device))

    def forward(self, x: Tensor) -> Tensor:
        """Apply each copy of the layer to its own rows x[copy]."""
        return torch.baddbmm(self.bias, x, self.weight)

    def write(self, graph: Graph, given: str, name: str, copy: int) -> str:
        """Add the node of one copy of the layer to an ONNX graph; `given` is float[M, I].

        Returns the name of its output.
        """
        return graph.affine(name, self.weight[copy].t(), self.bias[copy, 0], given)


class Perceptron(nn.Module):
    """C copies of ReLU layers of widths `hidden`: maps float[C, M, I] to float[C, M, hidden[-1]].

    Axes: M rows, I inputs.
    """

    def __init__(self, copies: int, inputs: int, hidden: Sequence[int], random: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Linear(copies, a, b, 2**0.5, random) for a, b in pairwise((inputs, *hidden)))
        self.outputs: Final = hidden[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Apply each copy of the layers to its own rows x[copy]."""
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x

    def write(self, graph: Graph, given: str, prefix: str, copy: int) -> str:
        """Add the nodes of one copy of the layers to an ONNX graph; `given` is float[M, I].

        Returns the name of the output.
        """
        for depth, layer in enumerate(self.layers):
            assert isinstance(layer, Linear)
            given = graph.node("Relu", [layer.write(graph, given, f"{prefix}layer{depth}", copy)])
        return given
