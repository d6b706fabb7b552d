"""The reference rule of a power study: it knows a planted signal, and tilts towards expected returns where the gain
exceeds the cost. It is the best of several rules that were tried, and no upper bound of what can be earned.

Three kinds of expected returns are tried, because symbols move together: each symbol's own signal; "joint", the
regression of each symbol's return on the signals of all symbols, in the training part; and "market", the mean of these,
which decides between cash and equal weight. With a large tilt a rule is a threshold: it holds one symbol or cash.

The rule's weights are proportional to exp(tilt x expected return), cash included with a small constant weight. A trade
of a symbol is made only where the expected gain exceeds `band` times the cost of both sides. Kind, tilt and band are
chosen on the training part, by the lower 95 % bound of log growth after costs above equal weight over as many sessions
as the test part has. A choice by growth alone would hold single assets, whose noise hides a weak signal in a short test
part. The rule trades in the simulator in which learners learn.

What can go wrong. A rule that is chosen on the test part would show a profit that nobody could have earned: so tilt and
band are chosen on the training part. Trades on small gains would lose more than they earn: so the band leaves out small
gains. Buys without sales would need cash: so buys and sales are scaled down to the smaller of their sums.
"""

from collections.abc import Sequence
from itertools import product
from typing import Final, Literal

import numpy as np
import torch
from msgspec import Struct
from torch import Tensor

from quantd.models.history.panel import Panel
from quantd.models.observation.table import Observed
from quantd.trading.execution import RATE_ONE, Costs
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.training.market.episodes import WHOLE
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import market_of
from quantd.training.plans.plan import MarketPlan
from quantd.training.power.plants import next_returns

TILTS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 32.0)
"""Tilts, in multiples of 1 / the standard deviation of the signal's expected returns in the training part."""

BANDS: Final = (0.0, 0.25, 0.5, 1.0, 1.5, 2.5)
"""Bands, in multiples of the cost of a round trip."""

NORMAL: Final = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

CASH: Final = 0.02
"""Weight of cash in proportion to the sum of the assets' weights without a tilt."""


Kind = Literal["own", "joint", "market"]
"""Expected returns by a symbol's own signal, by those of all symbols, or one number for the market."""

KINDS: Final[tuple[Kind, ...]] = ("own", "joint", "market")


class Rule(Struct, frozen=True):
    """The chosen tilt and band of a reference rule, and the kind of expected returns that it trades on.

    The rule tilts weights towards a signal, and trades where the expected gain exceeds `band` times the cost. Tilt and
    band are 0, which is equal weight, where no tilt is better on the training part.
    """

    tilt: float = 0.0
    band: float = 0.0
    by: Kind = "own"


class Grown(Struct, frozen=True):
    """A rule's daily log growth float64[T] over a part, after costs, and its turnover a year.

    Axes: T sessions.
    """

    daily: Floats
    turnover_annual: float

    @property
    def annual(self) -> float:
        """The mean log growth a year."""
        return float(self.daily.mean()) * PERIODS_PER_YEAR


def chosen_rules(
    panel: Panel, rows: range, signals: Sequence[Floats], of: MarketPlan, sessions: int
) -> tuple[Rule, ...]:
    """Return for each signal the rule with the highest lower 95 % bound of its growth above equal weight.

    The daily growth is measured in `rows`, and the bound is computed for a mean over `sessions` days. Where no bound is
    above 0, the rule is equal weight. A signal is expected returns float64[T, N] of the panel. All rules of all signals
    run in one simulator. Axes: T sessions, N assets.
    """
    rules = [Rule(tilt, band, kind) for kind, tilt, band in product(KINDS, TILTS, BANDS)]
    informative = [signal for signal in signals if signal[rows.start : rows.stop].any()]
    if not informative:
        return (Rule(),) * len(signals)
    cases = [
        (expected[rule.by], rule)
        for expected in (expected_by(panel, rows, signal) for signal in informative)
        for rule in rules
    ]
    *grown, equal = run_cases(panel, rows, rows, [*cases, (informative[0], Rule())], of)
    chosen: list[Rule] = []
    remaining = iter(grown)
    for signal in signals:
        if not signal[rows.start : rows.stop].any():
            chosen.append(Rule())
            continue
        above_equal = [next(remaining).daily - equal.daily for _ in rules]
        bounds = [float(daily.mean() - NORMAL * daily.std() / sessions**0.5) for daily in above_equal]
        best = int(np.argmax(bounds))
        chosen.append(rules[best] if bounds[best] > 0.0 else Rule())
    return tuple(chosen)


def expected_by(panel: Panel, train: range, signal: Floats) -> dict[Kind, Floats]:
    """Return the expected returns float64[T, N] of a signal by kind; the regression is fitted in the rows `train`.

    Axes: T sessions, N assets.
    """
    returns = next_returns(panel)[train.start : train.stop]
    known = np.isfinite(returns).all(axis=1)
    slopes = np.linalg.lstsq(signal[train.start : train.stop][known], returns[known], rcond=None)[0]
    joint = signal @ slopes
    market = np.broadcast_to(joint.mean(axis=1, keepdims=True), joint.shape).copy()
    return {"own": signal, "joint": joint, "market": market}


