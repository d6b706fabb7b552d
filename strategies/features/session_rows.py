"""Features of instruments whose days end at different times, such as stocks and cryptocurrencies.

An instrument's own features use the bars known at the decision. Features relative to the benchmark use rows by session
date, up to the newest date of which every bar is known.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from quantd.strategies.features.feature_batch import compute
from quantd.strategies.features.inputs import Inputs
from quantd.strategies.features.specs import FeatureSpec
from quantd.trading.bars import FIELDS
from quantd.trading.market import Floats
from quantd.trading.view import View


def compute_by_session(spec: FeatureSpec, inputs: Inputs, returns: Floats | None, *, rows: int | None = None) -> Floats:
    """Return the features float64[rows, N, F]: those relative to the benchmark by session date, the others by bar.

    `inputs` have T rows. `returns` float64[T - 1, N] are the returns of `View.synchronous`, whose rows have the returns
    of all instruments on one session date. They are None if they equal the returns of the bars. Features relative to
    the benchmark are computed a second time, from prices that grow by `returns`.
    """
    features = compute(spec, inputs, rows=rows)
    if returns is not None and (relative_columns := _relative_to_benchmark(spec)):
        by_date = {**inputs.bars, **dict.fromkeys(("open", "high", "low", "close"), _closes(returns))}
        # each row has the date before it: the newest date of which every bar is known
        previous_dates = np.concatenate(([-1], inputs.session[:-1]))
        relative_spec = FeatureSpec(tuple(spec.features[k] for k in relative_columns), spec.version)
        features[:, :, relative_columns] = compute(
            relative_spec, replace(inputs, session=previous_dates, bars=by_date), rows=rows
        )
    return features


def newest_row(spec: FeatureSpec, view: View, benchmark: int | None, by_symbol: Mapping[str, Floats]) -> Floats:
    """Return F features of N instruments, float64[N, F], at a view's newest sample, from `spec.lookback` bars.

    `benchmark` is the index of the benchmark, and `by_symbol` the series float64[lookback, N] of `Inputs.by_symbol`.
    """
    bars, rows = view.bars(spec.lookback), spec.lookback
    macro = spec.needs - {"benchmark", *(feature.series_input for feature in spec.features)}
    inputs = Inputs(
        bars.session, {name: getattr(bars, name) for name in FIELDS}, benchmark, by_symbol,
        {name: view.macro(name, rows) for name in macro},
    )  # fmt: skip
    # None where the returns by session date are those of the bars: the days of all instruments end together
    returns = view.synchronous(rows - 1) if _relative_to_benchmark(spec) else None
    if returns is not None and np.array_equal(returns, view.returns(rows - 1), equal_nan=True):
        returns = None
    row: Floats = compute_by_session(spec, inputs, returns, rows=1)[0]
    return row


def _relative_to_benchmark(spec: FeatureSpec) -> list[int]:
    """Return the indices of the features that are relative to the benchmark."""
    return [k for k, feature in enumerate(spec.features) if feature.about.group == "benchmark"]


def _closes(returns: Floats) -> Floats:
    """Return float64[T, N], an index that starts at 1 and grows by returns float64[T - 1, N].

    The index is NaN before an instrument's first row.
    """
    finite = np.isfinite(returns)
    grown = np.cumprod(np.where(finite, 1.0 + returns, 1.0), axis=0)
    begun = np.logical_or.accumulate(finite)
    return np.where(np.vstack([finite[:1], begun]), np.vstack([np.ones_like(grown[:1]), grown]), np.nan)
