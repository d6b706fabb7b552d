"""Computes a feature set sample by sample: F features of N instruments, float64[N, F], per row.

The result equals the features computed over the whole history at once.

Inputs are unadjusted prices. A split or dividend arrives as the factor that adjusts older prices. Internally prices are
adjusted forward, so that stored values never change.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from quantd.strategies.features.cross_section import across
from quantd.strategies.features.feature_batch import timelines
from quantd.strategies.features.inputs import book_fields, periods, progress, refuse_missing
from quantd.strategies.features.specs import FeatureSpec
from quantd.strategies.indicators.batch import bars_present
from quantd.strategies.indicators.stream import Stream
from quantd.trading.bars import FIELDS
from quantd.trading.market import Bools, Floats

_NONE: Final[Mapping[str, Any]] = {}


class _PeriodBars:
    """Aggregates daily bars into weeks or months, and holds the features of the last completed week or month."""

    __slots__ = ("held", "number", "running", "stream")

    def __init__(self, stream: Stream, size: int) -> None:
        self.stream = stream
        self.number = -1.0
        self.running: Floats = np.full((len(FIELDS) + 1, size), np.nan)
        """Open, high, low, close, volume and benchmark of the running period."""
        self.held: Floats = np.full((len(stream.keys), size), np.nan)

    def update(self, number: float, fields: Mapping[str, Floats], present: Bools) -> Floats:
        """Add a row to the week or month with this `number`, and return the features of the last completed one.

        When `number` changes, the running period is complete, and a new one begins.
        """
        if number != self.number:
            if self.number >= 0.0:  # -1 before the first row
                self._complete("benchmark" in fields)
            self.number = number
            self.running = np.full_like(self.running, np.nan)
        running = self.running
        running[0] = np.where(np.isnan(running[0]), fields["open"], running[0])
        running[1] = np.fmax(running[1], fields["high"])
        running[2] = np.fmin(running[2], fields["low"])
        running[3] = np.where(present, fields["close"], running[3])
        running[4] = np.where(present, np.where(np.isnan(running[4]), 0.0, running[4]) + fields["volume"], running[4])
        if "benchmark" in fields:
            running[5] = fields["benchmark"]
        return self.held

    def _complete(self, with_benchmark: bool) -> None:
        present = np.isfinite(self.running[3])
        names = (*FIELDS, "benchmark") if with_benchmark else FIELDS
        bars = {n: np.where(present, self.running[i], np.nan) for i, n in enumerate(names)}
        self.held = np.array(self.stream.update(bars, present)).reshape(self.held.shape)


class FeatureStream:
    """Computes the feature set `spec` for `size` instruments; `benchmark` is the index of the benchmark."""

    def __init__(self, spec: FeatureSpec, size: int, *, benchmark: int | None = None) -> None:
        """Make one stream for each timeline of `spec`; weeks and months also get their running bars.

        The timelines are "day", "week", "month", "own" (a number for each instrument in every row) and "shared" (one
        number for all). The scales adjust prices and volumes for all splits and dividends so far.
        """
        self.spec = spec
        self.size = size
        self.benchmark = benchmark
        self._timelines = timelines(spec)
        self._streams = {
            line: Stream(group.nodes, 1 if line == "shared" else size) for line, group in self._timelines.items()
        }
        self._periods = {
            line: _PeriodBars(stream, size) for line, stream in self._streams.items() if line in ("week", "month")
        }
        self._price_scale: Floats = np.ones(size)
        self._volume_scale: Floats = np.ones(size)
        self._benchmark_close = np.nan
        self._shared_values: dict[str, float] = {}

    def update(
        self,
        session: int,
        bars: Mapping[str, Floats],
        *,
        factor: Floats | None = None,
        shares: Floats | None = None,
        by_symbol: Mapping[str, Floats] = _NONE,
        shared: Mapping[str, float] = _NONE,
    ) -> Floats:
        """Return the values of F features of N instruments, float64[N, F], for one row of bars.

        `bars` are unadjusted, float64[N] by field, NaN without a bar. `factor` float64[N] multiplies prices older than
        the previous row (1: no action; 0.25: a 4:1 split), and `shares` multiplies older volumes. `by_symbol`
        and `shared` have the other inputs by name: a value per instrument, and one for all. `session` is the session
        date in ns since 1970.
        """
        refuse_missing(self.spec, {*by_symbol, *shared} | ({"benchmark"} if self.benchmark is not None else set()))
        if factor is not None:
            self._price_scale /= factor
        if shares is not None:
            self._volume_scale /= shares
        present = bars_present(bars)
        fields = self._forward_adjusted(bars, present)
        dates = np.array([session])
        row = np.full((self.size, len(self.spec.features)), np.nan)
        for line, group in self._timelines.items():
            if line == "shared":
                values = self._streams[line].update(
                    self._shared_fields(dates, by_symbol, shared), np.ones(1, dtype=np.bool_)
                )
            elif line == "own":
                values = self._streams[line].update(by_symbol, np.ones(self.size, dtype=np.bool_))
            elif line == "day":
                values = self._streams[line].update(fields, present)
            else:
                values = list(self._periods[line].update(float(periods(dates, line)[0]), fields, present))
            for position, feature, value in zip(group.positions, group.features, values, strict=True):
                row[:, position] = across(value, feature.across) if feature.across else value
        return row

    def _forward_adjusted(self, bars: Mapping[str, Floats], present: Bools) -> dict[str, Floats]:
        """Return the bars in the units of the first row (before later splits), and the benchmark's last close."""
        fields = {name: np.where(present, bars[name] * self._price_scale, np.nan) for name in FIELDS[:-1]}
        fields["volume"] = np.where(present, np.nan_to_num(bars["volume"], nan=0.0) * self._volume_scale, np.nan)
        if self.benchmark is not None:
            if present[self.benchmark]:
                self._benchmark_close = float(fields["close"][self.benchmark])
            fields["benchmark"] = np.full(self.size, self._benchmark_close)
        return fields

    def _shared_fields(
        self,
        dates: np.ndarray[tuple[int], np.dtype[np.int64]],
        by_symbol: Mapping[str, Floats],
        shared: Mapping[str, float],
    ) -> dict[str, Floats]:
        """The inputs of the shared features: `shared`, figures of the book, the date, and the close of the benchmark.

        Where a value of `shared` is not finite, its last finite value is used.
        """
        for name, value in shared.items():
            if np.isfinite(value) or name not in self._shared_values:
                self._shared_values[name] = float(value)
        fields = {name: np.array([value]) for name, value in self._shared_values.items()}
        fields |= {name: np.atleast_1d(value) for name, value in book_fields(by_symbol.get("weight")).items()}
        fields |= progress(dates)
        fields["benchmark"] = np.array([self._benchmark_close])
        return fields

    def state(self) -> dict[str, Floats]:
        """Return the complete state of the computation as named arrays."""
        saved = {
            "scale": self._price_scale.copy(),
            "shares": self._volume_scale.copy(),
            "close": np.array([self._benchmark_close]),
        }
        saved |= {f"shared {name}": np.array([value]) for name, value in self._shared_values.items()}
        for line, stream in self._streams.items():
            saved |= {f"{line}: {name}": array for name, array in stream.state().items()}
        for line, period in self._periods.items():
            saved[f"{line} running"] = period.running.copy()
            saved[f"{line} held"] = period.held.copy()
            saved[f"{line} number"] = np.array([period.number])
        return saved

    def restore(self, state: Mapping[str, Floats]) -> None:
        """Restore a state that `state` returned. Raises KeyError when it belongs to another feature set."""
        self._price_scale, self._volume_scale = state["scale"].copy(), state["shares"].copy()
        self._benchmark_close = float(state["close"][0])
        # 7 is the length of "shared "
        self._shared_values = {name[7:]: float(array[0]) for name, array in state.items() if name.startswith("shared ")}
        for line, stream in self._streams.items():
            prefix = f"{line}: "
            stream.restore({name[len(prefix) :]: array for name, array in state.items() if name.startswith(prefix)})
        for line, period in self._periods.items():
            period.running, period.held = state[f"{line} running"].copy(), state[f"{line} held"].copy()
            period.number = float(state[f"{line} number"][0])
