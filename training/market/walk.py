"""Runs any policy over a panel of prices, with the inputs that the daemon gives and the account of the simulator.

At each close the policy receives a View of the past and of its book. This module is used by learners that imitate a
teacher, and by comparisons of policies.

What can go wrong. The policy would see a price or a bar that it could not know: so the next row is added only after the
answer. The policy would change a number that the account uses later: so the weights and prices of its view are
read-only copies.

What the order guarantees. The ring buffers of past closes end with the row of the decision, the policy answers, the
account trades, and only then the next row is added. The observation is taken before the account moves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from quantd.models.history.panel import Panel
from quantd.models.history.splits import day_of
from quantd.models.observation.table import Observed
from quantd.trading.bars import FIELDS, BarRing, CorporateAction
from quantd.trading.execution import Costs
from quantd.trading.history import Ring
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.macro import MacroHistory, series_columns
from quantd.trading.market import Floats
from quantd.trading.ports import Policy, leaves
from quantd.trading.statistics import RISK_FREE_ANNUAL, RiskFree
from quantd.trading.view import EMPTY_MEMORY, Hold, Memory, Noted, View
from quantd.training.market.episodes import WHOLE
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import market_of

CLOSE_NS: Final = 21 * 3_600_000_000_000
"""Time of decisions, UTC: a panel has only dates. New York closes at 20:00 or 21:00."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The result of a walk of a policy over a panel: T decisions, one at each close but the last."""

    rows: range
    """The panel rows of the run. The last row is the outcome of the last decision."""
    seen: NDArray[np.float32]
    """float32[T, D]: the observations by `observed` at each decision, the policy's book included."""
    weights: Floats
    """float64[T, N] answers; for a hold, the held weights."""
    equity: Floats
    """float64[T + 1] at closes."""
    turnover: Floats
    """float64[T] traded value over equity."""
    risk_free_annual: RiskFree = RISK_FREE_ANNUAL
    """The annual risk-free rate for `returns`."""

    @property
    def returns(self) -> Floats:
        """The simple returns float64[T] of the account.

        Axes: T sessions.
        """
        return self.equity[1:] / self.equity[:-1] - 1.0


# Long because it is one loop: what the policy sees of a row, its answer, and only then the next row.
def walk(
    policy: Policy,
    panel: Panel,
    rows: range,
    *,
    costs: Costs,
    capital: float = 100_000.0,
    lot: float | Sequence[float] | None,
    observed: Observed | None = None,
) -> Walk:
    """Run `policy` at each close of `rows` but the last; orders fill at the next open.

    Orders are whole lots of `lot` units, one size or a size for each asset; with `lot` None, orders are of any
    fraction. The policy sees nothing after the current row. An asset without a price gets no weight. Raises ValueError
    with the day when the policy fails or returns an answer that the daemon would refuse.
    """
    if rows.step != 1 or len(rows) < 2 or rows.start < 0 or rows.stop > len(panel.day_ns):
        raise ValueError(f"{rows} of {len(panel.day_ns)} sessions: a walk needs two or more consecutive sessions")
    if observed is None:
        table = np.zeros((len(panel.day_ns), 0), dtype=np.float32)
        observed = Observed(table, (), 0, ())
    market = market_of(panel, observed, rows, dtype=torch.float64)
    env = Simulator(market, batch=1, kind="box", episodes=WHOLE, costs=costs, capital=capital, lot=lot)
    sizes = np.broadcast_to(1.0 if lot is None else lot, len(panel.symbols)).tolist()
    universe = Universe(
        tuple(Instrument(s, lot_nano=round(size * NANO)) for s, size in zip(panel.symbols, sizes, strict=True))
    )
    decision_panel = panel.at_decisions()
    ring, by_date = (Ring(len(panel.symbols), max(policy.lookback, 1)) for _ in range(2))
    add_at_decision, add_by_date = _appending(ring, decision_panel), _appending(by_date, panel)
    inputs = _Inputs(policy, decision_panel)
    add_at_decision(rows.start)
    add_by_date(rows.start - panel.behind)
    inputs.add(rows.start)
    memory: Memory = EMPTY_MEMORY
    observations, answers, equity, turnover = [], [], [capital], []
    for row in rows[:-1]:
        time = int(panel.day_ns[row]) + CLOSE_NS
        held_weights = env.weights[0].numpy().copy()
        held_weights.flags.writeable = False
        prices = decision_panel.close[row].copy()
        prices.flags.writeable = False
        equity_now, cash_now = float(env.known_equity), float(env.cash)
        view = View(
            universe=universe,
            ring=ring,
            by_date=by_date,
            prices=prices,
            weights=held_weights,
            cash=cash_now / equity_now,
            equity=equity_now,
            time=time,
            sample_time=time,
            bars=inputs.bars,
            macro=inputs.macro,
        )
        weights, memory = _answer_of(policy, view, memory, panel, row)
        observations.append(env.observe()[0].numpy().astype(np.float32))
        answers.append(weights)
        env.move(torch.from_numpy(np.where(np.isfinite(prices), weights, 0.0))[None])
        assert env.outcome is not None
        equity.append(float(env.known_equity))
        turnover.append(float(env.outcome.turnover))
        add_at_decision(row + 1)  # after the answer: the policy sees nothing of the next row
        add_by_date(row + 1 - panel.behind)
        inputs.add(row + 1)
    rate = panel.risk_free_annual(rows)
    return Walk(rows, np.stack(observations), np.stack(answers), np.array(equity), np.array(turnover), rate)


