"""The training environment of a seed: the plan's market with normalisation, state, and sums of costs and risks."""

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from quantd.models.learners.record import part
from quantd.models.market.desks import Desks
from quantd.models.market.normalisation import Normalised, Scale
from quantd.models.market.simulator import Simulator
from quantd.models.market.tensors import Allocations, Market, grid
from quantd.models.market.vector_env import Kind, Step, VectorEnv
from quantd.models.training.plans.plan import MarketPlan, Plan


def allocations_of(market: MarketPlan, symbols: tuple[str, ...]) -> Allocations | None:
    """Return the grid of a discrete plan."""
    return grid(symbols, market.parts, market.cash) if market.kind == "discrete" else None


def _accounts(of: MarketPlan, market: Market, seed: int) -> Simulator | Desks:
    if of.seats:
        return Desks(
            market, of.seats, desks=of.batch // len(of.seats), diversity=of.diversity, reward=of.reward, costs=of.costs,
            episodes=of.episodes, seed=seed,
        )  # fmt: skip
    return Simulator(
        market, batch=of.batch, kind=of.kind, allocations=allocations_of(of, market.symbols), reward=of.reward,
        episodes=of.episodes, costs=of.costs, capital=of.capital, gross=of.gross, seed=seed,
    )  # fmt: skip


class Ground:
    """B accounts of `market`, with sums of reward terms, turnover, cost and drawdown since the last `means`."""

    kind: Kind

    def __init__(self, plan: Plan, market: Market, seed: int) -> None:
        self.accounts: Final = _accounts(plan.market, market, seed)
        self.simulator: Final = self.accounts.simulator if isinstance(self.accounts, Desks) else self.accounts
        self.batch, self.kind, self.device = self.simulator.batch, self.simulator.kind, self.simulator.device
        self.observation_size, self.action_size = self.simulator.observation_size, self.simulator.action_size
        self.normalised: Final = Normalised(self.accounts, discount=plan.learner.gamma)
        self._env: Final[VectorEnv] = self.normalised if plan.normalise else self.accounts
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    @property
    def scale(self) -> Scale | None:
        """The current scaling; None without normalisation."""
        return None if self._env is self.accounts else self.normalised.scale

    def reset(self, seed: int | None = None) -> Tensor:
        return self._env.reset(seed)

    def step(self, action: Tensor) -> Step:
        step = self._env.step(action)
        outcome = self.simulator.outcome
        assert outcome is not None
        for name, term in self.simulator.reward.terms.items():
            self._add(f"term_{name}", term)
        if isinstance(self.accounts, Desks):
            self._add("likeness", self.accounts.likeness)
            self._add("likeness_weight", self.accounts.weight)
        self._add("turnover", outcome.turnover)
        self._add("drawdown", outcome.drawdown)
        traded = self.simulator.traded
        self._add("cost", traded.cost / traded.equity.clamp(min=1.0))
        self._steps += 1
        return step

    def observation(self) -> Tensor:
        """Return the current observations float[B, D] for a policy, without updating the statistics."""
        raw = self.simulator.observe()
        return raw if self._env is self.accounts else self.normalised.scale.of(raw)

    def means(self) -> dict[str, float]:
        """Return means per step of the sums since the last call (cost in basis points of equity), and reset them."""
        count = max(1, self._steps)
        means = {name: float(total) / count for name, total in self._sums.items()}
        if "cost" in means:
            means["cost_bp"] = means.pop("cost") * 1e4
        self._sums, self._steps = {}, 0
        return means

    def state(self) -> dict[str, Tensor]:
        kept = {f"market.{name}": value for name, value in self.accounts.state().items()}
        return kept | {f"scale.{name}": value for name, value in self.normalised.state().items()}

    def load(self, state: Mapping[str, Tensor]) -> Tensor:
        """Restore `state` and return its observation."""
        self.accounts.load(part(state, "market."))
        self.normalised.load(part(state, "scale."))
        return self.observation()

    def _add(self, name: str, values: Tensor) -> None:
        mean = values.mean()
        total = self._sums.get(name)
        self._sums[name] = mean if total is None else total + mean
