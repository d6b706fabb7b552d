"""Trading costs fitted to the fills of a run: spread and slippage by symbol and hour, impact by symbol.

The cost of a fill is its price against the open of its bar, in basis points; positive is worse. The model is that of
the simulated venue: fixed + impact x sqrt(lots / bar volume in lots).

What can go wrong: the noise of a few fills becomes a cost of their hour. So estimates of few fills are shrunk towards
those of all fills, in proportion to their error (empirical Bayes: Morris 1983). The error of the fit is that on fills
which each fit did not see.

Fills of orders that the open was beyond the limit of are left out, because they wait for another price. Order: impact
is fitted first, and the fixed costs from what it leaves. A cost below 0 counts as none.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from msgspec import Struct

from quantd.daemon.views.shortfall import Slices
from quantd.trading.codec import decode, slice_of
from quantd.trading.display_text import instant
from quantd.trading.effects import Filled
from quantd.trading.events import Bars, SliceRef
from quantd.trading.execution import CostTable, FittedCost
from quantd.trading.instruments import NANO, Universe
from quantd.trading.market import Floats, Ints
from quantd.trading.orders import OrderBasket

FEWEST: Final = 20
"""Minimum number of fills for a fit."""

FOLDS: Final = 5
"""Parts of the fills for the error out of sample."""

BASKETS_KEPT: Final = 4_096
"""Baskets whose limits are kept; a fill of an older one counts as marketable."""

LARGEST_BP: Final = 1_000.0
"""A fill further than this from the open of its bar is no trading cost."""


class TooFewFills(ValueError):
    """A run with too few fills for a fit."""


class Observations(Struct, frozen=True):
    """F fills: column of the symbol, hour of the exchange's clock, cost in bp, and sqrt of the share of bar volume."""

    column: Ints
    hour: Ints
    cost_bp: Floats
    root_share: Floats

    def rows(self, chosen: Ints) -> "Observations":
        """Return the chosen fills, in the order of `chosen`."""
        return Observations(self.column[chosen], self.hour[chosen], self.cost_bp[chosen], self.root_share[chosen])


class CostFit(Struct, frozen=True):
    """A fit with its errors in bp, root mean squares over fills that the fit did not see.

    `error_bp` is that of the fit, `error_mean_bp` of one cost for all fills, `error_configured_bp` of the configured
    costs.
    """

    run: str
    fills: int
    error_bp: float
    error_mean_bp: float
    error_configured_bp: float
    costs: CostTable


def observations(
    universe: Universe, entries: Iterable[bytes], slices: Slices | None, zones: Sequence[str]
) -> Observations:
    """Read the fills of a journal; `zones` are the clocks of the columns.

    Left out are fills without a bar around them, and those of orders that the open was beyond the limit of: they wait
    for another price.
    """
    clocks = {name: ZoneInfo(name) for name in set(zones)}
    rows: list[tuple[int, int, float, float]] = []
    waiting: list[_Waiting] = []
    limits: OrderedDict[tuple[int, int], dict[int, int]] = OrderedDict()
    for data in entries:
        entry = decode(data)
        for effect in entry.effects:
            if isinstance(effect, OrderBasket):
                limits[effect.sample, effect.n] = dict(zip(effect.sym, effect.worst_nano, strict=True))
                if len(limits) > BASKETS_KEPT:
                    limits.popitem(last=False)
            elif isinstance(effect, Filled):
                basket_limits = limits.get((effect.sample, effect.n), {})
                columns = zip(effect.sym, effect.lots, effect.price_nano, strict=True)
                waiting += [_Waiting(effect.ts, c, lots, price, basket_limits.get(c, 0)) for c, lots, price in columns]
        event = entry.event
        if not waiting or not isinstance(event, SliceRef | Bars):
            continue
        market = slice_of(event) if isinstance(event, Bars) else slices(event.index) if slices is not None else None
        if market is None:
            continue
        for fill in waiting:
            open_nano, volume = int(market.open_nano[fill.column]), float(market.volume[fill.column])
            inside = market.fresh[fill.column] and market.ts_open <= fill.ts <= market.ts_event
            if inside and volume > 0 and fill.marketable(open_nano):
                worse = (fill.price_nano / open_nano - 1.0) * (1 if fill.lots > 0 else -1) * 1e4
                share = abs(fill.lots) * universe.lot_nano[fill.column] / NANO / volume
                hour = instant(fill.ts).astimezone(clocks[zones[fill.column]]).hour
                rows.append((fill.column, hour, worse, share**0.5))
        waiting = [fill for fill in waiting if fill.ts > market.ts_event]
    table = np.array([row for row in rows if abs(row[2]) <= LARGEST_BP], dtype=np.float64).reshape(-1, 4)
    return Observations(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2], table[:, 3])


class _Waiting(NamedTuple):
    """A fill whose bar has not arrived; `limit_nano` is 0 where it is unknown."""

    ts: int
    column: int
    lots: int
    price_nano: int
    limit_nano: int

    def marketable(self, open_nano: int) -> bool:
        """Whether the order could fill at an open."""
        if open_nano <= 0 or not self.limit_nano:
            return open_nano > 0
        return open_nano <= self.limit_nano if self.lots > 0 else open_nano >= self.limit_nano


