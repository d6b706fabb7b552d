"""Macro series in the sample history: the known value of each series at each sample. They are not tradable."""

from collections.abc import Mapping, Sequence

import numpy as np

from quantd.trading.market import Floats


class MacroHistory:
    """The newest `lookback` samples of each series, one row per sample, NaN where no value was known yet."""

    def __init__(self, names: tuple[str, ...], lookback: int) -> None:
        self.names = names
        self.lookback = lookback
        self.rows: Floats = np.full((lookback, len(names)), np.nan)
        """float64[lookback, series], oldest first.

        Each sample replaces the array, so that earlier views keep their values.
        """

    def sample(self, values: Sequence[float]) -> None:
        """Append the known values at a sample, in the order of `names`; missing trailing values become NaN."""
        row = np.full((1, len(self.names)), np.nan)
        row[0, : len(values)] = values
        rows = np.concatenate((self.rows[1:], row))
        rows.flags.writeable = False
        self.rows = rows

    def known(self, name: str, k: int) -> Floats:
        """Return float64[k], the known values at the newest k samples, oldest first. Raises ValueError for an unknown
        series, or more samples than `lookback`."""
        if name not in self.names:
            raise ValueError(f"macro({name!r}): [feed] macro has {', '.join(self.names)}")
        if not 1 <= k <= self.lookback:
            raise ValueError(f"macro({name!r}, {k}): between 1 and {self.lookback} samples are kept")
        return self.rows[self.lookback - k :, self.names.index(name)]

    def freeze(self) -> dict[str, bytes]:
        """Return each series by name, as bytes."""
        return {name: self.rows[:, place].tobytes() for place, name in enumerate(self.names)}

    def thaw(self, frozen: Mapping[str, bytes]) -> None:
        """Restore the state returned by `freeze`; a series that it lacks starts empty."""
        rows = np.full_like(self.rows, np.nan)
        for place, name in enumerate(self.names):
            kept = np.frombuffer(frozen.get(name, b""))[-self.lookback :]
            rows[self.lookback - len(kept) :, place] = kept
        rows.flags.writeable = False
        self.rows = rows
