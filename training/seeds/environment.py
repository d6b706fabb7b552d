"""The training environment of a seed: the plan's market with normalisation, state, and sums of costs and risks."""

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from quantd.training.learners.record import part
from quantd.training.market.desks import Desks
from quantd.training.market.normalisation import Normalised, Scale
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import Allocations, Market, grid
from quantd.training.market.terms import Kind
from quantd.training.market.vector_env import Step, VectorEnv
from quantd.training.plans.plan import MarketPlan, Plan


def allocations_of(market: MarketPlan, symbols: tuple[str, ...]) -> Allocations | None:
    """Return the allocations from which a policy with discrete actions chooses; None for other kinds of action."""
    if market.kind != "discrete":
        return None
    held = market.held(len(symbols))
    return grid(symbols, held or market.parts, market.cash, market.equal_weight, distinct=held > 0)


class Sums:
    """Sums over steps of the means over B simulated accounts: reward terms, turnover, drawdown and cost."""

    def __init__(self) -> None:
        self._totals: dict[str, Tensor] = {}
        self._steps = 0

    def add(self, simulator: Simulator, desks: Desks | None = None) -> None:
        """Add the last step of the simulator to the sums."""
        outcome, traded = simulator.outcome, simulator.traded
        assert outcome is not None
        for name, term in simulator.reward.terms.items():
            self._add(f"term_{name}", term)
        if desks is not None:
            self._add("likeness", desks.likeness)
            self._add("likeness_weight", desks.weight)
        self._add("turnover", outcome.turnover)
        self._add("drawdown", outcome.drawdown)
        self._add("cost", traded.cost / traded.equity.clamp(min=1.0))
        self._steps += 1

    def means(self) -> dict[str, float]:
        """Return the means per step by name, cost in basis points of equity, and begin new sums."""
        count = max(1, self._steps)
        means = {name: float(total) / count for name, total in self._totals.items()}
        self._totals, self._steps = {}, 0
        if "cost" in means:
            means["cost_bp"] = means.pop("cost") * 1e4
        return means

    def _add(self, name: str, values: Tensor) -> None:
        mean = values.mean()
        total = self._totals.get(name)
        self._totals[name] = mean if total is None else total + mean


class Ground:
    """The training environment of a seed: B accounts of `market`, normalised where the plan says so.

    The environment also sums reward terms, turnover, cost and drawdown since the last call of `means`.
    """

    kind: Kind

    def __init__(self, plan: Plan, market: Market, seed: int) -> None:
        """Make the accounts: desks of several agents where the plan has seats, else single accounts.

        A seat is one of several agents that trade one book. `sums` are the sums of each step's figures, for reports.
        """
        of = plan.market  # the settings of the accounts
        self.accounts: Final = Desks(
            market, of.seats, desks=of.batch // len(of.seats), diversity=of.diversity, reward=of.reward, costs=of.costs,
            episodes=of.episodes, seed=seed,
        ) if of.seats else Simulator(
            market, batch=of.batch, kind=of.kind, allocations=allocations_of(of, market.symbols), reward=of.reward,
            episodes=of.episodes, costs=of.costs, capital=of.capital, gross=of.gross, seed=seed,
        )  # fmt: skip
        self.simulator: Final = self.accounts.simulator if isinstance(self.accounts, Desks) else self.accounts
        self.batch, self.kind, self.device = self.simulator.batch, self.simulator.kind, self.simulator.device
        self.observation_size, self.action_size = self.simulator.observation_size, self.simulator.action_size
        self.normalised: Final = Normalised(self.accounts, discount=plan.learner.gamma)
        self._env: Final[VectorEnv] = self.normalised if plan.normalise else self.accounts
        self.sums = Sums()

    @property
    def scale(self) -> Scale | None:
        """The current scaling of observations; None without normalisation."""
        return None if self._env is self.accounts else self.normalised.scale

    def reset(self, seed: int | None = None) -> Tensor:
        return self._env.reset(seed)

    def step(self, action: Tensor) -> Step:
        step = self._env.step(action)
        self.sums.add(self.simulator, self.accounts if isinstance(self.accounts, Desks) else None)
        return step

    def observation(self) -> Tensor:
        """Return the current observations float[B, D] for a policy, without updating the statistics of the
        normalisation.

        Axes: B accounts, D entries of an observation.
        """
        raw = self.simulator.observe()
        return raw if self._env is self.accounts else self.normalised.scale.of(raw)

    def means(self) -> dict[str, float]:
        """Return the means per step since the last call, by name, and reset the sums.

        Cost is in basis points of equity.
        """
        return self.sums.means()

    def state(self) -> dict[str, Tensor]:
        tensors = {f"market.{name}": value for name, value in self.accounts.state().items()}
        return tensors | {f"scale.{name}": value for name, value in self.normalised.state().items()}

    def load(self, state: Mapping[str, Tensor]) -> Tensor:
        """Restore a `state` that `state()` returned, and return the observation in it."""
        self.accounts.load(part(state, "market."))
        self.normalised.load(part(state, "scale."))
        return self.observation()
