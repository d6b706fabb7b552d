"""The batched market simulator: B accounts of N assets step through the sessions of a market, on CPU or GPU.

The accounts are those of `quantd.training.market.accounts`. Tests compare the simulator with the event core, the engine
of backtests and live trading: a decision at a close fills at the next open. The simulator has no risk checks of orders,
volume caps or partial fills. The learners train on it, and the gymnasium and pettingzoo environments wrap it.

What can go wrong. An account would differ from the daemon's if a decision filled at the price that it saw, or were
sized by a close that was not known yet: so a decision fills at the next open, and `marks` are the prices known at the
decision. NaN actions would give an equity of NaN: so such an equity raises an error. A learner would lose the last
observation of an episode: so `restart` returns it as `final`.

What the order guarantees. The last observation of an episode is made before a new episode begins. Random rows are drawn
for every path of the market, so that the random draws of a training seed do not depend on which accounts ended.
Resampling jumps after the outcome of a decision.

Rejected: arrays that are changed in place, because returned tensors must keep their values.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from quantd.trading.execution import Costs
from quantd.training.market.accounts import Rates, Session, Traded, trade
from quantd.training.market.arrays import Array, added, maximum, take, tensor, view
from quantd.training.market.episodes import Episodes, Stress
from quantd.training.market.rewards import Detail, Outcome, Reward
from quantd.training.market.tensors import Allocations, Market
from quantd.training.market.terms import USUAL_COSTS, Kind, RewardPlan
from quantd.training.market.vector_env import Step

STATE_FIELDS: Final = ("row", "value", "cash", "equity", "peak", "drawdown", "steps")
"""The state of an account, in addition to its reward's moments."""


