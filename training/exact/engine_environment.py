"""One agent of a configuration as a gymnasium environment, whose steps are computed by the backtest engine.

    import quantd.training.exact.engine_environment
    gymnasium.make("quantd/Exact-v0", config="config.toml", agent="trend")

The learner replaces one agent. A question is the request of the engine for the weights of an agent. A step answers the
open question to that agent, and then handles the items of the market up to the next question: a bar and its clock tick,
where the agent is asked each day. The engine handles each item (`Shell.take`), where possible by the fold, a faster
path with the same result. Costs, limits, trades between agents (crossing), other agents and dividends are those of
`quantd backtest`: the same answers give the same digest.

What can go wrong. An observation made before the tick lacks the bookings and the valuation of the tick. An observation
made after the plan of orders would show orders that the action has not chosen yet. So the tick returns with its
question open (`Shell.meanwhile`), and the observation is made from the view of that question. The engine does not know
that the last bar is over, so the end is read from the market's items. The question at the last close is answered with a
hold, since nothing fills after it.

The order of a step guarantees that a reward has exactly the fills of its action: answer, bars, tick, valuation.

Rejected: to begin each episode from a snapshot. A new state with its warm-up takes only a few milliseconds by the fold,
and a snapshot would be a second way to make a state. Rejected: the action as the policy's answer inside the tick, for
which the environment would have to be a second thread.
"""

from collections.abc import Sequence
from math import isfinite, isnan
from pathlib import Path
from typing import Any, Final, Literal

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.config.agent_tables import RebalanceTable, Sizing
from quantd.daemon.engine.rounds import view_of
from quantd.daemon.recovery.start import begin
from quantd.daemon.runtime.loop import Shell
from quantd.models.observation.return_features import FEATURES, LOOKBACK, measure
from quantd.trading.effects import Ask
from quantd.trading.events import Decided, Tick
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.market import Floats, MarketSlice
from quantd.trading.view import View
from quantd.training.exact.recorded_market import RecordedMarket
from quantd.training.market.episodes import Episodes
from quantd.training.market.rewards import Detail, Outcome, Reward
from quantd.training.market.tensors import MOMENTUM, grid
from quantd.training.market.terms import RewardPlan

Observation = NDArray[np.float32]

ACCOUNT: Final = ("cash", "drawdown", "progress")
"""Last entries of an observation: share of cash, drawdown from the peak, share of the episode's steps that is over."""

RUN: Final = "episode"
"""Name of the run of each episode, which is not kept."""


class Learner:
    """Leaves a question of the engine open if it goes to the learner's agent; other agents answer at once.

    `number` is the index of the learner's agent. `question` is the open question to it; None when there is none.
    """

    def __init__(self, number: int) -> None:
        self.number: Final = number
        self.question: Ask | None = None

    def begin(self, question: Ask) -> bool:
        """Return True for a question to the learner's agent, which stays open until the learner's action answers it."""
        if question.agent != self.number:
            return False
        self.question = question
        return True


class Traded:
    """The trades of one agent's book since the last answer, from the changes of its lots and cash in each bar.

    `value` float64[N] is the money traded in each of the N instruments, at the opening prices. `cost` is the money paid
    beyond the opening prices: spread, slippage and commission. `units` float64[N] are the units (shares) of one lot of
    each instrument.
    """

    def __init__(self, units: Floats) -> None:
        self._units = units
        self.clear()

    def clear(self) -> None:
        """Begin a step: forget the trades until now."""
        self.value, self.cost = np.zeros(len(self._units)), 0.0

    def add(self, lots: NDArray[np.int64], cash_micro: int, market: MarketSlice) -> None:
        """Add the trades of a bar: the changes of lots int64[N], one per instrument, and of cash in this bar."""
        money = lots * self._units * market.open
        total = float(money.sum())
        if isnan(total):  # an asset without a bar has no open
            money = np.where(lots == 0, 0.0, money)
            total = float(money.sum())
        self.value += np.abs(money)
        self.cost -= cash_micro / MICRO + total  # the cash fell by the trades at the opens and by the costs


