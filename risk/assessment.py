"""Everything measured of one book at one instant, in one call: the risk report's numbers, and why one is missing."""

from math import isfinite, isnan, sqrt
from typing import Any

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from quantd.risk.measures import contributions
from quantd.risk.measures.diversification import diversification_ratio, effective_bets_of
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
    normal_cvar,
    normal_quantile,
    normal_var,
)
from quantd.trading.covariance import DECAY, covariance, ledoit_wolf
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
    """What is assessed. All float64[N] in column order of the universe.

    `lots` signed; `px` the value of one lot at the mark; `equity` in account currency; `returns` float64[S, N]
    synchronous total returns, oldest first, NaN where there is none; `history` float64[T] equity at past samples,
    oldest first, without deposits and withdrawals; `volume_lots` average volume a day. A price or volume that is not a
    positive number is unknown.
    """

    universe: Universe
    lots: Floats
    px: Floats
    equity: float
    returns: Floats
    history: Floats
    volume_lots: Floats


class Settings(Struct, frozen=True):
    """How it is assessed. `horizon` in samples scales VaR and CVaR by its square root; fewer than `min_history` samples
    are none. `pairs`: how many correlated pairs are listed. A risk-free rate for each return of `history` is float64[T
    - 1]."""

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
    """Fractions of equity; a loss is positive."""

    var: float
    cvar: float


class Position(Struct, frozen=True):
    """One position's part. VaR and CVaR historical unless named, fractions of equity; marginal per unit of weight."""

    weight: float
    component_volatility: float
    marginal_var: float
    component_var: float
    incremental_var: float
    component_cvar: float
    parametric_component_var: float


class Pair(Struct, frozen=True):
    """Two positions that lose together: `correlation` of the instruments, the weights signed."""

    first: str
    second: str
    correlation: float
    first_weight: float
    second_weight: float


class Assessment(Struct, frozen=True):
    """Fractions, not percent; losses positive; None where `missing` says why, under the name of the field, or of the
    field and the entry ("stress.2008", "unwind_days.SPY"). Formulas, units and sources: docs/risk/risk-measures.md.
    """

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
"""Shares of the book whose days to unwind are told."""

Found = dict[str, Any]
"""Fields of `Assessment` as they are found; a name that it does not have is a TypeError there."""

AS_USUAL = Settings()


def assess(book: Book, settings: Settings = AS_USUAL) -> Assessment:
    """All measures of `book`; those whose inputs are missing are None and explained."""
    found: Found = {}
    missing: dict[str, str] = {}
    columns = np.flatnonzero(book.lots)
    names = [book.universe.symbols[k] for k in columns.tolist()]
    found["samples"] = 0
    _history(book.history, settings, found, missing)
    _liquidity(book, columns, names, settings, found, missing)
    weights = _weights(book, columns, names, missing)
    if weights is None:
        for name in (*BY_RETURNS, *(f"stress.{shock.name}" for shock in settings.shocks)):
            missing[name] = missing["gross"]
        found["stress"] = {shock.name: None for shock in settings.shocks}
    else:
        found["gross"] = float(np.abs(weights).sum())
        found["net"] = float(weights.sum())
        found["hhi"] = herfindahl(weights)
        _stress(book.universe, columns, names, weights, settings, found, missing)
        _returns(book, columns, names, weights, settings, found, missing)
    found.update(equity=book.equity, confidence=settings.confidence, horizon=settings.horizon, missing=missing)
    return Assessment(**found)


def _note(found: Found, missing: dict[str, str], name: str, value: float, reason: str) -> None:
    """`value` under `name`, or where it is no number, why."""
    if isfinite(value):
        found[name] = value
    else:
        missing[name] = reason


def _weights(book: Book, columns: NDArray[np.intp], names: list[str], missing: dict[str, str]) -> Floats | None:
    """float64[H] weights of what is held, or None and why."""
    px = book.px[columns]
    unpriced = np.flatnonzero(~(np.isfinite(px) & (px > 0.0)))
    reason = ""
    if not (isfinite(book.equity) and book.equity > 0.0):
        reason = "equity is not positive"
    elif not bool(np.isfinite(book.lots).all()):
        reason = "a position is not a number"
    elif len(unpriced):
        reason = f"no price of {_some(names, unpriced)}"
    if reason:
        missing.update(dict.fromkeys(BY_WEIGHT, reason))
        return None
    return book.lots[columns] * px / book.equity


