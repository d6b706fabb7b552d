"""Macro series in the history of samples: what was known of each when a sample was taken. Nobody trades them."""

from collections.abc import Mapping, Sequence

import numpy as np

from quantd.trading.market import Floats


class MacroHistory:
    """The newest `lookback` samples of each series, one row a sample, NaN where nothing was known yet."""

    def __init__(self, names: tuple[str, ...], lookback: int) -> None:
        self.names = names
        self.lookback = lookback
        self.rows: Floats = np.full((lookback, len(names)), np.nan)
        """float64[lookback, series], oldest first; replaced at each sample, so that a view given out stays as it was."""

    def sample(self, values: Sequence[float]) -> None:
        """What is known of each series at a sample, in the order of `names`; nothing is known of what is not given."""
        row = np.full((1, len(self.names)), np.nan)
        row[0, : len(values)] = values
        rows = np.concatenate((self.rows[1:], row))
        rows.flags.writeable = False
        self.rows = rows

    def known(self, name: str, k: int) -> Floats:
        """float64[k], what was known at each of the newest k samples, oldest first. ValueError for a series that there is
        not, or more samples than are kept."""
        if name not in self.names:
            raise ValueError(f"macro({name!r}): [feed] macro has {', '.join(self.names)}")
        if not 1 <= k <= self.lookback:
            raise ValueError(f"macro({name!r}, {k}): between 1 and {self.lookback} samples are kept")
        return self.rows[self.lookback - k :, self.names.index(name)]

    def freeze(self) -> dict[str, bytes]:
        """Each series by name."""
        return {name: self.rows[:, place].tobytes() for place, name in enumerate(self.names)}

    def thaw(self, frozen: Mapping[str, bytes]) -> None:
        """Take back what `freeze` gave; a series that was not there begins with nothing."""
        rows = np.full_like(self.rows, np.nan)
        for place, name in enumerate(self.names):
            kept = np.frombuffer(frozen.get(name, b""))[-self.lookback :]
            rows[self.lookback - len(kept) :, place] = kept
        rows.flags.writeable = False
        self.rows = rows
