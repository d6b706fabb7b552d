"""G desks, groups of A agents, in one market; each agent has its own account, and a penalty on similar returns.

What can go wrong. Returns of an ended episode would count as similarity in the next one: so the windows of past returns
are cleared. The penalty would be measured on a few returns: so the penalty is 0 until an episode is as long as the
window. Two flat accounts would look equal: so constant returns count as uncorrelated.

What the order guarantees. The sessions of the accounts are read first and `simulator.move` is called after that, since
`move` may jump to another session by resampling. Windows are cleared after the step's reward and before new episodes
begin.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from msgspec import structs
from torch import Tensor

from quantd.trading.execution import Costs
from quantd.training.market.episodes import Episodes
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import Market
from quantd.training.market.terms import USUAL_COSTS, Diversity, Kind, RewardPlan, Seat
from quantd.training.market.vector_env import Step

FLAT: Final = 1e-8
"""Returns with a standard deviation below this count as uncorrelated."""

STATE_FIELDS: Final = ("_returns", "_market", "_seen", "likeness", "weight")
"""The state of desks in addition to their accounts."""


def likeness(returns: Tensor) -> Tensor:
    """Return float[..., A]: each agent's mean absolute Pearson correlation with the returns of the other agents.

    `returns` float[..., A, W] are W returns of A agents. The result is 0 for a single agent and for constant returns.
    """
    agents = returns.shape[-2]
    centred = returns - returns.mean(-1, keepdim=True)
    length = centred.square().sum(-1, keepdim=True).sqrt()
    is_moving = (length > FLAT * returns.shape[-1] ** 0.5).to(returns.dtype)
    unit = centred / length.clamp(min=FLAT) * is_moving
    correlations = (unit @ unit.transpose(-1, -2)).abs().clamp(max=1.0)
    with_itself = torch.diagonal(correlations, dim1=-2, dim2=-1)
    return (correlations.sum(-1) - with_itself) / max(1, agents - 1)


class Desks:
    """A `VectorEnv` of G desks with A agents each, an account per agent, and "simplex" actions over all assets and
    cash.

    The weights of assets that an agent may not hold are redistributed to those that it may hold. Each agent's reward is
    the reward of its account, less its penalties. Raises ValueError without agents, for two agents of the same name,
    and for a symbol that the market lacks.
    """

    kind: Final[Kind] = "simplex"

    def __init__(
        self,
        market: Market,
        seats: Sequence[Seat],
        *,
        desks: int = 1,
        diversity: Diversity | None = None,
        reward: RewardPlan | None = None,
        episodes: Episodes | None = None,
        costs: Costs = USUAL_COSTS,
        lot: float | Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        """Make `desks` desks, each with one account for each agent in `seats`. Tensors by account have the agents of a
        desk in adjacent rows.

        A desk is a group of agents on one path of the market. `lot` is the lot size in units, None for fractional
        positions. `_returns` and `_market` float[B, window] are the last returns of the B accounts and of equal
        weights; `_seen` counts the steps of each account's episode."""
        if not seats or len({s.name for s in seats}) != len(seats):
            raise ValueError("agents: there are none, or two with the same name; name each agent differently")
        for agent in seats:
            if unknown := set(agent.symbols) - set(market.symbols):
                raise ValueError(
                    f"agent {agent.name}: the market lacks {', '.join(sorted(unknown))}; name symbols of the market"
                )
        self.seats: Final = tuple(seats)
        self.agents: Final = len(self.seats)
        self.diversity: Final = diversity or Diversity()
        self.simulator: Final = Simulator(
            market, batch=desks * self.agents, capital=[s.capital for s in seats] * desks, reward=reward, costs=costs,
            episodes=structs.replace(episodes or Episodes(), together=self.agents), lot=lot, seed=seed,
        )  # fmt: skip
        self.batch: Final = self.simulator.batch
        self.action_size: Final = self.simulator.action_size
        self.observation_size: Final = self.simulator.observation_size
        self.device: Final = self.simulator.device
        # 1 for each asset that the agent may hold and for cash, which is last
        permitted = [
            [1.0 if not s.symbols or n in s.symbols else 0.0 for n in market.symbols] + [1.0] for s in self.seats
        ]
        self._own = self._by_account(permitted, desks)
        self._invested = self._by_account([s.invested for s in self.seats], desks)
        self._drawdown = self._by_account([s.drawdown_penalty for s in self.seats], desks)
        window = self.diversity.window
        self._returns = torch.zeros((self.batch, window), device=self.device, dtype=self.simulator.dtype)
        self._market = torch.zeros_like(self._returns)
        self._seen = torch.zeros(self.batch, device=self.device, dtype=torch.int64)
        self.likeness = torch.zeros(self.batch, device=self.device, dtype=self.simulator.dtype)
        """float[B] mean absolute correlation in the last step; 0 until an episode is as long as the window."""
        self.weight = torch.full_like(self.likeness, self.diversity.weight)
        """float[B] penalty weight in the last step."""

    def reset(self, seed: int | None = None) -> Tensor:
        self._forget(torch.ones_like(self._seen, dtype=torch.bool))
        return self.simulator.reset(seed)

    def step(self, action: Tensor) -> Step:
        reward, terminated, truncated = self.move(action)
        self._forget(terminated | truncated)
        return self.simulator.restart(reward, terminated, truncated)

    def move(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Make one step. Return (reward, terminated, truncated), a row per account, without starting new episodes."""
        simulator, plan = self.simulator, self.diversity
        # an agent has no weight in assets that it may not hold (`_own` is 0 there)
        weights = simulator.targets(action.to(simulator.dtype) * self._own)
        invested = weights.sum(-1).clamp(min=1e-12)
        weights = weights * (self._invested / invested).clamp(max=1.0)[:, None]
        # the rows of the outcome, read before the move, because resampling may put an account on another row
        rows = simulator.row + 1
        reward, terminated, truncated = simulator.move(weights)
        outcome = simulator.outcome
        assert outcome is not None
        market_return = simulator.market.total.index_select(0, rows).mean(-1) - 1.0
        self._returns = torch.cat([self._returns[:, 1:], (outcome.growth - 1.0)[:, None]], 1)
        self._market = torch.cat([self._market[:, 1:], market_return[:, None]], 1)
        self._seen = self._seen + 1
        has_full_window = (self._seen >= plan.window).to(reward.dtype)
        self.likeness = likeness(self._returns.view(-1, self.agents, plan.window)).view(-1) * has_full_window
        if plan.dynamic:
            # 252: sessions of a year; the weight rises from `low` in a calm market to `high` in a wild one
            volatility_share = (self._market.std(-1) * 252**0.5 - plan.calm) / (plan.wild - plan.calm)
            self.weight = plan.low + (plan.high - plan.low) * volatility_share.clamp(0.0, 1.0)
        fall = (outcome.drawdown - outcome.drawdown_before).clamp(min=0.0)
        return reward - self.weight * self.likeness - self._drawdown * fall, terminated, truncated

    def state(self) -> dict[str, Tensor]:
        """Return the complete state, for `load` into desks with the same settings."""
        return {**self.simulator.state(), **{f"desk_{name}": getattr(self, name).clone() for name in STATE_FIELDS}}

    def load(self, state: Mapping[str, Tensor]) -> Tensor:
        """Restore a `state` that `state()` returned, and return the observation in it."""
        for name in STATE_FIELDS:
            setattr(self, name, state[f"desk_{name}"].clone())
        return self.simulator.load(state)

    def _forget(self, ended: Tensor) -> None:
        """Clear the return windows of ended episodes."""
        self._returns = self._returns.masked_fill(ended[:, None], 0.0)
        self._market = self._market.masked_fill(ended[:, None], 0.0)
        self._seen = self._seen.masked_fill(ended, 0)

    def _by_account(self, values: Sequence[object], desks: int) -> Tensor:
        """Repeat the values of the agents for every desk (group of agents): the result has a row for each account."""
        agent_values = torch.tensor(values, device=self.device, dtype=self.simulator.dtype)
        return agent_values.repeat(desks, *[1] * (agent_values.dim() - 1))