def _some(names: list[str], which: NDArray[np.intp]) -> str:
    some = [names[k] for k in which.tolist()]
    return ", ".join(some[:3]) + (f" and {len(some) - 3} more" if len(some) > 3 else "")


def _stress(
    universe: Universe,
    columns: NDArray[np.intp],
    names: list[str],
    weights: Floats,
    settings: Settings,
    found: Found,
    missing: dict[str, str],
) -> None:
    shocks = settings.shocks
    if not shocks:
        missing["worst_stress"] = "no stress scenario is set"
        return
    moves = shock_returns(shocks, universe)[:, columns]
    losses = stress_losses(moves, weights)
    stress = found["stress"] = {}
    for shock, row, loss in zip(shocks, moves, losses.tolist(), strict=True):
        stress[shock.name] = loss if loss == loss else None
        if loss != loss:
            missing[f"stress.{shock.name}"] = f"no move is known of {_some(names, np.flatnonzero(np.isnan(row)))}"
    worst = worst_stress(shocks, losses)
    if worst is None:
        missing["worst_stress"] = "no scenario knows the move of everything held"
    found["worst_stress"] = worst


def _liquidity(
    book: Book,
    columns: NDArray[np.intp],
    names: list[str],
    settings: Settings,
    found: Found,
    missing: dict[str, str],
) -> None:
    lots, px = book.lots[columns], book.px[columns]
    days = unwind_days(lots, book.volume_lots[columns], settings.participation)
    by_name = dict(zip(names, days.tolist(), strict=True))
    found["unwind_days"] = {name: day if isfinite(day) else None for name, day in by_name.items()}
    unknown = np.flatnonzero(~np.isfinite(days))
    missing.update({f"unwind_days.{names[k]}": "no volume is known, or no position" for k in unknown.tolist()})
    each = book_days(lots * np.where(px > 0.0, px, np.nan), days, UNWOUND)
    if isfinite(sum(each)):
        found["book_days"] = {f"{share:.0%}": day for share, day in zip(UNWOUND, each, strict=True)}
    else:
        missing["book_days"] = (
            f"no volume is known of {_some(names, unknown)}" if len(unknown) else "no price is known of a position"
        )


def _history(history: Floats, settings: Settings, found: Found, missing: dict[str, str]) -> None:
    if not len(history) or not bool(np.all(np.isfinite(history) & (history > 0.0))):
        reason = (
            "the equity history is empty" if not len(history) else "past equity is not finite and positive throughout"
        )
        missing.update(dict.fromkeys(BY_HISTORY, reason))
        return
    fall = drawdowns(history)
    found["drawdown"], found["max_drawdown"] = float(fall[-1]), float(fall.max())
    if len(history) <= settings.min_history:
        reason = f"{len(history) - 1} samples of equity returns, fewer than {settings.min_history}"
        missing.update(dict.fromkeys(("sharpe", "sortino", "calmar"), reason))
        return
    returns = simple_returns(history)
    periods, free = settings.periods, settings.risk_free_annual
    _note(found, missing, "sharpe", sharpe(returns, periods, free), "equity did not vary")
    _note(found, missing, "sortino", sortino(returns, periods, free), "no return fell short of the risk-free rate")
    _note(found, missing, "calmar", calmar(history, periods), "equity never fell")


def _returns(
    book: Book,
    columns: NDArray[np.intp],
    names: list[str],
    weights: Floats,
    settings: Settings,
    found: Found,
    missing: dict[str, str],
) -> None:
    """All that is measured of `weights` in the samples in which everything held has a return."""
    returns = book.returns.take(columns, axis=1)
    rows: NDArray[np.bool_] | slice = slice(None)
    if not isfinite(float(returns.sum())):
        whole: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(returns), axis=1)
        returns, rows = returns[whole], whole
    samples = len(returns)
    found["samples"] = samples
    reason = ""
    if not len(columns):
        reason = "nothing is held"
    elif samples < settings.min_history:
        known = np.isfinite(book.returns[:, columns]).sum(axis=0)
        short = np.flatnonzero(known < settings.min_history)
        reason = f"{samples} samples in which everything held has a return, fewer than {settings.min_history}"
        reason += f"; too few of {_some(names, short)}" if len(short) else ""
    if reason:
        missing.update(dict.fromkeys(BY_RETURNS, reason))
        return
    series = returns.dot(weights)
    cov = covariance(returns)
    _tails(names, returns, weights, series, cov, settings, found, missing)
    _benchmark(book, rows, series, settings, found, missing)
    _note(found, missing, "effective_bets", effective_bets_of(weights, returns, cov), "nothing held moved")
    ratio = diversification_ratio(weights, cov)
    _note(found, missing, "diversification_ratio", ratio, "nothing held moved" if isnan(ratio) else "a perfect hedge")
    _note(found, missing, "diversification", 1.0 - 1.0 / ratio, "nothing held moved")
    found["pairs"] = _pairs(names, weights, correlation(cov), settings.pairs)


