"""Inputs of features: rows of bars, and series beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quantd.strategies.features.specs import FeatureSpec
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS


@dataclass(frozen=True, slots=True)
class Inputs:
    """T rows of N instruments, oldest first.

    `session` int64[T] is the date of each row in ns. `bars` are float64[T, N] by field, adjusted, NaN without a bar.
    `benchmark` is the index of the benchmark among the instruments. `by_symbol` float64[T, N] and `shared` float64[T]
    are series by name: the book, and macro values as known at each row, where an old value stays until there is a newer
    one. A series per symbol is in `by_symbol` under "series esg", NaN where it is unknown.
    """

    session: NDArray[np.int64]
    bars: Mapping[str, Floats]
    benchmark: int | None = None
    by_symbol: Mapping[str, Floats] = field(default_factory=dict)
    shared: Mapping[str, Floats] = field(default_factory=dict)


def refuse_missing(spec: FeatureSpec, given: set[str]) -> None:
    """Raise ValueError for the first feature with an input that is not in `given`.

    If a missing input were replaced by NaN, its absence would look like a feature without a value.
    """
    for feature in spec.features:
        for need in feature.about.needs:
            if need not in given:
                raise ValueError(
                    f"feature {feature.name!r} needs {need!r}, which the inputs lack; add it, or leave the feature out"
                )


def given_by(inputs: Inputs) -> set[str]:
    """Return the names of the inputs beside bars that `inputs` contains."""
    named = {*inputs.by_symbol, *inputs.shared}
    return named if inputs.benchmark is None else {*named, "benchmark"}


def book_fields(weight: Floats | None) -> dict[str, Floats]:
    """Return the book's gross weight and concentration by name, float64[..] from the weights float64[.., N].

    The gross is the sum of absolute weights, the concentration the sum of squared weights. None gives no figures.
    """
    if weight is None:
        return {}
    return {"gross": np.abs(weight).sum(axis=-1), "concentration": np.square(weight).sum(axis=-1)}


def progress(session: NDArray[np.int64]) -> dict[str, Floats]:
    """Return the elapsed fraction of the week, month and year on each date, 0 .. 1.

    `session` int64[T] are dates in ns since 1970. A week begins on Monday.
    """
    date = session.astype("datetime64[ns]").astype("datetime64[D]")
    month, year = date.astype("datetime64[M]"), date.astype("datetime64[Y]")

    def elapsed(start: NDArray[np.datetime64], end: NDArray[np.datetime64]) -> Floats:
        return (date - start).astype(np.float64) / (end - start).astype(np.float64)

    return {
        "progress_week": (session // DAY_NS + 3) % 7 / 7.0,  # 1970-01-01 was a Thursday
        "progress_month": elapsed(month.astype("datetime64[D]"), (month + 1).astype("datetime64[D]")),
        "progress_year": elapsed(year.astype("datetime64[D]"), (year + 1).astype("datetime64[D]")),
    }


def periods(session: NDArray[np.int64], every: str) -> NDArray[np.int64]:
    """Return int64[T], an ascending number for the week (from Monday) or the month of each date (ns UTC)."""
    if every == "week":
        return (session // DAY_NS + 3) // 7
    return session.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)


def carried(column: Floats) -> Floats:
    """Return float64[T] with the last known value in place of each missing one; NaN before the first value."""
    finite = np.isfinite(column)
    last = np.maximum.accumulate(np.where(finite, np.arange(len(column)), -1))
    return np.where(last >= 0, column[np.maximum(last, 0)], np.nan)