class _Inputs:
    """The bars and macro series in the view of a policy, if the policy reads them.

    Raises ValueError where the bars lack high, low or volume.
    """

    def __init__(self, policy: Policy, panel: Panel) -> None:
        """Make the buffers of bars and macro series that the policies in `policy` read; None where none reads them."""
        policies = list(leaves(policy))
        self.bars: BarRing | None = None
        self.macro: MacroHistory | None = None
        self._panel = panel
        self._done = 0
        if any(getattr(leaf, "uses_bars", False) for leaf in policies):
            if missing := [name for name in ("high", "low", "volume") if name not in panel.bars]:
                raise ValueError(f"the bars have no {', '.join(missing)}, which the policy reads; give bars with them")
            self.bars = BarRing(len(panel.symbols), policy.lookback)
        self._macro = _required(policies, "uses_macro", panel.macro)
        self._series = _required(policies, "uses_series", panel.series)
        columns = [column for name in self._series for column in series_columns(name, panel.symbols)]
        if self._macro or columns:
            self.macro = MacroHistory((*self._macro, *columns), policy.lookback)

    def add(self, row: int) -> None:
        """Append the bars and macro values up to `row` of the panel."""
        panel = self._panel
        for index in range(self._done, row + 1):
            if self.bars is not None:
                bar = {"open": panel.open[index], **{name: values[index] for name, values in panel.bars.items()}}
                for column, name in enumerate(FIELDS):
                    if name in bar:
                        self.bars.forming[column] = bar[name]
                self.bars.sample(int(panel.day_ns[index]), panel.close[index], _actions(panel, index))
            if self.macro is not None:
                series_values = [panel.series[name][index] for name in self._series]
                self.macro.sample(
                    [*(float(panel.macro[name][index]) for name in self._macro), *np.ravel(series_values)]
                )
        self._done = row + 1


def _required(policies: Sequence[Policy], attribute: str, given: Mapping[str, Floats]) -> list[str]:
    """Return the names of the series that policies read. Raises ValueError for a series that is not in `given`."""
    named = sorted({name for policy in policies for name in getattr(policy, attribute, ())})
    if missing := [name for name in named if name not in given]:
        raise ValueError(f"the policy reads the series {missing[0]}, which the data lack; add it to the data")
    return named


def _appending(ring: Ring, panel: Panel) -> Callable[[int], None]:
    """Return a function that appends to `ring` the panel's rows up to a given row, with their splits and dividends.

    The returned function appends each row once: the next call continues after the last row.
    """
    next_row = 0

    def add(row: int) -> None:
        nonlocal next_row
        for index in range(next_row, row + 1):
            ring.append(panel.close[index], _actions(panel, index))
        next_row = row + 1

    return add


def _actions(panel: Panel, row: int) -> list[CorporateAction]:
    """Return the splits and dividends of a row; a dividend is paid on shares before the split."""
    split, dividend = panel.split[row], panel.dividend[row]
    columns = np.flatnonzero((split != 1.0) | (dividend != 0.0)).tolist()
    return [(c, float(split[c]), float(dividend[c])) for c in columns]


def _answer_of(policy: Policy, view: View, memory: Memory, panel: Panel, row: int) -> tuple[Floats, Memory]:
    """Ask the policy.

    Returns its target weights float64[N], which are the held weights if it answers Hold, and its memory. Axes: N
    assets.
    """
    day = day_of(panel.day_ns[row])
    try:
        answer, remembered = policy.act(view, memory)
    except Exception as error:
        raise ValueError(f"the policy fails on {day}: {type(error).__name__}: {error}") from error
    if isinstance(answer, Noted):
        answer = answer.weights
    if isinstance(answer, Hold):
        return np.array(view.weights), remembered
    weights = np.asarray(answer, dtype=np.float64)
    if weights.shape != (len(panel.symbols),) or not np.isfinite(weights).all():
        raise ValueError(f"the policy answers {weights} on {day}: {len(panel.symbols)} finite weights are expected")
    return weights.copy(), remembered