class Simulator:
    """B accounts of N assets; a `VectorEnv`. `episodes.together` adjacent accounts share a path of the market.

    `kind` "simplex" takes actions float[B, N + 1] with cash last; negative values count as 0, and rows are scaled to
    add up to 1. "discrete" takes int64[B], indices of `allocations`. "box" takes float[B, N] from -1 to 1, weights that
    may be short; a sum of absolute weights above `gross` is scaled down to it. The weight of an asset without a price
    stays in cash. `capital` is money, one figure or one per account. `lot` trades whole lots of that many units (1.0:
    whole shares), one size or one per asset; None permits any fraction. Raises FloatingPointError when equity is NaN,
    which NaN actions cause. Raises ValueError for `allocations` with another kind than "discrete", for "discrete"
    without `allocations`, and for a `batch` that is no multiple of `episodes.together`.
    """

    def __init__(
        self,
        market: Market,
        *,
        batch: int,
        kind: Kind = "simplex",
        allocations: Allocations | None = None,
        reward: RewardPlan | None = None,
        episodes: Episodes | None = None,
        costs: Costs = USUAL_COSTS,
        capital: float | Sequence[float] = 100_000.0,
        lot: float | Sequence[float] | None = None,
        gross: float = 1.0,
        seed: int = 0,
    ) -> None:
        """Put `batch` accounts at the beginning of their first episodes. Fields by account are arrays of `view`.

        `lot` is the lot size in units, None for fractional positions; `gross` bounds the sum of absolute weights of
        kind "box". `_left` is the number of steps until the first account reaches the length of an episode, and `_over`
        whether any episode has just ended."""
        if (kind == "discrete") != (allocations is not None):
            raise ValueError(f"kind {kind}: give allocations for kind discrete, and for no other kind")
        self.market: Final = market
        self.kind: Final[Kind] = kind
        self.batch: Final = batch
        self.device: Final = market.gap.device
        self.dtype: Final = market.gap.dtype
        self.allocations: Final = allocations
        self.episodes: Final = episodes or Episodes()
        self.costs: Final = costs
        if batch < 1 or batch % self.episodes.together:
            raise ValueError(f"batch = {batch} must be a multiple of episodes.together = {self.episodes.together}")
        self._paths: Final = batch // self.episodes.together
        size = len(market.symbols)
        self._rates = Rates.of(costs)
        self._lot = None if lot is None else view(torch.broadcast_to(self._tensor(lot), (size,)).clone())
        self._gross = gross
        self._grid = None if allocations is None else self._tensor(allocations.weights[:, :size])
        choices = 0 if allocations is None else len(allocations.names)
        self.action_size: Final = {"simplex": size + 1, "box": size, "discrete": choices}[kind]
        self.observation_names: Final = self._names()
        self.observation_size: Final = len(self.observation_names)
        self.capital: Final = torch.broadcast_to(self._tensor(capital), (batch,)).clone()
        self._least = view(self.capital * 1e-6)
        self._ruin = view(self.capital * self.episodes.ruin)
        self.reward: Final = Reward(reward or RewardPlan(), batch, self.device, self.dtype)
        self.outcome: Outcome | None = None
        """Result of the last step, before new episodes began."""
        self._after: Traded | None = None
        self._tables: Final = market.viewed()
        self._length = min(self.episodes.length, market.last - market.first)
        self._random = torch.Generator(device=self.device).manual_seed(seed)
        self._everyone = torch.arange(batch, device=self.device)
        self._row = view(torch.full((batch,), market.first, device=self.device))
        self._value = view(torch.zeros((batch, size), device=self.device, dtype=self.dtype))
        self._capital = view(self.capital)
        self._cash, self._equity, self._peak = self._capital, self._capital, self._capital
        self._drawdown = self._steps = view(torch.zeros_like(self.capital))
        self._left, self._over = self._length, False
        self._begin(self._everyone)

    def reset(self, seed: int | None = None) -> Tensor:
        if seed is not None:
            self._random.manual_seed(seed)
        self._begin(self._everyone)
        return self.observe()

    def step(self, action: Tensor) -> Step:
        """Carry out an action: decide at the observed close, fill at the next open, value at the next close."""
        return self.restart(*self.move(self.targets(action)))

    def restart(self, reward: Tensor, terminated: Tensor, truncated: Tensor) -> Step:
        """Start a new episode for each account whose episode ended, and return the complete step: the arguments with
        the observations."""
        # before new episodes replace the ended accounts, whose last observations would be lost
        final = observation = self.observe()
        if self._over:
            ended = (terminated | truncated).nonzero().squeeze(1)
            self._begin(ended)
            observation = final.clone()
            observation[ended] = self._observe(ended)
        return Step(observation, reward, terminated, truncated, final)

    def observe(self) -> Tensor:
        """Return the current observations float[B, D].

        Axes: B accounts, D entries of an observation.
        """
        return self._observe(self._everyone)

    @property
    def row(self) -> Tensor:
        """The current row of the market of each account, int64[B]."""
        return tensor(self._row)

    @property
    def equity(self) -> Tensor:
        """The equity of each account in currency, float[B]."""
        return tensor(self._equity)

    @property
    def cash(self) -> Tensor:
        """The cash of each account in currency, float[B]."""
        return tensor(self._cash)

    @property
    def steps(self) -> Tensor:
        """The number of steps of each account in its episode, float[B]."""
        return tensor(self._steps)

    @property
    def weights(self) -> Tensor:
        """The held weights as fractions of equity, float[B, N], by the prices known at the decision.

        Axes: B accounts, N assets.
        """
        value, equity = self._by_known_prices(self._value, self._cash, self._divisor(), self._row)
        return tensor(value / equity[:, None])

    @property
    def known_equity(self) -> Tensor:
        """The equity of each account in currency, float[B], by the prices known at the decision."""
        return tensor(self._by_known_prices(self._value, self._cash, self._equity, self._row)[1])

    def _by_known_prices(self, value: Array, cash: Array, equity: Array, row: Array) -> tuple[Array, Array]:
        """Convert `value` [B, N] and `equity` [B] from closes to the prices known at the decision, and return both.
        `row` int64[B] is the market row (session) of each account.
        """
        marks = self._tables.marks
        if marks is None:
            return value, equity
        value = value * take(marks, row)
        # at least a thousandth, so that a division by the equity stays finite
        return value, maximum(cash + value.sum(-1), equity * 1e-3)

    @property
    def traded(self) -> Traded:
        """The trades of the last step, before new episodes began. Raises ValueError before the first step."""
        if self._after is None:
            raise ValueError("there are no trades before the first step: call step first")
        return Traded(*(tensor(array) for array in self._after))

    def lots(self) -> Tensor:
        """Return the held units (shares) float64[B, N].

        Held units are the positions in money over the prices of each account's current close. Axes: B accounts, N
        assets.
        """
        return tensor(self._value).to(torch.float64) / self.market.close.index_select(0, self.row)

    def state(self) -> dict[str, Tensor]:
        """Return the complete state, for `load` into a simulator with the same settings."""
        moments = self.reward.moments
        return {
            **{name: tensor(getattr(self, f"_{name}")).clone() for name in STATE_FIELDS},
            "first_moment": moments.first.clone(),
            "second_moment": moments.second.clone(),
            "random": self._random.get_state(),
        }

    def load(self, state: Mapping[str, Tensor]) -> Tensor:
        """Restore a `state` that `state()` returned, and return the observation in it."""
        for name in STATE_FIELDS:
            setattr(self, f"_{name}", view(state[name].clone()))
        self.reward.moments.first = state["first_moment"].clone()
        self.reward.moments.second = state["second_moment"].clone()
        self._random.set_state(state["random"])
        self._left = self._length - int(self._steps.max())
        return self.observe()

    def targets(self, action: Tensor) -> Tensor:
        """Convert an action to target weights float[B, N], without cash.

        An asset without a price has weight 0. Axes: B accounts, N assets.
        """
        size = len(self.market.symbols)
        if self._grid is not None:
            weights = take(view(self._grid), view(action))
        elif self.kind == "box":
            weights = view(action.to(self.dtype)).clip(-1.0, 1.0)
            # a sum of sizes above `gross` is scaled down to it
            weights = weights * (self._gross / added(abs(weights)).clip(min=self._gross))[:, None]
        else:
            weights = view(action.to(self.dtype)).clip(min=0.0)
            # 1e-30: an action of zeros holds cash only, and must not divide by zero
            weights = weights[:, :size] / added(weights).clip(min=1e-30)[:, None]
        if self._tables.known is not None:
            # `known` is 1 for an asset with a price, else 0
            weights = weights * take(self._tables.known, self._row)
        return tensor(weights)

    def move(self, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Advance each account one session at target weights float[B, N]. Returns (reward, terminated, truncated).

        Afterwards each account is at the session's close; new episodes do not begin. Axes: B accounts, N assets.
        """
        tables, equity_before, decision_row = self._tables, self._equity, self._row
        row = decision_row + 1
        # the calendar days of a session are needed for borrow fees only
        session = tables.session(row, self._rates.borrow_day > 0.0)
        if self.episodes.stress is not None:
            session = self._shocked(session, self.episodes.stress)
        shares = None if self._lot is None else tables.shares(row)
        lot = 1.0 if self._lot is None else self._lot
        sized_weights, most = view(weights), self._rates.most
        # a larger sum of weights is scaled down to `most`
        sized_weights = sized_weights * (most / added(sized_weights).clip(min=most))[:, None]
        if tables.marks is not None:
            # sized by the prices and the equity known at the decision, but `trade` computes by the closes
            _, known_equity = self._by_known_prices(self._value, self._cash, equity_before, decision_row)
            sized_weights = sized_weights * (known_equity / equity_before)[:, None] / take(tables.marks, decision_row)
        result = trade(self._value, self._cash, equity_before, sized_weights, session, self._rates, shares, lot)
        self._after = result
        self._value, self._cash, self._equity = result.value, result.cash, result.equity
        self._peak = maximum(self._peak, result.equity)
        drawdown_before, self._drawdown = self._drawdown, 1.0 - result.equity / self._peak
        self._steps, self._left = self._steps + 1.0, self._left - 1
        detail = None
        if self.reward.plan.kind == "composite":
            momentum = tensor(take(tables.momentum, decision_row))
            trades = tensor(result.traded / equity_before[:, None])
            weights_after = tensor(self._value / self._divisor()[:, None])
            detail = Detail(tensor(result.cost / equity_before), weights_after, trades, momentum)
        self.outcome = Outcome(
            tensor(result.equity / equity_before),
            tensor(result.turnover),
            tensor(drawdown_before),
            tensor(self._drawdown),
            detail,
            None if session.earned is None else tensor(session.earned),
            None if self.reward.plan.benchmark == "none" else self._equal_weight(session, decision_row),
            None if self.reward.plan.scale == "none" else tensor(take(tables.volatility, decision_row)),
        )
        self._row = self._next(row)
        reward = self.reward(self.outcome)
        return reward, *self._ended()

    def _equal_weight(self, session: Session, decision_row: Array) -> Tensor:
        """Return the growth float[B] of equal weights, without costs, of the assets with a price in `decision_row`.

        Axes: B accounts.
        """
        growth = session.total if session.dividend is None else session.total + session.dividend
        if self._tables.known is None:
            return tensor(added(growth) / growth.shape[1])
        priced = take(self._tables.known, decision_row)
        count = added(priced)
        return tensor(1.0 + added((growth - 1.0) * priced) / count.clip(min=1.0))

    def _ended(self) -> tuple[Tensor, Tensor]:
        """Return (terminated, truncated), bool[B], and set `_over`: True when any account's episode ended.

        Axes: B accounts.
        """
        solvent = self._equity > self._ruin
        if bool(solvent.all()):
            # the account with the earliest start ends first
            self._over = self._left <= 0
            no_account = torch.zeros(self.batch, dtype=torch.bool, device=self.device)
            return no_account, self.steps >= self._length if self._over else no_account.clone()
        if bool(self.equity.isnan().any()):
            raise FloatingPointError("equity is not a number: an action was NaN or infinite")
        self._over = True
        together = self.episodes.together
        bankrupt = ~tensor(solvent)
        ended = bankrupt.view(-1, together).any(-1).repeat_interleave(together)
        return bankrupt, (ended | (self.steps >= self._length)) & ~bankrupt

    def _divisor(self) -> Array:
        """Return equity [B], bounded away from zero: the figures of a lost account are large, but finite."""
        return maximum(self._equity, self._least)

    def _next(self, row: Array) -> Array:
        """Return the market row after `row`; with resampling, sometimes a random one."""
        if not self.episodes.block:
            return row
        present_row = tensor(row)
        draw = torch.rand(self._paths, generator=self._random, device=self.device)
        jump = (draw < 1.0 / self.episodes.block).repeat_interleave(self.episodes.together) | (
            present_row >= self.market.last
        )
        return view(torch.where(jump, self._random_rows(self.market.last, self._everyone), present_row))

    def _random_rows(self, stop: int, accounts: Tensor) -> Tensor:
        """Return random rows int64[K] below `stop` for accounts int64[K], equal for accounts of one path.

        A row is drawn for every path, so that the draws do not depend on `accounts`.
        """
        rows = torch.randint(self.market.first, stop, (self._paths,), generator=self._random, device=self.device)
        return rows.repeat_interleave(self.episodes.together)[accounts]

    def _shocked(self, session: Session, stress: Stress) -> Session:
        """Return the session with a synthetic crash of its closes in some paths."""
        together, width = self.episodes.together, 2 + len(self.market.symbols)
        # columns: whether a crash happens, its size, and the factor of each asset
        draw = torch.rand((self._paths, width), generator=self._random, device=self.device)
        size = (stress.least + (stress.most - stress.least) * draw[:, 1:2]) * (draw[:, :1] < stress.chance)
        fall = (size * (0.5 + draw[:, 2:])).to(self.dtype)
        return session._replace(total=session.total * view(1.0 - fall.repeat_interleave(together, 0)))

    def _begin(self, accounts: Tensor) -> None:
        """Start new episodes for accounts int64[K]."""
        if self.episodes.random:
            stop = self.market.last - (1 if self.episodes.block else self._length) + 1
            start = self._random_rows(stop, accounts)
        else:
            start = torch.full_like(accounts, self.market.first)
        indices = view(accounts)
        capital = self._capital[indices]
        # in the order of STATE_FIELDS
        initial: tuple[Array | float, ...] = (view(start), 0.0, capital, capital, capital, 0.0, 0.0)
        for name, initial_value in zip(STATE_FIELDS, initial, strict=True):
            # a new array, because returned tensors must keep their values
            changed = view(tensor(getattr(self, f"_{name}")).clone())
            changed[indices] = initial_value
            setattr(self, f"_{name}", changed)
        self.reward.moments.reset(accounts)
        self._left = self._length - int(self._steps.max())

    def _observe(self, accounts: Tensor) -> Tensor:
        """Return the observations float[K, D] of accounts int64[K]: first the market's entries, then the account's
        entries.

        Axes: K accounts, D entries of an observation.
        """
        observed, equity, row = self.market.observed, self._divisor(), self.row
        value, cash, drawdown, steps, capital = self._value, self._cash, self._drawdown, self._steps, self._capital
        if accounts is not self._everyone:
            indices, row = view(accounts), row[accounts]
            value, cash, equity = value[indices], cash[indices], equity[indices]
            drawdown, steps, capital = drawdown[indices], steps[indices], capital[indices]
        value, known_equity = self._by_known_prices(value, cash, equity, view(row))
        observation = self.market.seen.index_select(0, row)  # torch copies long rows faster than numpy
        entries = view(observation)
        column = len(observed.names)
        for name in observed.account:
            match name:
                case "weights":
                    entries[:, column : column + value.shape[1]] = value / known_equity[:, None]
                    column += value.shape[1] - 1  # 1 more is added below, as for every part
                case "cash":
                    entries[:, column] = cash / known_equity
                case "drawdown":
                    entries[:, column] = drawdown
                case "progress":
                    entries[:, column] = steps / self._length
                case "value":
                    entries[:, column] = equity / capital
            column += 1
        return observation

    def _names(self) -> tuple[str, ...]:
        names = list(self.market.observed.names)
        for part in self.market.observed.account:
            names += [f"{s}.weight" for s in self.market.symbols] if part == "weights" else [part]
        return tuple(names)

    def _tensor(self, values: object) -> Tensor:
        return torch.as_tensor(
            values, dtype=self.dtype, device=self.device
        )  # a list converted through float32 would lose a lot of 1e-8
