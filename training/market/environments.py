"""The simulator as gymnasium and pettingzoo environments: one portfolio, or several agents.

    import quantd.training.market.environments as environments
    span = {"start": "2013-01-02", "end": "2016-12-30"}
    gymnasium.make("quantd/Portfolio-v0", path="data/us_daily.parquet", symbols=["SPY", "AAPL"], **span)
    environments.Agents(environments.read_market("data/us_daily.parquet", ["SPY", "AAPL"], **span))

The environments only adapt interfaces; all rules are in `quantd.training.market.simulator`.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, Literal, cast

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from quantd.models.history.panel import MacroSource
from quantd.models.history.panel_files import read_panel
from quantd.models.observation.sight import SightSpec, observed_by
from quantd.models.observation.table import Features, observe, price_features
from quantd.trading.execution import Costs
from quantd.training.market.arrays import view
from quantd.training.market.desks import Desks
from quantd.training.market.episodes import Episodes
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import Market, grid, market_of
from quantd.training.market.terms import PROFILES, USUAL_COSTS, Diversity, RewardPlan, Seat

Observation = NDArray[np.float32]
Rewards = RewardPlan | Literal["log", "simple", "sharpe", "composite"]

WARMUP_DAYS: Final = 400
"""Calendar days read before `start`, so that its first close has features."""


def read_market(
    path: str | Path,
    symbols: Sequence[str],
    start: str | date,
    end: str | date,
    actions: str | Path | None = None,
    features: Features = price_features,
    warmup_days: int = WARMUP_DAYS,
    dtype: torch.dtype = torch.float32,
    cash_rate: float | str | None = None,
    sources: Sequence[MacroSource] = (),
    sight: SightSpec | None = None,
) -> Market:
    """Read the sessions of a parquet file of unadjusted daily bars from `start` to `end`.

    Bars of the preceding `warmup_days` only fill lookbacks. `actions` is the CSV of splits and dividends; "" for none.
    None means the file beside the bars whose name ends in "_actions.csv" instead of "_daily.parquet", if this file
    exists. `cash_rate` is the annual interest on cash, or the path of a series. `sources` are the series of declared
    features. With `sight` an observation is the one of trading, in place of `features`: for `quantd models import`.
    Raises ValueError that names missing input.
    """
    bars = Path(path)
    first, last = _day(start, "start"), _day(end, "end")
    if not bars.is_file():
        raise ValueError(f"path: there is no file {bars}; name the parquet file of daily bars")
    if actions is None:
        usual_actions = bars.with_name(bars.name.replace("_daily.parquet", "_actions.csv"))
        actions_file = usual_actions if usual_actions != bars and usual_actions.is_file() else None
    else:
        actions_file = Path(actions) if str(actions) else None
    panel = read_panel(bars, actions_file, symbols, first - timedelta(days=warmup_days), last, cash_rate, sources)
    begin = int(np.searchsorted(panel.day_ns, np.datetime64(first, "ns").astype(np.int64)))
    observed = observe(panel, features) if sight is None else observed_by(sight, panel)
    return market_of(panel, observed, range(begin, len(panel.day_ns)), dtype=dtype)


def _day(value: str | date, name: str) -> date:
    """Return the argument `name` as a date. Raises ValueError for a text that is no date."""
    try:
        return value if isinstance(value, date) else date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{name} = {value!r} is no date; write it as 2013-01-02") from error


def _plan(reward: Rewards) -> RewardPlan:
    return reward if isinstance(reward, RewardPlan) else RewardPlan(kind=reward)


class Portfolio(gymnasium.Env[Observation, Any]):
    """A gymnasium environment of one simulated account.

    `action` is "continuous" (weights from 0 to 1 of the symbols and, last, cash, scaled to add up to 1), "discrete"
    (`discrete_actions`, named by `action_names`) or "short" (weights from -1 to 1, gross at most 1). `state_names`
    names each entry of an observation. Each episode starts at a random session; `random=False` with a large `length`
    covers the whole window. `info` has the equity, costs, traded value, drawdown, and each term of the reward. `market`
    is a market in memory, which several environments can share; without it `path`, `symbols`, `start` and `end` are
    read.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(
        self,
        path: str | Path = "",
        symbols: Sequence[str] = (),
        start: str | date = "",
        end: str | date = "",
        *,
        actions: str | Path | None = None,
        features: Features = price_features,
        warmup_days: int = WARMUP_DAYS,
        market: Market | None = None,
        action: Literal["continuous", "discrete", "short"] = "continuous",
        parts: int = 2,
        cash: bool = False,
        reward: Rewards = "log",
        length: int = 252,
        random: bool = True,
        episodes: Episodes | None = None,
        costs: Costs = USUAL_COSTS,
        capital: float = 100_000.0,
        lot: float | Sequence[float] | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Make the simulator of one account, and the spaces of states and actions.

        `market` is a market in memory; without it the file `path` is read (`read_market`). `action` is "continuous"
        (weights of symbols and cash), "discrete" (one of the allocations of `parts` equal parts, with cash if `cash`)
        or "short" (weights from -1 to 1). `lot` is the lot size in units, None for fractional positions. `length` and
        `random` describe the episodes; `episodes` replaces both.
        """
        self.render_mode = render_mode
        world = market or read_market(path, symbols, start, end, actions, features, warmup_days)
        allocations = grid(world.symbols, parts, cash) if action == "discrete" else None
        self.simulator: Final = Simulator(
            world, batch=1,
            kind={"continuous": "simplex", "discrete": "discrete", "short": "box"}[action],  # type: ignore[arg-type]
            allocations=allocations, reward=_plan(reward), episodes=episodes or Episodes(length, random),
            costs=costs, capital=capital, lot=lot,
        )  # fmt: skip
        size, action_entries = len(world.symbols), self.simulator.action_size
        self.state_names: Final = self.simulator.observation_names
        self.observation_space = spaces.Box(-np.inf, np.inf, (self.simulator.observation_size,), np.float32)
        if allocations is not None:
            columns = size + 1 if cash else size
            self.discrete_actions: Final = allocations.weights[:, :columns]
            self.action_names: Final = allocations.names
            self.action_space = spaces.Discrete(action_entries)
        else:
            self.action_space = spaces.Box(0.0 if action == "continuous" else -1.0, 1.0, (action_entries,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        observation = self.simulator.reset(seed)
        return _row(observation), {"equity": float(self.simulator.equity)}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        simulator = self.simulator
        actions = torch.from_numpy(np.array(action).reshape((1,) if simulator.allocations is not None else (1, -1)))
        reward, terminated, truncated = simulator.move(simulator.targets(actions))
        return _row(simulator.observe()), float(reward), bool(terminated), bool(truncated), _figures(simulator, 0)


def _row(observation: torch.Tensor) -> Observation:
    """The observation of the first account."""
    return observation[0].to(torch.float32).numpy(force=True)


def _figures(simulator: Simulator, account: int) -> dict[str, Any]:
    """The figures of an account after a step, as the `info` of a gymnasium step."""
    outcome, traded = simulator.outcome, simulator.traded
    assert outcome is not None
    figures = {
        "equity": simulator.equity,
        "cost": traded.cost,
        "turnover": outcome.turnover,
        "drawdown": outcome.drawdown,
    }
    terms = simulator.reward.terms
    info: dict[str, Any] = {name: view(figure)[account].item() for name, figure in figures.items()}
    info["weights"] = simulator.weights[account].numpy(force=True)
    info["terms"] = {name: view(term)[account].item() for name, term in terms.items()}
    return info


class Agents(ParallelEnv):  # type: ignore[misc]  # pettingzoo ships no types
    """A pettingzoo environment of several agents with separate accounts, and a penalty on similar returns.

    An episode ends for all agents at once.
    """

    metadata: dict[str, Any] = {"name": "quantd_agents_v0", "render_modes": []}

    def __init__(
        self,
        market: Market,
        seats: Sequence[Seat] = PROFILES,
        *,
        diversity: Diversity | None = None,
        reward: Rewards = "log",
        length: int = 252,
        random: bool = True,
        costs: Costs = USUAL_COSTS,
        lot: float | Sequence[float] | None = None,
    ) -> None:
        """Make one desk (group of agents) with an account for each agent in `seats`; the agents enter at `reset`.

        `diversity` is the penalty on similar returns of the agents, `lot` the lot size in units (None: fractional).
        """
        self.render_mode = None
        self.desk: Final = Desks(
            market,
            seats,
            diversity=diversity,
            reward=_plan(reward),
            episodes=Episodes(length, random),
            costs=costs,
            lot=lot,
        )
        self.possible_agents = [agent.name for agent in self.desk.seats]
        self.agents: list[str] = []
        self.state_names: Final = self.desk.simulator.observation_names
        width = self.desk.observation_size
        self._observed = {name: spaces.Box(-np.inf, np.inf, (width,), np.float32) for name in self.possible_agents}
        self._acted = {
            name: spaces.Box(0.0, 1.0, (self.desk.action_size,), np.float32) for name in self.possible_agents
        }

    def observation_space(self, agent: str) -> spaces.Box:
        return self._observed[agent]

    def action_space(self, agent: str) -> spaces.Box:
        """The action space: weights of all symbols and, last, cash; weights of symbols that the agent may not hold are
        ignored.
        """
        return self._acted[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, dict[str, Any]]]:
        self.agents = list(self.possible_agents)
        return self._split(self.desk.reset(seed)), {name: {} for name in self.agents}

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Make one step of all agents. Returns (observations, rewards, terminated, truncated, infos), each by name of
        agent.

        All five are empty after the end of the episode. When one agent's episode ends, the episode ends for all.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        desk = self.desk
        rows = np.stack([np.asarray(actions[name], dtype=np.float32) for name in self.possible_agents])
        reward, terminated, truncated = desk.move(torch.from_numpy(rows))
        names = self.agents
        infos = {
            n: _figures(desk.simulator, k)
            | {"likeness": float(desk.likeness[k]), "diversity_weight": float(desk.weight[k])}
            for k, n in enumerate(names)
        }
        if bool((terminated | truncated).any()):
            self.agents = []
        return (
            self._split(desk.simulator.observe()),
            dict(zip(names, reward.tolist(), strict=True)),
            dict(zip(names, terminated.tolist(), strict=True)),
            dict(zip(names, truncated.tolist(), strict=True)),
            infos,
        )

    def state(self) -> Observation:
        """Return all agents' observations, concatenated, as input of a centralised critic."""
        return self.desk.simulator.observe().to(torch.float32).numpy(force=True).reshape(-1)

    def render(self) -> None:
        """No-op: there is nothing to draw."""

    def _split(self, observation: torch.Tensor) -> dict[str, Observation]:
        rows = cast(Observation, observation.to(torch.float32).numpy(force=True))
        return {name: rows[k].copy() for k, name in enumerate(self.possible_agents)}


gymnasium.register(id="quantd/Portfolio-v0", entry_point="quantd.training.market.environments:Portfolio")
