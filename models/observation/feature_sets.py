"""Declared feature sets (`quantd.strategies.features`) as observations of an environment, over a whole panel."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from quantd.models.history.panel import Panel
from quantd.models.history.panel_files import scan
from quantd.models.observation.table import Features
from quantd.strategies.features import FeatureSpec, Inputs, compute, shipped
from quantd.trading.market import Bools, Floats


def declared(path: str | Path, spec: FeatureSpec | str = "default", benchmark: str = "") -> Features:
    """Return a feature function for a set, by name or as declared, with bars from the parquet file `path`.

    Its columns are those of the set and `known`: 1 where an asset has all features, which are 0 otherwise. `benchmark`
    is the reference symbol of betas. Raises ValueError when the set needs further inputs. The account's own state is
    observed separately.
    """
    wanted = shipped(spec) if isinstance(spec, str) else spec
    if missing := wanted.needs - ({"benchmark"} if benchmark else set()):
        raise ValueError(
            f"this set needs {', '.join(sorted(missing))} beside bars; declare one without, or name the benchmark"
        )

    def features(panel: Panel) -> tuple[NDArray[np.float32], Sequence[str]]:
        if benchmark and benchmark not in panel.symbols:
            raise ValueError(f"benchmark {benchmark!r} is not one of {', '.join(panel.symbols)}")
        column = panel.symbols.index(benchmark) if benchmark else None
        found = compute(wanted, Inputs(panel.day_ns, adjusted_bars(panel, Path(path)), column))
        if panel.behind:
            found = np.concatenate((np.full_like(found[:1], np.nan), found[:-1]))
        known: Bools = np.asarray(np.isfinite(found).all(axis=2))
        out = np.concatenate([np.where(known[:, :, None], found, 0.0), known[:, :, None]], axis=2).astype(np.float32)
        begins = np.flatnonzero(known.any(axis=1))
        out[: begins[0] if len(begins) else len(out)] = np.nan
        return out, (*wanted.names, "known")

    return features


def adjusted_bars(panel: Panel, path: Path) -> dict[str, Floats]:
    """Return bars of a panel's sessions, float64[T, N] by field, as a total-return index from each asset's first close.

    Only data known at a row determine its scale, never a later dividend.
    """
    table = (
        scan(path)
        .filter(pl.col("symbol").is_in(list(panel.symbols)))
        .select(pl.col("ts").dt.timestamp("ns"), "symbol", "high", "low", "volume")
        .collect()
    )
    row_of = {int(ns): row for row, ns in enumerate(panel.day_ns)}
    column_of = {symbol: column for column, symbol in enumerate(panel.symbols)}
    rows = np.array([row_of.get(ns, -1) for ns in table["ts"]])
    columns = np.array([column_of[symbol] for symbol in table["symbol"]])
    inside = rows >= 0
    known = np.isfinite(panel.close)
    growth = np.where(np.isfinite(panel.returns()), 1.0 + panel.returns(), 1.0)
    first = np.take_along_axis(panel.close, np.argmax(known, axis=0)[None], 0)
    scale = np.cumprod(growth, axis=0) * first / panel.close
    shares = np.cumprod(panel.split, axis=0)
    bars = {"open": panel.open * scale, "close": panel.close * scale}
    for name, factor in (("high", scale), ("low", scale), ("volume", 1.0 / shares)):
        raw = np.full(panel.close.shape, np.nan)
        raw[rows[inside], columns[inside]] = table[name].to_numpy()[inside]
        bars[name] = np.where(known, raw * factor, np.nan)
    return bars
