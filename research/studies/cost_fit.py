"""Trading costs fitted to the fills of a run: spread and slippage by symbol and hour, impact by symbol.

The cost of a fill is its price against the open of its bar, in basis points; positive is worse. The model is the one of
the simulated venue: fixed + impact x sqrt(lots / bar volume in lots).

What can go wrong: the noise of a few fills is mistaken for a cost of the hour in which they happened. So an estimate
from few fills is shrunk towards the estimate from all fills, the more the larger its error is (empirical Bayes: Morris
1983). The error of the fit is measured on fills that were not used to fit it.

A fill is left out where the open was beyond the limit of its order: such an order waits for another price. Impact is
fitted first, and then the fixed costs are fitted to the residuals. A cost below 0 counts as 0.
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
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.instruments import NANO, Universe
from quantd.trading.market import Floats, Ints
from quantd.trading.orders import OrderBasket

FEWEST: Final = 20
"""Minimum number of fills for a fit."""

FOLDS: Final = 5
"""Number of folds of the cross-validation that measures the error out of sample."""

BASKETS_KEPT: Final = 4_096
"""Number of newest order baskets whose limits are remembered; a fill of an older one counts as marketable."""

LARGEST_BP: Final = 1_000.0
"""A fill further than this from the open of its bar is no trading cost."""


class TooFewFills(ExplainedError, ValueError):
    """A run with too few fills for a fit."""


class Observations(Struct, frozen=True):
    """F fills, an array element for each.

    `column` is the index of the symbol, `hour` the hour of its exchange's clock, `cost_bp` the price against the open
    of the bar (positive is worse), and `root_share` the square root of the fill's share of the bar volume.
    """

    column: Ints
    hour: Ints
    cost_bp: Floats
    root_share: Floats

    def rows(self, chosen: Ints) -> "Observations":
        """Return the fills at the indices `chosen`, in that order."""
        return Observations(self.column[chosen], self.hour[chosen], self.cost_bp[chosen], self.root_share[chosen])


class CostFit(Struct, frozen=True):
    """A fit with its errors in bp, root mean squares over fills that the fit did not see.

    `error_bp` is the error of the fit, `error_mean_bp` the error of one cost for all fills, and
    `error_configured_bp` the error of the costs in the configuration.
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
    """Read the fills of a journal.

    `slices` reads the recorded bars; `zones` has the time zone of each symbol's exchange.

    A fill is left out where no bar covers its time, or where the open of the bar was beyond the limit of its order. An
    order with such a limit waits for another price.
    """
    clocks = {name: ZoneInfo(name) for name in set(zones)}
    rows: list[tuple[int, int, float, float]] = []
    open_fills: list[_OpenFill] = []
    # (sample, number) of a basket, the orders of one decision -> the worst price of each order by column
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
                open_fills += [
                    _OpenFill(effect.ts, column, lots, price, basket_limits.get(column, 0))
                    for column, lots, price in columns
                ]
        event = entry.event
        if not open_fills or not isinstance(event, SliceRef | Bars):
            continue
        market = slice_of(event) if isinstance(event, Bars) else slices(event.index) if slices is not None else None
        if market is None:
            continue
        for fill in open_fills:
            open_nano, volume = int(market.open_nano[fill.column]), float(market.volume[fill.column])
            inside = market.fresh[fill.column] and market.ts_open <= fill.ts <= market.ts_event
            if inside and volume > 0 and fill.marketable(open_nano):
                # in bp of the open, positive where the price was worse for the account
                worse = (fill.price_nano / open_nano - 1.0) * (1 if fill.lots > 0 else -1) * 1e4
                share = abs(fill.lots) * universe.lot_nano[fill.column] / NANO / volume
                hour = instant(fill.ts).astimezone(clocks[zones[fill.column]]).hour
                rows.append((fill.column, hour, worse, share**0.5))
        open_fills = [fill for fill in open_fills if fill.ts > market.ts_event]
    table = np.array([row for row in rows if abs(row[2]) <= LARGEST_BP], dtype=np.float64).reshape(-1, 4)
    return Observations(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2], table[:, 3])


class _OpenFill(NamedTuple):
    """A fill whose bar has not been read yet; `limit_nano` is 0 where it is unknown."""

    ts: int
    column: int
    lots: int
    price_nano: int
    limit_nano: int

    def marketable(self, open_nano: int) -> bool:
        """Return whether the order could fill at this open: the open is within its limit, or the limit is unknown."""
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
    errors = np.zeros((3, count))  # of the fit, of one mean for all fills, and of the configured costs
    for fold in range(FOLDS):
        test_rows, training_rows = np.sort(order[fold::FOLDS]), np.setdiff1d(order, order[fold::FOLDS])
        training, test = fills.rows(training_rows), fills.rows(test_rows)
        fitted_bp = predicted(_fitted(universe, training), universe, test)
        configured_bp = configured.fixed_bp + configured.impact * test.root_share
        for k, prediction in enumerate((fitted_bp, np.full(len(test_rows), training.cost_bp.mean()), configured_bp)):
            errors[k, test_rows] = test.cost_bp - prediction
    fit_error, mean_error, configured_error = np.sqrt((errors**2).mean(axis=1)).tolist()
    return CostFit(run, count, fit_error, mean_error, configured_error, CostTable(tuple(_fitted(universe, fills))))


