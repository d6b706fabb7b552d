"""A transformer over the last sessions (Vaswani et al. 2017): a token is one session's scaled returns of all assets.

The norms stand before their blocks (Xiong et al. 2020). They have no gain and shift, because the matrix product that
follows includes both. Only the last session is read out, so that the last block computes only that session.

What can go wrong. The sum of the outputs of all L blocks would grow with their number: so the initial weights of the
last layers of both parts of a block (attention and perceptron) are divided by the root of 2 L. The rows of one product
would exceed the cache of the processor: so without gradients the rows are computed in parts.

The exported graph has three separate products for queries, keys and values, because one product of triple width is no
faster in ONNX Runtime.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from quantd.training.networks.actor_critic import ActorCritic, Heads, layer
from quantd.training.networks.layer_stack import Linear, stacked
from quantd.training.networks.mlp import EPSILON
from quantd.training.networks.onnx_nodes import Graph
from quantd.training.networks.sizes import Layout, Sizes

PART = 64
"""Number of rows processed together without gradients: more would exceed the cache, and need memory."""


class Block(nn.Module):
    """A transformer block: attention over sessions, then a perceptron on each session; both parts are residual."""

    def __init__(self, copies: int, sizes: Sizes, random: torch.Generator) -> None:
        """Make the layers of `copies` separate blocks: queries (`asked`), keys and values (`offered`), and a perceptron
        (`up`, `down`)."""
        super().__init__()
        width, inner = sizes.width, sizes.width * sizes.widening
        # L blocks add 2 L outputs: their sum then has the scale of the input
        gain_of_last = (2.0 * sizes.layers) ** -0.5
        self.heads: Final = sizes.heads
        self.asked = Linear(copies, width, width, 1.0, random)  # 1.0 is the gain of the initial weights
        self.offered = Linear(copies, width, 2 * width, 1.0, random)
        self.gathered = Linear(copies, width, width, gain_of_last, random)
        self.up = Linear(copies, width, inner, 2**0.5, random)
        self.down = Linear(copies, inner, width, gain_of_last, random)

    def forward(self, x: Tensor, *, read_last: bool) -> Tensor:
        """Map W sessions float[C, R, W, width] to the same shape or, with `read_last`, to float[C, R, 1, width] of the
        last session.
        """
        copies, rows, width = len(x), x.shape[1], x.shape[-1]
        normal = layer_norm(x, (width,), eps=EPSILON)
        keys, values = self._headed(self.offered(normal.flatten(1, 2)), copies * rows, 2)
        if read_last:
            x, normal = x[:, :, -1:], normal[:, :, -1:]
        (queries,) = self._headed(self.asked(normal.flatten(1, 2)), copies * rows, 1)
        mixed = scaled_dot_product_attention(queries, keys, values).transpose(1, 2)
        x = x + self.gathered(mixed.reshape(copies, -1, width)).view_as(x)
        inner = torch.relu(self.up(layer_norm(x, (width,), eps=EPSILON).flatten(1, 2)))
        return x + self.down(inner).view_as(x)

    def _headed(self, given: Tensor, sequences: int, parts: int) -> tuple[Tensor, ...]:
        """Split float[C, R W, parts width] into `parts` tensors float[C R, heads, W, width / heads].

        C are the copies, R the rows and W the sessions of the window.
        """
        by_head = given.view(sequences, -1, parts, self.heads, given.shape[-1] // parts // self.heads)
        return by_head.permute(2, 0, 3, 1, 4).unbind(0)

    def write(self, graph: Graph, x: str, prefix: str, copy: int, *, read_last: bool) -> str:
        """Add the nodes of one copy of the block to an ONNX graph: from float[W, width] to the same shape or, with
        `read_last`, to float[1, width].
        """
        width = self.asked.inputs
        part = width // self.heads

        def headed(layer: Linear, number: int, given: str, perm: tuple[int, ...], scale: float = 1.0) -> str:
            """Add the product of `given` with columns of `layer`, from column `number` x width to the next multiple of
            width, times `scale`. The product [W, heads, width / heads] is transposed by `perm`.

            Returns the name of the result.
            """
            columns = slice(number * width, (number + 1) * width)
            weight, bias = layer.weight[copy, :, columns].t() * scale, layer.bias[copy, 0, columns] * scale
            # three separate products: a single one of triple width is no faster in ONNX Runtime
            product = graph.affine(f"{prefix}headed{len(graph.nodes)}", weight, bias, given)
            shape = graph.integers(f"{prefix}heads", -1, self.heads, part)
            return graph.node("Transpose", [graph.node("Reshape", [product, shape])], perm=perm)

        normal = _normal(graph, x, prefix, width)
        keys = headed(self.offered, 0, normal, (1, 2, 0))
        values = headed(self.offered, 1, normal, (1, 0, 2))
        if read_last:
            x, normal = (_last(graph, node, prefix) for node in (x, normal))
        queries = headed(self.asked, 0, normal, (1, 0, 2), part**-0.5)
        weights = graph.node("Softmax", [graph.node("MatMul", [queries, keys])], axis=-1)
        mixed = graph.node("Transpose", [graph.node("MatMul", [weights, values])], perm=(1, 0, 2))
        mixed = graph.node("Reshape", [mixed, graph.integers(f"{prefix}joined", -1, width)])
        x = graph.node("Add", [x, self.gathered.write(graph, mixed, f"{prefix}gathered", copy)])
        inner = graph.node("Relu", [self.up.write(graph, _normal(graph, x, prefix, width), f"{prefix}up", copy)])
        return graph.node("Add", [x, self.down.write(graph, inner, f"{prefix}down", copy)])


class Encoder(nn.Module):
    """C copies of a transformer encoder: map R observations for each copy, float[C, R, D], to float[C, R, E].

    The E entries are the encoding of the last session, then the features, then the columns that all assets share and
    the entries of the account.

    Raises ValueError for a layout without sessions, or longer than the observations. Axes: D entries of an observation.
    """

    def __init__(
        self, copies: int, observation_size: int, layout: Layout, sizes: Sizes, random: torch.Generator
    ) -> None:
        """Make the embedding of a session, the embedding of its position, and the blocks, `copies` times.

        An encoding has the last session's `width` numbers, then the features of all assets, then the further entries of
        the observation.
        """
        super().__init__()
        if layout.window < 1 or layout.market > observation_size:
            raise ValueError(
                f"transformer: {layout} has window 0, or more than the {observation_size} entries of an observation"
            )
        self.layout: Final = layout
        self.width: Final = sizes.width
        self.observation_size: Final = observation_size
        self.outputs: Final = sizes.width + layout.assets * layout.features + observation_size - layout.market
        assets, window, width = layout.assets, layout.window, sizes.width
        self.embed = stacked(copies, assets, width, deviation=assets**-0.5, random=random)
        self.place = stacked(copies, window, width, deviation=0.1, random=random)
        """Learned position embedding."""
        self.blocks = nn.ModuleList(Block(copies, sizes, random) for _ in range(sizes.layers))

    def forward(self, observation: Tensor) -> Tensor:
        """Map observations float[C, R, D] to float[C, R, E]: the encoding of the last session, then the features and
        the entries of the account, unchanged."""
        layout = self.layout
        copies, rows, _ = observation.shape
        market = observation[..., : layout.market].reshape(copies, rows, layout.assets, -1)
        features, window = market.split_with_sizes((layout.features, layout.window), -1)
        tokens = window.transpose(2, 3).reshape(copies, -1, layout.assets)
        x = torch.bmm(tokens, self.embed).view(copies, rows, layout.window, -1) + self.place.unsqueeze(1)
        for depth, block in enumerate(self.blocks):
            x = block(x, read_last=depth == len(self.blocks) - 1)
        last = layer_norm(x.squeeze(2), (self.width,), eps=EPSILON)
        return torch.cat((last, features.flatten(2), observation[..., layout.market :]), -1)

    def write(self, graph: Graph, given: str, prefix: str, copy: int) -> str:
        """Add the nodes of one copy of the encoder to an ONNX graph: from an observation float[1, D] to float[1, E].

        Axes: D entries of an observation, E entries of an encoding.
        """
        # `given` is the name of the observation in the graph
        layout, columns = self.layout, graph.columns
        asset = layout.features + layout.window
        shape = graph.integers(f"{prefix}market", layout.assets, asset)
        market = graph.node("Reshape", [columns(given, 0, layout.market), shape])
        tokens = graph.node("Transpose", [columns(market, layout.features, asset)], perm=(1, 0))
        x = graph.node("MatMul", [tokens, graph.constant(f"{prefix}embed", self.embed[copy])])
        x = graph.node("Add", [x, graph.constant(f"{prefix}place", self.place[copy])])
        for depth, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            x = block.write(graph, x, f"{prefix}block{depth}.", copy, read_last=depth == len(self.blocks) - 1)
        parts = [_normal(graph, x, prefix, self.width)]
        if layout.features:
            shape = graph.integers(f"{prefix}row", 1, -1)
            parts.append(graph.node("Reshape", [columns(market, 0, layout.features), shape]))
        if layout.market < self.observation_size:
            parts.append(columns(given, layout.market, self.observation_size))
        return graph.node("Concat", parts, axis=1)


class Transformer(ActorCritic):
    """A transformer encoder, a tanh layer over its output (encoding, features and account), then actor and critic."""

    def __init__(
        self,
        observation_size: int,
        outputs: int,
        spread: int,
        random: torch.Generator,
        *,
        layout: Layout,
        sizes: Sizes,
        start: float = 0.0,
    ) -> None:
        """Make one encoder, the layer over its output, and two heads. `spread` is the number of log standard
        deviations, which begin at `start`.
        """
        super().__init__()
        # the third argument of `layer` is the gain of its initial weights
        self.encoder: Final = Encoder(1, observation_size, layout, sizes, random)
        self.mix = layer(self.encoder.outputs, sizes.width, 2**0.5, random)
        self.actor = layer(sizes.width, outputs, 0.01, random)
        self.critic = layer(sizes.width, 1, 1.0, random)
        self.spread = nn.Parameter(torch.full((spread,), start, device=random.device))
        self._flatten()

    def forward(self, observation: Tensor) -> Heads:
        """Map observations float[.., D] to the outputs of actor and critic.

        Axes: D entries of an observation.
        """
        rows = observation.reshape(1, -1, observation.shape[-1])
        x = torch.tanh(self.mix(self.encoder(rows)[0])).view(*observation.shape[:-1], -1)
        return Heads(self.actor(x), self.critic(x).squeeze(-1))

    @torch.no_grad()
    def act(self, observation: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        return self._in_parts(observation).actor, carry

    def run(self, observation: Tensor, started: Tensor, carry: Tensor, *, keep: bool = False) -> Heads:
        if keep:
            with torch.enable_grad():
                return self._keep(self(observation))
        with torch.no_grad():
            heads = self._in_parts(observation.reshape(-1, observation.shape[-1]))
        shape = observation.shape[:-1]
        return Heads(heads.actor.view(*shape, -1), heads.value.view(shape))

    def _in_parts(self, rows: Tensor) -> Heads:
        parts = [self(part) for part in rows.tensor_split(tuple(range(PART, len(rows), PART)))]
        return Heads(torch.cat([part.actor for part in parts]), torch.cat([part.value for part in parts]))

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Add the nodes that map an observation float[1, D] to the actor's outputs float[1, P] to an ONNX graph.

        Axes: D entries of an observation, P outputs of the actor.
        """
        x = self.encoder.write(graph, given, prefix, 0)
        x = graph.node("Tanh", [graph.linear(f"{prefix}mix", self.mix, x)])
        return graph.linear(f"{prefix}actor", self.actor, x)


def _normal(graph: Graph, given: str, prefix: str, width: int) -> str:
    """Add a LayerNorm without gain and shift, over rows of this width, to an ONNX graph.

    Returns the name of its output.
    """
    ones = graph.constant(f"{prefix}ones", np.ones(width, dtype=np.float32))
    return graph.node("LayerNormalization", [given, ones], axis=-1, epsilon=EPSILON)


def _last(graph: Graph, given: str, prefix: str) -> str:
    """Add the selection of the last row float[1, width] of `given` float[W, width] to an ONNX graph.

    Returns its name.
    """
    return graph.node("Gather", [given, graph.integers(f"{prefix}newest", -1)], axis=0)
