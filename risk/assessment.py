"""Computes all risk measures of one book (positions and equity) at one instant, and the reason why a measure is
missing."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from math import isfinite, isnan, sqrt
from typing import Any

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from quantd.risk.measures import contributions
from quantd.risk.measures.diversification import Components, components_of, diversification_ratio
from quantd.risk.measures.liquidity import PARTICIPATION, book_days, unwind_days
from quantd.risk.measures.portfolio import (
    SAMPLES_PER_YEAR,
    Floats,
    beta,
    correlation,
    correlation_with,
    herfindahl,
    historical_cvar,
    historical_var,
)
from quantd.risk.measures.stress import Shock, shock_returns, stress_losses, worst_stress
from quantd.risk.measures.tails import (
    cornish_fisher,
    ewma_deviation,
    filtered,
    normal_quantile,
    normal_shortfall,
)
from quantd.trading.covariance import DECAY, covariance, ledoit_wolf
from quantd.trading.display_text import some
from quantd.trading.instruments import Universe
from quantd.trading.statistics import (
    PERIODS_PER_YEAR,
    RISK_FREE_ANNUAL,
    RiskFree,
    calmar,
    drawdowns,
    sharpe,
    simple_returns,
    sortino,
)

METHODS = ("historical", "parametric", "ewma", "cornish_fisher", "filtered")


class Book(Struct, frozen=True):
    """The book (positions and equity) to assess. All float64[N] are in column order of the universe.

    `lots` are signed; `px` is the value of one lot at the mark price; `equity` is in account currency. `returns`
    float64[S, N] are synchronous total returns, oldest first, NaN where missing. `history` float64[T] is equity at past
    samples, oldest first, without deposits and withdrawals. `volume_lots` is the average daily volume. A price or
    volume that is not positive is unknown.
    """

    universe: Universe
    lots: Floats
    px: Floats
    equity: float
    returns: Floats
    history: Floats
    volume_lots: Floats


class Settings(Struct, frozen=True):
    """Parameters of a risk assessment. `horizon` in samples scales VaR and CVaR by its square root. With fewer than
    `min_history` samples, measures of returns are missing. `pairs` is the number of correlated pairs to list.
    `risk_free_annual` is a rate, or float64[T - 1] with a rate for each return of `history`."""

    confidence: float = 0.95
    horizon: int = 1
    min_history: int = 60
    decay: float = DECAY
    participation: float = PARTICIPATION
    periods: float = PERIODS_PER_YEAR
    risk_free_annual: RiskFree = RISK_FREE_ANNUAL
    shocks: tuple[Shock, ...] = ()
    pairs: int = 5


class TailRisk(Struct, frozen=True):
    """VaR and CVaR (value at risk and expected shortfall) as fractions of equity; losses are positive."""

    var: float
    cvar: float


class Position(Struct, frozen=True):
    """The contribution of one position to the risk of a book.

    VaR and CVaR are historical unless the name says otherwise, as fractions of equity. Marginal figures are per unit of
    weight.
    """

    weight: float
    component_volatility: float
    marginal_var: float
    component_var: float
    incremental_var: float
    component_cvar: float
    parametric_component_var: float


class Pair(Struct, frozen=True):
    """Two positions that tend to lose together: the `correlation` of the two instruments, and the signed weights."""

    first: str
    second: str
    correlation: float
    first_weight: float
    second_weight: float


class Assessment(Struct, frozen=True):
    """All risk measures of a book, as fractions, not percent; losses are positive. If a measure is None, `missing`
    has the reason under the measure's name, or under name and entry ("stress.2008", "unwind_days.SPY"). Formulas and
    sources: docs/risk/risk-measures.md."""

    equity: float
    confidence: float
    horizon: int
    samples: int
    gross: float | None = None
    net: float | None = None
    hhi: float | None = None
    volatility_annual: float | None = None
    historical: TailRisk | None = None
    parametric: TailRisk | None = None
    ewma: TailRisk | None = None
    cornish_fisher: TailRisk | None = None
    filtered: TailRisk | None = None
    positions: dict[str, Position] | None = None
    beta: float | None = None
    benchmark_correlation: float | None = None
    effective_bets: float | None = None
    diversification_ratio: float | None = None
    diversification: float | None = None
    pairs: tuple[Pair, ...] | None = None
    drawdown: float | None = None
    max_drawdown: float | None = None
    sharpe: float | None = None
    sortino: float | None = None
    calmar: float | None = None
    stress: dict[str, float | None] = field(default_factory=dict)
    worst_stress: tuple[str, float] | None = None
    unwind_days: dict[str, float | None] = field(default_factory=dict)
    book_days: dict[str, float] | None = None
    missing: dict[str, str] = field(default_factory=dict)


BY_WEIGHT = ("gross", "net", "hhi", "worst_stress")
BY_RETURNS = (
    "volatility_annual", *METHODS, "positions", "beta", "benchmark_correlation", "effective_bets",
    "diversification_ratio", "diversification", "pairs",
)  # fmt: skip
BY_HISTORY = ("drawdown", "max_drawdown", "sharpe", "sortino", "calmar")

UNWOUND = (0.5, 0.9, 1.0)
"""Fractions of the book for which the days to sell them are reported."""

Found = dict[str, Any]
"""Fields of `Assessment` computed so far."""


def assess_all(books: Sequence[tuple[Book, Settings]]) -> list[Assessment]:
    """Return all risk measures of each book; a measure that cannot be computed is None, with a reason.

    Books with positions in the same instruments, whose `returns` are the same array, share a `Panel`, which has the
    computations that do not depend on weights. Books with the same stress scenarios share `moves`, the move of each
    instrument in each scenario.
    """
    panels: dict[tuple[int, bytes], Panel] = {}
    moves: dict[tuple[int, int], Floats] = {}
    assessments = []
    for book, settings in books:
        columns = np.flatnonzero(book.lots)
        panel_key = id(book.returns), columns.tobytes()
        panel = panels[panel_key] = panels.get(panel_key) or Panel(book.returns, columns)
        moves_key = id(settings.shocks), id(book.universe)
        if moves_key not in moves:
            moves[moves_key] = shock_returns(settings.shocks, book.universe)
        assessments.append(_assessed(_Run(book, settings, panel, moves[moves_key])))
    return assessments


def _assessed(run: "_Run") -> Assessment:
    """Compute all measures of one assessment in progress, and return the Assessment."""
    run.history()
    run.liquidity()
    run.weighed()
    return Assessment(
        **run.found,
        equity=run.book.equity,
        confidence=run.settings.confidence,
        horizon=run.settings.horizon,
        missing=run.missing,
    )


class Panel:
    """Returns of the symbols in some columns, and matrices that are computed once from these returns alone.

    `held` has the returns of all S samples. `returns` has only the samples in which every column has a return, and
    `rows` bool[S] marks these samples.
    """

    def __init__(self, returns: Floats, columns: NDArray[np.intp]) -> None:
        self.held: Floats = returns.take(columns, axis=1)
        self.returns, self.rows = self.held, np.ones(len(self.held), dtype=np.bool_)
        if not isfinite(float(self.held.sum())):
            self.rows = np.logical_and.reduce(np.isfinite(self.held), axis=1)
            self.returns = self.held[self.rows]
        self._filtered: dict[float, Floats] = {}

    @cached_property
    def cov(self) -> Floats:
        """float64[N, N]: the sample covariance of the returns of N columns, per sample."""
        return covariance(self.returns)

    @cached_property
    def shrunk(self) -> Floats:
        """float64[N, N]: the covariance of the returns of N columns, shrunk by Ledoit and Wolf (2004), per sample."""
        return ledoit_wolf(self.returns, self.cov)

    @cached_property
    def correlation(self) -> Floats:
        """float64[N, N]: the sample correlation of the returns of N columns."""
        return correlation(self.cov)

    @cached_property
    def components(self) -> Components:
        return components_of(self.returns, self.cov)

    def filtered(self, decay: float) -> Floats:
        """float64[S, N]: the returns, rescaled to the present volatility (filtered historical simulation).

        `decay` is the factor of the exponential weights in the volatility.
        """
        if decay not in self._filtered:
            self._filtered[decay] = filtered(self.returns, decay)
        return self._filtered[decay]


class _Run:
    """One assessment in progress: positions, measures found so far, and reasons for missing ones. `moves` float64[K, N]
    are the moves of the N instruments in the K stress scenarios."""

    def __init__(self, book: Book, settings: Settings, panel: Panel, moves: Floats) -> None:
        self.book = book
        self.settings = settings
        self.panel = panel
        self.moves = moves
        self.columns = np.flatnonzero(book.lots)
        self.names = [book.universe.symbols[k] for k in self.columns.tolist()]
        self.found: Found = {"samples": 0}
        self.missing: dict[str, str] = {}

    def note(self, name: str, value: float, reason: str) -> None:
        """Store `value` as the measure `name`, or the reason why it is missing if it is not finite."""
        if isfinite(value):
            self.found[name] = value
        else:
            self.missing[name] = reason

    def lack(self, names: Iterable[str], reason: str) -> None:
        """Store the reason why the measures in `names` are missing."""
        self.missing.update(dict.fromkeys(names, reason))

    def some(self, which: NDArray[np.intp]) -> str:
        """Return the names of up to three positions, given by index, and how many more there are."""
        return some([self.names[k] for k in which.tolist()], 3)

    def weighed(self) -> None:
        """Compute the measures of the weights, of the stress scenarios and of the returns, and store them in `found`.

        If equity, a position or a price is unusable, the reason is stored in `missing` for each measure instead.
        """
        book, shocks, measures = self.book, self.settings.shocks, self.found
        px = book.px[self.columns]
        unpriced = np.flatnonzero(~(np.isfinite(px) & (px > 0.0)))
        reason = ""
        if not (isfinite(book.equity) and book.equity > 0.0):
            reason = "equity is not positive"
        elif not bool(np.isfinite(book.lots).all()):
            reason = "a position is not a number"
        elif len(unpriced):
            reason = f"no price of {self.some(unpriced)}"
        if reason:
            self.lack((*BY_WEIGHT, *BY_RETURNS, *(f"stress.{shock.name}" for shock in shocks)), reason)
            measures["stress"] = {shock.name: None for shock in shocks}
            return
        weights = book.lots[self.columns] * px / book.equity
        measures["gross"] = float(np.abs(weights).sum())
        measures["net"] = float(weights.sum())
        measures["hhi"] = herfindahl(weights)
        self.stress(weights)
        self.returns(weights)

    def stress(self, weights: Floats) -> None:
        """Compute the loss in each stress scenario, and the worst one."""
        shocks = self.settings.shocks
        if not shocks:
            self.missing["worst_stress"] = "no stress scenario is set"
            return
        moves = self.moves[:, self.columns]
        losses = stress_losses(moves, weights)
        stress = self.found["stress"] = {}
        for shock, row, loss in zip(shocks, moves, losses.tolist(), strict=True):
            stress[shock.name] = loss if loss == loss else None  # NaN is not equal to itself
            if loss != loss:
                self.missing[f"stress.{shock.name}"] = f"no move is known of {self.some(np.flatnonzero(np.isnan(row)))}"
        worst = worst_stress(shocks, losses)
        if worst is None:
            self.missing["worst_stress"] = "no scenario knows the move of everything held"
        self.found["worst_stress"] = worst

    def liquidity(self) -> None:
        """Compute the days needed to sell each position, and to sell each of the fractions `UNWOUND` of the book.

        They are stored in `found`. Where volume or price is unknown, the reason is stored in `missing` instead.
        """
        lots, px = self.book.lots[self.columns], self.book.px[self.columns]
        days = unwind_days(lots, self.book.volume_lots[self.columns], self.settings.participation)
        by_name = zip(self.names, days.tolist(), strict=True)
        self.found["unwind_days"] = {name: day if isfinite(day) else None for name, day in by_name}
        unknown = np.flatnonzero(~np.isfinite(days))
        self.lack((f"unwind_days.{self.names[k]}" for k in unknown.tolist()), "no volume is known, or no position")
        share_days = book_days(lots * np.where(px > 0.0, px, np.nan), days, UNWOUND)
        # the days are NaN where a volume or price is unknown
        if isfinite(sum(share_days)):
            self.found["book_days"] = {f"{share:.0%}": day for share, day in zip(UNWOUND, share_days, strict=True)}
        else:
            no_volume = f"no volume is known of {self.some(unknown)}"
            self.missing["book_days"] = no_volume if len(unknown) else "no price is known of a position"

    def history(self) -> None:
        """Compute drawdowns and performance ratios of the past equity.

        The reason is stored instead for an empty or unusable history, for the ratios of a short history, and for a
        ratio that is not finite.
        """
        history, least = self.book.history, self.settings.min_history
        if not len(history):
            self.lack(BY_HISTORY, "the equity history is empty")
            return
        if not bool(np.all(np.isfinite(history) & (history > 0.0))):
            self.lack(BY_HISTORY, "past equity is not finite and positive throughout")
            return
        falls = drawdowns(history)
        self.found["drawdown"], self.found["max_drawdown"] = float(falls[-1]), float(falls.max())
        if len(history) <= least:
            reason = f"{len(history) - 1} samples of equity returns, fewer than {least}"
            self.lack(("sharpe", "sortino", "calmar"), reason)
            return
        returns = simple_returns(history)
        periods, risk_free = self.settings.periods, self.settings.risk_free_annual
        self.note("sharpe", sharpe(returns, periods, risk_free), "equity did not vary")
        self.note("sortino", sortino(returns, periods, risk_free), "no return fell short of the risk-free rate")
        self.note("calmar", calmar(history, periods), "equity never fell")

    def returns(self, weights: Floats) -> None:
        """Compute the measures of `weights` over the samples in which every position has a return.

        The reason is stored instead where nothing is held or these samples are too few, and for a measure that is not
        finite.
        """
        least, panel = self.settings.min_history, self.panel
        returns_with_gaps, returns = panel.held, panel.returns
        self.found["samples"] = samples = len(returns)
        if not len(self.columns):
            self.lack(BY_RETURNS, "nothing is held")
            return
        if samples < least:
            too_few = np.flatnonzero(np.isfinite(returns_with_gaps).sum(axis=0) < least)
            reason = f"{samples} samples in which everything held has a return, fewer than {least}"
            self.lack(BY_RETURNS, reason + (f"; too few of {self.some(too_few)}" if len(too_few) else ""))
            return
        book_returns = returns.dot(weights)
        self.tails(weights, book_returns)
        self.benchmark(panel.rows, book_returns)
        # the last argument is the reason to store if the value is not finite
        self.note("effective_bets", panel.components.bets(weights), "nothing held moved")
        ratio = diversification_ratio(weights, panel.cov)
        self.note("diversification_ratio", ratio, "nothing held moved" if isnan(ratio) else "a perfect hedge")
        self.note("diversification", 1.0 - 1.0 / ratio, "nothing held moved")
        self.found["pairs"] = _pairs(self.names, weights, panel.correlation, self.settings.pairs)

    def tails(self, weights: Floats, series: Floats) -> None:
        """Compute VaR and CVaR by each method, volatility, and contributions of positions; `series` are the book's
        returns. A method whose formula has no finite result is recorded as missing, with the reason."""
        panel, returns = self.panel, self.panel.returns
        # losses grow with the square root of the horizon
        confidence, horizon_scale, measures = self.settings.confidence, sqrt(self.settings.horizon), self.found
        var, cvar = contributions.historical(returns, weights, confidence)
        volatility = contributions.parametric(panel.cov, weights, sqrt(SAMPLES_PER_YEAR))
        quantile, shortfall = normal_quantile(confidence), normal_shortfall(confidence)
        normal = contributions.parametric(panel.shrunk, weights, quantile)
        measures["volatility_annual"] = volatility.total
        measures["historical"] = TailRisk(var.total * horizon_scale, cvar.total * horizon_scale)
        measures["parametric"] = TailRisk(
            normal.total * horizon_scale, shortfall * (normal.total / quantile) * horizon_scale
        )
        ewma_sd = ewma_deviation(series, self.settings.decay)
        measures["ewma"] = TailRisk(quantile * ewma_sd * horizon_scale, shortfall * ewma_sd * horizon_scale)
        # filtered historical simulation: past returns rescaled to the present volatility
        losses = -panel.filtered(self.settings.decay).dot(weights)
        measures["filtered"] = TailRisk(
            historical_var(losses, confidence) * horizon_scale, historical_cvar(losses, confidence) * horizon_scale
        )
        modified_var, modified_cvar = (float(loss) * horizon_scale for loss in cornish_fisher(-series, confidence))
        if isfinite(modified_var):
            measures["cornish_fisher"] = TailRisk(modified_var, modified_cvar)
        else:
            self.missing["cornish_fisher"] = "skewness and kurtosis lie outside the domain of the expansion"
        scaled = (var.marginal, var.component, var.incremental, cvar.component, normal.component)
        table = np.column_stack((weights, volatility.component, *(column * horizon_scale for column in scaled)))
        measures["positions"] = {name: Position(*row) for name, row in zip(self.names, table.tolist(), strict=True)}

    def benchmark(self, rows: NDArray[np.bool_], series: Floats) -> None:
        """Compute beta and correlation of the book's returns `series` with the benchmark's returns.

        `rows` bool[S] marks the samples of `series`. Where a value is missing, the reason is stored.
        """
        name = self.book.universe.benchmark
        column = self.book.universe.index.get(name)
        reason = "no benchmark is set" if not name else f"{name} is not in the universe"
        if column is not None:
            benchmark = self.book.returns[rows, column]
            finite = np.isfinite(benchmark)
            benchmark, series = benchmark[finite], series[finite]
            if len(benchmark) >= self.settings.min_history:
                self.note("beta", beta(series, benchmark), "the benchmark never moved")
                benchmark_correlation = correlation_with(series, benchmark)
                self.note("benchmark_correlation", benchmark_correlation, "the book or the benchmark never moved")
                return
            reason = f"{len(benchmark)} samples with the benchmark, fewer than {self.settings.min_history}"
        self.lack(("beta", "benchmark_correlation"), reason)


def _pairs(names: list[str], weights: Floats, corr: Floats, most: int) -> tuple[Pair, ...]:
    """Return the `most` pairs of positions with the largest correlation of their results.

    For a long and a short position, the correlation of the two instruments counts with the opposite sign.
    """
    size = len(names)
    sides = np.sign(weights)
    pair_correlation = np.outer(sides, sides)
    pair_correlation *= corr
    # each pair counts once, and no position with itself
    pair_correlation[np.tri(size, dtype=np.bool_)] = -np.inf
    flat_correlation = pair_correlation.ravel()
    most = min(most, len(flat_correlation))
    if not most:
        return ()
    best = np.argpartition(flat_correlation, len(flat_correlation) - most)[len(flat_correlation) - most :]
    best = best[np.lexsort((best, -flat_correlation[best]))]
    return tuple(
        Pair(names[i], names[j], float(corr[i, j]), float(weights[i]), float(weights[j]))
        for i, j in (divmod(k, size) for k in best.tolist())
        if flat_correlation[i * size + j] > 0.0
    )
