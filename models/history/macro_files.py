"""Macro series of a training, as known at each close of a panel; the same rules as [feed] macro."""

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from quantd.bundled import absent, find
from quantd.models.history.panel import MacroSource
from quantd.trading.market import Floats


class SeriesError(ValueError):
    """A file that is no such series; the message names it and the remedy."""


def known_at(day_ns: NDArray[np.int64], source: MacroSource) -> Floats:
    """Return float64[T], the newest value known at the close of each date; NaN before the first.

    Raises SeriesError.
    """
    path = find(source.path)
    days, values = _read(path)
    side: Literal["left", "right"] = "right" if source.available == "close" else "left"
    place = np.searchsorted(days, day_ns, side=side) - 1
    return np.where(place >= 0, values[np.maximum(place, 0)], np.nan)


def _read(path: Path) -> tuple[NDArray[np.int64], Floats]:
    if not path.is_file():
        raise SeriesError(f"{path}: {absent(path)}")
    text = path.suffix.lower() in {".csv", ".txt"}
    try:
        frame = pl.read_csv(path, infer_schema=False) if text else pl.read_parquet(path)
        column = next((name for name in ("value", "close") if name in frame.columns), None)
        if column is None or "ts" not in frame.columns:
            raise SeriesError(f"{path}: it has the columns {', '.join(frame.columns)}; name two of them ts and value")
        days = frame["ts"].str.strip_chars().str.slice(0, 10).str.to_date("%Y-%m-%d") if text else frame["ts"]
        found = pl.DataFrame({"day": days.cast(pl.Date), "value": frame[column].cast(pl.Float64, strict=False)})
    except pl.exceptions.PolarsError as error:
        raise SeriesError(f"{path}: no series of dates and values: {str(error).splitlines()[0][:120]}") from None
    found = found.filter(pl.col("value").is_finite() & pl.col("day").is_not_null()).sort("day")
    if found["day"].is_duplicated().any():
        raise SeriesError(f"{path}: {found.filter(found['day'].is_duplicated())['day'][0]} has two values; keep one")
    if found.is_empty():
        raise SeriesError(f"{path}: no row has a date and a number; check its columns ts and value")
    return found["day"].cast(pl.Datetime("ns")).dt.epoch("ns").to_numpy(), found["value"].to_numpy()
