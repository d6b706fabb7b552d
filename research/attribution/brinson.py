"""Attribution of an active return to allocation, selection and interaction by sector.

Sources: G. Brinson, R. Hood and G. Beebower, Determinants of portfolio performance (1986); G. Brinson and N. Fachler,
Measuring non-US equity portfolio performance (1985). The two papers differ in the formula of allocation only. The
effects of several periods are combined after D. Carino (1999).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from quantd.research.attribution.attribution_text import NO_SECTORS, aligned, percent
from quantd.research.attribution.book_history import CASH, BookHistory
from quantd.research.attribution.breakdown import UNKNOWN_SECTOR
from quantd.research.attribution.linking import link_factors, period_return
from quantd.research.attribution.profit import Profit
from quantd.trading.market import Floats

Form = Literal["fachler", "hood_beebower"]
"""Allocation measures a sector's benchmark return against the whole benchmark (`fachler`), or against 0."""

WEIGHT_SUM_TOLERANCE: Final = 1e-9
"""Largest accepted difference between the sums of the weights of portfolio and benchmark."""


@dataclass(frozen=True, slots=True)
class SectorReturns:
    """Weights and returns of S sectors in T periods.

    `weights` float64[T, S] are the sectors' weights at the beginning of each period. `contributions` float64[T, S] are
    the sectors' parts of each period's return: weight times return of the sector. `costs` float64[T] are the parts of
    each period's return that belong to no sector, negative for a loss.
    """

    sectors: tuple[str, ...]
    weights: Floats
    contributions: Floats
    costs: Floats

    @property
    def returns(self) -> Floats:
        """float64[T], the return of each period, costs included."""
        return self.contributions.sum(axis=1) + self.costs

    def ordered(self, sectors: Sequence[str]) -> "SectorReturns":
        """Return the columns in the order of `sectors`; a sector without a column gets weight and contribution 0."""
        column_of = {name: k for k, name in enumerate(self.sectors)}
        present = np.array([name in column_of for name in sectors], dtype=np.bool_)
        source_columns = [column_of[name] for name in sectors if name in column_of]
        shape = len(self.weights), len(sectors)
        weights, contributions = np.zeros(shape), np.zeros(shape)
        weights[:, present], contributions[:, present] = (
            self.weights[:, source_columns],
            self.contributions[:, source_columns],
        )
        return SectorReturns(tuple(sectors), weights, contributions, self.costs)


class SectorEffects(Struct, frozen=True):
    """The active return of one sector divided into allocation, selection and interaction, as fractions of equity."""

    allocation: float
    selection: float
    interaction: float


class ActiveReturn(Struct, frozen=True):
    """The returns of a portfolio and of its benchmark over a period, and the parts of their difference by sector.

    `active` is `portfolio` less `benchmark`. It equals the sum of all effects and of `costs`.
    """

    portfolio: float
    benchmark: float
    active: float
    by_sector: dict[str, SectorEffects]
    allocation: float
    selection: float
    interaction: float
    costs: float

    def __str__(self) -> str:
        """Return the active return, then the effects by sector, as text; a hint follows where no sector is known."""
        head = ("sector", "allocation", "selection", "interaction")
        rows = [
            (name, percent(effects.allocation), percent(effects.selection), percent(effects.interaction))
            for name, effects in self.by_sector.items()
        ]
        rows.append(("all", percent(self.allocation), percent(self.selection), percent(self.interaction)))
        summary = (
            f"active return {percent(self.active)}: portfolio {percent(self.portfolio)}, "
            f"benchmark {percent(self.benchmark)}; costs {percent(self.costs)}"
        )
        sector_hint = [NO_SECTORS] if self.by_sector.keys() <= {UNKNOWN_SECTOR, CASH} else []
        return "\n".join([summary, *aligned(head, rows), *sector_hint])

    def __repr__(self) -> str:
        return str(self)


def brinson(portfolio: SectorReturns, benchmark: SectorReturns, form: Form = "fachler") -> ActiveReturn:
    """Attribute the active return over all periods. Effects of single periods are linked, that is, scaled to add up.

    With weights w, W and returns r, R of portfolio and benchmark in a sector, and the benchmark's whole return B:
    allocation is (w - W)(R - B), or (w - W) R in the form `hood_beebower`. Selection is W (r - R) and interaction is (w
    - W)(r - R). For a sector that the portfolio does not hold, r = R. The contribution of such a sector, from trades
    within the period, is interaction.

    Raises ValueError where the sums of the weights differ, where the numbers of periods differ, or where a period loses
    everything.
    """
    sectors = sorted({*portfolio.sectors, *benchmark.sectors})
    portfolio_ordered, benchmark_ordered = portfolio.ordered(sectors), benchmark.ordered(sectors)
    if len(portfolio_ordered.weights) != len(benchmark_ordered.weights):
        raise ValueError(
            f"{len(portfolio_ordered.weights)} periods of the portfolio, {len(benchmark_ordered.weights)} of the "
            "benchmark: give both the same periods"
        )
    if np.any(
        np.abs(portfolio_ordered.weights.sum(axis=1) - benchmark_ordered.weights.sum(axis=1)) > WEIGHT_SUM_TOLERANCE
    ):
        raise ValueError("the weights of portfolio and benchmark do not have the same sums; add a sector for cash")
    factors = link_factors(portfolio_ordered.returns, benchmark_ordered.returns)
    # the return of a sector is contribution over weight; where the weight is 0, it is the second argument
    benchmark_rate = _rates(benchmark_ordered, np.zeros_like(benchmark_ordered.weights))
    rate = _rates(portfolio_ordered, benchmark_rate)
    benchmark_return = benchmark_ordered.contributions.sum(axis=1, keepdims=True) if form == "fachler" else 0.0
    allocation = (portfolio_ordered.weights - benchmark_ordered.weights) * (benchmark_rate - benchmark_return)
    selection = benchmark_ordered.weights * (rate - benchmark_rate)
    # contributions, not weight x rate: a sector traded within a period has a result and no weight
    interaction = portfolio_ordered.contributions - portfolio_ordered.weights * benchmark_rate - selection
    effects = np.stack([factors.dot(effect) for effect in (allocation, selection, interaction)])
    total, benchmark_total = period_return(portfolio_ordered.returns), period_return(benchmark_ordered.returns)
    return ActiveReturn(
        portfolio=total,
        benchmark=benchmark_total,
        active=total - benchmark_total,
        by_sector={name: SectorEffects(*column) for name, column in zip(sectors, effects.T.tolist(), strict=True)},
        allocation=float(effects[0].sum()),
        selection=float(effects[1].sum()),
        interaction=float(effects[2].sum()),
        costs=float(factors.dot(portfolio_ordered.costs - benchmark_ordered.costs)),
    )