def predicted(costs: Sequence[FittedCost], universe: Universe, fills: Observations) -> Floats:
    """Return float64[F], the cost in bp of each fill by a table of costs."""
    table = CostTable(tuple(costs))
    rows = [table.at(universe.symbols[c], h) for c, h in zip(fills.column.tolist(), fills.hour.tolist(), strict=True)]
    assert all(row is not None for row in rows)
    fixed, impact = (np.array([getattr(row, name) for row in rows]) for name in ("fixed_bp", "impact"))
    return fixed + impact * fills.root_share


def _fitted(universe: Universe, fills: Observations) -> list[FittedCost]:
    """Return the costs of all fills, then of each symbol, then of its hours, each shrunk towards the wider group.

    The impact comes first, because the fixed costs are means of the residuals that it leaves.
    """
    columns = np.unique(fills.column).tolist()
    _, impact, _ = _regression(fills)
    slopes = {column: _regression(fills.rows(np.flatnonzero(fills.column == column)))[1:] for column in columns}
    slope = {column: max(0.0, estimate) for column, estimate in _shrunk(slopes, impact).items()}
    residuals = fills.cost_bp - np.array([slope[column] for column in fills.column.tolist()]) * fills.root_share
    mean_bp, mean_error = _mean_and_error(residuals)
    by_symbol = _shrunk({column: _mean_and_error(residuals[fills.column == column]) for column in columns}, mean_bp)
    # "" and None: the costs of all symbols at all hours
    costs = [_cost("", None, mean_bp, max(0.0, impact), len(residuals), mean_error)]
    for column in columns:
        symbol, of_symbol = universe.symbols[column], fills.column == column
        costs.append(
            _cost(
                symbol,
                None,
                by_symbol[column],
                slope[column],
                int(of_symbol.sum()),
                _mean_and_error(residuals[of_symbol])[1],
            )
        )
        residuals_by_hour = {
            hour: residuals[of_symbol & (fills.hour == hour)] for hour in np.unique(fills.hour[of_symbol]).tolist()
        }
        by_hour = _shrunk(
            {hour: _mean_and_error(hour_residuals) for hour, hour_residuals in residuals_by_hour.items()},
            by_symbol[column],
        )
        costs += [
            _cost(symbol, hour, by_hour[hour], slope[column], len(hour_residuals), _mean_and_error(hour_residuals)[1])
            for hour, hour_residuals in residuals_by_hour.items()
        ]
    return costs


def _cost(symbol: str, hour: int | None, fixed: float, impact: float, fills: int, error: float) -> FittedCost:
    """Return a row of the table of costs. A cost below 0 (fills better than the open) counts as 0."""
    rounded_error = round(error, 6) if np.isfinite(error) else None
    return FittedCost(symbol, hour, round(max(0.0, fixed), 6), round(impact, 6), fills, rounded_error)


def _regression(fills: Observations) -> tuple[float, float, float]:
    """Return (intercept, slope, standard error of the slope) of the least-squares line of cost on `fills.root_share`.

    The standard error is NaN for fewer than three fills, or where all fills have the same share of the bar volume.
    """
    x, y = fills.root_share, fills.cost_bp
    if len(y) < 3 or float(x.std()) <= 1e-12:
        return float(y.mean()), 0.0, float("nan")
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ y) / spread
    residuals = y - y.mean() - slope * centred
    return float(y.mean() - slope * x.mean()), slope, float(np.sqrt(residuals @ residuals / (len(y) - 2) / spread))


def _mean_and_error(values: Floats) -> tuple[float, float]:
    """Return (mean, standard error); the error of a single value is NaN."""
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return float(values.mean()), error


def _shrunk(estimates: Mapping[int, tuple[float, float]], centre: float) -> dict[int, float]:
    """Return each of `estimates`, pairs (estimate, standard error), shrunk towards `centre`.

    The variance v between groups is the variance of the estimates less their mean squared error. An estimate with the
    error e moves towards `centre` by the fraction e^2 / (e^2 + v) of its distance. Where v is 0, or e is NaN, the
    result is `centre`.
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
    """Return a fit of costs as lines of text for a terminal."""
    rows = [
        f"run {fit.run}: {fit.fills:,} fills; error out of sample: the fit {fit.error_bp:.{places}f} bp, one cost for "
        f"all {fit.error_mean_bp:.{places}f} bp, configured costs {fit.error_configured_bp:.{places}f} bp"
    ]
    for row in fit.costs.rows:
        group = row.symbol or "all symbols"
        hour_text = "" if row.hour is None else f" {row.hour:02d}:00"
        error = "" if row.error_bp is None else f" ± {row.error_bp:.{places}f}"
        rows.append(
            f"  {group + hour_text:<16} fixed {row.fixed_bp:>8.{places}f}{error} bp, "
            f"impact {row.impact:>8.{places}f} bp, "
            f"{row.fills:,} fills"
        )
    return rows


def encoded(fit: CostFit) -> bytes:
    """Return the fitted costs as the content of a file for `[broker] costs`."""
    return msgspec.json.format(msgspec.json.encode(fit), indent=1) + b"\n"
