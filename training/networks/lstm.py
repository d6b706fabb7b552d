"""A recurrent policy: an LSTM (Hochreiter & Schmidhuber 1997) with an explicit hidden state.

The caller stores the hidden state, called the carry. So each of B episodes can restart individually, and a trading
process can journal the state.

What can go wrong. Memory would cross from one episode to the next: so the carry is set to zero at the first row of each
episode, before the LSTM cell reads it. A gradient would reach back beyond the first row of an episode: setting the
carry to zero ends the gradient too. The exported graph would read the gates in another order than the cell: so graph
and cell have the order input, forget, output, candidate.
"""

from typing import Final

import torch
from torch import Tensor, nn

from quantd.training.networks.actor_critic import ActorCritic, Heads, layer
from quantd.training.networks.onnx_nodes import Graph


class Lstm(ActorCritic):
    """An LSTM cell, followed by actor and critic, one linear layer each."""

    recurrent = True

    def __init__(
        self,
        observation_size: int,
        outputs: int,
        spread: int,
        random: torch.Generator,
        *,
        hidden: int = 128,
        start: float = 0.0,
    ) -> None:
        """Make the cell, whose four gates are one layer of width 4 x `hidden`. `spread` is the number of log standard
        deviations, which begin at `start`."""
        super().__init__()
        self.hidden: Final = hidden
        self.given = layer(observation_size, 4 * hidden, 1.0, random)  # 1.0 is the gain of the initial weights
        self.remembered = layer(hidden, 4 * hidden, 1.0, random)
        # initially the cell state persists (Jozefowicz et al. 2015)
        nn.init.ones_(self.given.bias.data[hidden : 2 * hidden])
        # 0.01: small initial weights, so that the first actions hardly depend on the observation
        self.actor = layer(hidden, outputs, 0.01, random)
        self.critic = layer(hidden, 1, 1.0, random)
        self.spread = nn.Parameter(torch.full((spread,), start, device=random.device))
        self._flatten()

    def cell(self, given: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        """Map `given` float[B, 4H], the input of the four gates from the observation, and the hidden state float[B,
        2H].

        Returns (output float[B, H], next hidden state float[B, 2H]). Axes: B environments, H units of the LSTM.
        """
        output, memory = carry.chunk(2, -1)
        input_gate, forget_gate, output_gate, candidate = (given + self.remembered(output)).chunk(4, -1)
        memory = torch.sigmoid(forget_gate) * memory + torch.sigmoid(input_gate) * torch.tanh(candidate)
        output = torch.sigmoid(output_gate) * torch.tanh(memory)
        return output, torch.cat([output, memory], dim=-1)

    def forward(self, observation: Tensor, started: Tensor, carry: Tensor) -> Heads:
        """Run on observations float[T, B, D], first-step flags bool[T, B] and the hidden state float[B, 2H] before the
        first row.

        Axes: T steps, B environments, D entries of an observation.
        """
        outputs = []
        alive = (~started).to(carry.dtype).unsqueeze(-1)
        for given, going in zip(self.given(observation).unbind(0), alive.unbind(0), strict=True):
            output, carry = self.cell(given, carry * going)
            outputs.append(output)
        stacked = torch.stack(outputs)
        return Heads(self.actor(stacked), self.critic(stacked).squeeze(-1))

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Add one step of the LSTM to an ONNX graph: from `given` and the input "carry" to the output "carried".

        Returns the name of the actor's output.
        """
        hidden, columns = self.hidden, graph.columns
        output, memory = columns("carry", 0, hidden), columns("carry", hidden, 2 * hidden)
        from_observation = graph.linear(f"{prefix}given", self.given, given)
        gates = graph.node("Add", [from_observation, graph.linear(f"{prefix}kept", self.remembered, output)])
        input_gate, forget_gate, output_gate = (
            graph.node("Sigmoid", [columns(gates, k * hidden, (k + 1) * hidden)]) for k in range(3)
        )
        candidate = graph.node("Tanh", [columns(gates, 3 * hidden, 4 * hidden)])
        memory = graph.node(
            "Add", [graph.node("Mul", [forget_gate, memory]), graph.node("Mul", [input_gate, candidate])]
        )
        output = graph.node("Mul", [output_gate, graph.node("Tanh", [memory])])
        graph.node("Concat", [output, memory], "carried", axis=-1)
        return graph.linear(f"{prefix}actor", self.actor, output)

    def begin(self, batch: int) -> Tensor:
        return self.vector.new_zeros((batch, 2 * self.hidden))

    @torch.no_grad()
    def act(self, observation: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        output, carry = self.cell(self.given(observation), carry)
        return self.actor(output), carry

    def run(self, observation: Tensor, started: Tensor, carry: Tensor, *, keep: bool = False) -> Heads:
        with torch.set_grad_enabled(keep):
            heads = self(observation, started, carry)
        return self._keep(heads) if keep else heads
