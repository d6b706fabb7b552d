"""Observations of some assets, their permutations, and a market whose best answer is known."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor

from quantd.training.market.terms import Kind
from quantd.training.market.vector_env import Step
from quantd.training.networks.sizes import Layout

ASSETS = 3
LAYOUT = Layout(assets=ASSETS, features=2, window=5, weights=23)
SIZE = LAYOUT.market + 2 + ASSETS + 1
"""Two shared columns, the weights and cash follow the assets."""

GAINS = replace(LAYOUT, gains=True)
"""Each asset has learned factors of its entries."""

BARE = Layout(assets=ASSETS, features=0, window=7)
"""Neither columns, nor shared ones, nor a book."""


def random_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def permuted(observation: Tensor, order: list[int]) -> Tensor:
    assets = observation[..., : LAYOUT.market].unflatten(-1, (ASSETS, -1))[..., order, :].flatten(-2)
    weights = observation[..., 23:26][..., order]
    return torch.cat([assets, observation[..., 21:23], weights, observation[..., 26:]], -1)


N = TypeVar("N", bound=Any)


def learned(network: N) -> N:
    network.vector.add_(torch.randn(network.vector.shape, generator=random_of(9)) * 0.1)
    return network


def near(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


def check_gradient(network: Any, size: int) -> None:
    """The written-out gradient is autograd's, and rows in parts and one by one have the outputs of all at once."""
    seen = torch.randn((5, 40, size), generator=random_of(4))
    heads = network(seen)
    d_actor, d_value = (torch.randn(head.shape, generator=random_of(5)) for head in heads)
    d_spread = torch.randn(network.spread.shape, generator=random_of(6))
    leaves = [parameter for parameter in network.parameters() if parameter is not network.spread]
    expected = torch.autograd.grad(heads, leaves, [d_actor, d_value])
    network.gradient.fill_(7.0)
    started, carry = torch.zeros((5, 40), dtype=torch.bool), network.begin(40)
    ran = network.run(seen, started, carry, keep=True)
    network.pull(d_actor.flatten(0, 1), d_spread, d_value.flatten())
    for leaf, slope in zip(leaves, expected, strict=True):
        torch.testing.assert_close(leaf.grad, slope, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network.spread.grad, d_spread)
    in_parts, (acted, _) = network.run(seen, started, carry), network.act(seen[0], carry)
    for output, expected_output in (
        (in_parts.actor, ran.actor), (in_parts.value, ran.value), (acted, ran.actor[0]),
    ):  # fmt: skip
        torch.testing.assert_close(output, expected_output, rtol=1e-5, atol=1e-5)


def check_graph(session: Any, size: int, expected: Callable[[Tensor], Tensor]) -> None:
    """ONNX Runtime gives the weights of torch for twenty observations, and they are not all the same."""
    answers = []
    for row in torch.randn((20, 1, size), generator=random_of(4)) * 2.0:
        (weights,) = session.run(None, {"observation": row.numpy()})
        np.testing.assert_allclose(weights, expected(row).numpy(), atol=1e-5)
        answers.append(weights)
    assert np.ptp(np.concatenate(answers), axis=0).max() > 1e-2


class Signals:
    """Each of three assets shows its next return. Each account earns that of what it holds; best is the highest.

    With `agents` above 1 so many accounts in a row see the same.
    """

    device = torch.device("cpu")
    observation_size = ASSETS
    batch = 32

    def __init__(self, kind: Kind, agents: int = 1) -> None:
        self.kind: Kind = kind
        self.action_size = ASSETS + (kind == "simplex")
        self._agents = agents
        self._random, self._going = torch.Generator(), torch.zeros(self.batch, dtype=torch.bool)

    def reset(self, seed: int | None = None) -> Tensor:
        self._random.manual_seed(seed or 0)
        return self._draw()

    def step(self, action: Tensor) -> Step:
        weights = torch.nn.functional.one_hot(action, ASSETS) if self.kind == "discrete" else action[:, :ASSETS]
        reward = (self._seen * weights).sum(1)
        seen = self._draw()
        return Step(seen, reward, self._going, self._going, seen)

    def _draw(self) -> Tensor:
        drawn = torch.randn((self.batch // self._agents, ASSETS), generator=self._random)
        self._seen = drawn.repeat_interleave(self._agents, 0)
        return self._seen