class Exact(gymnasium.Env[Observation, Any]):
    """A gymnasium environment: one agent of a configuration, over its recorded market.

    `agent` is the name of the agent; it may be omitted where the configuration has one agent only. `action` is
    "continuous" (weights from 0 to 1), "discrete" (`parts` equal parts, with cash if `cash`) or "short" (weights from
    -1 to 1). Rewards and observations are those of `quantd/Portfolio-v0` with its default features. An episode begins
    at a random session, with the earlier sessions as its history; `reset(options={"start": "2020-01-02"})` names the
    session. `settings` replace keys of the file (`risk.max_drawdown=0.2`). `assembly`, a configuration with its market
    in memory, replaces the file. Raises ValueError for an agent that the configuration lacks, and for an agent with
    settings that would change the learner's answers (sizing, rebalance).
    """

    metadata: dict[str, Any] = {"render_modes": []}

    shell: Shell
    """The engine of the present episode."""

    _view: View
    _drawdown: float
    _peak: float
    _turnover: float
    _steps: int
    _place: int
    _days: list[int]

    def __init__(
        self,
        config: str | Path = "config.toml",
        agent: str = "",
        *,
        settings: Sequence[str] = (),
        assembly: Assembly | None = None,
        action: Literal["continuous", "discrete", "short"] = "continuous",
        parts: int = 2,
        cash: bool = False,
        reward: RewardPlan | Literal["log", "simple", "sharpe", "composite"] = "log",
        length: int = 252,
        random: bool = True,
        episodes: Episodes | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Open the market of the configuration and the spaces of states and actions.

        The arguments are those of the class. `parts` and `cash` make the grid of discrete allocations: equal parts of
        the capital over the symbols, with cash as one of them. `length` is the number of steps of an episode.

        Raises ValueError for settings that the engine lacks, and for too few sessions before or after the first
        decision.
        """
        self.render_mode = render_mode
        self.assembly: Final = assembly or assemble(read(Path(config), settings), history=LOOKBACK)
        self._learner: Final = Learner(learner_of(self.assembly, agent))
        self.episodes: Final = episodes or Episodes(length, random)
        if self.episodes.block or self.episodes.stress is not None or self.episodes.together > 1:
            raise ValueError("episodes: block, stress and together change the recorded market of the engine; omit them")
        self._market: Final = RecordedMarket(self.assembly.items())
        sessions_before, sessions_after = self._market.first, self._market.last - self._market.first
        if sessions_before < LOOKBACK or sessions_after < 1:
            raise ValueError(
                f"{sessions_before} sessions before the first decision, {sessions_after} after it; at least {LOOKBACK} "
                "and 1 are needed"
            )
        self._length = min(self.episodes.length, sessions_after)
        universe = self.assembly.universe
        self._symbols: Final = universe.symbols
        self._kind: Final = action
        self._grid: Final = grid(self._symbols, parts, cash) if action == "discrete" else None
        plan = reward if isinstance(reward, RewardPlan) else RewardPlan(kind=reward)
        if plan.benchmark != "none":
            raise ValueError(f"reward.benchmark {plan.benchmark}: the engine computes no benchmark; write none")
        if plan.scale != "none":
            raise ValueError(f"reward.scale {plan.scale}: the engine computes no volatility of the market; write none")
        self._reward: Final = Reward(plan, 1, torch.device("cpu"), torch.float64)
        self._traded: Final = Traded(np.array(universe.lot_nano) / NANO)
        self._seen: Final[dict[int, Observation]] = {}
        """Time of a sample -> its observation, whose weights and account are still those of the first visit or 0."""
        names = [f"{symbol}.{name}" for symbol in self._symbols for name in (*FEATURES, "known")]
        self.state_names: Final = (*names, *(f"{symbol}.weight" for symbol in self._symbols), *ACCOUNT)
        self._set_spaces(cash=cash)

    def _set_spaces(self, *, cash: bool) -> None:
        """Set the spaces: numbers of allocations ("discrete"), weights from -1 to 1 ("short"), or from 0 to 1 with cash
        last."""
        size = len(self._symbols)
        self.observation_space = spaces.Box(-np.inf, np.inf, (len(self.state_names),), np.float32)
        if self._grid is not None:
            self.discrete_actions = self._grid.weights[:, : size + cash]
            self.action_names = self._grid.names
            self.action_space = spaces.Discrete(len(self._grid.names))
        elif self._kind == "short":
            self.action_space = spaces.Box(-1.0, 1.0, (size,), np.float32)
        else:
            self.action_space = spaces.Box(0.0, 1.0, (size + 1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode.

        A new engine takes the recorded sessions before the start, then runs to its first question to the learner, a
        request for target weights.

        Raises ValueError for a date without a sample, and where no schedule ever asks the agent for weights.
        """
        super().reset(seed=seed)
        market, assembly, learner = self._market, self.assembly, self._learner
        start = self._start(options or {})
        self.shell = assembly.shell()
        begin(self.shell, assembly, assembly.config, RUN, fresh=True)
        self.shell.take_all(market.history(start))
        self.shell.meanwhile, learner.question = learner, None
        self._place, self._steps, self._turnover = market.place(start), 0, 0.0
        self._reward.moments.reset(torch.zeros(1, dtype=torch.int64))
        question = self._advance()
        if question is None:
            raise ValueError("the learner is never asked in this episode: name its agent in a schedule")
        self._view = question.view
        self._peak, self._drawdown = self._view.equity, 0.0
        return self._observe(), {"equity": self._view.equity}

    def _start(self, options: dict[str, Any]) -> int:
        """The index of the sample at which an episode begins. Raises ValueError for a date without an episode."""
        market = self._market
        if "start" in options:
            return market.sample_from(options["start"])
        if not self.episodes.random:
            return market.first
        return int(self.np_random.integers(market.first, market.last - self._length + 1))

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Answer the open question (the engine's request for weights) with the action, and run to the next question.

        Raises ValueError before `reset`. An episode is terminated where the equity falls to the fraction
        `episodes.ruin` of the agent's capital, and truncated at its length or at the end of the market.
        """
        question = self._learner.question
        if question is None:
            raise ValueError("no episode is open: call reset")
        before = self._view
        weights = self._weights(action, before)
        momentum = before.momentum(MOMENTUM) if self._reward.plan.kind == "composite" else None
        self._answer(question, weights)
        self._advance()
        self._steps += 1
        now = self._now()
        self._peak = max(self._peak, now.equity)
        drawdown_before, self._drawdown = self._drawdown, 1.0 - now.equity / self._peak
        reward = self._rewarded(before, now, drawdown_before, momentum)
        capital = self.assembly.rules.agents[question.agent].capital_micro / MICRO
        terminated = now.equity <= self.episodes.ruin * capital
        truncated = not terminated and (self._steps >= self._length or self._over())
        self._view = now
        observation, info = self._observe(), self._figures()
        # the episode is over: the open question is answered with the positions unchanged
        if (terminated or truncated) and self._learner.question is not None:
            self._answer(self._learner.question, None)
        return observation, reward, terminated, truncated, info

    def _answer(self, question: Ask, weights: Floats | None) -> None:
        """Answer the open question with weights float64[N]; None leaves the positions unchanged.

        Axes: N assets.
        """
        self._learner.question = None
        self.shell.answered(Decided(question.round, question.agent, None if weights is None else weights.tobytes()))

    def _advance(self) -> Ask | None:
        """Run the engine to the next question to the learner and return it; None where the market's items end first."""
        shell, items, learner, traded = self.shell, self._market.items, self._learner, self._traded
        # the state as of the last item; its books are never behind
        book = shell.unsettled.ledger.books[learner.number]
        traded.clear()
        self._days = [shell.unsettled.sample_key]
        while learner.question is None and self._place < len(items):
            item = items[self._place]
            self._place += 1
            if isinstance(item, MarketSlice):
                lots, cash = np.array(book.held), book.cash_micro
                shell.take(item)
                if book.cash_micro != cash:
                    traded.add(np.array(book.held) - lots, book.cash_micro - cash, item)
                continue
            shell.take(item)
            if isinstance(item, Tick) and item.sample:
                self._days.append(item.key)
        return learner.question

    def _over(self) -> bool:
        """Return True when no order can be filled any more: no question is open, or the last bar is over."""
        return self._learner.question is None or self._place > self._market.last_bar

    def _now(self) -> View:
        """The learner's view of the last sample."""
        question = self._learner.question
        return view_of(self.shell.state, self._learner.number, self.shell.ts) if question is None else question.view

    def _weights(self, action: Any, view: View) -> Floats:
        """The target weights float64[N] of an action. Raises FloatingPointError for an entry of NaN or infinity.

        Axes: N assets.
        """
        size = len(self._symbols)
        if self._grid is not None:
            weights = self._grid.weights[int(action), :size]
        else:
            may_be_short = self._kind == "short"
            numbers = np.asarray(action, dtype=np.float64).reshape(-1)
            numbers = numbers.clip(-1.0, 1.0) if may_be_short else np.maximum(numbers, 0.0)
            gross = float(np.abs(numbers).sum() if may_be_short else numbers.sum())
            if not isfinite(gross):
                raise FloatingPointError("an entry of the action is NaN or infinite; every entry has to be finite")
            # 1e-30: an action of zeros holds nothing, and must not divide by zero
            weights = numbers / max(1.0, gross) if may_be_short else numbers[:size] / max(gross, 1e-30)
        if isnan(float(view.prices.sum())):
            weights = np.where(np.isfinite(view.prices), weights, 0.0)  # no order for an asset without a price
        return weights

    def _observe(self) -> Observation:
        """The observation float32[D], D numbers, at the last sample."""
        view, size = self._view, len(self._symbols)
        if view.sample_time not in self._seen:
            features, mask = measure(view.synchronous(LOOKBACK))
            row = np.zeros(len(self.state_names), np.float32)
            row[: size * (len(FEATURES) + 1)] = np.column_stack([features, mask]).reshape(-1)
            self._seen[view.sample_time] = row
        row = self._seen[view.sample_time].copy()
        row[-size - 3 : -3] = view.weights  # 3 entries of ACCOUNT follow
        row[-3:] = view.cash, self._drawdown, self._steps / self._length
        return row

    def _rewarded(self, before: View, now: View, drawdown_before: float, momentum: Floats | None) -> float:
        """The reward of a step. `before` is the view at the decision, `now` the view at the next one. `drawdown_before`
        is the drawdown at the decision, a fraction. `momentum` float64[N] are the returns of the instruments before the
        decision, given only for the reward "composite" (else None). Axes: N instruments.
        """
        traded, rate, equity = self._traded, self.assembly.cash_rate, before.equity
        # the first date is that of the view before
        earned = 0.0 if rate is None else float(rate.rate.earned(self._days)[1:].sum())
        self._turnover = float(traded.value.sum()) / equity
        figures = np.array(
            [now.equity / equity, self._turnover, drawdown_before, self._drawdown, earned, traded.cost / equity]
        )
        growth, turnover, earlier_drawdown, drawdown, interest, cost = torch.from_numpy(figures[:, None]).unbind()
        detail = None
        if momentum is not None:
            weights, trades, trend = (_row(column) for column in (now.weights, traded.value / equity, momentum))
            detail = Detail(cost, weights, trades, torch.nan_to_num(trend))
        outcome = Outcome(growth, turnover, earlier_drawdown, drawdown, detail, None if rate is None else interest)
        return self._reward(outcome).item()

    def _figures(self) -> dict[str, Any]:
        """Return the `info` of the last step."""
        view, traded = self._view, self._traded
        return {
            "equity": view.equity,
            "cost": traded.cost,
            "turnover": self._turnover,
            "drawdown": self._drawdown,
            "weights": view.weights,
            "time": view.time,
            "terms": {name: term.item() for name, term in self._reward.terms.items()},
        }


def learner_of(assembly: Assembly, name: str) -> int:
    """The index of the agent that a learner replaces. Raises ValueError with the remedy."""
    agents, config = assembly.config.agents, assembly.config
    names = [agent.name for agent in agents]
    if not name and len(names) == 1:
        name = names[0]
    if name not in names:
        raise ValueError(f"agent {name!r} is not in the configuration; name one of its agents: {', '.join(names)}")
    agent = agents[names.index(name)]
    if agent.sizing != Sizing() or agent.rebalance != RebalanceTable() or config.universe.members:
        reason = "sizing, rebalance or members of the universe would change the answers of a learner"
        raise ValueError(f"agent {name}: {reason}; remove them from its configuration")
    return names.index(name)


def _row(values: Floats) -> torch.Tensor:
    """The values float64[N] of one account as a tensor float64[1, N].

    Axes: N assets.
    """
    return torch.tensor(values, dtype=torch.float64)[None]


gymnasium.register(id="quantd/Exact-v0", entry_point="quantd.training.exact.engine_environment:Exact")