def run_cases(
    panel: Panel, rows: range, scale: range, cases: Sequence[tuple[Floats, Rule]], of: MarketPlan
) -> list[Grown]:
    """Trade each case, a pair of a signal and a rule, over `rows`, all in one simulator.

    A signal float64[T, N], the expected returns, is divided by its standard deviation in the rows `scale`. A rule tilts
    equal weights towards the signal, and makes only trades whose expected gain exceeds its `band` times their cost.
    `of` has costs, capital and lots. Axes: T sessions, N assets.
    """
    # no observations: the rules read the signals alone
    empty = Observed(np.zeros((len(panel.day_ns), 0), dtype=np.float32), (), 0, ())
    market = market_of(panel, empty, rows, dtype=torch.float64)
    env = Simulator(
        market, batch=len(cases), kind="simplex", episodes=WHOLE, costs=of.costs, capital=of.capital,
        lot=of.lots(panel.symbols),
    )  # fmt: skip
    signals = {id(signal): signal for signal, _ in cases}  # the same array in several cases is stored once
    signal_index = {key: index for index, key in enumerate(signals)}
    table = torch.from_numpy(np.stack([signal[rows.start : rows.stop] for signal in signals.values()]))
    deviations = [float(signal[scale.start : scale.stop].std()) or 1.0 for signal in signals.values()]
    signal_of_case = torch.tensor([signal_index[id(signal)] for signal, _ in cases])
    deviation = torch.tensor(deviations, dtype=torch.float64)[signal_of_case][:, None]
    tilt, band = (
        torch.tensor([getattr(rule, name) for _, rule in cases], dtype=torch.float64)[:, None]
        for name in ("tilt", "band")
    )
    # twice the rate: a change of weights costs a sale and a purchase
    least_gain = band * 2.0 * _rate(of.costs)
    priced = torch.from_numpy(np.isfinite(panel.close))
    daily, turnover = np.zeros((len(rows) - 1, len(cases))), np.zeros(len(cases))
    equity_before = env.equity.clone()
    for step, row in enumerate(rows[:-1]):
        gain = table[signal_of_case, step]
        target = _tilted(gain / deviation * tilt, priced[row])
        held_weights = torch.cat([env.weights, 1.0 - env.weights.sum(-1, keepdim=True)], -1)
        gains = torch.cat([gain, gain.new_zeros(len(cases), 1)], -1)
        # from cash the first trade goes to the target, whatever the band; the last column, cash, is left out
        env.move((target if step == 0 else _banded(held_weights, target, gains, least_gain))[:, :-1])
        daily[step] = torch.log(env.equity / equity_before).numpy()
        equity_before = env.equity.clone()
        assert env.outcome is not None
        turnover += env.outcome.turnover.numpy()
    yearly_turnover = turnover / max(1, len(rows) - 1) * PERIODS_PER_YEAR
    return [Grown(daily[:, case].copy(), float(yearly_turnover[case])) for case in range(len(cases))]


def _tilted(score: Tensor, priced: Tensor) -> Tensor:
    """Return weights float64[G, N + 1], cash last, of the scores float64[G, N] of G cases.

    A case whose scores are all 0 gets equal weight. Assets that are not `priced` bool[N] get no weight. Axes: N assets.
    """
    count = priced.sum().clamp(min=1)
    logits = torch.where(priced, score, -torch.inf)
    cash = torch.full_like(score[:, :1], float(count) * CASH).log()
    tilted = torch.softmax(torch.cat([logits, cash], -1), -1)
    equal = torch.cat([priced.double() / count, (priced.sum() == 0).double().view(1)]).expand_as(tilted)
    return torch.where((score == 0.0).all(-1, keepdim=True), equal, tilted)


def _banded(held: Tensor, target: Tensor, gains: Tensor, least: Tensor) -> Tensor:
    """Return the weights after the trades from `held` to `target` whose gain exceeds `least` float64[G, 1].

    Weights and expected returns `gains` are float64[G, N + 1] of N assets, cash last. G is the number of cases. The
    gain of a sale is the mean of `gains` over all purchases less the expected return of the sold asset. The gain of a
    purchase is the expected return of the bought asset less the mean over all sales. Purchases and sales are then
    scaled down to the smaller of their sums.
    """
    change = target - held
    buys, sells = change.clamp(min=0.0), (-change).clamp(min=0.0)

    def mean(side: Tensor) -> Tensor:
        return (side * gains).sum(-1, keepdim=True) / side.sum(-1, keepdim=True).clamp(min=1e-12)

    mean_gain_bought, mean_gain_sold = mean(buys), mean(sells)
    no_band = least <= 0.0
    sells = sells * (no_band | (mean_gain_bought - gains > least))
    buys = buys * (no_band | (gains - mean_gain_sold > least))
    all_buys, all_sells = buys.sum(-1, keepdim=True), sells.sum(-1, keepdim=True)
    traded = torch.minimum(all_buys, all_sells)
    return held + buys * (traded / all_buys.clamp(min=1e-12)) - sells * (traded / all_sells.clamp(min=1e-12))


def _rate(costs: Costs) -> float:
    """Return the cost of one side of a trade, as a fraction."""
    return (costs.fixed_rate + costs.commission_rate) / RATE_ONE
