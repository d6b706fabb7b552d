"""Computes declared features (`quantd.strategies.features`) as columns of an observation, from a panel's rows
(training) or from a view (trading).

Training and trading use `quantd.strategies.features.compute_by_session`. A row of a panel uses its whole past, a view
the newest `lookback` samples; after that many samples, less than a millionth of a recursive feature's starting value
remains. Only bars that ended by the decision are used: in a universe with shares, the newest bar of a coin is from the
day before.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quantd.models.history.panel import Panel
from quantd.models.observation.table import Features
from quantd.trading.bars import FIELDS
from quantd.trading.market import Bools, Floats
from quantd.trading.view import View

if TYPE_CHECKING:
    from quantd.strategies.features import FeatureSpec


def macro_of(spec: "FeatureSpec") -> tuple[str, ...]:
    return tuple(sorted(spec.needs - {"benchmark", *(feature.series_input for feature in spec.features)}))


def series_of(spec: "FeatureSpec") -> tuple[str, ...]:
    """Return the names of the series per symbol that the features need."""
    return tuple(sorted({feature.series for feature in spec.features} - {""}))


def of_panel(panel: Panel, spec: "FeatureSpec", benchmark: str = "") -> Floats:
    """Return the features float64[T, N, F] of T sessions, N assets and F features; row t is known at the decision of
    row t, NaN without a value.

    `benchmark` is the reference symbol of betas and regimes. Raises ValueError where the panel lacks an input.
    """
    from quantd.strategies.features import Inputs, compute_by_session, series_input

    if benchmark and benchmark not in panel.symbols:
        raise ValueError(f"benchmark {benchmark!r} is not one of {', '.join(panel.symbols)}")
    column = panel.symbols.index(benchmark) if benchmark else None
    bars = adjusted_bars(panel.at_decisions())
    series = {series_input(name): _priced(values, bars["close"]) for name, values in panel.series.items()}
    returns = panel.synchronous()[1:] if panel.late else None
    return compute_by_session(spec, Inputs(panel.day_ns, bars, column, series, panel.macro), returns)


def of_view(view: View, spec: "FeatureSpec", benchmark: str = "") -> Floats:
    """Return the features float64[N, F] at the newest sample of a view, with N assets in the order of its universe."""
    from quantd.strategies.features import newest_row, series_input

    close, rows = view.bars(spec.lookback).close, spec.lookback
    series = {series_input(name): _priced(view.series(name, rows), close) for name in series_of(spec)}
    return newest_row(spec, view, view.universe.index[benchmark] if benchmark else None, series)


def _priced(values: Floats, close: Floats) -> Floats:
    """Return values float64[T, N] with NaN before an instrument's first bar, so that these rows do not count in
    ranks."""
    return np.where(np.isfinite(close), values, np.nan)


def declared(spec: "FeatureSpec | str" = "default", benchmark: str = "") -> Features:
    """Return the feature function that an environment calls, for a set of features given by name or declaration.

    Its columns are the features of the set and `known`: 1 where an asset has all features; otherwise all are 0.
    `benchmark` is the reference symbol of betas. Raises ValueError when the set needs the book (held weights, cash),
    which environments append to the observation themselves.
    """
    from quantd.strategies.features import shipped

    feature_set = shipped(spec) if isinstance(spec, str) else spec
    if of_the_book := [
        feature.name for feature in feature_set.features if feature.about.group in ("portfolio", "risk")
    ]:
        raise ValueError(
            f"{', '.join(of_the_book[:3])}: an environment adds features of the book itself; remove them from the set"
        )
    if "benchmark" in feature_set.needs and not benchmark:
        raise ValueError("this set of features needs the symbol of the benchmark; give it as `benchmark`")

    def features(panel: Panel) -> tuple[NDArray[np.float32], Sequence[str]]:
        """Return the columns float32[T, N, F + 1] of a panel, and their names; NaN before the first complete row."""
        values = of_panel(panel, feature_set, benchmark)
        complete: Bools = np.asarray(np.isfinite(values).all(axis=2))
        table = np.concatenate([np.where(complete[:, :, None], values, 0.0), complete[:, :, None]], axis=2).astype(
            np.float32
        )
        complete_rows = np.flatnonzero(complete.any(axis=1))
        table[: complete_rows[0] if len(complete_rows) else len(table)] = np.nan
        return table, (*feature_set.names, "known")

    return features


def adjusted_bars(panel: Panel) -> dict[str, Floats]:
    """Return bars of a panel's sessions, float64[T, N] by field, as a total-return index from each asset's first close.

    Only data known at a row determine the scale of the row, never a later dividend. Raises ValueError for a panel
    without high, low and volume.
    """
    if missing := [name for name in FIELDS if name not in panel.bars and name not in ("open", "close")]:
        raise ValueError(f"the bars have no {', '.join(missing)}, which these features need; give bars with them")
    has_close = np.isfinite(panel.close)
    growth = np.where(np.isfinite(panel.returns()), 1.0 + panel.returns(), 1.0)
    first = np.take_along_axis(panel.close, np.argmax(has_close, axis=0)[None], 0)
    scale = np.cumprod(growth, axis=0) * first / panel.close
    shares = np.cumprod(panel.split, axis=0)
    bars = {"open": panel.open * scale, "close": panel.close * scale}
    for name, factor in (("high", scale), ("low", scale), ("volume", 1.0 / shares)):
        bars[name] = np.where(has_close, panel.bars[name] * factor, np.nan)
    return bars