def fit_costs(run: str, universe: Universe, fills: Observations, configured: FittedCost) -> CostFit:
    """Fit the costs of a run, and measure the error on fills that each fit did not see.

    `configured` are the costs in use. Raises TooFewFills for fewer than FEWEST fills.
    """
    count = len(fills.cost_bp)
    if count < FEWEST:
        raise TooFewFills(f"run {run} has {count} fills inside a bar; a fit needs {FEWEST}")
    order = np.random.default_rng(0).permutation(count)
    errors = np.zeros((3, count))
    for fold in range(FOLDS):
        out, fitted_rows = np.sort(order[fold::FOLDS]), np.setdiff1d(order, order[fold::FOLDS])
        seen, unseen = fills.rows(fitted_rows), fills.rows(out)
        expected = predicted(_fitted(universe, seen), universe, unseen)
        configured_bp = configured.fixed_bp + configured.impact * unseen.root_share
        for k, guess in enumerate((expected, np.full(len(out), seen.cost_bp.mean()), configured_bp)):
            errors[k, out] = unseen.cost_bp - guess
    fit_error, mean, now = np.sqrt((errors**2).mean(axis=1)).tolist()
    return CostFit(run, count, fit_error, mean, now, CostTable(tuple(_fitted(universe, fills))))


def predicted(costs: Sequence[FittedCost], universe: Universe, fills: Observations) -> Floats:
    """Return float64[F], the cost in bp that a table expects of fills."""
    table = CostTable(tuple(costs))
    rows = [table.at(universe.symbols[c], h) for c, h in zip(fills.column.tolist(), fills.hour.tolist(), strict=True)]
    assert all(row is not None for row in rows)
    fixed, impact = (np.array([getattr(row, name) for row in rows]) for name in ("fixed_bp", "impact"))
    return fixed + impact * fills.root_share


def _fitted(universe: Universe, fills: Observations) -> list[FittedCost]:
    """Fit all fills, then each symbol and each of its hours around them."""
    columns = np.unique(fills.column).tolist()
    _, impact, _ = _line(fills)
    slopes = {c: _line(fills.rows(np.flatnonzero(fills.column == c)))[1:] for c in columns}
    slope = {c: max(0.0, estimate) for c, estimate in _shrunk(slopes, impact).items()}
    residuals = fills.cost_bp - np.array([slope[c] for c in fills.column.tolist()]) * fills.root_share
    level, error = _mean(residuals)
    by_symbol = _shrunk({c: _mean(residuals[fills.column == c]) for c in columns}, level)
    costs = [_cost("", None, level, max(0.0, impact), len(residuals), error)]
    for column in columns:
        name, mine = universe.symbols[column], fills.column == column
        costs.append(_cost(name, None, by_symbol[column], slope[column], int(mine.sum()), _mean(residuals[mine])[1]))
        parts = {hour: residuals[mine & (fills.hour == hour)] for hour in np.unique(fills.hour[mine]).tolist()}
        by_hour = _shrunk({hour: _mean(part) for hour, part in parts.items()}, by_symbol[column])
        costs += [
            _cost(name, hour, by_hour[hour], slope[column], len(part), _mean(part)[1]) for hour, part in parts.items()
        ]
    return costs


def _cost(symbol: str, hour: int | None, fixed: float, impact: float, fills: int, error: float) -> FittedCost:
    """A row of the table: a cost below 0, fills better than the open, counts as none."""
    rounded_error = round(error, 6) if np.isfinite(error) else None
    return FittedCost(symbol, hour, round(max(0.0, fixed), 6), round(impact, 6), fills, rounded_error)


def _line(fills: Observations) -> tuple[float, float, float]:
    """Least squares of cost on the root of the share: (level, slope, standard error of the slope); NaN without one."""
    x, y = fills.root_share, fills.cost_bp
    if len(y) < 3 or float(x.std()) <= 1e-12:
        return float(y.mean()), 0.0, float("nan")
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ y) / spread
    residuals = y - y.mean() - slope * centred
    return float(y.mean() - slope * x.mean()), slope, float(np.sqrt(residuals @ residuals / (len(y) - 2) / spread))


def _mean(values: Floats) -> tuple[float, float]:
    """(mean, standard error); the error of one value is NaN."""
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return float(values.mean()), error


def _shrunk(estimates: Mapping[int, tuple[float, float]], centre: float) -> dict[int, float]:
    """Move each (estimate, error) towards `centre` by the share of its error in the spread of all estimates.

    The spread beyond what the errors explain is the variance between groups; without any, all are the centre. An
    estimate without an error has the centre.
    """
    finite_pairs = {key: pair for key, pair in estimates.items() if np.isfinite(pair[1])}
    if not finite_pairs:
        return dict.fromkeys(estimates, centre)
    values, errors = (np.array(column) for column in zip(*finite_pairs.values(), strict=True))
    between = max(0.0, float(np.mean((values - centre) ** 2 - errors**2)))
    shrunk_values = dict.fromkeys(estimates, centre)
    for key, (value, error) in finite_pairs.items():
        variance = between + error**2
        shrunk_values[key] = centre + (between / variance if variance > 0.0 else 1.0) * (value - centre)
    return shrunk_values


def lines(fit: CostFit, places: int = 2) -> list[str]:
    """Format a fit for a terminal."""
    rows = [
        f"run {fit.run}: {fit.fills:,} fills; error out of sample {fit.error_bp:.{places}f} bp, of one cost for "
        f"all {fit.error_mean_bp:.{places}f} bp, of the configured costs {fit.error_configured_bp:.{places}f} bp"
    ]
    for row in fit.costs.rows:
        what = row.symbol or "all symbols"
        when = "" if row.hour is None else f" {row.hour:02d}:00"
        error = "" if row.error_bp is None else f" ± {row.error_bp:.{places}f}"
        rows.append(
            f"  {what + when:<16} fixed {row.fixed_bp:>8.{places}f}{error} bp, impact {row.impact:>8.{places}f} bp, "
            f"{row.fills:,} fills"
        )
    return rows


def encoded(fit: CostFit) -> bytes:
    """Return the file of `[broker] costs`."""
    return msgspec.json.format(msgspec.json.encode(fit), indent=1) + b"\n"