def _rates(sectors: SectorReturns, default: Floats) -> Floats:
    """Return float64[T, S], the sectors' returns: contribution over weight, or `default` where the weight is 0."""
    rates = default.copy()
    np.divide(sectors.contributions, sectors.weights, out=rates, where=sectors.weights != 0.0)
    return rates


def portfolio_sectors(history: BookHistory, profits: Profit) -> SectorReturns:
    """Return the weights and contributions of an account's sectors; uninvested cash is the sector CASH.

    The weights of an interval include its decisions: they are the positions at its beginning plus its trades at
    decision prices. Contributions are holding profit and dividends; the contribution of CASH is interest. Timing,
    slippage, commission, borrow fees and other charges are `costs`. An interval without positive equity at its
    beginning counts as cash that earns 0.
    """
    trades, start_equity = history.trades, history.equity[:-1]
    decided_value = (history.quantity.sum(axis=1) * history.price)[:-1]
    # trades count intervals from 1, the rows here begin at 0
    np.add.at(decided_value, (trades.interval - 1, trades.symbol), trades.quantity * trades.decision)
    scale = np.zeros_like(start_equity)
    np.divide(1.0, start_equity, out=scale, where=start_equity > 0.0)
    # without the last column, the profit of no symbol
    symbol_contributions = (
        profits.reduced(("holding", "dividend")).summed("interval", "symbol")[:, :-1] * scale[:, None]
    )
    sectors, weights, contributions = _by_sector(history, decided_value * scale[:, None], symbol_contributions)
    interest = profits.reduced(("interest",)).summed("interval") * scale
    costs = profits.reduced(("timing", "slippage", "commission", "borrow", "other")).summed("interval") * scale
    return _with_cash(sectors, weights, contributions, interest, costs)


def benchmark_sectors(history: BookHistory, weights: Floats, cash_returns: Floats | None = None) -> SectorReturns:
    """Return the sectors of a benchmark that has `weights` at the beginning of each interval, without costs.

    `weights` are float64[N] or float64[T, N] in the order of the history's symbols (`BookHistory.row_of` orders them).
    The rest, 1 less their sum, is CASH, which earns `cash_returns` float64[T], or 0. A symbol without a price counts
    with a return of 0.
    """
    weight_rows = np.broadcast_to(weights, (history.intervals, len(history.symbols)))
    sectors, sector_weights, contributions = _by_sector(history, weight_rows, weight_rows * history.asset_returns())
    zeros = np.zeros(history.intervals)
    interest = zeros if cash_returns is None else cash_returns * (1.0 - sector_weights.sum(axis=1))
    return _with_cash(sectors, sector_weights, contributions, interest, zeros)


def _by_sector(history: BookHistory, *columns: Floats) -> tuple[tuple[str, ...], Floats, Floats]:
    """Return the names of S sectors, and each of `columns` float64[T, N] summed by sector, float64[T, S]."""
    names, sector_index = np.unique([sector or UNKNOWN_SECTOR for sector in history.sectors], return_inverse=True)
    membership = np.zeros((len(history.symbols), len(names)))
    membership[np.arange(len(sector_index)), sector_index] = 1.0
    first_sums, second_sums = (column @ membership for column in columns)
    return tuple(names.tolist()), first_sums, second_sums


def _with_cash(
    sectors: tuple[str, ...], weights: Floats, contributions: Floats, interest: Floats, costs: Floats
) -> SectorReturns:
    """Add the weight that is not invested, and its interest, to the sector CASH, which is created if it is missing."""
    cash_weight = 1.0 - weights.sum(axis=1)
    if CASH in sectors:
        column = sectors.index(CASH)
        weights[:, column] += cash_weight
        contributions[:, column] += interest
        return SectorReturns(sectors, weights, contributions, costs)
    all_weights, all_contributions = np.column_stack([weights, cash_weight]), np.column_stack([contributions, interest])
    return SectorReturns((*sectors, CASH), all_weights, all_contributions, costs)