def _tails(
    names: list[str],
    returns: Floats,
    weights: Floats,
    series: Floats,
    cov: Floats,
    settings: Settings,
    found: Found,
    missing: dict[str, str],
) -> None:
    confidence, scale = settings.confidence, sqrt(settings.horizon)
    var, cvar = contributions.historical(returns, weights, confidence)
    volatility = contributions.parametric(cov, weights, sqrt(SAMPLES_PER_YEAR))
    normal = contributions.parametric(ledoit_wolf(returns, cov), weights, normal_quantile(confidence))
    sd = normal.whole / normal_quantile(confidence)
    found["volatility_annual"] = volatility.whole
    found["historical"] = TailRisk(var.whole * scale, cvar.whole * scale)
    found["parametric"] = TailRisk(normal.whole * scale, normal_cvar(sd, confidence) * scale)
    sd = ewma_deviation(series, settings.decay)
    found["ewma"] = TailRisk(normal_var(sd, confidence) * scale, normal_cvar(sd, confidence) * scale)
    losses = -filtered(returns, settings.decay).dot(weights)
    found["filtered"] = TailRisk(
        historical_var(losses, confidence) * scale, historical_cvar(losses, confidence) * scale
    )
    modified, beyond = (float(each) * scale for each in cornish_fisher(-series, confidence))
    if isfinite(modified):
        found["cornish_fisher"] = TailRisk(modified, beyond)
    else:
        missing["cornish_fisher"] = "skewness and kurtosis lie outside the domain of the expansion"
    parts = np.column_stack(
        (
            weights,
            volatility.component,
            var.marginal * scale,
            var.component * scale,
            var.incremental * scale,
            cvar.component * scale,
            normal.component * scale,
        )
    )
    found["positions"] = {name: Position(*row) for name, row in zip(names, parts.tolist(), strict=True)}


def _benchmark(
    book: Book,
    rows: NDArray[np.bool_] | slice,
    series: Floats,
    settings: Settings,
    found: Found,
    missing: dict[str, str],
) -> None:
    column = book.universe.index.get(book.universe.benchmark)
    reason = (
        "no benchmark is set" if not book.universe.benchmark else f"{book.universe.benchmark} is not in the universe"
    )
    if column is not None:
        benchmark = book.returns[rows, column]
        known = np.isfinite(benchmark)
        benchmark, series = benchmark[known], series[known]
        if len(benchmark) >= settings.min_history:
            _note(found, missing, "beta", beta(series, benchmark), "the benchmark never moved")
            of_both = correlation_with(series, benchmark)
            _note(found, missing, "benchmark_correlation", of_both, "the book or the benchmark never moved")
            return
        reason = f"{len(benchmark)} samples with the benchmark, fewer than {settings.min_history}"
    missing["beta"] = missing["benchmark_correlation"] = reason


def _pairs(names: list[str], weights: Floats, corr: Floats, most: int) -> tuple[Pair, ...]:
    """The pairs that lose together the most: correlated and on one side, or opposed and on different sides."""
    size = len(names)
    sides = np.sign(weights)
    together = np.outer(sides, sides)
    together *= corr
    together[np.tri(size, dtype=np.bool_)] = -np.inf
    flat = together.ravel()
    most = min(most, len(flat))
    if not most:
        return ()
    best = np.argpartition(flat, len(flat) - most)[len(flat) - most :]
    best = best[np.lexsort((best, -flat[best]))]
    return tuple(
        Pair(names[i], names[j], float(corr[i, j]), float(weights[i]), float(weights[j]))
        for i, j in (divmod(k, size) for k in best.tolist())
        if flat[i * size + j] > 0.0
    )
